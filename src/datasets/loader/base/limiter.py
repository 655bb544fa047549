"""Stop a source that exceeds the limits of a load."""

from __future__ import annotations

import threading

from . import failure, tasks


class Limiter:
    """A counter of one pod's share of a load's limits, shared by many threads.

    Args:
        limits: The limits.
    """

    def __init__(self, limits: tasks.Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._received = 0
        self._members = 0
        self._unpacked = 0
        self._written = 0

    def add_received(self, count: int) -> None:
        """Count bytes that were received from an origin."""
        with self._lock:
            self._received += count

    def add_member(self) -> None:
        """Count one member of an archive."""
        with self._lock:
            self._members += 1
        if self._members > self._limits.most_members:
            raise failure.Failure(
                f"the source has more than {self._limits.most_members} members: split it over "
                "several data sets"
            )

    def add_unpacked(self, count: int) -> None:
        """Count bytes that a decompressor produced."""
        with self._lock:
            self._unpacked += count
        self._check(self._unpacked)

    def add_written(self, count: int) -> None:
        """Count bytes to be written: a sparse archive writes more than it holds."""
        with self._lock:
            self._written += count
        self._check(self._written)

    def _check(self, used: int) -> None:
        if used > self._limits.most_bytes:
            raise too_large(self._limits)
        allowed = self._limits.most_expansion * self._received
        if used > self._limits.free_bytes and used > allowed:
            raise failure.Failure(
                f"the archive grows to more than {self._limits.most_expansion} times its size, "
                "like an archive bomb: check the source; if this is intended, offer it "
                "uncompressed"
            )


def too_large(limits: tasks.Limits) -> failure.Failure:
    """Return the failure of a source with more bytes than its limit."""
    return failure.Failure(
        f"the source has more than {limits.most_bytes} bytes: allow more by max-size=, or split "
        "it over several data sets"
    )
