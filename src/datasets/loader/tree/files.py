"""Create files and directories of a tree, all with the task's mode and owner.

While files are written the tree contains no symbolic link, so no path can lead out of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..base import failure, tasks

# The memory that a pending file takes beside its data.
FILE_BYTES = 2048


class NewFile(NamedTuple):
    """A file to create.

    Attributes:
        path: Its path in the tree.
        size: Its size in bytes.
        executable: Whether it is executable.
        shared: Whether another pod or attempt may have created it.
    """

    path: str
    size: int
    executable: bool
    shared: bool = False


def weight(new_files: Iterable[NewFile]) -> int:
    """Return the bytes that pending files take in memory."""
    return sum(each.size + FILE_BYTES for each in new_files)


class TreeFiles:
    """The files of a tree; many threads may create them.

    Args:
        root: The tree's directory, which exists.
        task: The task, with the mode and the owner.
    """

    def __init__(self, root: str, task: tasks.Task) -> None:
        self._root = root
        self._file_mode = task.file_mode
        self._directory_mode = task.directory_mode
        self._ids = task.owner_ids

    def full_path(self, path: str) -> str:
        """Return the full path of a path in the tree."""
        return f"{self._root}/{path}" if path else self._root

    def set_root_owner(self) -> None:
        """Set the mode and the owner of the tree's own directory."""
        os.chmod(self._root, self._directory_mode)  # noqa: PTH101
        if self._ids:
            os.chown(self._root, *self._ids)

    def make_directory(self, path: str) -> None:
        """Make a directory whose parent exists, unless it exists itself.

        Raises:
            Failure: It cannot be made.
        """
        full = self.full_path(path)
        try:
            os.mkdir(full, self._directory_mode)  # noqa: PTH102 - speed
            if self._ids:
                os.chown(full, *self._ids)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(full).st_mode):
                raise path_conflict(path) from None
        except NotADirectoryError:
            raise path_conflict(path) from None
        except OSError as error:
            raise failure.from_os(error, path) from None

    def create(self, new: NewFile, replacing: Callable[[], None]) -> int:
        """Create a file in a directory that exists.

        Args:
            new: The file.
            replacing: Called before an existing file of that path is removed.

        Returns:
            Its descriptor.

        Raises:
            Failure: It cannot be created.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        mode = self._directory_mode if new.executable else self._file_mode
        full = self.full_path(new.path)
        try:
            try:
                descriptor = os.open(full, flags | (0 if new.shared else os.O_EXCL), mode)
            except FileExistsError:
                # As in tar, the last file of a path counts.
                if not stat.S_ISREG(os.lstat(full).st_mode):
                    raise
                replacing()
                os.unlink(full)  # noqa: PTH108 - speed
                descriptor = os.open(full, flags | os.O_EXCL, mode)
            if self._ids:
                os.fchown(descriptor, *self._ids)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise path_conflict(new.path) from None
        except OSError as error:
            raise failure.from_os(error, new.path) from None
        return descriptor

    def open(self, path: str) -> int:
        """Open an existing file for writing.

        Raises:
            Failure: It cannot be opened.
        """
        try:
            return os.open(self.full_path(path), os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise failure.from_os(error, path) from None


def close(descriptor: int, path: str) -> None:
    """Close a file: that reports the last errors of its writes."""
    try:
        os.close(descriptor)
    except OSError as error:
        raise failure.from_os(error, path) from None


def write_all(descriptor: int, data: Sequence[memoryview], position: int) -> int:
    """Write blocks one after the other from a position on; return the sum of their sizes.

    Raises:
        OSError: They cannot be written.
    """
    left = [each for each in data if each]
    while left:
        count = os.pwritev(descriptor, left, position)
        position += count
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if left:
            left[0] = left[0][count:]
    return sum(map(len, data))


def write(descriptor: int, data: memoryview, path: str) -> None:
    """Write the whole content of a file, whose path is for messages.

    Raises:
        Failure: It cannot be written.
    """
    try:
        write_all(descriptor, [data], 0)
    except OSError as error:
        raise failure.from_os(error, path) from None


def begin_write_out(descriptor: int) -> None:
    """Start to write a file's cached data to the volume, and drop them from the page cache."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def path_conflict(path: str) -> failure.Failure:
    """Return the failure of two different things with one path."""
    return failure.Failure(
        f"the source has {failure.quote(path)}, or a part of that path, twice, as different "
        "things (file, directory, link): make the archive again with one of them"
    )
