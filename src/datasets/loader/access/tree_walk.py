"""Walk a tree of directories, with many directories at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from . import directory_cache, open_directory

THREADS = 64
TICK_SECONDS = 0.5


class _Node:
    """A directory that is not walked yet, or has such directories below it."""

    __slots__ = ("left", "parent", "path")

    def __init__(self, path: str, parent: _Node | None) -> None:
        self.path = path
        self.parent = parent
        self.left = 1


class TreeWalk:
    """A walk through a tree.

    Args:
        enter: Called with the path of each directory, before those below it; returns the names of
            the directories in it that are to be walked, too.
        leave: Called with the path of each directory, after those below it.
    """

    def __init__(
        self, enter: Callable[[str], Iterable[str]], leave: Callable[[str], None] = lambda _: None
    ) -> None:
        self._enter = enter
        self._leave = leave
        # The last one first: few directories are begun at a time.
        self._work: queue.LifoQueue[_Node | None] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        # One more than the directories that are left, until `run` is called.
        self._nodes = 1
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._closed = False

    def add(self, path: str) -> None:
        """Add a directory; the empty path is the tree's own."""
        self._add(_Node(path, None))

    def run(self, tick: Callable[[], None] = lambda: None) -> None:
        """Wait for the end of the walk.

        Args:
            tick: Called now and then.

        Raises:
            BaseException: The first error of `enter` or `leave`, which ends the walk.
        """
        try:
            self._count_ended()
            while not self._ended.wait(TICK_SECONDS):
                tick()
        finally:
            with self._lock:
                # After an error some still walk: they must not add threads that nobody ends.
                self._closed = True
            for _ in self._threads:
                self._work.put(None)
        for thread in self._threads:
            thread.join()
        if self._error:
            raise self._error

    def _add(self, node: _Node) -> None:
        with self._lock:
            self._nodes += 1
            if node.parent:
                node.parent.left += 1
            if not self._closed and len(self._threads) < min(THREADS, self._nodes - 1):
                self._threads.append(threading.Thread(target=self._run, daemon=True))
                self._threads[-1].start()
        self._work.put(node)

    def _run(self) -> None:
        try:
            while node := self._work.get():
                above = f"{node.path}/" if node.path else ""
                for name in self._enter(node.path):
                    self._add(_Node(above + name, node))
                self._close(node)
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            self._error = self._error or error
            self._ended.set()

    def _close(self, node: _Node) -> None:
        """Count one directory as walked; those above it end with their last one."""
        current: _Node | None = node
        while current:
            with self._lock:
                current.left -= 1
                if current.left:
                    return
            self._leave(current.path)
            self._count_ended()
            current = current.parent

    def _count_ended(self) -> None:
        with self._lock:
            self._nodes -= 1
            if not self._nodes:
                self._ended.set()


def walk(
    enter: Callable[[str], Iterable[str]],
    leave: Callable[[str], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Walk a whole tree, as TreeWalk does."""
    walking = TreeWalk(enter, leave)
    walking.add("")
    walking.run(tick)


def list_paths(directories: directory_cache.DirectoryCache) -> Iterator[str]:
    """Yield the path of each entry of a tree, one after the other."""
    left = [""]
    while left:
        path = left.pop()
        above = f"{path}/" if path else ""
        # Read to its end first: the caller may exchange entries.
        for name, is_directory in list(directories.get(path).entries()):
            yield above + name
            if is_directory:
                left.append(above + name)


def set_directory_access(
    root: open_directory.OpenDirectory, mode: int, ids: tuple[int, int] | None
) -> None:
    """Set the owner, unless `ids` is None, and the mode of all directories of a tree.

    Raises:
        OSError: They cannot be changed.
    """
    directories = directory_cache.DirectoryCache(root)
    # From below: whoever gets a directory could exchange those in it.
    walk(
        lambda path: directories.get(path).subdirectories(),
        lambda path: directories.get(path).set_access(mode, ids),
    )
