"""The progress of a pod, counted by many threads."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from typing import Any

# The rate is measured over the last seconds, so that a stall shows.
WINDOW_SECONDS = 15.0
# To create a file takes time, too, even for an empty one.
FILE_BYTES = 2048


class Counter:
    """A counter of the bytes and files that a pod has fetched and written.

    The work of earlier pods with the same index counts as well, so that a continued load does not
    seem to start again.

    Args:
        clock: A monotonic clock, in seconds.

    Attributes:
        fetched: The bytes that this pod received.
        written: The bytes of the sources whose content is on the volume, of this pod.
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
            self._before = self.fetched = self.written = self.files = self.bytes = 0
            self.total: int | None = None

    def add_fetched(self, count: int) -> None:
        """Count bytes that were received."""
        with self._lock:
            self.fetched += count

    def add_written(self, count: int) -> None:
        """Count bytes of a source whose content is on the volume; less than none, to correct it.

        Args:
            count: Their number.
        """
        with self._lock:
            self.written += count

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
            files, size, written = self.files, self.bytes, self.written
            fetched, done = self._before + self.fetched, self._before + written
        self._seen.append((now, written))
        while now - self._seen[0][0] > WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = round(max(0, written - before) / (now - since)) if now > since else 0
        eta = None
        if self.total is not None and rate and not self.shared:
            eta = round(max(0, self.total - done) / rate)
        return {
            "fetched": fetched,
            "done": done,
            "total": self.total,
            "files": files,
            "bytes": size,
            "rate": rate,
            "eta": eta,
        }


class ItemProgress:
    """The progress of one item, by the part of its content that is on the volume.

    What was fetched says little: tens of megabytes wait in memory, and their files are still to be
    created. In an archive a byte of the source counts when what it became has been written.

    Args:
        counter: The progress of the pod.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._lock = threading.Lock()
        self._read = self._content = self._written = self._done = 0

    def begin(self) -> None:
        """Count from zero: an attempt at the item begins."""
        with self._lock:
            self._read = self._content = self._written = 0
            self._update()

    def add_read(self, count: int) -> None:
        """Count bytes of the source that were read.

        Args:
            count: Their number.
        """
        with self._lock:
            self._read += count
            self._update()

    def add_content(self, size: int, files: int = 0) -> None:
        """Count content that is to be written.

        Args:
            size: The number of its bytes.
            files: The number of files that begin with it.
        """
        with self._lock:
            self._content += size + files * FILE_BYTES
            self._update()

    def add_written(self, size: int, files: int = 0) -> None:
        """Count content that is on the volume.

        Args:
            size: The number of its bytes.
            files: The number of files that are complete with it.
        """
        with self._lock:
            self._written += size + files * FILE_BYTES
            self._update()

    def _update(self) -> None:
        done = self._read
        if self._written < self._content:
            done = done * self._written // self._content
        if done != self._done:
            self._counter.add_written(done - self._done)
            self._done = done
