"""How far a pod is: counted by many threads, told by one."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import Any

# The rate is that of the last seconds, so that a stall is seen.
WINDOW_SECONDS = 15.0


class Meter:
    """Counts what a pod fetches and writes.

    What pods before it have brought counts as well: else a load that is gone on with would look as
    if it began anew.

    Args:
        clock: Tells seconds; monotonic.

    Attributes:
        fetched: The bytes that came.
        files: The files that are on the volume.
        bytes: Their sizes together.
        total: The bytes of the whole load; None where nobody knows.
        shared: Whether other pods fetch some of it: then one of them can not tell what is left.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.shared = False
        self.reset()

    def reset(self) -> None:
        """Counts from zero: all begins anew."""
        with self._lock:
            self._seen = collections.deque([(self._clock(), 0)])
            self._before = self.fetched = self.files = self.bytes = 0
            self.total: int | None = None

    def came(self, count: int) -> None:
        """Counts bytes that came."""
        with self._lock:
            self.fetched += count

    def brought(self, fetched: int = 0, files: int = 0, size: int = 0) -> None:
        """Counts what pods before this one have fetched and written."""
        with self._lock:
            self._before += fetched
            self.files += files
            self.bytes += size

    def wrote(self, count: int, size: int) -> None:
        """Counts files, of so many bytes together."""
        with self._lock:
            self.files += count
            self.bytes += size

    def fields(self) -> dict[str, Any]:
        """What a line of progress says."""
        now = self._clock()
        with self._lock:
            fetched, files, size = self.fetched, self.files, self.bytes
            there = self._before + fetched
        self._seen.append((now, fetched))
        while now - self._seen[0][0] > WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = round((fetched - before) / (now - since)) if now > since else 0
        eta = None
        if self.total is not None and rate and not self.shared:
            eta = round(max(0, self.total - there) / rate)
        return {
            "fetched": there,
            "total": self.total,
            "files": files,
            "bytes": size,
            "rate": rate,
            "eta": eta,
        }
