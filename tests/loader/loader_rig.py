"""Run the loader on a real directory, and make good and bad archives for it."""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import lzma
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from unittest import mock

from datasets import answers, loader_program, request_ids
from datasets.loader import program
from datasets.loader.base import tasks
from datasets.loader.work import planner

# Another Python to run the loader with: the pod's may be as old as 3.9.
OTHER_PYTHON = os.environ.get("AWS_EFS_LOADER_PYTHON", "")
# Run the program in the arguments, and write its peak resident memory in KiB into a file: wait4's
# number includes the process that it was forked from. With KILLED_BEFORE it kills itself before
# its n-th change of a directory, or before its first change of this path.
MEASURED = """
import os, pathlib, re, runpy, sys
end, loader = os._exit, os.getpid()
def measure(code):
    status = pathlib.Path("/proc/self/status").read_text()
    if os.getpid() == loader:
        pathlib.Path(os.environ["PEAK"]).write_text(re.search(r"VmHWM:\\s*(\\d+)", status)[1])
    end(code)
os._exit = measure
before = os.environ.get("KILLED_BEFORE", "")
left = int(before) if before.isdigit() else -1
def count(event, arguments):
    global left
    if event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link"}:
        left -= os.getpid() == loader
        if not left or not before.isdigit() and before in str(arguments):
            os.kill(loader, 9)
if before:
    sys.addaudithook(count)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}
ARCHIVES = (*COMPRESS, "zip")
Environ = Mapping[str, str]
NOTHING: Environ = {}
# The tests' origins are on loopback.
ON_LOOPBACK = {"AWS_EFS_ALLOWED_NETWORKS": "127.0.0.0/8"}
SIGNED = "X-Amz-Signature=0123abcd"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of the loader that ended."""

    code: int
    log: str
    message: str
    peak_bytes: int

    @property
    def result(self) -> answers.Result:
        ended = answers.read_outcome(self.message)
        assert isinstance(ended, answers.Result), self
        assert self.code == 0
        return ended

    @property
    def error(self) -> str:
        ended = answers.read_outcome(self.message)
        assert isinstance(ended, answers.Failed), self
        assert self.code != 0
        assert len(self.message.encode()) <= 4096
        return ended.error


