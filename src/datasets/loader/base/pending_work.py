"""Pending work: bounded in bytes, waited for at the end, stopped by the first error."""

from __future__ import annotations

import threading

from . import large_memory

# The limit of bytes that wait in memory to be written. It also limits the number of directories
# that are written to at once, if an archive holds one directory after the other.
AHEAD_BYTES = 96 * 2**20
# The limit while other work takes much memory.
LEAST_AHEAD_BYTES = 24 * 2**20


class PendingWork:
    """A counter of pending work, shared by many threads.

    Attributes:
        count: The number of pending pieces of work.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._ahead = self._waiting = self.count = 0
        self._error: BaseException | None = None

    def begin(self, weight: int) -> None:
        """Add a piece of work, as soon as there is room for its bytes.

        Args:
            weight: The bytes that it keeps in memory.

        Raises:
            BaseException: The error that stopped the work.
        """
        with self._changed:
            # A piece that is larger than the limit starts when all others have ended.
            while self._ahead and self._ahead + weight > _most_ahead() and not self._error:
                self._wait()
            self.check()
            self._ahead += weight
            self.count += 1

    def add(self) -> None:
        """Add a piece of work that keeps no bytes in memory."""
        with self._changed:
            self.count += 1

    def end(self, weight: int) -> None:
        """Remove a piece of work that has ended."""
        with self._changed:
            self.count -= 1
            self._ahead -= weight
            if self._waiting:
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until no work is pending.

        Raises:
            BaseException: The error that stopped the work.
        """
        with self._changed:
            while self.count and not self._error:
                self._wait()
            self.check()

    def check(self) -> None:
        """Raise the error that stopped the work, if there is one."""
        if self._error:
            raise self._error

    def fail(self, error: BaseException) -> None:
        """Stop all work because of an error."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _wait(self) -> None:
        self._waiting += 1
        self._changed.wait()
        self._waiting -= 1


def _most_ahead() -> int:
    return LEAST_AHEAD_BYTES if large_memory.LARGE.in_use else AHEAD_BYTES
