"""Retries of an item whose source object changes while it is read."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

import pytest

from datasets.loader.access import open_directory
from datasets.loader.base import failure, progress
from datasets.loader.store import journal, load_directory
from datasets.loader.work import item_retry, item_run, plan

URL = "https://example.org/a?signature=secret"
FILE = plan.Item(plan.FILE, url=URL, path="a")


class Fetch:
    """A fetch that meets one change of its source object after the other, then succeeds."""

    def __init__(self, *reasons: str) -> None:
        self._reasons = list(reasons)
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self._reasons:
            raise failure.StartOver(self._reasons.pop(0))


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Iterator[Callable[..., item_run.ItemRun]]:
    attempt = load_directory.ShardAttempt(
        open_directory.open_root(str(tmp_path)), taken_over=False
    )

    def new(item: plan.Item, lines: Sequence[journal.JournalLine] = ()) -> item_run.ItemRun:
        for line in lines:
            attempt.completed.add(line)
        return item_run.ItemRun(0, item, attempt, counter=progress.Counter(), ended=lambda: None)

    yield new
    attempt.journal.close()


@pytest.mark.parametrize("kind", [plan.FILE, plan.SOURCE])
@pytest.mark.parametrize("reason", ["has changed", ""])
def test_an_object_that_changed_is_fetched_again(run, reason: str, kind: str):
    fetch = Fetch(reason)
    item_retry.load(run(dataclasses.replace(FILE, kind=kind)), URL, fetch)
    assert fetch.calls == 2


@pytest.mark.parametrize("reason", ["has changed", ""])
def test_an_object_that_always_changes_fails_without_its_signature(run, reason: str):
    fetch = Fetch(*[reason] * 9)
    with pytest.raises(failure.Failure, match=rf"/a\?\.\.\. {reason or 'changed'}, 5 times"):
        item_retry.load(run(FILE), URL, fetch)
    assert fetch.calls == item_retry.MOST_ATTEMPTS


@pytest.mark.parametrize(
    "item",
    [
        plan.Item(plan.SOURCE, source=0, validator='"1"'),
        plan.Item(plan.PART, url=URL, path="a", validator='"1"', end=9),
        plan.Item(plan.FILE, url=URL, path="a", validator='"1"'),
    ],
)
def test_what_other_items_depend_on_starts_the_whole_load_over(run, item: plan.Item):
    fetch = Fetch("has changed")
    with pytest.raises(failure.StartOver):
        item_retry.load(run(item), URL, fetch)
    assert fetch.calls == 1


def test_a_file_that_an_earlier_attempt_began_starts_the_whole_load_over(run):
    position = journal.JournalLine(journal.POSITION, 0, 5)
    with pytest.raises(failure.StartOver):
        item_retry.load(run(FILE, [position]), URL, Fetch("has changed"))


@pytest.mark.parametrize("kind", [plan.FILE, plan.SOURCE])
def test_an_object_of_which_something_is_written_starts_the_whole_load_over(run, kind: str):
    begun = run(plan.Item(kind, url=URL, path="a"))

    def fetch() -> None:
        begun.record(journal.LINK, 0, "a/l", text="x")
        raise failure.StartOver("has changed")

    with pytest.raises(failure.StartOver):
        item_retry.load(begun, URL, fetch)


def test_a_failure_is_not_tried_again(run):
    calls: list[int] = []

    def fetch() -> None:
        calls.append(1)
        raise failure.Failure("no")

    with pytest.raises(failure.Failure, match=r"^no$"):
        item_retry.load(run(FILE), URL, fetch)
    assert len(calls) == 1
