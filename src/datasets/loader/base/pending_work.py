"""What is under way: bounded in bytes, waited for in the end, and ended by the first error."""

from __future__ import annotations

import threading

# What waits in memory to be written. It bounds how many directories are written to at once, where
# an archive holds one after the other.
AHEAD_BYTES = 96 * 2**20


class UnderWay:
    """Counts what is under way. One serves many threads.

    Attributes:
        count: How much there is.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._ahead = self._waiting = self.count = 0
        self._error: BaseException | None = None

    def begin(self, weight: int) -> None:
        """Counts one more; returns when there is room for it.

        Args:
            weight: The bytes that wait for it.

        Raises:
            BaseException: What an earlier one raised.
        """
        with self._changed:
            # One that alone is heavier than all that may wait has to wait for all others only.
            while self._ahead and self._ahead + weight > AHEAD_BYTES and not self._error:
                self._wait()
            self.check()
            self._ahead += weight
            self.count += 1

    def add(self) -> None:
        """Counts one more, which needs no room."""
        with self._changed:
            self.count += 1

    def end(self, weight: int) -> None:
        """Counts one less, of so many bytes."""
        with self._changed:
            self.count -= 1
            self._ahead -= weight
            if self._waiting:
                self._changed.notify_all()

    def wait(self) -> None:
        """Returns when nothing is left to be done.

        Raises:
            BaseException: What something raised.
        """
        with self._changed:
            while self.count and not self._error:
                self._wait()
            self.check()

    def check(self) -> None:
        """Raises what something has raised."""
        if self._error:
            raise self._error

    def fail(self, error: BaseException) -> None:
        """Nothing more is taken."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _wait(self) -> None:
        self._waiting += 1
        self._changed.wait()
        self._waiting -= 1
