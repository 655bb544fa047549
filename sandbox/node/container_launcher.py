"""The program that starts a container: it creates namespaces and mounts, and runs the command.

It is run by path with the bare interpreter (`python -I -S`), so it uses only the standard library
and the specification (JSON) on its standard input. It stays as the container's supervisor: it
forwards SIGTERM to the container, kills it on SIGUSR1, and exits with the container's status. A
container that exceeds its memory limit is killed, and the supervisor ends by SIGUSR2. A sub-path
that is removed becomes stale (see stale_mount.py). If the container cannot be started, the reason
goes to the file descriptor `report` of the specification, which is closed when the command starts.
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

# From <sched.h>, <sys/mount.h>, <sys/prctl.h> and <linux/capability.h>; Python has some of them
# only since 3.12.
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_NOATIME, MS_NODIRATIME, MS_BIND, MS_REC, MS_PRIVATE = 1024, 2048, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = pathlib.Path("/proc/sys/kernel/cap_last_cap")
CHECK_SECONDS = 0.1
STALE_MOUNT = pathlib.Path(__file__).with_name("stale_mount.py")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Run the container described on standard input, and return its exit status."""
    spec: dict[str, typing.Any] = json.load(sys.stdin)
    signals = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _die_with_parent()
    if os.getppid() != spec["parent"]:
        return 1  # the sandbox ended before the line above
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.set_inheritable(spec["report"], False)
    _unshare(spec["isolation"])
    isolated = spec["isolation"] != "none"
    sub_paths = _open_sub_paths(spec) if isolated else {}
    child = os.fork()
    if child == 0:
        _become(spec, signals)
    os.close(spec["report"])
    while True:
        arrived = _next_signal(signals, child, spec["memory_bytes"], sub_paths)
        if arrived == signal.SIGUSR2:
            _kill(child, isolated=isolated)
            os.waitpid(child, 0)
            os.kill(os.getpid(), signal.SIGUSR2)
        elif arrived == signal.SIGTERM:
            os.kill(child, signal.SIGTERM)
        elif arrived == signal.SIGUSR1:
            _kill(child, isolated=isolated)
        else:
            status = _wait_for(child)
            if status is not None:
                if not isolated:  # with a PID namespace, the end of PID 1 has ended all others
                    _kill(child, isolated=False)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _wait_for(child: int) -> int | None:
    """Return the status of the child if it has ended, after waiting for all that ended.

    PID 1 ends only when all others of its namespace were waited for.
    """
    while True:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in {0, child}:
            return status if ended else None


def _next_signal(
    signals: set[signal.Signals], child: int, memory_bytes: int, sub_paths: dict[str, int]
) -> int:
    """Wait for a signal; SIGUSR2 stands for a container that exceeds its memory limit."""
    if not memory_bytes and not sub_paths:
        return signal.sigwait(signals)
    while True:
        arrived = signal.sigtimedwait(signals, CHECK_SECONDS)
        if arrived:
            return arrived.si_signo
        # What forked processes share counts once, which only the slower of the two looks tells.
        if (
            memory_bytes
            and _memory(child, "status", "RssAnon") > memory_bytes
            and (_memory(child, "smaps_rollup", "Pss_Anon") > memory_bytes)
        ):
            return signal.SIGUSR2
        for mount_point, descriptor in tuple(sub_paths.items()):
            if not os.fstat(descriptor).st_nlink:
                os.close(sub_paths.pop(mount_point))
                command = [sys.executable, "-I", "-S", str(STALE_MOUNT), mount_point]
                os.posix_spawn(sys.executable, command, os.environ)


def _open_sub_paths(spec: dict[str, typing.Any]) -> dict[str, int]:
    """Return the sub-paths that somebody else may remove: their mount points and descriptors."""
    return {
        spec["root"] + mount["target"]: os.open(mount["source"], os.O_PATH | os.O_CLOEXEC)
        for mount in spec["mounts"]
        if mount["sub_path"]
    }


def _memory(pid: int, file: str, field: str) -> int:
    """Return the anonymous memory of a process and its descendants, in bytes."""
    total = 0
    with contextlib.suppress(OSError):  # it may just end
        process = pathlib.Path("/proc", str(pid))
        for line in (process / file).read_text().splitlines():
            if line.startswith(f"{field}:"):
                total += int(line.split()[1]) * 1024
        for children in process.glob("task/*/children"):
            total += sum(_memory(int(each), file, field) for each in children.read_text().split())
    return total


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


