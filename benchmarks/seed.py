"""Measure how fast the loader and its rivals load data sets to a file system with EFS's limits.

`python -m benchmarks.seed` takes about an hour, with --quick five minutes, and needs root.
"""

from __future__ import annotations

import argparse
import pathlib
import signal
import sys
import tempfile
from typing import NoReturn

from benchmarks import cases, check, contestants, origin, processes, results, shapes, slow_mount

RESULTS = pathlib.Path(__file__).parent / "results" / "seed.md"
# The data exist in the page cache, in the file system's memory, and on the local disk.
COPIES, MIN_MEMORY = 3, 2**28


def main() -> int:
    """Run the cases, print a table for each, and write the page of results."""
    arguments = _arguments()
    if reason := slow_mount.missing():
        print(f"skipped: {reason}")
        return 0
    signal.signal(signal.SIGTERM, _stop)
    measured: list[results.CaseResults] = []
    with tempfile.TemporaryDirectory(prefix="seed-") as directory:
        home = pathlib.Path(directory)
        (home / "served").mkdir()
        with origin.serving(home / "served") as url:
            for case in cases.CASES:
                if case.name in arguments.case:
                    measured.append(measure(case, home, url, arguments))
                    print(results.section(measured[-1]), flush=True)
    if arguments.results or len(measured) == len(cases.CASES):
        target = arguments.results or RESULTS
        target.parent.mkdir(exist_ok=True)
        target.write_text(results.page(measured, arguments.runs))
    return 0 if all(each.good for each in measured) else 1


def _stop(_number: int, _frame: object) -> NoReturn:
    """Exit in a way that also ends mounts and servers."""
    sys.exit(128 + signal.SIGTERM)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    names = [case.name for case in cases.CASES]
    parser.add_argument(
        "--case", action="append", choices=names, help="only this case; repeatable"
    )
    parser.add_argument(
        "--who", action="append", help="only contestants with this in the name; repeatable"
    )
    parser.add_argument("--runs", type=int, help="the number of runs of each (default: 3)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one run of {', '.join(cases.QUICK)}, without the contestants that take minutes",
    )
    parser.add_argument(
        "--results",
        type=pathlib.Path,
        help="the file for the results (default: results/seed.md, if all cases are measured)",
    )
    arguments = parser.parse_args()
    arguments.runs = arguments.runs or (1 if arguments.quick else 3)
    arguments.case = arguments.case or (cases.QUICK if arguments.quick else names)
    return arguments


def measure(
    case: cases.Case, home: pathlib.Path, url: str, arguments: argparse.Namespace
) -> results.CaseResults:
    """Measure a case.

    Args:
        case: The case.
        home: A directory, whose directory `served` the origin serves.
        url: The origin's URL.
        arguments: The parsed arguments: `who`, `quick` and `runs`.
    """
    data = case.make(home)
    measured = results.CaseResults(case, data.files, data.bytes)
    for each in case.contestants:
        if arguments.who and not any(word in each.name for word in arguments.who):
            continue
        if arguments.quick and each.once:
            continue
        if missing := each.missing():
            measured.absent[each.name] = missing
        else:
            measured.runs[each.name] = []
    # The contestants alternate, so that changes of the machine's speed affect all of them.
    for run in range(arguments.runs):
        for each in case.contestants:
            if each.name in measured.runs and not (run and each.once):
                measured.runs[each.name].append(_run_once(case, each, data, home, url))
    for path in (data.path, data.plain):
        if path:
            path.unlink()
    return measured


def _run_once(
    case: cases.Case,
    contestant: contestants.Contestant,
    data: shapes.ServedData,
    home: pathlib.Path,
    url: str,
) -> results.Run:
    with (
        # The additional mount has cached nothing, so it shows only what reached the server.
        slow_mount.mounted(
            case.read_seconds,
            case.write_seconds,
            nodes=[*contestant.nodes, max(contestant.nodes) + 1],
            limits=case.limits,
            ready_bytes=data.bytes,
        ) as slow,
        tempfile.TemporaryDirectory(dir=home) as local,
    ):
        _warm_up(data)
        base = f"{url}/{case.cap}"
        context = contestants.RunContext(slow.paths[:-1], pathlib.Path(local), base, data)
        try:
            slow.set_latencies(0, 0)
            contestant.prepare(context)
            slow.set_latencies(case.read_seconds, case.write_seconds)
            slow.reset()
            measurement = contestant.run(context)
            counters = slow.counters()
            slow.set_latencies(0, 0)
            root = slow.paths[-1] / contestant.root(context)
            check.check(root, {} if contestant.removes else data.expected)
        except processes.BrokenRunError as error:
            print(f"{case.name}, {contestant.name}: {error}", file=sys.stderr, flush=True)
            return results.Run(contestants.Measurement(0), None, broken=True)
    return results.Run(measurement, counters)


def _warm_up(data: shapes.ServedData) -> None:
    """Read the served files into the page cache, and make enough memory available."""
    for path in (data.path, data.plain):
        if path:
            with path.open("rb") as file:
                while file.read(2**24):
                    pass
    processes.touch_memory(max(MIN_MEMORY, COPIES * data.bytes))


if __name__ == "__main__":
    sys.exit(main())
