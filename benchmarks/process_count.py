"""Measure what the loader's processes are worth: as many as it has, fewer, or threads alone.

`python -m benchmarks.process_count` takes four minutes, and needs root. The origin and the file
system run on the same processors as the loader; EFS does not. So the loader also writes to this
machine's memory (/dev/shm), where only the origin takes a part of them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Generator, Iterator

import rich.console
import rich.table

from benchmarks import cases, check, contestants, origin, shapes, slow_mount
from datasets import protocol

MEMORY = pathlib.Path("/dev/shm")
ONE_WRITER = """
from datasets.loader.tree import process_pool
process_pool.PROCESSES = 1
"""
WRITING_THREADS = """
import socket, threading
from datasets.loader.tree import directory_queue, process_pool, worker_process
class Worker(process_pool._Worker):
    def __init__(self, pool, tree_files, others):
        self._pool, self._commands, self._last = pool, {}, 0
        self._sending = threading.Lock()
        self._connection, remote = socket.socketpair()
        serve = worker_process.WorkerProcess(remote, tree_files, directory_queue.THREADS).run
        threading.Thread(target=serve, daemon=True).start()
    def kill(self):
        self._connection.shutdown(socket.SHUT_RDWR)
    def close(self):
        self._connection.close()
process_pool._Worker, process_pool.PROCESSES = Worker, 1
"""
ONE_READER = """
from datasets.loader.base import forked_calls
forked_calls.PROCESSES, forked_calls.THREADS = 1, 64
"""
COMPARING_THREADS = """
import concurrent.futures
from datasets.loader.base import forked_calls
class Calls:
    def __init__(self, function):
        self._pool, self._function = concurrent.futures.ThreadPoolExecutor(64), function
    def map(self, arguments, tick):
        pending = set()
        for argument in arguments:
            pending.add(self._pool.submit(self._function, argument))
            if len(pending) >= forked_calls.MOST_CALLS:
                done, pending = concurrent.futures.wait(
                    pending, return_when=concurrent.futures.FIRST_COMPLETED
                )
                yield from (each.result() for each in done)
        yield from (each.result() for each in pending)
    def close(self):
        self._pool.shutdown()
forked_calls.ForkedCalls = Calls
"""
WRITERS = {
    "4 processes": "",
    "1 process": ONE_WRITER,
    "threads": WRITING_THREADS,
}
READERS = {
    "8 processes": "",
    "1 process": ONE_READER,
    "threads": COMPARING_THREADS,
}
VARIANTS = {protocol.LOAD: WRITERS, protocol.VERIFY: READERS}
ACTIONS = {protocol.LOAD: "create-dataset", protocol.VERIFY: "verify-dataset"}
EFS = "EFS's limits"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the volume is: its mounts, and its limits that can be turned off."""

    paths: list[pathlib.Path]
    slow: slow_mount.Mounts | None

    def set_slow(self, *, slow: bool) -> None:
        """Have requests take their time, or none."""
        if self.slow:
            read, write = slow_mount.READ_SECONDS, slow_mount.WRITE_SECONDS
            self.slow.set_latencies(*((read, write) if slow else (0, 0)))


def main() -> int:
    """Run each verb with each number of processes, in turn, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.process_count", description=__doc__
    )
    parser.add_argument("--runs", type=int, default=3, help="the number of runs (default: 3)")
    runs = parser.parse_args().runs
    if reason := slow_mount.missing():
        print(f"skipped: {reason}")
        return 0
    table = rich.table.Table("action", "volume", "", "seconds", "CPU", "the loader is", box=None)
    with tempfile.TemporaryDirectory(prefix="processes-") as directory:
        home = pathlib.Path(directory)
        (home / "served").mkdir()
        data = shapes.packed(home, "tree", "tar", cases.TEN_THOUSAND, seed=1)
        with origin.serving(home / "served") as url:
            machine = Machine(home, f"{url}/0", data)
            for verb in VARIANTS:
                for volume in (EFS, str(MEMORY)):
                    for row in machine.measure(verb, volume, runs):
                        table.add_row(ACTIONS[verb], volume, *row)
    rich.console.Console().print(table)
    return 0


@dataclasses.dataclass(frozen=True)
class Machine:
    """This machine, where the loader runs.

    Attributes:
        home: A directory.
        url: The origin's URL.
        data: The data set.
    """

    home: pathlib.Path
    url: str
    data: shapes.ServedData

    def measure(self, verb: str, volume: str, runs: int) -> Iterator[list[str]]:
        """Yield a row for each variant of a verb; they alternate."""
        found: dict[str, list[contestants.Measurement]] = {name: [] for name in VARIANTS[verb]}
        for _ in range(runs):
            for name, change in VARIANTS[verb].items():
                found[name].append(self._run(verb, volume, change))
        ours = next(iter(found.values()))
        for name, measured in found.items():
            ratio = statistics.median(
                other.seconds / own.seconds for other, own in zip(measured, ours, strict=True)
            )
            seconds = statistics.median(each.seconds for each in measured)
            cpu = statistics.median(each.cpu_seconds for each in measured)
            yield [name, f"{seconds:.2f}", f"{cpu:.1f}", f"{ratio:.2f}x"]

    def _run(self, verb: str, volume: str, change: str) -> contestants.Measurement:
        loader: contestants.OurProgram = contestants.OurLoader(change=change)
        if verb != protocol.LOAD:
            loader = contestants.OurVerb(verb=verb, change=change)
        with _volume(volume) as place, tempfile.TemporaryDirectory(dir=self.home) as local:
            context = contestants.RunContext(place.paths, pathlib.Path(local), self.url, self.data)
            place.set_slow(slow=False)
            loader.prepare(context)
            place.set_slow(slow=True)
            measured = loader.run(context)
            place.set_slow(slow=False)
            check.check(place.paths[-1] / loader.root(context), self.data.expected)
        return measured


@contextlib.contextmanager
def _volume(volume: str) -> Generator[Place]:
    if volume == EFS:
        with slow_mount.mounted(nodes=contestants.COLD) as slow:
            yield Place(slow.paths, slow)
    else:
        with tempfile.TemporaryDirectory(dir=volume) as directory:
            yield Place([pathlib.Path(directory)], None)


if __name__ == "__main__":
    sys.exit(main())