class Rig:
    """A volume, and the loader to run on it."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.volume = path / "volume"
        self.volume.mkdir()
        self._loader = path / "loader.pyz"
        self._loader.write_bytes(loader_program.zipapp())
        self._runs = 0
        self._started: dict[int, int] = {}

    def start(
        self,
        source: str,
        name: str = "x",
        *,
        verb: str = "",
        environ: Environ = NOTHING,
        **parameters: Any,
    ) -> subprocess.Popen[str]:
        """Start the loader as the pod does."""
        self._runs += 1
        program = [OTHER_PYTHON or sys.executable, "-W", "error", "-c", MEASURED, self._loader]
        with (self.path / f"log-{self._runs}").open("w") as log:
            process = subprocess.Popen(
                program + [verb] * bool(verb),
                env={
                    **self._environ(self._task(source, name, **parameters)),
                    "PEAK": str(self.path / f"peak-{self._runs}"),
                    **environ,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._started[process.pid] = self._runs
        return process

    def _environ(self, task: str) -> dict[str, str]:
        message = str(self.path / f"message-{self._runs}")
        return {"AWS_EFS_DATASET": task, "TERMINATION_LOG": message, **ON_LOOPBACK}

    def _task(
        self,
        source: str,
        name: str,
        *,
        limits: Mapping[str, int] | None = None,
        patience: float = 5,
        timeout: float = 2,
        request: str = "",
        unpack: bool | str = True,
        checksum: str = "",
        **parameters: Any,
    ) -> str:
        sources = tuple(tasks.Source(url, checksum) for url in source.split())
        unpack = unpack if isinstance(unpack, str) else str(unpack).lower()
        made_from = [source.partition("?")[0], checksum, unpack, repr(parameters)]
        return tasks.Task(
            name=name,
            request=request or request_ids.new(),
            fingerprint=hashlib.sha256(repr(made_from).encode()).hexdigest(),
            sources=sources,
            unpack=unpack,
            root=str(self.volume),
            limits=tasks.Limits(**(limits or {})),
            opening_seconds=patience,
            patience_seconds=patience,
            timeout_seconds=timeout,
            **parameters,
        ).to_json()

    def wait(self, process: subprocess.Popen[str]) -> Run:
        """Wait until a loader ends."""
        process.wait()
        number = self._started[process.pid]
        peak = self.path / f"peak-{number}"
        message = self.path / f"message-{number}"
        return Run(
            code=process.returncode,
            log=(self.path / f"log-{number}").read_text(),
            message=message.read_text() if message.exists() else "",
            peak_bytes=int(peak.read_text()) * 1024 if peak.exists() else 0,
        )

    def load(
        self, source: str, name: str = "x", *, environ: Environ = NOTHING, **parameters: Any
    ) -> Run:
        """Run the loader to its end, in this process, since that is faster."""
        if OTHER_PYTHON:
            return self.wait(self.start(source, name, environ=environ, **parameters))
        return self.run(self._task(source, name, **parameters), environ)

    def run(self, task: str, environ: Environ = NOTHING) -> Run:
        """Run a task as it is."""
        self._runs += 1
        log = io.StringIO()
        code = 0
        umask = os.umask(0o077)
        handler = signal.getsignal(signal.SIGTERM)
        with (
            mock.patch.dict(os.environ, {**self._environ(task), **environ}),
            mock.patch.object(sys, "argv", ["loader.pyz"]),
            contextlib.redirect_stdout(log),
        ):
            try:
                code = program.main()
            except SystemExit as ended:
                code = int(str(ended.code))
            finally:
                os.umask(umask)
                signal.signal(signal.SIGTERM, handler)
        message = (self.path / f"message-{self._runs}").read_text()
        return Run(code=code, log=log.getvalue(), message=message, peak_bytes=0)

    def refused(self, source: str, name: str = "x", **parameters: Any) -> str:
        """Run a load that must fail and change nothing; return its error."""
        before = self.all_paths()
        error = self.load(source, name, **parameters).error
        assert self.all_paths() == before, "a load that is refused leaves nothing"
        assert ": " in error, "an error is a problem, then its remedy"
        return error

    def all_paths(self) -> set[str]:
        """Return all paths on the volume but the common directories and the lock."""
        paths = {str(path.relative_to(self.volume)) for path in self.volume.rglob("*")}
        return paths - {"datasets", "datasets/.versions", "datasets/.versions/.lock"}

    def run_pods(self, source: str, count: int, name: str = "x", **parameters: Any) -> list[Run]:
        """Run several pods of one load at once; return them in the order of their index."""
        parameters.setdefault("request", request_ids.new())
        processes = [
            self.start(
                source,
                name,
                environ={"JOB_COMPLETION_INDEX": str(index)},
                indexes=count,
                **parameters,
            )
            for index in range(count)
        ]
        return [self.wait(process) for process in processes]

    def run_pod(self, source: str, index: int, count: int, **parameters: Any) -> Run:
        """Run one of several pods to its end, in this process."""
        task = self._task(source, "x", indexes=count, **parameters)
        return self.run(task, {"JOB_COMPLETION_INDEX": str(index)})

    def run_verb(self, verb: str, name: str = "x") -> list[dict[str, Any]]:
        """Run a verb other than loading; return the lines of its log."""
        run = self.wait(self.start("", name, verb=verb))
        return [json.loads(line) for line in run.log.splitlines()]

    def file_list(self, name: str = "x") -> dict[str, dict[str, Any]]:
        """Return the published file list, by path."""
        version = (self.volume / "datasets" / name).readlink().name
        listed = self.volume / f"datasets/.versions/{name}/{version}.files"
        lines = [json.loads(line) for line in listed.read_text().splitlines()]
        assert len({line["path"] for line in lines}) == len(lines)
        return {line["path"]: line for line in lines}

    def files(self, name: str = "x") -> dict[str, bytes]:
        """Return the files of the data set, as a reader sees them."""
        return tree(self.volume / "datasets" / name)

    def kept_names(self, name: str = "x") -> set[str]:
        """Return the names of all entries of a data set's versions directory."""
        return {path.name for path in (self.volume / "datasets/.versions" / name).iterdir()}

    def versions(self, name: str = "x") -> list[str]:
        """Return the directories of a data set's versions."""
        return versions(self.volume, name)


