"""One container as processes on this machine: namespaces and signals, without Kubernetes."""

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

CAPABILITIES: dict[str, int] = {
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
"""The number of every capability (linux/capability.h)."""
ALL_CAPABILITIES = frozenset(CAPABILITIES)
DEFAULT_CAPABILITIES = frozenset(
    (
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
        *("NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "MKNOD", "AUDIT_WRITE", "SETFCAP"),
    )
)
"""The capabilities that containerd grants to root in a container."""
_IMAGE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/localtime", "/etc/mime.types"),
)
"""The content of every image: this machine's programs and some of its configuration."""
_STREAMS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
_LAUNCHER = pathlib.Path(container_launcher.__file__)
_KILLED = 137


class Isolation(enum.Enum):
    """The degree to which a container is isolated from this machine."""

    ROOT = "root"
    """Separate mounts, processes and users."""
    USER = "user"
    """Separate mounts and processes; every user is the one who runs the sandbox."""
    NONE = "none"
    """A plain process: the paths of its mounts are replaced in its command and environment."""


class StartError(Exception):
    """A container that could not be started."""


@dataclasses.dataclass(frozen=True)
class Mount:
    """A directory or file of this machine that is mounted in a container.

    Attributes:
        source: The path on this machine.
        target: The path in the container.
        read_only: Whether the mount is read-only.
        sub_path: Whether it is a directory in a volume, which others may remove.
    """

    source: pathlib.Path
    target: str
    read_only: bool = False
    sub_path: bool = False


@dataclasses.dataclass(frozen=True)
class Program:
    """A container's command with its environment, user and mounts; 0 is no limit of memory."""

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
    memory_bytes: int = 0
    mounts: tuple[Mount, ...] = ()


class ContainerProcess:
    """A container's process; it and its children end with the thread that created it.

    Args:
        program: The program to run.
        root: An empty directory where the container's root is mounted in its namespace.
        log: The file that the output is appended to.
        level: The isolation; by default the strictest that this machine allows.

    Raises:
        StartError: It could not be started; in the words of a container runtime.
    """

    def __init__(
        self,
        program: Program,
        root: pathlib.Path,
        log: pathlib.Path,
        level: Isolation | None = None,
    ) -> None:
        level = level or isolation()
        report, write_end = os.pipe()
        with os.fdopen(report, encoding="utf-8") as reader:
            try:
                self._launcher = _launch(_launch_spec(program, root, level, write_end), log)
            finally:
                os.close(write_end)
            failure = reader.read()
        if failure:
            self._launcher.wait()
            raise StartError(failure)

    def wait(self) -> int:
        """Wait for the end; return the exit status, or 128 plus the signal."""
        code = self._launcher.wait()
        return code if code >= 0 else _KILLED

    @property
    def out_of_memory(self) -> bool:
        """Return whether it was killed because it exceeded its memory limit."""
        return self._launcher.returncode == -signal.SIGUSR2

    def terminate(self) -> None:
        """Send SIGTERM; PID 1 of a namespace ignores it unless it has a handler."""
        self._launcher.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and all its children."""
        self._launcher.send_signal(signal.SIGUSR1)
        try:
            self._launcher.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._launcher.kill()


def interpreter() -> str:
    """Return the sandbox's interpreter outside its virtual environment: the images' `python3`."""
    return os.path.realpath(sys.executable)


@functools.cache
def isolation() -> Isolation:
    """Return the strictest isolation that this machine allows, found by trying."""
    for level in (Isolation.ROOT, Isolation.USER):
        if level is Isolation.ROOT and os.getuid() != 0:
            continue
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            root = directory / "root"
            root.mkdir()
            try:
                process = ContainerProcess(
                    Program(("true",), {"PATH": os.defpath}), root, directory / "log", level
                )
            except StartError as error:
                logger.debug("no containers with isolation %s: %s", level.value, error)
                continue
            if process.wait() == 0:
                return level
    logger.warning(
        "this machine allows no mount namespace: paths are replaced in the pods' commands instead"
    )
    return Isolation.NONE


def _launch(spec: dict[str, object], log: pathlib.Path) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as stdin, log.open("ab") as output:
        stdin.write(json.dumps(spec).encode())
        stdin.seek(0)
        return subprocess.Popen(  # noqa: S603 - our own program
            [interpreter(), "-I", "-S", str(_LAUNCHER)],
            stdin=stdin,
            stdout=output,
            stderr=output,
            pass_fds=(typing.cast(int, spec["report"]),),
            start_new_session=True,
            cwd="/",
        )


def _launch_spec(
    program: Program, root: pathlib.Path, level: Isolation, report: int
) -> dict[str, object]:
    """Return the specification for container_launcher."""
    if level is Isolation.NONE:
        program = _with_paths_replaced(program)
    image, links = _image()
    return {
        "isolation": level.value,
        "parent": os.getpid(),
        "report": report,
        "root": str(root),
        "image": image,
        "links": links,
        "programs": _image_programs(),
        "mounts": [
            {**dataclasses.asdict(mount), "source": str(mount.source)}
            # A mount inside the target of another one must come after it.
            for mount in sorted(program.mounts, key=lambda mount: mount.target.count("/"))
        ],
        "argv": program.argv,
        "environment": program.environment,
        "hostname": program.hostname,
        "directory": program.directory,
        "user": program.user,
        "group": program.group,
        "groups": program.groups,
        "capabilities": [CAPABILITIES[name] for name in program.capabilities],
        "no_new_privileges": program.no_new_privileges,
        "read_only_root": program.read_only_root,
        "memory_bytes": program.memory_bytes,
    }


@functools.cache
def _image() -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the paths of this machine in every image, and the symbolic links among them."""
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
    """Return the content of /usr/local/bin in every image."""
    directory = pathlib.Path("/usr/local/bin")
    if not directory.is_dir() or pathlib.Path(interpreter()).parent == directory:
        return {}
    return {"python": interpreter(), "python3": interpreter()}


def _with_paths_replaced(program: Program) -> Program:
    """Replace the containers' paths with this machine's, for a machine without mounts."""
    # The longest first: of two nested mounts, the inner one applies.
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