def _become(spec: dict[str, typing.Any], signals: set[signal.Signals]) -> typing.NoReturn:
    """Replace this process (PID 1 of the new namespace) with the container's command."""
    try:
        _die_with_parent()
        os.umask(0o022)
        if spec["isolation"] == "none":
            os.setsid()
        else:
            _build_root(spec)
            _enter_root(spec)
        pathlib.Path(spec["directory"]).mkdir(parents=True, exist_ok=True)
        os.chdir(spec["directory"])
        _drop_privileges(spec)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        # Again, because a change of user clears it.
        _die_with_parent()
        _execute(spec["argv"], spec["environment"])
    except Exception as error:  # noqa: BLE001 - any error is why the container did not start
        os.write(spec["report"], str(error).encode())
    os._exit(128)


def _build_root(spec: dict[str, typing.Any]) -> None:
    root: str = spec["root"]
    _mount("tmpfs", root, "tmpfs", 0, "mode=755")
    pathlib.Path(root, "dev").mkdir()
    # It stays writable in a root that is not.
    _mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755")
    for name in ("tmp", "var/tmp", "dev/shm"):
        pathlib.Path(root, name).mkdir(parents=True)
        pathlib.Path(root, name).chmod(0o1777)
    for link, source in spec["links"].items():
        link_path = pathlib.Path(root + link)
        link_path.parent.mkdir(parents=True, exist_ok=True)
        link_path.symlink_to(source)
    for path in spec["image"]:
        _bind(path, root + path, read_only=True)
    _add_programs(f"{root}/usr/local/bin", spec["programs"], read_only=spec["read_only_root"])
    for device in DEVICES:
        _bind(f"/dev/{device}", f"{root}/dev/{device}", read_only=False)
    _add_proc(f"{root}/proc")
    for mount in spec["mounts"]:
        _bind(mount["source"], root + mount["target"], read_only=mount["read_only"])
    if spec["read_only_root"]:
        _make_read_only(root)


def _add_programs(directory: str, programs: dict[str, str], *, read_only: bool) -> None:
    if not programs:
        return
    _mount("tmpfs", directory, "tmpfs", 0, "mode=755")
    for name, program in programs.items():
        pathlib.Path(directory, name).symlink_to(program)
    if read_only:
        _make_read_only(directory)


def _add_proc(proc: str) -> None:
    pathlib.Path(proc).mkdir()
    try:
        _mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except PermissionError:  # a user namespace inside a container that masks parts of /proc
        _mount("/proc", proc, "", MS_BIND | MS_REC)


def _enter_root(spec: dict[str, typing.Any]) -> None:
    os.chroot(spec["root"])
    os.chdir("/")
    name = spec["hostname"].encode()
    _check(_libc.sethostname(name, len(name)), "sethostname")


def _drop_privileges(spec: dict[str, typing.Any]) -> None:
    # A program that root executes gets all capabilities of the bounding set.
    if os.geteuid() == 0:
        for capability in range(int(LAST_CAPABILITY.read_text()) + 1):
            if capability not in spec["capabilities"]:
                _check(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")
    if spec["isolation"] == "root":
        os.setgroups(spec["groups"])
        os.setgid(spec["group"])
        os.setuid(spec["user"])
    _keep_capabilities(spec["capabilities"])
    if spec["no_new_privileges"]:
        _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def _keep_capabilities(capabilities: list[int]) -> None:
    """Give up all other capabilities, and inherit none: capset(2)."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    # Of each 32 capabilities: the effective, the permitted and the inheritable ones.
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, sets), "capget")
    for half in (0, 1):
        kept = sum(1 << each % 32 for each in capabilities if each // 32 == half)
        sets[3 * half + 1] &= kept
        sets[3 * half] = sets[3 * half + 1]
        sets[3 * half + 2] = 0
    _check(_libc.capset(header, sets), "capset")


def _execute(argv: list[str], environment: dict[str, str]) -> None:
    """Execute the command; raise errors in the words of a container runtime."""
    command = argv[0]
    try:
        os.execvpe(command, argv, environment)  # noqa: S606
    except PermissionError as error:
        raise OSError(f'exec: "{command}": permission denied') from error
    except FileNotFoundError as error:
        reason = (
            f"stat {command}: no such file or directory"
            if "/" in command
            else "executable file not found in $PATH"
        )
        raise OSError(f'exec: "{command}": {reason}') from error


def _bind(source: str, target: str, *, read_only: bool) -> None:
    mount_point = pathlib.Path(target)
    if pathlib.Path(source).is_dir():
        mount_point.mkdir(parents=True, exist_ok=True)
    else:
        mount_point.parent.mkdir(parents=True, exist_ok=True)
        if not mount_point.exists():
            mount_point.touch()
    _mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        # A user namespace may not clear these flags of an inherited mount.
        kept = os.statvfs(target).f_flag & (
            MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME
        )
        _mount("", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def _make_read_only(mount_point: str) -> None:
    _mount("", mount_point, "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
    _check(result, f"mount {source} on {target}")


def _die_with_parent() -> None:
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def _kill(child: int, *, isolated: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        (os.kill if isolated else os.killpg)(child, signal.SIGKILL)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main())
