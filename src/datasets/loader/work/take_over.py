"""Take over what a custom loader wrote: from then on it is the loader's, and nobody changes it.

A custom loader has a user of its own, whose other processes may still write: each directory is
closed to them before it is read, and owners are changed by descriptors only.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from typing import NamedTuple

from ..access import directory_cache, open_directory, ownership, tree_walk
from ..base import failure, tasks
from ..store import file_list, readback


class TakenEntry(NamedTuple):
    """An entry that was taken over.

    Attributes:
        line: Its line in the file list.
        files: 1 for a file, 0 for anything else.
        bytes: The file's size, unless it was counted under another name.
    """

    line: str
    files: int = 0
    bytes: int = 0


class _SharedFile(NamedTuple):
    """A file with several names: it is taken over when all of them are known to be here.

    Attributes:
        file: Its device and inode.
        names: The number of its names.
        path: One of them.
    """

    file: tuple[int, int]
    names: int
    path: str


class TakeOver:
    """The taking over of a tree.

    Args:
        work: The directory that has the tree, and that only the loader can read.
        tree: The tree's name in it.
        task: The task, with the mode and the owner.
    """

    def __init__(self, work: open_directory.OpenDirectory, tree: str, task: tasks.Task) -> None:
        self._work = work
        self._directories = directory_cache.DirectoryCache(work.open_directory(tree))
        self._task = task
        self._ids = task.owner_ids or ownership.ids()
        self._owners: set[int] = set()

    def run(self) -> Iterator[TakenEntry]:
        """Take all entries over, and yield them.

        Raises:
            Failure: One is not allowed in a data set, or was not written by the custom loader.
        """
        # Each directory before those in it: what is found in it afterwards stays as it is.
        tree_walk.walk(self._close)
        shared: dict[tuple[int, int], list[_SharedFile]] = {}
        paths = tree_walk.list_paths(self._directories)
        for each in readback.map_concurrently(self._take, paths):
            if isinstance(each, _SharedFile):
                shared.setdefault(each.file, []).append(each)
            else:
                yield each
        for names in shared.values():
            yield from self._take_shared(names)
        # Only root writes as several users.
        if len(self._owners) > 1 and os.geteuid() not in self._owners:
            raise failure.Failure(
                f"the files in /data belong to several users ({_listed(self._owners)}), and your "
                "loader is only one of them: run create-dataset again"
            )

    def _close(self, path: str) -> list[str]:
        directory = self._directories.get(path)
        if path:
            self._owners.add(directory.status().st_uid)
        mode = self._task.loading_mode if path else ownership.PRIVATE_DIRECTORY
        directory.set_access(mode, ownership.ids())
        return directory.subdirectories()

    def _take(self, path: str) -> TakenEntry | _SharedFile:
        directory, name = self._directories.locate(path)
        status = directory.lstat(name)
        if stat.S_ISDIR(status.st_mode):
            return TakenEntry(file_list.format_directory(path))
        self._owners.add(status.st_uid)
        if stat.S_ISLNK(status.st_mode):
            return self._take_link(path)
        if not stat.S_ISREG(status.st_mode):
            raise failure.Failure(
                f"your loader wrote {failure.quote(path)}, which is neither file, directory nor "
                "link: leave it out"
            )
        if status.st_nlink > 1:
            return _SharedFile((status.st_dev, status.st_ino), status.st_nlink, path)
        return self._take_file(path)

    def _take_file(self, path: str) -> TakenEntry:
        directory, name = self._directories.locate(path)
        descriptor = directory.open_file(name)
        try:
            executable = bool(os.fstat(descriptor).st_mode & stat.S_IXUSR)
            mode = self._task.directory_mode if executable else self._task.file_mode
            open_directory.set_access(descriptor, mode, self._ids)
            size, sha256 = readback.sha256(descriptor, self._task.limits.most_bytes)
        finally:
            os.close(descriptor)
        line = file_list.format_file(path, size, sha256, executable=executable)
        return TakenEntry(line, files=1, bytes=size)

    def _take_shared(self, names: list[_SharedFile]) -> Iterator[TakenEntry]:
        """Take over a file with several names, if none of them is another one's."""
        first = names[0]
        if len(names) != first.names:
            raise failure.Failure(
                f"your loader wrote {failure.quote(first.path)}, a file that has another name "
                "elsewhere on the volume: copy it instead"
            )
        yield self._take_file(first.path)
        for each in names[1:]:
            yield TakenEntry(file_list.format_hard_link(each.path, first.path), files=1)

    def _take_link(self, path: str) -> TakenEntry:
        directory, name = self._directories.locate(path)
        target = directory.readlink(name)
        _check_link(path, target)
        # A link has no descriptor to change its owner by.
        draft = f"link-{secrets.token_hex(4)}"
        self._work.symlink(target, draft)
        self._work.rename(draft, directory, name)
        return TakenEntry(file_list.format_symbolic_link(path, target))


def _check_link(path: str, target: str) -> None:
    """Refuse a link that may lead out of the data set.

    Its target may have ".." only at its beginning, where each step up is a real directory: after a
    name, which may itself be a link, ".." could lead anywhere.
    """
    parts = target.split("/")
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    if parts[0] == "" or up > path.count("/") or ".." in parts[up:]:
        raise failure.Failure(
            f"your loader wrote the link {failure.quote(path)}, which may lead out of its "
            "directory: copy its target instead"
        )


def _listed(owners: set[int]) -> str:
    return ", ".join(f"uid {each}" for each in sorted(owners))
