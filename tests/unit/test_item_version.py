"""The version of a source object, recorded by one attempt and compared by the next."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any, cast

import pytest

from datasets.loader.access import open_directory
from datasets.loader.base import failure, progress
from datasets.loader.http import remote_object
from datasets.loader.store import journal, load_directory
from datasets.loader.work import item_run, item_version, plan


class Source:
    """A source object of one version."""

    def __init__(self, validator: str) -> None:
        self.validator = validator

    def probe(self) -> None:
        pass


def source(validator: str) -> remote_object.RemoteObject:
    return cast("Any", Source(validator))


VERSION = journal.JournalLine(journal.VERSION, 3, text='"1"')


class Attempt:
    """An attempt at a shard that holds one item."""

    def __init__(self, home: pathlib.Path) -> None:
        self._home = open_directory.open_root(str(home))
        self.shard = load_directory.ShardAttempt(self._home, taken_over=False)
        self._journal = next(path.name for path in home.iterdir() if path.name != "owner")

    def run(self, kind: str) -> item_run.ItemRun:
        return item_run.ItemRun(
            3, plan.Item(kind), self.shard, counter=progress.Counter(), ended=lambda: None
        )

    def lines(self) -> list[journal.JournalLine]:
        return list(journal.read(self._home, [self._journal]))


@pytest.fixture
def attempt(tmp_path: pathlib.Path) -> Iterator[Attempt]:
    made = Attempt(tmp_path)
    yield made
    made.shard.journal.close()


def test_the_version_of_a_source_is_on_the_volume_before_its_files(attempt: Attempt):
    item_version.check(attempt.run(plan.SOURCE), source('"1"'))
    assert attempt.lines() == [VERSION]


def test_the_version_of_a_listed_file_is_recorded_with_the_next_flush(attempt: Attempt):
    item_version.check(attempt.run(plan.FILE), source('"1"'))
    attempt.shard.journal.flush()
    assert attempt.lines() == [VERSION]


def test_the_version_that_an_earlier_attempt_recorded_is_not_recorded_again(attempt: Attempt):
    attempt.shard.completed.add(VERSION)
    item_version.check(attempt.run(plan.SOURCE), source('"1"'))
    attempt.shard.journal.flush()
    assert attempt.lines() == []


def test_another_version_than_an_earlier_attempt_recorded_starts_over(attempt: Attempt):
    attempt.shard.completed.add(VERSION)
    with pytest.raises(failure.StartOver, match="has changed since"):
        item_version.check(attempt.run(plan.SOURCE), source('"2"'))


def test_an_object_without_a_version_cannot_be_resumed():
    item_version.check_resumable(source('"1"'))
    with pytest.raises(failure.StartOver):
        item_version.check_resumable(source(""))
