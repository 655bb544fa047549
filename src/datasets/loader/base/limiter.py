"""Keeps count of what a source brings, and stops what outgrows its limits."""

from __future__ import annotations

import threading

from . import failure, tasks


class Budget:
    """What a pod has used up of a load's limits. One serves many threads.

    Args:
        limits: The limits.
    """

    def __init__(self, limits: tasks.Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._received = 0
        self._entries = 0
        self._unpacked = 0
        self._written = 0

    def received(self, count: int) -> None:
        """Counts bytes of what is loaded, as it is at its origin."""
        with self._lock:
            self._received += count

    def entry(self) -> None:
        """Counts one entry of an archive."""
        with self._lock:
            self._entries += 1
        if self._entries > self._limits.most_entries:
            raise failure.Failure(
                f"the source has more than {self._limits.most_entries} entries: split it over "
                "several data sets"
            )

    def unpacked(self, count: int) -> None:
        """Counts bytes that came out of a decompressor."""
        with self._lock:
            self._unpacked += count
        self._check(self._unpacked)

    def written(self, count: int) -> None:
        """Counts bytes to be written: a sparse archive brings more than it holds."""
        with self._lock:
            self._written += count
        self._check(self._written)

    def _check(self, used: int) -> None:
        if used > self._limits.most_bytes:
            raise failure.Failure(
                f"the source brings more than {self._limits.most_bytes} bytes: split it over "
                "several data sets"
            )
        allowed = self._limits.most_expansion * self._received
        if used > self._limits.free_bytes and used > allowed:
            raise failure.Failure(
                f"the archive grows to more than {self._limits.most_expansion} times its size, as "
                "a bomb does: check the source; if it is meant, offer it uncompressed"
            )
