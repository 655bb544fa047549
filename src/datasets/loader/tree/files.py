"""Makes files and directories of a tree, with the mode and the owner that all of them get.

While files are written there is not one symbolic link in the tree, so no path can lead out of it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..base import failure, tasks

# What a file takes beside its data while it waits.
FILE_BYTES = 2048


class NewFile(NamedTuple):
    """A file that is to be made.

    Attributes:
        path: Its path in the tree.
        size: Its bytes.
        executable: Whether it may be executed.
        shared: Whether others may have made it.
    """

    path: str
    size: int
    executable: bool
    shared: bool = False


def weight(wanted: Iterable[NewFile]) -> int:
    """The bytes that files take in memory while they wait."""
    return sum(each.size + FILE_BYTES for each in wanted)


class TreeFiles:
    """The files of a tree as the system makes them. One serves many threads.

    Args:
        root: The tree's directory, which exists.
        task: Tells mode and owner.
    """

    def __init__(self, root: str, task: tasks.Task) -> None:
        self._root = root
        self._file_mode = task.file_mode
        self._directory_mode = task.directory_mode
        self._ids = task.owner_ids

    def full_path(self, path: str) -> str:
        """A path in the tree as the system knows it."""
        return f"{self._root}/{path}" if path else self._root

    def set_root_owner(self) -> None:
        """Gives the tree's own directory its mode and owner."""
        os.chmod(self._root, self._directory_mode)  # noqa: PTH101
        if self._ids:
            os.chown(self._root, *self._ids)

    def make_directory(self, path: str) -> None:
        """Makes a directory whose parent is there, if it is not there itself.

        Raises:
            Failure: It can not be made.
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

    def create(self, wanted: NewFile, replacing: Callable[[], None]) -> int:
        """Creates a file in a directory that is there.

        Args:
            wanted: The file.
            replacing: Called before something of that path is removed.

        Returns:
            Its descriptor.

        Raises:
            Failure: It can not be made.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        mode = self._directory_mode if wanted.executable else self._file_mode
        full = self.full_path(wanted.path)
        try:
            try:
                descriptor = os.open(full, flags | (0 if wanted.shared else os.O_EXCL), mode)
            except FileExistsError:
                # As in tar, the last one of a name counts.
                if not stat.S_ISREG(os.lstat(full).st_mode):
                    raise
                replacing()
                os.unlink(full)  # noqa: PTH108 - speed
                descriptor = os.open(full, flags | os.O_EXCL, mode)
            if self._ids:
                os.fchown(descriptor, *self._ids)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise path_conflict(wanted.path) from None
        except OSError as error:
            raise failure.from_os(error, wanted.path) from None
        return descriptor

    def open(self, path: str) -> int:
        """Opens a file that was made, to write it.

        Raises:
            Failure: It can not be opened.
        """
        try:
            return os.open(self.full_path(path), os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise failure.from_os(error, path) from None


def close(descriptor: int, path: str) -> None:
    """Closes a file: what the volume could not take is told by that at the latest."""
    try:
        os.close(descriptor)
    except OSError as error:
        raise failure.from_os(error, path) from None


def write_all(descriptor: int, data: Sequence[memoryview], position: int) -> int:
    """Writes one after the other at a position of a file; returns their bytes.

    Raises:
        OSError: They can not be written.
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
    """Writes the whole content of the file of that path.

    Raises:
        Failure: It can not be written.
    """
    try:
        write_all(descriptor, [data], 0)
    except OSError as error:
        raise failure.from_os(error, path) from None


def begin_write_out(descriptor: int) -> None:
    """Has the system begin to write out what was written so far, and forget what it has."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def path_conflict(path: str) -> failure.Failure:
    """Two things of one path that can not be one."""
    return failure.Failure(
        f"the source has {failure.quote(path)}, or a part of that path, twice, as different "
        "things (file, directory, link): make the archive again with one of them"
    )
