"""Format the measurements: a table for each case, and a page that also describes the machine."""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import cases, contestants, interpreter, slow_mount

MIB = 2**20
TOOLS = {
    "curl": ["curl", "--version"],
    "tar": ["tar", "--version"],
    "cp": ["cp", "--version"],
    "unzip": ["unzip", "-v"],
    "aria2c": ["aria2c", "--version"],
    "rclone": ["rclone", "version"],
    "cc": ["cc", "--version"],
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A run with the file system's counters."""

    measurement: contestants.Measurement
    counters: slow_mount.Counters | None
    broken: bool = False


@dataclasses.dataclass(frozen=True)
class CaseResults:
    """All runs of a case."""

    case: cases.Case
    files: int
    bytes: int
    runs: dict[str, list[Run]] = dataclasses.field(default_factory=dict[str, list[Run]])
    absent: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def good(self) -> bool:
        """Return whether no run was broken."""
        return not any(run.broken for runs in self.runs.values() for run in runs)

    def successful(self, name: str) -> list[Run]:
        """Return the successful runs of a contestant."""
        return [run for run in self.runs.get(name, []) if not run.broken]

    def median(self, name: str) -> float:
        """Return the median duration of a contestant; 0 without a successful run."""
        runs = self.successful(name)
        return statistics.median(run.measurement.seconds for run in runs) if runs else 0

    @property
    def best_rival(self) -> str:
        """Return the name of the fastest rival; empty if there is none."""
        rivals = [
            each.name
            for each in self.case.contestants
            if isinstance(each, contestants.Rival) and self.successful(each.name)
        ]
        return min(rivals, key=self.median, default="")


def section(measured: CaseResults) -> str:
    """Return the table and goals of a case."""
    case = measured.case
    size = f"{measured.files:,} files, {measured.bytes / MIB:,.0f} MiB"
    lines = [
        f"### {case.name}",
        "",
        f"{case.title} ({size}; {_limits(case)}).",
        "",
        "| who | min | median | max | the loader is | CPU | slots: mean | largest | waiting |"
        " trips | peak MiB | |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_row(measured, name) for name in measured.runs),
        *(
            f"| {_cell(name)} | not measured: {tool} is missing |"
            for name, tool in measured.absent.items()
        ),
        "",
        *(f"- {line}" for line in _goals(measured)),
        "",
    ]
    return "\n".join(lines)


def _limits(case: cases.Case) -> str:
    if not case.write_seconds:
        return "no delay, and so no limit"
    limits = case.limits
    return (
        f"{case.read_seconds * 1e3:g} ms a read, {case.write_seconds * 1e3:g} ms a write;"
        f" {limits.slots} slots and {limits.node_bytes / MIB:,.0f} MiB/s a node;"
        f" {limits.write_operations:,} writes and {limits.read_operations:,} reads a second"
    )


def _row(measured: CaseResults, name: str) -> str:
    runs = measured.successful(name)
    failed = len(measured.runs[name]) - len(runs)
    remark = f"{failed} of {len(measured.runs[name])} runs failed" if failed else ""
    if not runs:
        return f"| {_cell(name)} | | | | | | | | | | | {remark} |"
    seconds = [run.measurement.seconds for run in runs]
    middle = min(runs, key=lambda run: abs(run.measurement.seconds - statistics.median(seconds)))
    ours = measured.median(contestants.OURS)
    ratio = f"{measured.median(name) / ours:.2f}x" if ours and name != contestants.OURS else ""
    counters = middle.counters
    peak = max(run.measurement.peak for run in runs)
    cells = [
        _cell(name),
        *(f"{value:.2f}" for value in (min(seconds), statistics.median(seconds), max(seconds))),
        ratio,
        f"{middle.measurement.cpu_seconds:.1f}",
        f"{counters.mean:.1f}" if counters else "",
        str(max(run.counters.largest for run in runs if run.counters)),
        f"{counters.waiting:.1f}" if counters else "",
        f"{counters.held:,}" if counters else "",
        f"{peak / MIB:.0f}" if peak else "",
        remark or middle.measurement.remark,
    ]
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _goals(measured: CaseResults) -> list[str]:
    lines: list[str] = []
    for goal in measured.case.goals:
        if isinstance(goal, cases.RateGoal):
            lines += _rate(measured, goal)
            continue
        than = goal.than or measured.best_rival
        ours, other = measured.median(goal.who), measured.median(than)
        if ours and other:
            reached = other / ours
            verdict = "reached" if reached >= goal.factor else "NOT reached"
            lines.append(
                f"{goal.who} is {reached:.2f} times as fast as {than};"
                f" goal {goal.factor:g}: {verdict}"
            )
    return lines + _shares(measured) + _memory(measured)


def _rate(measured: CaseResults, goal: cases.RateGoal) -> list[str]:
    seconds = measured.median(goal.who)
    if not seconds:
        return []
    reached = (measured.files if goal.unit == "files" else measured.bytes / MIB) / seconds
    verdict = "reached" if reached >= goal.least else "NOT reached"
    return [
        f"{goal.who} handles {reached:,.0f} {goal.unit} a second;"
        f" goal {goal.least:,.0f}: {verdict}"
    ]


def _shares(measured: CaseResults) -> list[str]:
    lines: list[str] = []
    for each in measured.case.contestants if measured.case.max_share else ():
        nodes = len(set(each.nodes))
        shares = [
            max(run.counters.by_node[:nodes]) / max(1, min(run.counters.by_node[:nodes]))
            for run in measured.successful(each.name)
            if run.counters
        ]
        if shares and nodes > 1:
            verdict = "reached" if max(shares) <= measured.case.max_share else "NOT reached"
            lines.append(
                f"{each.name}: the busiest node made {max(shares):.2f} times as many requests as"
                f" the least busy; goal {measured.case.max_share:g}: {verdict}"
            )
    return lines


def _memory(measured: CaseResults) -> list[str]:
    lines: list[str] = []
    for each in measured.case.contestants:
        runs = measured.successful(each.name)
        if isinstance(each, contestants.OurProgram) and runs:
            top = max(runs, key=lambda run: run.measurement.peak)
            peak = top.measurement.peak / each.pods
            quarters = ", ".join(
                f"{value / each.pods / MIB:.0f}" for value in top.measurement.quarters
            )
            verdict = "reached" if peak <= measured.case.max_memory else "NOT reached"
            lines.append(
                f"{each.name}: at most {peak / MIB:.0f} MiB resident a pod (after each quarter of"
                f" the time {quarters}); goal {measured.case.max_memory // MIB}: {verdict}"
            )
    return lines


def page(measured: Sequence[CaseResults], runs: int) -> str:
    """Return the page with all cases."""
    command = " ".join(["python -m benchmarks.seed", *sys.argv[1:]])
    return "\n".join(
        [
            "# Data sets: the loader, what a user would do instead, and the ideal",
            "",
            f"{datetime.date.today().isoformat()}, by `{command}`, {runs} runs each, in turn."
            " Seconds; every tree and file was compared with what was made, byte for byte."
            " CPU: seconds of the processors that its own processes took, without the origin's"
            " and the file system's. Slots: requests under way, their mean on all nodes and the"
            " largest number on one; waiting: the mean number of requests that waited for a slot."
            " What takes minutes runs once. [The limits](../../docs/explanation/limits.md) of each"
            " case are in its title.",
            "",
            *(f"- {line}" for line in _machine()),
            "",
            *(section(each) for each in measured),
            "## What the others ran",
            "",
            *_scripts(measured),
            "",
        ]
    )


def _machine() -> list[str]:
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        f"machine: {os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}),"
        f" {memory / 2**30:.0f} GiB of memory, Linux {platform.release()}; they are shared by the"
        " loader, the origin and the file system",
        f"load average at the end: {os.getloadavg()[2]:.1f} (15 minutes)",
        f"loader: {interpreter.version()}, the system's own or what {interpreter.OVERRIDE} names",
        "tools: " + ", ".join(f"{name} {_version(words)}" for name, words in TOOLS.items()),
    ]


def _version(words: Sequence[str]) -> str:
    try:
        text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return "missing"
    match = re.search(r"\d+\.\d[\w.]*", text)
    return match[0] if match else "unknown"


def _scripts(measured: Sequence[CaseResults]) -> list[str]:
    seen: dict[str, str] = {}
    for each in measured:
        for who in each.case.contestants:
            if who.script:
                seen.setdefault(f"{each.case.name}: {who.name}", who.script)
    first = {script: name for name, script in reversed(seen.items())}
    return [f"- {name}: `{script}`" for script, name in reversed(first.items())]
