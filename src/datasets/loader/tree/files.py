"""Create files and directories of a tree, with the task's mode; files also with its owner.

Until the tree is published its directories are the loader's alone: what is in them stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..access import directory_cache, open_directory, ownership
from ..base import failure, tasks

# The memory that a pending file takes beside its data and its path, and each directory of a path,
# which is kept with all directories above it. A character takes at most four bytes.
FILE_BYTES, DIRECTORY_BYTES, CHARACTER_BYTES = 2048, 1024, 4
# How often a file is removed and created again where other pods create it, too.
REPLACING_ATTEMPTS = 100


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
    return sum(each.size + FILE_BYTES + CHARACTER_BYTES * len(each.path) for each in new_files)


def directory_weight(path: str) -> int:
    """Return the bytes that a pending directory takes in memory, with those above it."""
    return (path.count("/") + 1) * (DIRECTORY_BYTES + CHARACTER_BYTES * len(path) // 2)


class TreeFiles:
    """The files of a tree; many threads may create them.

    Args:
        root: The tree's directory.
        task: The task, with the mode and the owner.

    Attributes:
        directories: The open directories of the tree.
    """

    def __init__(self, root: open_directory.OpenDirectory, task: tasks.Task) -> None:
        self.directories = directory_cache.DirectoryCache(root)
        self._file_mode = task.file_mode
        self._directory_mode = task.directory_mode
        self._loading_mode = task.loading_mode
        self._ids = task.owner_ids

    def directory(self, path: str) -> open_directory.OpenDirectory:
        """Return a directory of the tree.

        Raises:
            Failure: It cannot be opened.
        """
        try:
            return self.directories.get(path)
        except NotADirectoryError:
            raise path_conflict(path) from None
        except OSError as error:
            raise failure.from_os(error, path) from None

    def make_directory(self, path: str) -> None:
        """Make a directory whose parent exists, unless it exists itself.

        Raises:
            Failure: It cannot be made.
        """
        try:
            parent, name = self.directories.locate(path)
            try:
                parent.make_directory(name, self._loading_mode)
            except FileExistsError:
                status = parent.lstat(name)
                if not stat.S_ISDIR(status.st_mode):
                    raise path_conflict(path) from None
                if not ownership.is_own(status):
                    raise _made_by_others(path) from None
        except NotADirectoryError:
            raise path_conflict(path) from None
        except OSError as error:
            raise failure.from_os(error, path) from None

    def create(
        self,
        directory: open_directory.OpenDirectory,
        new: NewFile,
        replacing: Callable[[], None],
    ) -> int:
        """Create a file.

        Args:
            directory: Its directory.
            new: The file.
            replacing: Called once, before an existing file of that path is removed.

        Returns:
            Its descriptor.

        Raises:
            Failure: It cannot be created.
        """
        mode = self._directory_mode if new.executable else self._file_mode
        name = new.path.rpartition("/")[2]
        try:
            if new.shared:
                descriptor = directory.open_file(name, os.O_WRONLY | os.O_CREAT, mode)
            else:
                descriptor = self._create(directory, name, mode, replacing)
            if self._ids:
                open_directory.set_access(descriptor, mode, self._ids)
        except (FileExistsError, open_directory.NotRegularError):
            raise path_conflict(new.path) from None
        except OSError as error:
            raise failure.from_os(error, new.path) from None
        return descriptor

    @staticmethod
    def _create(
        directory: open_directory.OpenDirectory,
        name: str,
        mode: int,
        replacing: Callable[[], None],
    ) -> int:
        told = False
        for _ in range(REPLACING_ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                return directory.create_file(name, mode)
            # Another pod may replace the same member of another archive at the same time.
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(directory.lstat(name).st_mode):
                    break
                # As in tar, the last file of a path counts.
                if not told:
                    replacing()
                    told = True
                directory.unlink(name)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def open(self, path: str, flags: int = os.O_WRONLY) -> int:
        """Open an existing file.

        Raises:
            Failure: It cannot be opened.
        """
        try:
            directory, name = self.directories.locate(path)
            return directory.open_file(name, flags)
        except (NotADirectoryError, open_directory.NotRegularError):
            raise path_conflict(path) from None
        except OSError as error:
            raise failure.from_os(error, path) from None

    def make_executable(self, path: str) -> None:
        """Make an existing file executable.

        Raises:
            Failure: It is no file, or cannot be changed.
        """
        descriptor = self.open(path, os.O_RDONLY)
        try:
            open_directory.set_access(descriptor, self._directory_mode)
        except OSError as error:
            raise failure.from_os(error, path) from None
        finally:
            os.close(descriptor)


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


def _made_by_others(path: str) -> failure.Failure:
    return failure.Failure(
        f"someone else has made the directory {failure.quote(path)} while the data set was "
        "loaded: run delete-dataset, then create-dataset again"
    )
