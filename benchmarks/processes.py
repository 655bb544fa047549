"""Run the measured commands, and watch how much memory they take."""

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

# Each look takes a millisecond or two.
LOOK_SECONDS = 0.2
CHILDREN = "task/{0}/children"
NO_ENVIRON: Mapping[str, str] = {}


class BrokenRunError(Exception):
    """A measured command did not do its work."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A program with its arguments, and what its environment has besides."""

    words: Sequence[str]
    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: NO_ENVIRON)


@dataclasses.dataclass(frozen=True)
class Ran:
    """Commands that ended well.

    Attributes:
        seconds: From the first one's start to the last one's end.
        cpu_seconds: What all together had of the processors.
        peaks: The most bytes that were resident in each command's processes together, if watched.
        quarters: The most bytes resident in all in the first quarter of the time, in two, three.
        logs: What each one wrote.
    """

    seconds: float
    cpu_seconds: float
    peaks: Sequence[int]
    quarters: Sequence[int]
    logs: Sequence[str]


def run(commands: Sequence[Command], directory: pathlib.Path, *, watched: bool = False) -> Ran:
    """Run commands side by side to their ends.

    Args:
        commands: What to run.
        directory: Where their logs may be kept.
        watched: Whether to look at their memory, which takes time of its own.

    Raises:
        BrokenRunError: One did not end with 0.
    """
    logs = [directory / f"log-{number}" for number in range(len(commands))]
    # As in a pod: no proxies, no settings of whoever measures.
    plain = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    with contextlib.ExitStack() as files:
        outputs = [files.enter_context(log.open("wb")) for log in logs]
        began, had = time.monotonic(), _cpu_seconds()
        started = [
            subprocess.Popen(
                command.words,
                env={**plain, **command.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            for command, output in zip(commands, outputs, strict=True)
        ]
        watch = _Watch([process.pid for process in started if watched])
        try:
            codes = [process.wait() for process in started]
        finally:
            seconds = time.monotonic() - began
            for process in started:
                process.kill()
                process.wait()
            watch.end()
    texts = [log.read_text(errors="replace") for log in logs]
    for code, command, text in zip(codes, commands, texts, strict=True):
        if code:
            raise BrokenRunError(
                f"{' '.join(command.words)[:200]} ended with {code}: {text[-500:]}"
            )
    return Ran(seconds, _cpu_seconds() - had, watch.peaks, watch.quarters, texts)


def _cpu_seconds() -> float:
    """Return the processor time of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Watch:
    """Looks at processes and their children until `end`."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.peaks = [0 for _ in pids]
        self._course: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @property
    def quarters(self) -> Sequence[int]:
        looks = len(self._course)
        return [self._course[looks * part // 4] for part in (1, 2, 3)] if looks else []

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while self._pids and not self._ended.wait(LOOK_SECONDS):
            resident = [sum(map(_resident, _family(pid))) for pid in self._pids]
            self.peaks = [max(pair) for pair in zip(self.peaks, resident, strict=True)]
            self._course.append(sum(self.peaks))


def _family(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{each}", CHILDREN.format(each)).read_text()
            found += map(int, text.split())
    return found


def _resident(pid: int) -> int:
    """The bytes of a process that are resident; of what it shares with others its part only."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        match = re.search(r"^Pss:\s*(\d+)", text, re.MULTILINE)
        return int(match[1]) * 1024 if match else 0
    return 0


def touch_memory(size: int) -> None:
    """Has the machine give this much memory, so that nobody pays for it while time is taken."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE):
        pass
