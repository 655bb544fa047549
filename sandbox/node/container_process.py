"""One container of a pod as processes of this machine: namespaces and signals, no Kubernetes."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import logging
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import typing

from sandbox.node import container_launcher

logger = logging.getLogger(__name__)

_CAPABILITIES: dict[str, int] = {
    name: number
    for number, name in enumerate(
        (
            *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID"),
            *("SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST"),
            *("NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO"),
            *("SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
            *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE"),
            *("AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM"),
            *("BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
        )
    )
}
"""Every capability's number (linux/capability.h)."""
ALL_CAPABILITIES = frozenset(_CAPABILITIES)
DEFAULT_CAPABILITIES = frozenset(
    (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
        *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
    )
)
"""What containerd leaves to root in a container."""
_IMAGE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/localtime", "/etc/mime.types"),
)
"""What every image is made of: this machine's programs and a little of its configuration."""
_STREAMS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
_LAUNCHER = pathlib.Path(container_launcher.__file__)
_KILLED = 137


class Isolation(enum.Enum):
    """How far this machine lets a container be kept apart."""

    ROOT = "root"
    """Its own mounts, processes and users."""
    USER = "user"
    """Its own mounts and processes; whatever user it asks for is the one who runs the sandbox."""
    NONE = "none"
    """A plain process: the paths of its mounts are replaced in its command and its environment."""


class StartError(Exception):
    """The container could not be started."""


@dataclasses.dataclass(frozen=True)
class Mount:
    """A directory or file of this machine that a container sees.

    Attributes:
        source: Where it is on this machine.
        target: Where the container sees it.
        read_only: Whether the container may not write there.
    """

    source: pathlib.Path
    target: str
    read_only: bool = False


@dataclasses.dataclass(frozen=True)
class Program:
    """What a container is to run, and as whom."""

    argv: tuple[str, ...]
    environment: dict[str, str] = dataclasses.field(repr=False)
    hostname: str = "localhost"
    directory: str = "/"
    user: int = 0
    group: int = 0
    groups: tuple[int, ...] = ()
    capabilities: frozenset[str] = DEFAULT_CAPABILITIES
    no_new_privileges: bool = False
    read_only_root: bool = False
    mounts: tuple[Mount, ...] = ()


class Process:
    """A container's process; it and all that it starts end with the thread that made it.

    Args:
        program: What to run.
        root: An empty directory that the container's root is mounted on, seen by it alone.
        log: The file that its output is appended to.
        how: How far it is kept apart; as far as this machine allows, where not given.

    Raises:
        StartError: It could not be started; in the container runtime's words.
    """

    def __init__(
        self, program: Program, root: pathlib.Path, log: pathlib.Path, how: Isolation | None = None
    ) -> None:
        how = how or isolation()
        report, launchers_end = os.pipe()
        with os.fdopen(report, encoding="utf-8") as answer:
            try:
                self._launcher = _launch(_order(program, root, how, launchers_end), log)
            finally:
                os.close(launchers_end)
            failure = answer.read()
        if failure:
            self._launcher.wait()
            raise StartError(failure)

    def wait(self) -> int:
        """Wait for its end: its exit status, or 128 and the signal that ended it."""
        code = self._launcher.wait()
        return code if code >= 0 else _KILLED

    def terminate(self) -> None:
        """Ask it to end; as PID 1 it does not hear that unless it handles SIGTERM."""
        self._launcher.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started."""
        self._launcher.send_signal(signal.SIGUSR1)
        try:
            self._launcher.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._launcher.kill()


def interpreter() -> str:
    """The interpreter that runs the sandbox, out of its virtual environment: every `python3`."""
    return os.path.realpath(sys.executable)


@functools.cache
def isolation() -> Isolation:
    """The most that this machine allows, found by trying."""
    for how in (Isolation.ROOT, Isolation.USER):
        if how is Isolation.ROOT and os.getuid() != 0:
            continue
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            root = directory / "root"
            root.mkdir()
            try:
                tried = Process(
                    Program(("true",), {"PATH": os.defpath}), root, directory / "log", how
                )
            except StartError as error:
                logger.debug("no containers with isolation %s: %s", how.value, error)
                continue
            if tried.wait() == 0:
                return how
    logger.warning(
        "this machine allows no mount namespace: paths are replaced in the pods' commands instead"
    )
    return Isolation.NONE


def _launch(order: dict[str, object], log: pathlib.Path) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as stdin, log.open("ab") as output:
        stdin.write(json.dumps(order).encode())
        stdin.seek(0)
        return subprocess.Popen(  # noqa: S603 - our own program
            [interpreter(), "-I", "-S", str(_LAUNCHER)],
            stdin=stdin,
            stdout=output,
            stderr=output,
            pass_fds=(typing.cast(int, order["report"]),),
            start_new_session=True,
            cwd="/",
        )


def _order(program: Program, root: pathlib.Path, how: Isolation, report: int) -> dict[str, object]:
    """The launcher's order: see container_launcher."""
    if how is Isolation.NONE:
        program = _with_paths_replaced(program)
    image, links = _image()
    return {
        "isolation": how.value,
        "parent": os.getpid(),
        "report": report,
        "root": str(root),
        "image": image,
        "links": links,
        "programs": _image_programs(),
        "mounts": [
            {"source": str(mount.source), "target": mount.target, "read_only": mount.read_only}
            # A mount inside another one's target has to come after it.
            for mount in sorted(program.mounts, key=lambda mount: mount.target.count("/"))
        ],
        "argv": program.argv,
        "environment": program.environment,
        "hostname": program.hostname,
        "directory": program.directory,
        "user": program.user,
        "group": program.group,
        "groups": program.groups,
        "capabilities": [_CAPABILITIES[name] for name in program.capabilities],
        "no_new_privileges": program.no_new_privileges,
        "read_only_root": program.read_only_root,
    }


@functools.cache
def _image() -> tuple[tuple[str, ...], dict[str, str]]:
    """What every image has of this machine: paths to mount, and the symbolic links among them."""
    paths: list[str] = []
    links = {f"/dev/{name}": f"/proc/self/fd{number}" for name, number in _STREAMS.items()}
    for path in map(pathlib.Path, _IMAGE):
        if path.is_symlink() and path.parent == pathlib.Path("/"):
            links[str(path)] = str(path.readlink())
        elif path.exists():
            paths.append(str(path))
    if not pathlib.Path(sys.base_prefix).is_relative_to("/usr"):
        paths.append(sys.base_prefix)
    return tuple(paths), links


@functools.cache
def _image_programs() -> dict[str, str]:
    """What stands in every image's /usr/local/bin."""
    place = pathlib.Path("/usr/local/bin")
    if not place.is_dir() or pathlib.Path(interpreter()).parent == place:
        return {}
    return {"python": interpreter(), "python3": interpreter()}


def _with_paths_replaced(program: Program) -> Program:
    """The program for a machine without mounts: the containers' paths become this machine's."""
    # The longest first: of two nested mounts the inner one is meant.
    mounts = sorted(program.mounts, key=lambda mount: len(mount.target), reverse=True)

    def replaced(text: str) -> str:
        for mount in mounts:
            pieces = re.split(rf"{re.escape(mount.target)}(?![\w.-])", text)
            text = str(mount.source).join(pieces)
        return text

    argv = [replaced(argument) for argument in program.argv]
    if argv[0] in _image_programs():
        argv[0] = interpreter()
    return dataclasses.replace(
        program,
        argv=tuple(argv),
        environment={name: replaced(value) for name, value in program.environment.items()},
        directory=replaced(program.directory),
    )
