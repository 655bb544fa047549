"""Two pods of one index: a node that was lost may come back, and its pod go on."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import pytest

from datasets.loader import failure, journal, place

Pod = Callable[[], place.Place]


@pytest.fixture
def pod(tmp_path: pathlib.Path) -> Iterator[Pod]:
    """Makes pods' views of one load."""
    with contextlib.ExitStack() as stack:

        def pod() -> place.Place:
            return stack.enter_context(contextlib.closing(place.Place(tmp_path, "v")))

        yield pod


def begun(where: place.Place, shard: int = 0) -> place.Attempt:
    attempt = where.attempt(shard)
    assert attempt
    return attempt


def finished(shard: int) -> place.Finished:
    return place.Finished(shard, pod=0, fetched=3, files=1, bytes=3)


def test_a_pod_whose_work_was_taken_over_can_not_end_it(pod: Pod) -> None:
    lost, next_one = pod(), pod()
    before = begun(lost)
    before.journal.add(journal.Line(journal.FILE, 0, 0, "a", 3))
    before.journal.flush()
    after = begun(next_one)
    assert after.done.has(0, 0)

    with pytest.raises(failure.Later, match="another pod has taken this work over"):
        lost.finish([(before, finished(0))])
    with pytest.raises(failure.Later, match="another pod has taken this work over"):
        before.fence()
    assert not next_one.finished()

    for attempt in (before, after):
        attempt.journal.close()
    next_one.finish([(after, finished(0))])
    assert list(lost.ledger()) == [finished(0)]


def test_what_a_pod_ended_is_not_taken_over(pod: Pod) -> None:
    first, second = pod(), pod()
    attempt = begun(first)
    attempt.journal.close()
    first.finish([(attempt, finished(0))])
    assert second.attempt(0) is None
    assert second.journals(1) == first.journals(1)


def test_what_was_cut_off_in_the_ledger_is_no_line(pod: Pod) -> None:
    where = pod()
    for shard in range(2):
        attempt = begun(where, shard)
        attempt.journal.close()
        place.append(where.path / "ledger", b"[7, 0, 1")
        where.finish([(attempt, finished(shard))])
    assert where.finished() == {0, 1}
