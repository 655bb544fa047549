"""Keeps count of what a source brings, and stops what outgrows its limits."""

from __future__ import annotations

from collections.abc import Callable

from . import failure, spec


class Budget:
    """What one load has used up of its limits.

    Args:
        limits: The limits.
        fetched: Tells how many bytes have been fetched so far.
    """

    def __init__(self, limits: spec.Limits, fetched: Callable[[], int]) -> None:
        self._limits = limits
        self._fetched = fetched
        self._entries = 0
        self._unpacked = 0
        self._written = 0

    def entry(self) -> None:
        """Counts one entry of an archive."""
        self._entries += 1
        if self._entries > self._limits.most_entries:
            raise failure.Failure(
                f"the archive has more than {self._limits.most_entries} entries: split it over "
                "several data sets"
            )

    def unpacked(self, count: int) -> None:
        """Counts bytes that came out of a decompressor."""
        self._unpacked += count
        self._check(self._unpacked)

    def written(self, count: int) -> None:
        """Counts bytes to be written: a sparse archive brings more than it holds."""
        self._written += count
        self._check(self._written)

    def _check(self, used: int) -> None:
        if used > self._limits.most_bytes:
            raise failure.Failure(
                f"the source brings more than {self._limits.most_bytes} bytes: split it over "
                "several data sets"
            )
        allowed = self._limits.most_expansion * self._fetched()
        if used > self._limits.free_bytes and used > allowed:
            raise failure.Failure(
                f"the archive grows to more than {self._limits.most_expansion} times its size, as "
                "a bomb does: check the source; if it is meant, offer it uncompressed"
            )
