"""An open directory of the volume, and what can be done in it.

Each verb takes one name in the directory, never a path, and follows no symbolic link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# With O_PATH the directory is only looked up, which costs no round trip; all *at calls take it.
_LOOK_UP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A pipe must not make its opener wait; of a regular file O_NONBLOCK changes nothing.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# The errors of opening a link, a socket or a pipe, a directory for writing, or a device.
_NOT_REGULAR = {errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV}


class NotRegularError(OSError):
    """The error of opening as a file what is none: a link, a directory, a pipe or a device."""


class OpenDirectory:
    """An open directory; it is closed when nothing refers to it any more.

    Args:
        descriptor: Its descriptor, which it owns.
        path: Its path from the volume's root, for messages.

    Attributes:
        path: Its path from the volume's root, for messages.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self.path = path

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    # --- the directory itself

    def status(self) -> os.stat_result:
        """Return its status."""
        return os.fstat(self._descriptor)

    def is_entry(self, parent: OpenDirectory, name: str) -> bool:
        """Tell whether it has this name in another directory."""
        try:
            there = parent.lstat(name)
        except FileNotFoundError:
            return False
        here = self.status()
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def set_access(self, mode: int, ids: tuple[int, int] | None = None) -> None:
        """Set its mode, and its owner, unless `ids` is None."""
        descriptor = os.open(".", _READ_DIRECTORY, dir_fd=self._descriptor)
        try:
            set_access(descriptor, mode, ids)
        finally:
            os.close(descriptor)

    def touch(self) -> None:
        """Set its times to now."""
        os.utime(".", dir_fd=self._descriptor)

    def entries(self) -> Iterator[tuple[str, bool]]:
        """Yield the names in it, and whether each is a directory."""
        descriptor = os.open(".", _READ_DIRECTORY, dir_fd=self._descriptor)
        try:
            with os.scandir(descriptor) as found:
                for entry in found:
                    yield entry.name, entry.is_dir(follow_symlinks=False)
        finally:
            os.close(descriptor)

    def subdirectories(self) -> list[str]:
        """Return the names of the directories in it."""
        return [name for name, is_directory in self.entries() if is_directory]

    def is_empty(self) -> bool:
        """Tell whether it has no entries."""
        return next(self.entries(), None) is None

    # --- directories in it

    def open_directory(self, name: str) -> OpenDirectory:
        """Open a directory.

        Raises:
            NotADirectoryError: It is something else, maybe a link to a directory.
            OSError: It cannot be opened.
        """
        descriptor = os.open(_checked(name), _LOOK_UP, dir_fd=self._descriptor)
        return OpenDirectory(descriptor, f"{self.path}/{name}" if self.path else name)

    def make_directory(self, name: str, mode: int) -> None:
        """Make a directory."""
        os.mkdir(_checked(name), mode, dir_fd=self._descriptor)

    def remove_directory(self, name: str) -> None:
        """Remove an empty directory."""
        os.rmdir(_checked(name), dir_fd=self._descriptor)

    # --- files in it

    def create_file(self, name: str, mode: int, flags: int = os.O_WRONLY) -> int:
        """Create a file, and return its descriptor.

        Raises:
            FileExistsError: Something has this name.
            OSError: It cannot be created.
        """
        create = flags | _FILE | os.O_CREAT | os.O_EXCL
        return os.open(_checked(name), create, mode, dir_fd=self._descriptor)

    def create_anew(self, name: str, mode: int, flags: int = os.O_WRONLY) -> int:
        """Create a file instead of the one that has its name, and return its descriptor."""
        try:
            return self.create_file(name, mode, flags)
        except FileExistsError:
            self.unlink(name)
            return self.create_file(name, mode, flags)

    def open_file(self, name: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
        """Open a regular file, and return its descriptor.

        Args:
            name: Its name.
            flags: The flags of open(2); with O_CREAT it is created if it does not exist.
            mode: The mode of a file that is created.

        Raises:
            NotRegularError: It is not a regular file.
            OSError: It cannot be opened.
        """
        return self.open_with_status(name, flags, mode)[0]

    def open_with_status(
        self, name: str, flags: int = os.O_RDONLY, mode: int = 0
    ) -> tuple[int, os.stat_result]:
        """Open a regular file as `open_file` does; return its descriptor and its status."""
        try:
            descriptor = os.open(_checked(name), flags | _FILE, mode, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno in _NOT_REGULAR:
                raise _not_regular(name) from None
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise _not_regular(name)
        return descriptor, status

    # --- any entries

    def lstat(self, name: str) -> os.stat_result:
        """Return the status of an entry; of a link its own."""
        return os.stat(_checked(name), dir_fd=self._descriptor, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Tell whether anything has this name."""
        try:
            self.lstat(name)
        except FileNotFoundError:
            return False
        return True

    def unlink(self, name: str) -> None:
        """Remove an entry that is not a directory."""
        os.unlink(_checked(name), dir_fd=self._descriptor)

    def rename(self, name: str, directory: OpenDirectory, new_name: str) -> None:
        """Give an entry another name, in this or another directory."""
        os.rename(
            _checked(name),
            _checked(new_name),
            src_dir_fd=self._descriptor,
            dst_dir_fd=directory._descriptor,
        )

    # --- links in it

    def symlink(self, target: str, name: str) -> None:
        """Create a symbolic link."""
        os.symlink(target, _checked(name), dir_fd=self._descriptor)

    def readlink(self, name: str) -> str:
        """Return the target of a symbolic link."""
        return os.readlink(_checked(name), dir_fd=self._descriptor)

    def link(self, name: str, directory: OpenDirectory, new_name: str) -> None:
        """Create another name of a regular file, in this or another directory.

        Raises:
            NotRegularError: It is not a regular file.
            OSError: It cannot be created.
        """
        if not stat.S_ISREG(self.lstat(name).st_mode):
            raise _not_regular(name)
        os.link(
            name,
            _checked(new_name),
            src_dir_fd=self._descriptor,
            dst_dir_fd=directory._descriptor,
            follow_symlinks=False,
        )


class Entries(NamedTuple):
    """Entries of a directory.

    Attributes:
        directory: The directory.
        names: Their names.
    """

    directory: OpenDirectory
    names: Sequence[str]


def open_root(mount_point: str) -> OpenDirectory:
    """Open the root of the volume; its path is the only one that is not the volume's own."""
    return OpenDirectory(os.open(mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), "")


def set_access(descriptor: int, mode: int, ids: tuple[int, int] | None = None) -> None:
    """Set the mode of an open file or directory, and its owner, unless `ids` is None."""
    status = os.fstat(descriptor)
    before = status.st_uid, status.st_gid
    after = ids or before
    if stat.S_IMODE(status.st_mode) != mode:
        # Only its owner may do that, as long as the pod has no capability for it; and the owner
        # before could undo it.
        if status.st_uid != os.geteuid():
            before = os.geteuid(), os.getegid()
            os.fchown(descriptor, *before)
        os.fchmod(descriptor, mode)
    if before != after:
        os.fchown(descriptor, *after)


def _checked(name: str) -> str:
    """Return the name of an entry; refuse a path, which could lead elsewhere."""
    if "/" in name or name in {"", ".", ".."}:
        raise ValueError("not the name of an entry")
    return name


def _not_regular(name: str) -> NotRegularError:
    return NotRegularError(errno.EINVAL, "not a regular file", name)
