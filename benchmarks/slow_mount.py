"""Mount the slow file system of slow_fs/ temporarily.

It needs root, /dev/fuse and a C compiler; `missing` returns the first that is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Mapping, Sequence

SOURCES = pathlib.Path(__file__).parent / "slow_fs"
READ_SECONDS = 0.001
WRITE_SECONDS = 0.0027
# The time for which the kernel caches names and attributes, as NFS's acregmin.
VALID_SECONDS = 3.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of EFS and of its clients: docs/explanation/limits.md has the sources.

    Attributes:
        slots: The number of requests under way on each node.
        node_bytes: The bytes a second of each node, read and written together.
        read_bytes: The bytes that the file system reads in a second if it only reads.
        write_bytes: The bytes that it writes in a second if it only writes.
        read_operations: The number of its reading operations in a second.
        write_operations: The number of its writing operations in a second.
    """

    slots: int = 64
    node_bytes: int = 500 * 2**20
    read_bytes: int = 60 * 2**30
    write_bytes: int = 5 * 2**30
    read_operations: int = 250_000
    write_operations: int = 50_000


EFS = Limits()


@dataclasses.dataclass(frozen=True)
class Counters:
    """The file system's counters since the last reset.

    Attributes:
        seconds: The time since the reset.
        largest: The maximum number of slots that one node used at the same time.
        mean: The mean number of slots in use on all nodes, from the first request to the last
            reply.
        waiting: The mean number of requests that waited for a slot in that time.
        held: The number of delayed requests, which stand for round trips.
        operations: The number of requests of each kind, including those without a delay.
        by_node: The number of delayed requests of each node.
    """

    seconds: float
    largest: int
    mean: float
    waiting: float
    held: int
    operations: Mapping[str, int]
    by_node: Sequence[int]


class Mounts:
    """A tree mounted at one or more directories."""

    def __init__(self, paths: list[pathlib.Path], control: pathlib.Path) -> None:
        self.paths = paths
        self._control = control

    @property
    def path(self) -> pathlib.Path:
        """Return the first mount."""
        return self.paths[0]

    def counters(self) -> Counters:
        """Return the counters of all mounts."""
        return Counters(**json.loads(self._send("counters")))

    def reset(self) -> None:
        """Reset the counters."""
        self._send("reset")

    def set_latencies(self, read_seconds: float, write_seconds: float) -> None:
        """Set the delays of replies."""
        self._send(f"latency {round(read_seconds * 1e6)} {round(write_seconds * 1e6)}")

    def _send(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self._control))
            connection.sendall(line.encode())
            return b"".join(iter(functools.partial(connection.recv, 65536), b"")).decode()


def missing() -> str:
    """Return what this machine lacks to mount the file system, or an empty string."""
    if os.geteuid():
        return "only root can mount the slow file system: run this as root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is missing: load the module fuse"
    if not compiler():
        return "a C compiler is missing: install gcc and libc6-dev"
    return ""


def compiler() -> str:
    """Return the C compiler's path, or an empty string."""
    return shutil.which("cc") or shutil.which("gcc") or ""


@contextlib.contextmanager
def mounted(
    read_seconds: float = READ_SECONDS,
    write_seconds: float = WRITE_SECONDS,
    *,
    nodes: Sequence[int] = (0,),
    limits: Limits = EFS,
    valid_seconds: float = VALID_SECONDS,
    ready_bytes: int = 0,
) -> Generator[Mounts]:
    """Mount an empty tree while the context is open and its thread lives.

    Args:
        read_seconds: The delay of replies to reading operations.
        write_seconds: The delay of replies to writing operations.
        nodes: The node of each mount of the tree. All mounts have separate caches; mounts of one
            node share its limits.
        limits: The limits; replies without a delay meet none.
        valid_seconds: The time for which the kernel caches names and attributes.
        ready_bytes: The amount of data for which the server allocates memory in advance.
    """
    binary = program()
    with tempfile.TemporaryDirectory(prefix="slow-fs-") as directory:
        home = pathlib.Path(directory)
        paths = [home / str(number) for number in range(len(nodes))]
        for path in paths:
            path.mkdir()
        options = {
            "--read-us": round(read_seconds * 1e6),
            "--write-us": round(write_seconds * 1e6),
            "--valid-ms": round(valid_seconds * 1e3),
            "--control": home / "control",
            "--ready-mib": ready_bytes // 2**20,
        }
        command = [str(binary), *(str(word) for pair in options.items() for word in pair)]
        command += options_of(limits)
        command += [f"{node}={path}" for node, path in zip(nodes, paths, strict=True)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            if server.stdout.readline() != "mounted\n":
                raise RuntimeError(f"slow_fs ended with {server.wait()}: see its output above")
            yield Mounts(paths, home / "control")
        finally:
            _end(server, paths)


def program() -> pathlib.Path:
    """Return the compiled file system."""
    return compile_program(sorted(SOURCES.glob("*.c")))


def options_of(limits: Limits) -> list[str]:
    """Return the program's options for these limits."""
    values = dataclasses.asdict(limits)
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


def _end(server: subprocess.Popen[str], paths: list[pathlib.Path]) -> None:
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if server.stdout:
        server.stdout.close()
    for path in paths:  # in case the server could not unmount them
        subprocess.run(["umount", "-l", path], check=False, capture_output=True)


def compile_program(sources: list[pathlib.Path], *flags: str) -> pathlib.Path:
    """Compile C files, or find the result in the user's cache, and return the program."""
    texts = [path.read_bytes() for path in (*sources, *sources[0].parent.glob("*.h"))]
    key = hashlib.sha256(repr((texts, flags)).encode()).hexdigest()[:16]
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    binary = home / "aws-efs" / "benchmarks" / f"{sources[0].parent.name}-{key}"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        partial = binary.with_suffix(f".{os.getpid()}")
        command = [compiler(), "-O2", "-pthread", "-Wall", "-Wextra", *flags, "-o", str(partial)]
        subprocess.run([*command, *map(str, sources)], check=True)
        partial.rename(binary)
    return binary
