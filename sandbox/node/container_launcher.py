"""The program that becomes a container: it makes its namespaces and mounts, and runs the command.

It is run by path with the bare interpreter (`python -I -S`), so it knows only the standard library
and the order (JSON) on its standard input. It stays behind as the container's keeper: SIGTERM goes
on to the container, SIGUSR1 kills it, its exit status is the container's own. Why a container can
not be started goes to the order's `report` file descriptor, which the command's start closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pathlib
import signal
import sys
import typing

# From <sched.h>, <sys/mount.h> and <sys/prctl.h>, which Python learns only in 3.12.
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE = 1024, 2048, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
LAST_CAPABILITY = pathlib.Path("/proc/sys/kernel/cap_last_cap")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Run the container that standard input describes; the exit status is the container's."""
    order: dict[str, typing.Any] = json.load(sys.stdin)
    signals = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _die_with_parent()
    if os.getppid() != order["parent"]:
        return 1  # the sandbox went away before the line above
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.set_inheritable(order["report"], False)
    _unshare(order["isolation"])
    child = os.fork()
    if child == 0:
        _become(order, signals)
    os.close(order["report"])
    isolated = order["isolation"] != "none"
    while True:
        arrived = signal.sigwait(signals)
        if arrived == signal.SIGTERM:
            os.kill(child, signal.SIGTERM)
        elif arrived == signal.SIGUSR1:
            _kill(child, isolated=isolated)
        else:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                if (
                    not isolated
                ):  # what the command left behind; the death of a PID 1 has ended all of it
                    _kill(child, isolated=False)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _unshare(isolation: str) -> None:
    if isolation == "none":
        return
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC
    user, group = os.getuid(), os.getgid()
    if isolation == "user":
        flags |= CLONE_NEWUSER
    _check(_libc.unshare(flags), "unshare")
    if isolation == "user":
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", "/", "", MS_REC | MS_PRIVATE)


def _become(order: dict[str, typing.Any], signals: set[signal.Signals]) -> typing.NoReturn:
    """Turn this process (PID 1 of the new namespace) into the container's command."""
    try:
        _die_with_parent()
        os.umask(0o022)
        if order["isolation"] == "none":
            os.setsid()
        else:
            _build_root(order)
            _enter_root(order)
        pathlib.Path(order["directory"]).mkdir(parents=True, exist_ok=True)
        os.chdir(order["directory"])
        _drop_privileges(order)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        # Again: a change of user has cleared it.
        _die_with_parent()
        _execute(order["argv"], order["environment"])
    except Exception as error:  # noqa: BLE001 - whatever it is, it is why the container did not start
        os.write(order["report"], str(error).encode())
    os._exit(128)


def _build_root(order: dict[str, typing.Any]) -> None:
    root: str = order["root"]
    _mount("tmpfs", root, "tmpfs", 0, "mode=755")
    for name in ("tmp", "var/tmp", "dev/shm"):
        pathlib.Path(root, name).mkdir(parents=True)
        pathlib.Path(root, name).chmod(0o1777)
    for link, source in order["links"].items():
        place = pathlib.Path(root + link)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    for path in order["image"]:
        _bind(path, root + path, read_only=True)
    _add_programs(f"{root}/usr/local/bin", order["programs"])
    for device in DEVICES:
        _bind(f"/dev/{device}", f"{root}/dev/{device}", read_only=False)
    _add_proc(f"{root}/proc")
    for mount in order["mounts"]:
        _bind(mount["source"], root + mount["target"], read_only=mount["read_only"])
    if order["read_only_root"]:
        _mount("", root, "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def _add_programs(directory: str, programs: dict[str, str]) -> None:
    if programs:
        _mount("tmpfs", directory, "tmpfs", 0, "mode=755")
    for name, program in programs.items():
        pathlib.Path(directory, name).symlink_to(program)


def _add_proc(proc: str) -> None:
    pathlib.Path(proc).mkdir()
    try:
        _mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except PermissionError:  # a user namespace inside a container that masks parts of /proc
        _mount("/proc", proc, "", MS_BIND | MS_REC)


def _enter_root(order: dict[str, typing.Any]) -> None:
    os.chroot(order["root"])
    os.chdir("/")
    name = order["hostname"].encode()
    _check(_libc.sethostname(name, len(name)), "sethostname")


def _drop_privileges(order: dict[str, typing.Any]) -> None:
    if order["isolation"] == "root":
        for capability in range(int(LAST_CAPABILITY.read_text()) + 1):
            if capability not in order["capabilities"]:
                _check(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")
        os.setgroups(order["groups"])
        os.setgid(order["group"])
        os.setuid(order["user"])
    if order["no_new_privileges"]:
        _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def _execute(argv: list[str], environment: dict[str, str]) -> None:
    """Run the command, or raise in the words of a container runtime."""
    command = argv[0]
    try:
        os.execvpe(command, argv, environment)  # noqa: S606
    except PermissionError as error:
        raise OSError(f'exec: "{command}": permission denied') from error
    except FileNotFoundError as error:
        why = (
            f"stat {command}: no such file or directory"
            if "/" in command
            else "executable file not found in $PATH"
        )
        raise OSError(f'exec: "{command}": {why}') from error


def _bind(source: str, target: str, *, read_only: bool) -> None:
    place = pathlib.Path(target)
    if pathlib.Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.touch()
    _mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        # A user namespace may not take these flags off what it was given.
        kept = os.statvfs(target).f_flag & (
            MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME
        )
        _mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
    _check(result, f"mount {source} on {target}")


def _die_with_parent() -> None:
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def _kill(child: int, *, isolated: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        (os.kill if isolated else os.killpg)(child, signal.SIGKILL)


def _check(result: int, doing: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main())
