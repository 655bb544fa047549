"""Remove directories, many at once: one file at a time in each, as its lock requires."""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import stat
import threading
from collections.abc import Callable, Iterable

THREADS = 64


class _Directory:
    """A directory to remove: it is removed when all of its content is."""

    __slots__ = ("open", "parent", "path")

    def __init__(self, path: str, parent: _Directory | None) -> None:
        self.path = path
        self.parent = parent
        self.open = 1


def remove(paths: Iterable[pathlib.Path], tick: Callable[[int], None] = lambda _: None) -> int:
    """Remove files and directories with their content.

    Files that cannot be removed stay, for the next attempt.

    Args:
        paths: The paths to remove; links are removed, not followed.
        tick: Called now and then with the number of files removed so far.

    Returns:
        The number of files removed.
    """
    tops: list[_Directory] = []
    for path in paths:
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(path.lstat().st_mode):
                tops.append(_Directory(str(path), None))
            else:
                path.unlink()
    return _Removal(tops).run(tick) if tops else 0


class _Removal:
    """The removal of directories."""

    def __init__(self, tops: Iterable[_Directory]) -> None:
        self._work: queue.SimpleQueue[_Directory | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._left = 0
        self._files = 0
        self._threads: list[threading.Thread] = []
        for top in tops:
            self._add(top)

    def run(self, tick: Callable[[int], None]) -> int:
        while not self._ended.wait(0.5):
            tick(self._files)
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        return self._files

    def _add(self, directory: _Directory) -> None:
        with self._lock:
            self._left += 1
            if directory.parent:
                directory.parent.open += 1
            if len(self._threads) < min(THREADS, self._left):
                self._threads.append(threading.Thread(target=self._run, daemon=True))
                self._threads[-1].start()
        self._work.put(directory)

    def _run(self) -> None:
        while directory := self._work.get():
            try:
                self._empty(directory)
            finally:
                self._close(directory)

    def _empty(self, directory: _Directory) -> None:
        with contextlib.suppress(OSError), os.scandir(directory.path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._add(_Directory(entry.path, directory))
                    continue
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)  # noqa: PTH108 - speed
                    with self._lock:
                        self._files += 1

    def _close(self, directory: _Directory) -> None:
        """Count one removed entry of a directory; remove it, too, after the last one."""
        current: _Directory | None = directory
        while current:
            with self._lock:
                current.open -= 1
                if current.open:
                    return
            with contextlib.suppress(OSError):
                os.rmdir(current.path)  # noqa: PTH106 - speed
            with self._lock:
                self._left -= 1
                if not self._left:
                    self._ended.set()
            current = current.parent
