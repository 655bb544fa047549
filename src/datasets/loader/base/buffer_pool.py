"""Pool of reusable page-aligned buffers for data on their way from an origin to the volume.

O_DIRECT needs memory that begins at a page.
"""

from __future__ import annotations

import functools
import mmap
import queue
from collections.abc import Callable
from typing import NamedTuple

BUFFER_BYTES = 2**20
# More than there are lanes: a lane that waits for its origin keeps a buffer that is not full yet.
MOST_BUFFERS = 36


def do_nothing() -> None:
    """Release memory that is not reused."""


class Buffer(NamedTuple):
    """Bytes in reusable memory.

    Attributes:
        data: The bytes.
        release: Gives the memory back for reuse; any thread may call it.
    """

    data: memoryview
    release: Callable[[], None] = do_nothing


def allocate(size: int) -> memoryview:
    """Return new, page-aligned memory of this many bytes."""
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class BufferPool:
    """A pool of at most MOST_BUFFERS buffers of BUFFER_BYTES, shared by many threads."""

    def __init__(self) -> None:
        # The buffer that was released last is reused first: the others may never be allocated.
        self._free: queue.LifoQueue[memoryview | None] = queue.LifoQueue()
        for _ in range(MOST_BUFFERS):
            self._free.put(None)

    def acquire(self) -> Buffer:
        """Return a buffer; wait until one is free."""
        memory = self._free.get() or allocate(BUFFER_BYTES)
        return Buffer(memory, functools.partial(self._free.put, memory))
