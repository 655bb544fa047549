"""Measure how fast data sets come onto a file system with EFS's latencies, ours and others' way.

`python -m benchmarks.seed` takes an hour and a quarter, as root; --case picks what is measured.
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
# Beside the data: in the page cache, in the file system's memory, and on the local disk.
COPIES, LEAST_MEMORY = 3, 2**28


def main() -> int:
    """Measure, print a table for each case, and write the page of results."""
    arguments = _arguments()
    if reason := slow_mount.missing():
        print(f"skipped: {reason}")
        return 0
    signal.signal(signal.SIGTERM, _stop)
    measured: list[results.Measured] = []
    with tempfile.TemporaryDirectory(prefix="seed-") as directory:
        home = pathlib.Path(directory)
        (home / "served").mkdir()
        with origin.serving(home / "served") as url:
            for case in cases.CASES:
                if not arguments.case or case.name in arguments.case:
                    measured.append(_measure(case, home, url, arguments))
                    print(results.section(measured[-1]), flush=True)
    if arguments.results or not arguments.case:
        target = arguments.results or RESULTS
        target.parent.mkdir(exist_ok=True)
        target.write_text(results.page(measured, arguments.runs))
    return 0 if all(each.good for each in measured) else 1


def _stop(_number: int, _frame: object) -> NoReturn:
    """Exit so that mounts and servers are ended, too."""
    sys.exit(128 + signal.SIGTERM)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seed", description=__doc__)
    names = [case.name for case in cases.CASES]
    parser.add_argument("--case", action="append", choices=names, help="only this one; repeatable")
    parser.add_argument("--who", action="append", help="only who has this in the name; repeatable")
    parser.add_argument("--runs", type=int, default=3, help="how often each runs (default: 3)")
    parser.add_argument(
        "--results",
        type=pathlib.Path,
        help="where the tables are written (default: results/seed.md, if all cases are measured)",
    )
    return parser.parse_args()


def _measure(
    case: cases.Case, home: pathlib.Path, url: str, arguments: argparse.Namespace
) -> results.Measured:
    made = case.make(home)
    measured = results.Measured(case, made.files, made.bytes)
    for each in case.contestants:
        if arguments.who and not any(word in each.name for word in arguments.who):
            continue
        if missing := each.missing():
            measured.absent[each.name] = missing
        else:
            measured.runs[each.name] = []
    # All in turn, so that what the machine does meanwhile is no one's advantage.
    for _ in range(arguments.runs):
        for each in case.contestants:
            if each.name in measured.runs:
                measured.runs[each.name].append(_once(case, each, made, home, url))
    for path in (made.path, made.plain):
        if path:
            path.unlink()
    return measured


def _once(
    case: cases.Case,
    who: contestants.Contestant,
    made: shapes.Made,
    home: pathlib.Path,
    url: str,
) -> results.Run:
    with (
        # One mount more: it has cached nothing, so all that it shows came to the server.
        slow_mount.mounted(
            case.read_seconds, case.write_seconds, mounts=who.pods + 1, ready_bytes=made.bytes
        ) as slow,
        tempfile.TemporaryDirectory(dir=home) as local,
    ):
        _warm(made)
        scene = contestants.Scene(slow.paths[:-1], pathlib.Path(local), f"{url}/{case.cap}", made)
        slow.reset()
        try:
            took = who.run(scene)
            counted = slow.counters()
            slow.set_latencies(0, 0)
            check.check(slow.paths[-1] / who.root(scene), made.expected)
        except processes.BrokenRunError as trouble:
            print(f"{case.name}, {who.name}: {trouble}", file=sys.stderr, flush=True)
            return results.Run(contestants.Took(0), None, broken=True)
    return results.Run(took, counted)


def _warm(made: shapes.Made) -> None:
    """Read the served files into memory, and have enough free memory ready."""
    for path in (made.path, made.plain):
        if path:
            with path.open("rb") as data:
                while data.read(2**24):
                    pass
    processes.touch_memory(max(LEAST_MEMORY, COPIES * made.bytes))


if __name__ == "__main__":
    sys.exit(main())
