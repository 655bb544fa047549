"""The open directories of one tree, by their paths: those used last stay open."""

from __future__ import annotations

import collections
import errno
import os
import threading
from collections.abc import Callable

from ..base import file_names
from . import open_directory

MOST_OPEN = 256


class DirectoryCache:
    """The open directories of a tree, shared by many threads.

    Args:
        root: The tree's own directory.
        check: Called with each directory that is opened; refuses it by an exception.

    Attributes:
        root: The tree's own directory.
    """

    def __init__(
        self,
        root: open_directory.OpenDirectory,
        check: Callable[[open_directory.OpenDirectory], None] = lambda _: None,
    ) -> None:
        self.root = root
        self._check = check
        self._open: collections.OrderedDict[str, open_directory.OpenDirectory] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def get(self, path: str) -> open_directory.OpenDirectory:
        """Return an open directory; each part of its path is a directory, and no link.

        Raises:
            OSError: It cannot be opened.
        """
        if not path:
            return self.root
        with self._lock:
            if directory := self._open.get(path):
                self._open.move_to_end(path)
                return directory
        return self._descend(path)

    def locate(self, path: str) -> tuple[open_directory.OpenDirectory, str]:
        """Return the directory of an entry, and the entry's name in it.

        Raises:
            OSError: The directory cannot be opened.
        """
        directory, name = split(path)
        return self.get(directory), name

    def _descend(self, path: str) -> open_directory.OpenDirectory:
        """Open a directory from the nearest one above it that is open."""
        if file_names.is_too_long(path):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
        below: list[str] = []
        above, directory = path, None
        while above and not directory:
            above, _, name = above.rpartition("/")
            below.append(name)
            with self._lock:
                directory = self._open.get(above)
                if directory:
                    self._open.move_to_end(above)
        directory = directory or self.root
        for name in reversed(below):
            directory = directory.open_directory(name)
            self._check(directory)
            above = f"{above}/{name}" if above else name
            self._keep(above, directory)
        return directory

    def _keep(self, path: str, directory: open_directory.OpenDirectory) -> None:
        with self._lock:
            self._open[path] = directory
            if len(self._open) > MOST_OPEN:
                # A thread that still uses it keeps it open.
                self._open.popitem(last=False)


def split(path: str) -> tuple[str, str]:
    """Return the path of an entry's directory, and the entry's name."""
    directory, _, name = path.rpartition("/")
    return directory, name
