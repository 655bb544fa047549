"""Act on the volume as another user, as a pod does that mounts it, too."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
from collections.abc import Callable, Iterator

import pytest

UID = 1000
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
