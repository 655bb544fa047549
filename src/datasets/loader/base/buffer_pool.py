"""Memory that is lent: what was fetched lies in it until it is written, and then it serves again.

It begins where a page begins, as O_DIRECT wants it.
"""

from __future__ import annotations

import functools
import mmap
import queue
from collections.abc import Callable
from typing import NamedTuple

SPARE_BYTES = 2**20
# More than there are lanes: one that waits for its source keeps a block that is not full yet.
SPARE_BLOCKS = 36


def nothing() -> None:
    """Nobody waits for it."""


class Block(NamedTuple):
    """Bytes in memory that is lent.

    Attributes:
        data: The bytes.
        done: Is to be called, in whatever thread, when they are not used any more.
    """

    data: memoryview
    done: Callable[[], None] = nothing


def room(size: int) -> memoryview:
    """Memory of so many bytes."""
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class Spare:
    """Blocks of SPARE_BYTES, a bounded number of them. One serves many threads."""

    def __init__(self) -> None:
        # Those that were used last come first: the others may never be needed.
        self._free: queue.LifoQueue[memoryview | None] = queue.LifoQueue()
        for _ in range(SPARE_BLOCKS):
            self._free.put(None)

    def take(self) -> Block:
        """A block; waits until there is one."""
        memory = self._free.get() or room(SPARE_BYTES)
        return Block(memory, functools.partial(self._free.put, memory))
