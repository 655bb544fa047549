"""Turns what go says while it builds into lines that tell a person how far it is; runs nothing."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping

_REPORT_SECONDS = 5
_LINK_SECONDS = 40

# A package costs about as much as two files, however few it has; what a file costs on two cores
# counts like so many files of this build, which soon shows what one costs here.
_PACKAGE_FILES = 2
_FILE_SECONDS = 0.027
_EXPERIENCE_FILES = 1000

# The last while tells more of what is to come than the beginning does: others use the machine too.
_WINDOW_SECONDS = 90
_WINDOW_FILES = 200


class Meter:
    """Follows one build.

    Args:
        progress: Told how far it is, every few seconds.
        clock: Tells the time in seconds.
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
        """How long all of it took until now."""
        return self._clock() - self._began

    def expect(self, files: Mapping[str, int]) -> None:
        """Begin with the build proper.

        Args:
            files: The packages that will be built, with the number of files of each.
        """
        self._files = files
        self._build_began = self._clock()
        if len(files) <= 1:  # the program itself: all else is in the build cache
            self._linking()

    def line(self, text: str) -> None:
        """Take note of a line that go wrote."""
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
                    f"packages, about {spoken(self._left())} left"
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
            (now - self._build_began, done, _EXPERIENCE_FILES),
            (now - since, done - done_then, _WINDOW_FILES),
        ):
            each = (seconds + weight * each) / (files + weight)
        return each * (total - done) + _LINK_SECONDS

    def _linking(self) -> None:
        self._progress(f"linking, the last step: about {spoken(_LINK_SECONDS)}")

    def _report(self, text: str) -> None:
        now = self._clock()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            self._progress(text)


def spoken(seconds: float) -> str:
    """A duration as a person would say it."""
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    return f"{seconds / 60:.0f} min"
