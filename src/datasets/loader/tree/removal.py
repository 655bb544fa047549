"""Remove directories, many at once: one file at a time in each, as its lock requires."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable

from ..access import directory_cache, open_directory, ownership, tree_walk

# What has a longer path is removed from the top: whoever owns a directory can nest more of them
# in it than any path can name.
LONGEST_PATH = 2000
PREFIX = 32
# The second one is also for what was moved to the top.
ATTEMPTS = 2


def remove(entries: open_directory.Entries, tick: Callable[[int], None] = lambda _: None) -> int:
    """Remove files and directories with their content.

    Those that cannot be removed stay, for the next attempt.

    Args:
        entries: The entries of a directory; links are removed, not followed.
        tick: Called now and then with the number of files removed so far.

    Returns:
        The number of files removed.
    """
    home, files = entries.directory, 0
    directories: list[str] = []
    for name in entries.names:
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(home.lstat(name).st_mode):
                directories.append(name)
            else:
                home.unlink(name)
    for _ in range(ATTEMPTS):
        if directories:
            removal = _Removal(home, directories)
            files += removal.run(lambda count, before=files: tick(before + count))
            directories += removal.lifted
        directories = [name for name in directories if home.has(name)]
    return files


class _Removal:
    """The removal of directories.

    Args:
        home: The directory that they are in.
        names: Their names.

    Attributes:
        lifted: The names of directories that were moved to `home`.
    """

    def __init__(self, home: open_directory.OpenDirectory, names: list[str]) -> None:
        self._home = home
        self._directories = directory_cache.DirectoryCache(home)
        self.lifted: list[str] = []
        self._lock = threading.Lock()
        self._files = 0
        self._walk = tree_walk.TreeWalk(self._empty, self._remove)
        for name in names:
            self._walk.add(name)

    def run(self, tick: Callable[[int], None]) -> int:
        self._walk.run(lambda: tick(self._files))
        return self._files

    def _empty(self, path: str) -> list[str]:
        """Remove the files in a directory; return the names of the directories in it."""
        names: list[str] = []
        with contextlib.suppress(OSError):
            directory = self._directories.get(path)
            # Whoever may write in it could add to it faster than it is emptied.
            if not ownership.is_own(directory.status()):
                directory.set_access(ownership.PRIVATE_DIRECTORY, ownership.ids())
            for name, is_directory in directory.entries():
                if is_directory:
                    names.append(name)
                    continue
                with contextlib.suppress(OSError):
                    directory.unlink(name)
                    with self._lock:
                        self._files += 1
            if len(os.fsencode(path)) > LONGEST_PATH:
                return self._lift(path, directory, names)
        return names

    def _lift(
        self, path: str, directory: open_directory.OpenDirectory, names: list[str]
    ) -> list[str]:
        """Move directories to the top, and add them there; return the names of the others."""
        left: list[str] = []
        for name in names:
            lifted = f"{path.partition('/')[0][:PREFIX]}-{os.urandom(8).hex()}"
            try:
                directory.rename(name, self._home, lifted)
            except OSError:
                left.append(name)
            else:
                self.lifted.append(lifted)
                self._walk.add(lifted)
        return left

    def _remove(self, path: str) -> None:
        above, name = directory_cache.split(path)
        with contextlib.suppress(OSError):
            self._directories.get(above).remove_directory(name)
