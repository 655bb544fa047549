"""Let one piece of work of the process at a time take much memory, and only so much.

Decompressors take what the compressed data ask for. Whatever the source, all processes of a pod
together stay below 256 MiB.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator

# The limit of one thread, in all of its scopes: `xz -9` twice, or `zstd --ultra -22` once.
MOST_BYTES = 136 * 2**20


class LargeMemory:
    """The permission to take much memory: one thread has it at a time.

    What a thread takes is given back at the end of the scope that it was taken in. In one scope,
    it is used one piece after the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = threading.local()

    @property
    def in_use(self) -> bool:
        """Return whether a thread has taken some."""
        return self._lock.locked()

    @contextlib.contextmanager
    def scope(self) -> Generator[None]:
        """Give back at the end what is taken meanwhile in this thread."""
        scopes = self._scopes()
        held, depth = any(scopes), len(scopes)
        scopes.append(0)
        try:
            yield
        finally:
            # A generator that was left in the middle may end after the scope around it.
            del scopes[depth:]
            if not held and getattr(self._thread, "holds", False):
                self._thread.holds = False
                self._lock.release()

    def left(self) -> int:
        """Return the bytes that this scope may take; wait until no other thread has any."""
        if not self._scopes():
            return MOST_BYTES
        if not getattr(self._thread, "holds", False):
            self._lock.acquire()  # the end of the outermost scope releases it
            self._thread.holds = True
        return MOST_BYTES - sum(self._scopes()[:-1])

    def take(self, count: int) -> None:
        """Take bytes, of those that are left."""
        scopes = self._scopes()
        if scopes:
            scopes[-1] = max(scopes[-1], count)

    def _scopes(self) -> list[int]:
        scopes: list[int] | None = getattr(self._thread, "scopes", None)
        if scopes is None:
            scopes = self._thread.scopes = []
        return scopes


LARGE = LargeMemory()
