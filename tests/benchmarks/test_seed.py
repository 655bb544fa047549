"""The benchmark of data sets, on tiny ones: the work is checked, and goals are judged."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
from typing import Any

import pytest

from benchmarks import (
    cases,
    check,
    contestants,
    lineups,
    origin,
    processes,
    results,
    seed,
    shapes,
    slow_mount,
)

TINY = shapes.even(30, 3, 100, 5000)
ONE_RUN = argparse.Namespace(runs=1, who=None, quick=True)


def tree(archive: str, members: list[contestants.Contestant], **changes: Any) -> cases.Case:
    make = functools.partial(shapes.packed, name="tiny", archive=archive, shape=TINY, seed=1)
    return cases.Case("tiny", "a tiny tree", make, members, **changes)


def one_file(members: list[contestants.Contestant]) -> cases.Case:
    make = functools.partial(shapes.single, name="tiny", size=3_000_000, seed=1)
    return cases.Case("tiny", "a file", make, members)


def measured(case: cases.Case, home: pathlib.Path) -> results.CaseResults:
    (home / "served").mkdir()
    with origin.serving(home / "served") as url:
        return seed.measure(case, home, url, ONE_RUN)


@pytest.mark.skipif(bool(slow_mount.missing()), reason=slow_mount.missing())
@pytest.mark.parametrize(
    "case",
    [
        tree("tar", lineups.for_tree("tar")),
        tree("tar.gz", [contestants.OurLoader()]),
        tree("nested", lineups.for_archives()),
        tree("nested", lineups.for_pods("recursive")[:2], max_share=1000),
        tree("nested", lineups.for_one_node("recursive")[:2]),
        tree("tar", lineups.for_verification()),
        tree("tar", lineups.for_removal()),
        one_file(lineups.for_verification()),
        one_file(lineups.for_plain_file()),
    ],
)
def test_each_contestant_leaves_what_is_expected_under_the_limits(
    case: cases.Case, tmp_path: pathlib.Path
):
    result = measured(case, tmp_path)
    assert result.good
    ran = [each.name for each in case.contestants if not each.once and not each.missing()]
    assert list(result.runs) == ran
    for name in ran:
        [run] = result.runs[name]
        assert run.counters
        assert 0 < run.counters.largest <= case.limits.slots
    assert "NOT reached" not in results.section(result)


@dataclasses.dataclass(frozen=True)
class Idler(contestants.Contestant):
    """A contestant that does nothing."""

    name: str = "idler"
    pretends: bool = False

    @property
    def removes(self) -> bool:
        return self.pretends

    def prepare(self, context: contestants.RunContext) -> None:
        if self.removes:
            contestants.IdealWriter().run(context)

    def run(self, context: contestants.RunContext) -> contestants.Measurement:
        return contestants.Measurement(0.1)


@pytest.mark.skipif(bool(slow_mount.missing()), reason=slow_mount.missing())
@pytest.mark.parametrize("pretends", [False, True])
def test_a_contestant_that_did_not_do_the_work_is_not_measured(
    pretends: bool, tmp_path: pathlib.Path
):
    result = measured(tree("tar", [Idler(pretends=pretends)]), tmp_path)
    assert not result.good
    assert "1 of 1 runs failed" in results.section(result)


def test_an_absent_tree_is_told_from_an_empty_one(tmp_path: pathlib.Path):
    check.check(tmp_path / "absent", {})
    with pytest.raises(processes.BrokenRunError, match="1 files are missing"):
        check.check(tmp_path / "absent", {"file": shapes.ExpectedFile(0, "")})
    (tmp_path / "left").touch()
    with pytest.raises(processes.BrokenRunError, match="left"):
        check.check(tmp_path, {})


def counters(*by_node: int) -> slow_mount.Counters:
    return slow_mount.Counters(1, 64, 3, 0, 9, {}, by_node)


def result_of(seconds: float, *by_node: int, **changes: Any) -> results.CaseResults:
    who = contestants.OurLoader(nodes=range(len(by_node)))
    case = tree("tar", [who], **changes)
    run = results.Run(contestants.Measurement(seconds), counters(*by_node))
    return results.CaseResults(case, 1000, 500 * 2**20, {who.name: [run]})


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        (cases.RateGoal(500, "files"), "handles 500 files a second; goal 500: reached"),
        (cases.RateGoal(501, "files"), "handles 500 files a second; goal 501: NOT reached"),
        (cases.RateGoal(250, "MiB"), "handles 250 MiB a second; goal 250: reached"),
        (cases.RateGoal(251, "MiB"), "handles 250 MiB a second; goal 251: NOT reached"),
    ],
)
def test_a_rate_is_judged(goal: cases.RateGoal, text: str):
    assert f"the loader {text}" in results.section(result_of(2, 1, goals=[goal]))


@pytest.mark.parametrize(
    ("by_node", "text"),
    [
        ((150, 100), "1.50 times as many requests as the least busy; goal 1.5: reached"),
        ((100, 151, 110), "1.51 times as many requests as the least busy; goal 1.5: NOT reached"),
        ((151, 0), "151.00 times as many requests as the least busy; goal 1.5: NOT reached"),
    ],
)
def test_the_shares_of_the_nodes_are_judged(by_node: tuple[int, ...], text: str):
    assert text in results.section(result_of(2, *by_node, max_share=1.5))


def test_a_table_names_the_limits_under_which_it_was_measured():
    text = results.section(result_of(2, 1, limits=cases.SCALED))
    assert "4 slots and 500 MiB/s a node; 6,600 writes and 250,000 reads a second" in text
    free = results.section(result_of(2, 1, read_seconds=0, write_seconds=0))
    assert "no delay, and so no limit" in free


def test_what_takes_minutes_is_left_out_of_quick_runs():
    quick = [case for case in cases.CASES if case.name in cases.QUICK]
    once = [each.name for case in quick for each in case.contestants if each.once]
    assert "curl | tar x" in once
    assert contestants.OURS not in once
