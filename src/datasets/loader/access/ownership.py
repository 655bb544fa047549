"""Tell what the loader alone has written on the volume, and can believe, from what others could.

The root directory is open to all, and for a pod that asks for a `subPath` that does not exist the
kubelet makes its directories, which belong to root and have the mode of the volume's root.
"""

from __future__ import annotations

import os
import stat

from ..base import failure
from . import open_directory

_FOREIGN_WRITE, _FOREIGN = 0o022, 0o077
PRIVATE_DIRECTORY, PRIVATE_FILE = 0o700, 0o600


class NotOwnError(failure.Failure):
    """Something that others could have made, where the loader has its own records."""


def ids() -> tuple[int, int]:
    """Return the user and the group of the loader: root's in its pod."""
    return os.geteuid(), os.getegid()


def is_own(status: os.stat_result, *, private: bool = False) -> bool:
    """Tell whether something is the loader's, and nobody else may write it.

    Args:
        status: Its status.
        private: Whether nobody else may read it either.
    """
    foreign = _FOREIGN if private else _FOREIGN_WRITE
    return status.st_uid == os.geteuid() and not status.st_mode & foreign


def open_own(
    parent: open_directory.OpenDirectory, name: str, *, private: bool = False
) -> open_directory.OpenDirectory:
    """Open a directory of the loader's own.

    Raises:
        NotOwnError: It is not the loader's alone, or no directory.
        FileNotFoundError: It does not exist.
    """
    directory = _open(parent, name)
    if not is_own(directory.status(), private=private):
        raise _not_own(directory)
    return directory


def make_own(
    parent: open_directory.OpenDirectory, name: str, mode: int
) -> tuple[open_directory.OpenDirectory, bool]:
    """Open a directory of the loader's own, which is made if needed, and tell whether it was.

    Raises:
        NotOwnError: It is not the loader's alone, or no directory.
    """
    try:
        parent.make_directory(name, mode)
        made = True
    except FileExistsError:
        made = False
    return _owned(parent, name, mode), made


def find_own(
    parent: open_directory.OpenDirectory, name: str, mode: int
) -> open_directory.OpenDirectory | None:
    """Open a directory of the loader's own; return None if it does not exist.

    Raises:
        NotOwnError: It is not the loader's alone, or no directory.
    """
    try:
        return _owned(parent, name, mode)
    except FileNotFoundError:
        return None


def open_own_file(parent: open_directory.OpenDirectory, name: str) -> int:
    """Open a file of the loader's own for reading.

    Raises:
        NotOwnError: It is not the loader's alone, or no file.
        FileNotFoundError: It does not exist.
    """
    try:
        descriptor = parent.open_file(name)
    except open_directory.NotRegularError:
        raise _not_own_file(parent, name) from None
    if not is_own(os.fstat(descriptor)):
        os.close(descriptor)
        raise _not_own_file(parent, name)
    return descriptor


def read_own(parent: open_directory.OpenDirectory, name: str) -> str:
    """Return the text of a file of the loader's own.

    Raises:
        NotOwnError: It is not the loader's alone, or no file.
        FileNotFoundError: It does not exist.
    """
    with os.fdopen(open_own_file(parent, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def open_lock(parent: open_directory.OpenDirectory, name: str) -> int:
    """Open a file that is only locked; nobody else may open it, since readers can lock as well.

    Raises:
        NotOwnError: It is not the loader's, or no file.
    """
    try:
        descriptor = parent.open_file(name, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    except open_directory.NotRegularError:
        raise _not_own_file(parent, name) from None
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise _not_own_file(parent, name)
    open_directory.set_access(descriptor, PRIVATE_FILE)
    return descriptor


def _open(parent: open_directory.OpenDirectory, name: str) -> open_directory.OpenDirectory:
    try:
        return parent.open_directory(name)
    except NotADirectoryError:
        raise NotOwnError(
            f"{failure.quote(name)} on the volume is not a directory: move it away, then try again"
        ) from None


def _owned(
    parent: open_directory.OpenDirectory, name: str, mode: int
) -> open_directory.OpenDirectory:
    """Open a directory; take it over if the kubelet has made it, and nobody has used it yet."""
    directory = _open(parent, name)
    status = directory.status()
    if is_own(status):
        return directory
    if status.st_uid != os.geteuid() or not _is_unused(directory):
        raise _not_own(directory)
    directory.set_access(mode)
    # From now on nothing of others comes in; but something may have come in before.
    if not _is_unused(directory):
        directory.set_access(stat.S_IMODE(status.st_mode))
        raise _not_own(directory)
    return directory


def _is_unused(directory: open_directory.OpenDirectory) -> bool:
    """Tell whether a directory has nothing that others could have put there."""
    for name, _ in directory.entries():
        status = directory.lstat(name)
        # Whoever may write in a directory may give a file of root's another name there.
        single = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if status.st_uid != os.geteuid() or not (stat.S_ISDIR(status.st_mode) or single):
            return False
    return True


def _not_own(directory: open_directory.OpenDirectory) -> NotOwnError:
    status = directory.status()
    return NotOwnError(
        f"/{directory.path} on the volume is not the charm's alone (uid {status.st_uid}, mode "
        f"{stat.S_IMODE(status.st_mode):04o}): move it away, then try again"
    )


def _not_own_file(parent: open_directory.OpenDirectory, name: str) -> NotOwnError:
    return NotOwnError(
        f"/{parent.path}/{name} on the volume is not the charm's alone: move it away, then try "
        "again"
    )
