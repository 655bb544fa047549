"""Run the measured commands, and sample their memory."""

from __future__ import annotations

import contextlib
import dataclasses
import mmap
import os
import pathlib
import re
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

# Each sample takes one or two milliseconds.
SAMPLE_SECONDS = 0.2
CHILDREN = "task/{0}/children"
NO_ENVIRON: Mapping[str, str] = {}


class BrokenRunError(Exception):
    """A measured command that failed or left wrong files."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A program with its arguments and additional environment variables."""

    words: Sequence[str]
    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: NO_ENVIRON)


@dataclasses.dataclass(frozen=True)
class CompletedRun:
    """A successful run of commands.

    Attributes:
        seconds: The time from the first start to the last end.
        cpu_seconds: The CPU time of all commands.
        peaks: The peak of resident bytes of each command's processes, if sampled.
        quarters: The peaks of resident bytes in the first one, two and three quarters of the time.
        logs: The output of each command.
    """

    seconds: float
    cpu_seconds: float
    peaks: Sequence[int]
    quarters: Sequence[int]
    logs: Sequence[str]


def run(
    commands: Sequence[Command], directory: pathlib.Path, *, sample_memory: bool = False
) -> CompletedRun:
    """Run commands in parallel, and wait for all of them.

    Args:
        commands: The commands.
        directory: The directory for their logs.
        sample_memory: Whether to sample their memory, which takes some time itself.

    Raises:
        BrokenRunError: The exit status of a command is not 0.
    """
    logs = [directory / f"log-{number}" for number in range(len(commands))]
    # As in a pod: without proxies and other settings of the user.
    base_environ = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    with contextlib.ExitStack() as files:
        outputs = [files.enter_context(log.open("wb")) for log in logs]
        began, cpu_before = time.monotonic(), _cpu_seconds()
        started = [
            subprocess.Popen(
                command.words,
                env={**base_environ, **command.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            for command, output in zip(commands, outputs, strict=True)
        ]
        sampler = _MemorySampler([process.pid for process in started if sample_memory])
        try:
            codes = [process.wait() for process in started]
        finally:
            seconds = time.monotonic() - began
            for process in started:
                process.kill()
                process.wait()
            sampler.stop()
    texts = [log.read_text(errors="replace") for log in logs]
    for code, command, text in zip(codes, commands, texts, strict=True):
        if code:
            raise BrokenRunError(
                f"{' '.join(command.words)[:200]} ended with {code}: {text[-500:]}"
            )
    cpu_seconds = _cpu_seconds() - cpu_before
    return CompletedRun(seconds, cpu_seconds, sampler.peaks, sampler.quarters, texts)


def _cpu_seconds() -> float:
    """Return the CPU time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _MemorySampler:
    """A thread that samples the memory of processes and their children until `stop`."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.peaks = [0 for _ in pids]
        self._samples: list[int] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    @property
    def quarters(self) -> Sequence[int]:
        count = len(self._samples)
        return [self._samples[count * part // 4] for part in (1, 2, 3)] if count else []

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        while self._pids and not self._stopped.wait(SAMPLE_SECONDS):
            resident = [sum(map(_resident, _family(pid))) for pid in self._pids]
            self.peaks = [max(pair) for pair in zip(self.peaks, resident, strict=True)]
            self._samples.append(sum(self.peaks))


def _family(pid: int) -> list[int]:
    pids = [pid]
    for each in pids:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{each}", CHILDREN.format(each)).read_text()
            pids += map(int, text.split())
    return pids


def _resident(pid: int) -> int:
    """Return the proportional set size of a process in bytes."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        match = re.search(r"^Pss:\s*(\d+)", text, re.MULTILINE)
        return int(match[1]) * 1024 if match else 0
    return 0


def touch_memory(size: int) -> None:
    """Allocate and free this much memory, so that no measured process waits for free pages."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE):
        pass
