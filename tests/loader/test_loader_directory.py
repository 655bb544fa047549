"""Two pods of one index: a lost node may come back, and its pod may continue."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from datasets.loader.access import open_directory
from datasets.loader.base import failure
from datasets.loader.store import journal, load_directory

Pod = Callable[[], load_directory.LoadDirectory]


@pytest.fixture
def pod(tmp_path: pathlib.Path) -> Iterator[Pod]:
    """Return a function that opens one load directory for another pod."""
    with contextlib.ExitStack() as stack:

        def pod() -> load_directory.LoadDirectory:
            home = open_directory.open_root(str(tmp_path))
            return stack.enter_context(
                contextlib.closing(load_directory.LoadDirectory(home, "load", "v"))
            )

        (tmp_path / "load").mkdir(mode=0o700)

        yield pod


def begun(where: load_directory.LoadDirectory, shard: int = 0) -> load_directory.ShardAttempt:
    attempt = where.begin_attempt(shard)
    assert attempt
    return attempt


def finished(shard: int) -> load_directory.FinishedShard:
    return load_directory.FinishedShard(shard, pod=0, fetched=3, files=1, bytes=3)


def test_a_pod_whose_work_was_taken_over_cannot_end_it(pod: Pod) -> None:
    lost, next_one = pod(), pod()
    before = begun(lost)
    before.journal.add(journal.JournalLine(journal.FILE, 0, 0, "a", 3))
    before.journal.flush()
    after = begun(next_one)
    assert after.completed.has(0, 0)

    with pytest.raises(failure.Later, match="another pod has taken over this work"):
        lost.record_finished([(before, finished(0))])
    with pytest.raises(failure.Later, match="another pod has taken over this work"):
        before.fence()
    assert not next_one.finished_shards()

    for attempt in (before, after):
        attempt.journal.close()
    next_one.record_finished([(after, finished(0))])
    assert list(lost.read_ledger()) == [finished(0)]


def test_what_a_pod_ended_is_not_taken_over(pod: Pod) -> None:
    first, second = pod(), pod()
    attempt = begun(first)
    attempt.journal.close()
    first.record_finished([(attempt, finished(0))])
    assert second.begin_attempt(0) is None
    assert second.journals(1) == first.journals(1)


def test_what_was_cut_off_in_the_ledger_is_no_line(pod: Pod) -> None:
    where = pod()
    for shard in range(2):
        attempt = begun(where, shard)
        attempt.journal.close()
        load_directory.append(where.directory, "ledger", b"[7, 0, 1")
        where.record_finished([(attempt, finished(shard))])
    assert where.finished_shards() == {0, 1}


@pytest.mark.parametrize(
    "byte", [load_directory.PLAN, load_directory.END, load_directory.FIRST_SHARD + 5000]
)
def test_a_pod_is_not_alone_as_long_as_another_one_works(
    pod: Pod, tmp_path: pathlib.Path, byte: int
) -> None:
    where = pod()
    assert where.try_lock(load_directory.FIRST_SHARD)
    holding = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b');"
        "fcntl.lockf(file, fcntl.LOCK_EX, 1, int(sys.argv[2])); print(flush=True); input()"
    )
    command = [sys.executable, "-c", holding, str(tmp_path / "load/lock"), str(byte)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline()
        assert not where.is_alone()
        other.kill()
    assert where.is_alone()


def test_what_is_where_it_is_published_was_begun(pod: Pod, tmp_path: pathlib.Path) -> None:
    where = pod()
    assert not where.has_files()
    (tmp_path / "load/tree").rename(tmp_path / "published")
    assert where.has_files()


def test_a_pod_whose_load_is_published_and_removed_looks_again(
    pod: Pod, tmp_path: pathlib.Path
) -> None:
    lost, next_one = pod(), pod()
    before, after = begun(lost), begun(next_one)
    for attempt in (before, after):
        attempt.journal.close()
    (tmp_path / "load").rename(tmp_path / ".trash-load")
    with pytest.raises(load_directory.LoadGone):
        lost.check()
    with pytest.raises(load_directory.LoadGone):
        lost.record_finished([(before, finished(0))])
