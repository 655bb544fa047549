"""The progress of a pod, counted by many threads."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import Any

# The rate is measured over the last seconds, so that a stall shows.
WINDOW_SECONDS = 15.0


class Counter:
    """A counter of the bytes and files that a pod has fetched and written.

    The work of earlier pods with the same index counts as well, so that a continued load does not
    seem to start again.

    Args:
        clock: A monotonic clock, in seconds.

    Attributes:
        fetched: The bytes that this pod received.
        files: The files that are on the volume.
        bytes: The sum of their sizes.
        total: The bytes of the whole load; None if unknown.
        shared: True if other pods load a part: one pod alone cannot tell what is left.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.shared = False
        self.reset()

    def reset(self) -> None:
        """Count from zero: the load starts over."""
        with self._lock:
            self._seen = collections.deque([(self._clock(), 0)])
            self._before = self.fetched = self.files = self.bytes = 0
            self.total: int | None = None

    def add_fetched(self, count: int) -> None:
        """Count bytes that were received."""
        with self._lock:
            self.fetched += count

    def add_earlier(self, fetched: int = 0, files: int = 0, size: int = 0) -> None:
        """Count bytes and files that earlier pods have fetched and written."""
        with self._lock:
            self._before += fetched
            self.files += files
            self.bytes += size

    def add_files(self, count: int, size: int) -> None:
        """Count written files; `size` is the sum of their sizes."""
        with self._lock:
            self.files += count
            self.bytes += size

    def fields(self) -> dict[str, Any]:
        """Return the fields of a line of progress."""
        now = self._clock()
        with self._lock:
            fetched, files, size = self.fetched, self.files, self.bytes
            done = self._before + fetched
        self._seen.append((now, fetched))
        while now - self._seen[0][0] > WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = round((fetched - before) / (now - since)) if now > since else 0
        eta = None
        if self.total is not None and rate and not self.shared:
            eta = round(max(0, self.total - done) / rate)
        return {
            "fetched": done,
            "total": self.total,
            "files": files,
            "bytes": size,
            "rate": rate,
            "eta": eta,
        }