@contextlib.contextmanager
def small_parts() -> Iterator[None]:
    """Make the parts of a file that pods share as small as possible."""
    with (
        mock.patch.object(planner, "LEAST_PART_BYTES", 2**20),
        mock.patch.object(planner, "PART_MULTIPLE_BYTES", 2**20),
    ):
        yield


def versions(volume: pathlib.Path, name: str = "x") -> list[str]:
    """Return the directories of a data set's versions on a volume."""
    home = volume / "datasets/.versions" / name
    return sorted(path.name for path in home.iterdir() if path.is_dir())


def tree(root: pathlib.Path) -> dict[str, bytes]:
    """Return the files under a directory with their contents."""
    real = root.resolve(strict=True)
    return {
        str(path.relative_to(real)): path.read_bytes()
        for path in real.rglob("*")
        if path.is_file()
    }


def archive(archive_format: str, files: Mapping[str, bytes]) -> bytes:
    """Return an archive of files."""
    if archive_format == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return buffer.getvalue()
    return COMPRESS[archive_format](tar(entry(name, content) for name, content in files.items()))


Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"", **fields: Any) -> Entry:
    """Return a member of a tar archive; `fields` are TarInfo's."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def link(name: str, target: str, *, hard: bool = False) -> Entry:
    """Return a link in a tar archive."""
    return entry(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=target)


def tar(entries: Iterable[Entry], format_: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar archive, also of members that no tool writes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as packed:
        for info, content in entries:
            packed.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def children(pid: int) -> list[int]:
    """Return the child processes of a process."""
    return [
        int(each) for each in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a loader that a test does not need any more."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()


def directories(names: Iterable[str]) -> bytes:
    """Return the beginning of a tar archive: headers of directories."""
    return b"".join(entry(name, type=tarfile.DIRTYPE)[0].tobuf() for name in names)


def big_zeros(archive_format: str, size: int) -> bytes:
    """Return an archive of one big file of zeros, made without the whole file in memory.

    A compressed piece of it is repeated: gzip allows several streams, and deflate several blocks.
    """
    piece = 2**24
    count, rest = divmod(size, piece)
    assert not rest
    if archive_format == "tar.gz":
        header = entry("zeros")[0]
        header.size = size
        pieces = [header.tobuf(), *[bytes(piece)] * count, bytes(1024)]
        packed = {data: gzip.compress(data, 1) for data in set(pieces)}
        return b"".join(packed[data] for data in pieces)
    deflate = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    data = deflate.compress(bytes(piece)) + deflate.flush(zlib.Z_FULL_FLUSH)
    data = data * count + b"\3\0"
    check = 0
    for _ in range(count):
        check = zlib.crc32(bytes(piece), check)
    sizes = struct.pack("<3L2H", check, len(data), size, 5, 0)
    local = struct.pack("<4s5H", b"PK\3\4", 20, 0, 8, 0, 0) + sizes + b"zeros"
    listed = struct.pack("<4s6H", b"PK\1\2", 20, 20, 0, 8, 0, 0) + sizes
    listed += struct.pack("<3H2L", 0, 0, 0, 0, 0) + b"zeros"
    start = len(local) + len(data)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), start, 0)
    return local + data + listed + end


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
