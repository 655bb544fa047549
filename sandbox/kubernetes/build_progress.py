"""Convert go's build output to progress messages for the user; it runs nothing."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping

_REPORT_SECONDS = 5
_LINK_SECONDS = 40

# Each package costs about as much as two files more. The time per file on two cores is the first
# estimate; it has the weight of so many files of this build.
_PACKAGE_FILES = 2
_FILE_SECONDS = 0.027
_ESTIMATE_FILES = 1000

# The recent speed predicts the rest better than the average: other processes use the machine, too.
_WINDOW_SECONDS = 90
_WINDOW_FILES = 200


class Meter:
    """The progress of one build.

    Args:
        progress: Called with a message every few seconds.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, progress: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress = progress
        self._clock = clock
        self._began = clock()
        self._build_began = 0.0
        self._reported = self._began
        self._downloads = 0
        self._files: Mapping[str, int] = {}
        self._built: set[str] = set()
        self._window: collections.deque[tuple[float, int]] = collections.deque()

    @property
    def seconds(self) -> float:
        """Return the duration of the build so far."""
        return self._clock() - self._began

    def expect(self, files: Mapping[str, int]) -> None:
        """Start the compilation.

        Args:
            files: The number of files of each package to build.
        """
        self._files = files
        self._build_began = self._clock()
        if len(files) <= 1:  # only the program itself: the rest is in the build cache
            self._linking()

    def line(self, text: str) -> None:
        """Process a line of go's output."""
        if text.startswith("go: downloading"):
            self._downloads += 1
            self._report(f"downloading Go modules: {self._downloads} so far")
        elif text in self._files:
            self._built.add(text)
            if len(self._built) == len(self._files):
                self._linking()
            else:
                self._report(
                    f"building the control plane: {len(self._built)} of {len(self._files)} "
                    f"packages, about {format_duration(self._left())} left"
                )

    def _left(self) -> float:
        now = self._clock()
        total = sum(self._files.values()) + _PACKAGE_FILES * len(self._files)
        done = sum(self._files[package] + _PACKAGE_FILES for package in self._built)
        self._window.append((now, done))
        while now - self._window[0][0] > _WINDOW_SECONDS:
            self._window.popleft()
        since, done_then = self._window[0]
        each = _FILE_SECONDS
        for seconds, files, weight in (
            (now - self._build_began, done, _ESTIMATE_FILES),
            (now - since, done - done_then, _WINDOW_FILES),
        ):
            each = (seconds + weight * each) / (files + weight)
        return each * (total - done) + _LINK_SECONDS

    def _linking(self) -> None:
        self._progress(f"linking, the last step: about {format_duration(_LINK_SECONDS)}")

    def _report(self, text: str) -> None:
        now = self._clock()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            self._progress(text)


def format_duration(seconds: float) -> str:
    """Return a rounded duration for the user."""
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} min"
