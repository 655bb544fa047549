"""Run in the probe's pod: write to the volume, read it back, and read what other pods wrote.

It runs on the standard library of Python 3.9 or newer, and gets its parameters from the
environment. Its last line is also the pod's termination message.

Pods of any user write on the volume, too. So everything is done by the descriptor of its
directory, and in directories that nobody but root can write in.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import sys
import time

TERMINATION_LOG = "/dev/termination-log"
# Where the kernel tells of each mounted device.
BDI = "/sys/class/bdi"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe must not make its opener wait.
FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Dynamic volumes are open to all, each for whoever mounts it, which root does; a claim on the
# whole file system must not lead there.
DYNAMIC, CLOSED = ".aws-efs/dynamic", 0o700
# Those that only root writes in: data sets, their versions, dynamic volumes, files of the probes.
OWN = ("datasets", "datasets/.versions", ".aws-efs", DYNAMIC, ".aws-efs/probe")
MODE, FOREIGN_WRITE = 0o755, 0o022
MOST_BYTES = 4096
# EFS squashes root only if the file system's policy grants clients no root access; another policy
# grants no writes.
REFUSED = {
    errno.EACCES: "root is refused on the volume: check the file system's policy in AWS",
    errno.EPERM: "root is refused on the volume: check the file system's policy in AWS",
    errno.EROFS: "the volume is read-only: check mount-options and the file system's policy",
}
# For a file that probes of other nodes replace at the same time.
ATTEMPTS = 5


class ProbeError(Exception):
    """The volume does not work; the message is for the user."""


def main() -> int:
    """Probe the volume; return 0 if it works."""
    zone, run = os.environ["PROBE_ZONE"], os.environ["PROBE_RUN"]
    try:
        root = os.open(os.environ["PROBE_ROOT"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # They exist before others may write in the root, or nobody makes them any more.
        own = {path: _make_own(root, path) for path in OWN}
        _set_mode(own[DYNAMIC], CLOSED)
        _make_namespaces(root)
        if mode := os.environ["PROBE_ROOT_MODE"]:
            _set_mode(root, int(mode, 8))
        directory = own[OWN[-1]]
        others = _read_others(directory, zone)
        _write_and_read_back(directory, zone, run)
    except OSError as error:
        exact = f"{type(error).__name__}: {error}"
        cause = REFUSED.get(error.errno or 0)
        _report(f"{cause} ({exact})" if cause else exact)
        return 1
    except ProbeError as error:
        _report(str(error))
        return 1
    read_ahead = _read_ahead_kib(root)
    measured = f"; read-ahead {read_ahead} KiB" if read_ahead else ""
    _report(f"wrote and read back in {zone}; read the files of {others} zones{measured}")
    return 0


def _set_mode(descriptor: int, mode: int) -> None:
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def _make_own(root: int, path: str) -> int:
    """Make a directory that only root can write in, unless it exists; return its descriptor."""
    directory = root
    for name in path.split("/"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, MODE, dir_fd=directory)
        try:
            directory = os.open(name, DIRECTORY, dir_fd=directory)
        except NotADirectoryError as error:
            raise _not_ours(path, type(error).__name__) from None
        _take_over(directory, path)
    return directory


def _make_namespaces(root: int) -> None:
    """Make the directories of isolated namespaces, which their pods write in."""
    names = os.environ["PROBE_NAMESPACES"].split()
    if not names:
        return
    parent, mode = _make_own(root, "namespaces"), int(os.environ["PROBE_NAMESPACE_MODE"], 8)
    for name in names:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, MODE, dir_fd=parent)
        directory = os.open(name, DIRECTORY, dir_fd=parent)
        _set_mode(directory, mode)
        os.close(directory)


def _take_over(directory: int, path: str) -> None:
    """Close a directory to others that the kubelet has made, and nobody has used.

    It makes one, with the mode of the volume's root, for a pod that asks for a subPath that does
    not exist.
    """
    status = os.fstat(directory)
    if status.st_uid == os.getuid() and not status.st_mode & FOREIGN_WRITE:
        return
    if status.st_uid == os.getuid() and _is_unused(directory):
        os.fchmod(directory, MODE)
        # Now nothing comes in any more; but something may have come in before.
        if _is_unused(directory):
            return
        os.fchmod(directory, stat.S_IMODE(status.st_mode))
    raise _not_ours(path, f"uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}")


def _not_ours(path: str, reason: str) -> ProbeError:
    return ProbeError(f"/{path} is not ours: remove it from the volume ({reason})")


def _is_unused(directory: int) -> bool:
    """Tell whether a directory has nothing that others could have put there."""
    for name in os.listdir(directory):
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        # Whoever may write in a directory may give a file of root's another name there.
        single = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if status.st_uid != os.getuid() or not (stat.S_ISDIR(status.st_mode) or single):
            return False
    return True


def _write_and_read_back(directory: int, zone: str, run: str) -> None:
    written = _with_checksum(f"{zone} {run} {time.time_ns()}")
    temporary = f".{zone}.{run}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE
        with os.fdopen(os.open(temporary, create, 0o644, dir_fd=directory), "wb") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        if _read(directory, temporary) != written:
            raise ProbeError(
                f"{zone}: the {len(written)} bytes read back differ from those written"
            )
        os.rename(temporary, zone, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)


def _read(directory: int, name: str) -> bytes:
    """Return the content of a file; of what is no file, or too long, a part of it, or nothing."""
    with os.fdopen(os.open(name, os.O_RDONLY | FILE, dir_fd=directory), "rb") as file:
        return file.read(MOST_BYTES) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def _read_others(directory: int, zone: str) -> int:
    """Check the files that probes of all zones wrote, on this node's too; return their number."""
    names = [name for name in sorted(os.listdir(directory)) if name[0] != "."]
    return sum(_check(directory, name, zone) for name in names)


def _check(directory: int, name: str, zone: str) -> bool:
    """Check what the last probe of a zone wrote; return False if others keep replacing it."""
    for _ in range(ATTEMPTS):
        try:
            content = _read(directory, name)
        except OSError as error:
            # Another node has replaced the file that was open here, or was just listed.
            if error.errno in (errno.ESTALE, errno.ENOENT):
                continue
            if error.errno != errno.ELOOP:
                raise
            content = b""  # it is a link
        if content == _with_checksum(content.rpartition(b"\n")[0].decode(errors="replace")):
            return True
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)  # it is reported once
        raise ProbeError(f"{zone}: the file that zone {name} wrote reads back damaged here")
    return False


def _read_ahead_kib(root: int) -> int:
    """Return how far ahead the kernel reads on this mount; 0 if it does not say."""
    device = os.fstat(root).st_dev
    path = f"{os.environ.get('PROBE_BDI', BDI)}/{os.major(device)}:{os.minor(device)}"
    try:
        with open(f"{path}/read_ahead_kb", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read(20))
    except (OSError, ValueError):
        return 0


def _with_checksum(text: str) -> bytes:
    """Return the text and its checksum, by which any other zone can check it."""
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}".encode()


def _report(message: str) -> None:
    sys.stdout.write(message + "\n")
    sys.stdout.flush()
    path = os.environ.get("TERMINATION_LOG", TERMINATION_LOG)
    with open(path, "w", encoding="utf-8") as log:  # noqa: PTH123
        log.write(message[:1024])


if __name__ == "__main__":
    sys.exit(main())
