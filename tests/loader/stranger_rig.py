"""Act on the volume as another user, as a pod does that mounts it, too."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import signal
from collections.abc import Callable, Iterator

import pytest

UID = 1000
# From <linux/fs.h>; Python has no function for it.
RENAME_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as other users")


def _become(uid: int, directory: pathlib.Path) -> None:
    # A mount point is reached, whatever directory it is in.
    os.chdir(directory)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    os.umask(0)


def act(directory: pathlib.Path, once: Callable[[], object], uid: int = UID) -> int:
    """Do something as another user in a directory; return the number of its error, 0 for none."""
    pid = os.fork()
    if not pid:
        code = 255
        try:
            _become(uid, directory)
            once()
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def acting(directory: pathlib.Path, again: Callable[[], object], uid: int = UID) -> Iterator[None]:
    """Do something as another user in a directory, again and again, until the end."""
    ready, told = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _become(uid, directory)
            os.write(told, b"1")
            while True:
                with contextlib.suppress(OSError):
                    again()
        finally:
            os._exit(1)
    try:
        assert os.read(ready, 1)
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(told)


class Exchange:
    """Directories of a tree that another user owns, to be exchanged for links at once.

    Args:
        tree: The tree.
        target: The directory that the links lead to.
        stash: A directory, to be made, where the links are until then.
    """

    def __init__(self, tree: pathlib.Path, target: pathlib.Path, stash: pathlib.Path) -> None:
        self._names = sorted(path.name for path in tree.iterdir() if path.is_dir())
        stash.mkdir()
        for name in self._names:
            (stash / name).symlink_to(target)
        for path in (stash, *stash.iterdir()):
            os.chown(path, UID, UID, follow_symlinks=False)
        # Their paths are closed to the other user.
        self._tree = os.open(tree, os.O_RDONLY)
        self._stash = os.open(stash, os.O_RDONLY)
        self._state = self._look()
        self._done = False

    def all_the_time(self) -> None:
        """Exchange each directory for its link, and back the next time."""
        for name in self._names:
            self._exchange(name)

    def when_it_begins(self) -> None:
        """Exchange all directories when the first file of one of them is changed or gone."""
        if self._done or self._look() == self._state:
            return
        self._done = True
        for name in reversed(self._names):
            self._exchange(name)

    def _look(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for name in self._names[:20]:
            status = None
            with contextlib.suppress(OSError):
                status = os.stat(f"{name}/f0", dir_fd=self._tree, follow_symlinks=False)
            found.append((status.st_mode, status.st_uid) if status else (0, 0))
        return found

    def _exchange(self, name: str) -> None:
        encoded = name.encode()
        _libc.renameat2(self._tree, encoded, self._stash, encoded, RENAME_EXCHANGE)


def snapshot(root: pathlib.Path) -> dict[str, tuple[object, ...]]:
    """Return all that can be told of a tree: modes, owners, link counts, contents."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        names = 0 if path.is_dir() else status.st_nlink
        found[str(path.relative_to(root))] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            names,
            content,
        )
    return found
