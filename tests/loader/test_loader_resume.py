"""Loads that are killed, interrupted or started over, and the next attempt."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from sandbox.servers import hub_server, origin_server
from tests.loader import loader_rig
from tests.loader.nested_rig import NESTED, UNPACKED, listed

Process = subprocess.Popen[str]
RANDOM = random.Random(12)


def test_a_pod_that_comes_late_leaves_what_was_published(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = served.put("set.tar", loader_rig.archive("tar", {"f": b"1"}))
    # Killed in the sweep: the load directory still exists.
    for change in itertools.count(1):
        rig.wait(rig.start(source, request="v", environ={"KILLED_BEFORE": str(change)}))
        if (rig.volume / "datasets/x").exists():
            break
        (rig.path / "volume").rename(rig.path / f"volume-{change}")
        rig.volume.mkdir()
    home = rig.volume / "datasets/.versions/x"
    assert list(home.glob(".load-*-v"))
    late = rig.load(source, request="v")
    assert late.result.existing
    assert rig.files() == {"f": b"1"}
    assert rig.run_verb("verify")[-1]["state"] == "verified"


def test_what_a_load_left_is_not_taken_for_another_one(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = served.put("set.tar", loader_rig.archive("tar", {"f": b"1"}))
    rig.load(source, request="v", overwrite=True)
    home = rig.volume / "datasets/.versions/x"
    record = json.loads((home / "v.json").read_text())
    for overwrite in ("w", "y"):
        # As if the sweep had not reached it.
        left = home / f".load-{record['fingerprint']}-v"
        left.mkdir(mode=0o700, exist_ok=True)
        result = rig.load(source, request=overwrite, overwrite=True).result
        assert (result.version, result.existing) == (overwrite, False)
        assert rig.versions() == ["v", "w"] if overwrite == "w" else ["w", "y"]
        assert rig.files() == {"f": b"1"}


def test_a_pod_killed_at_any_point_leaves_its_work_to_the_next(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = served.put("set.tar", NESTED, faults=origin_server.Faults(bytes_per_second=1_000_000))
    chance = random.Random(4)
    kills = 0
    for attempt in itertools.count():
        indexes = {"indexes": 2, "request": "v", "unpack": "recursive"}
        pods = [
            rig.start(source, environ={"JOB_COMPLETION_INDEX": str(index)}, **indexes)
            for index in range(2)
        ]
        time.sleep(chance.uniform(0.2, 0.6))
        alive = [pod for pod in pods if pod.poll() is None]
        if not alive or attempt == 12:
            assert all(rig.wait(pod).code == 0 for pod in pods)
            break
        for pod in alive:
            pod.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            kills += 1
        assert [pod.wait() for pod in alive]
        assert not (rig.volume / "datasets/x").exists() or rig.files() == UNPACKED
    assert kills >= 4
    assert rig.files() == UNPACKED
    assert rig.file_list() == listed(UNPACKED)


@pytest.mark.parametrize("archive_format", ["tar", "tar.gz", "zip"])
def test_one_archive_killed_twenty_times_is_whole_in_the_end(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    content = loader_rig.archive(archive_format, UNPACKED)
    # Slower than the start of the interpreter: each attempt gets a little further.
    source = served.put(
        f"set.{archive_format}", content, faults=origin_server.Faults(bytes_per_second=25_000_000)
    )
    chance = random.Random(archive_format)
    for _ in range(20 if archive_format == "tar" else 7):
        pod = rig.start(source, request="v")
        time.sleep(chance.uniform(0.15, 0.35))
        loader_rig.kill(pod)
    assert rig.load(source, request="v").code == 0
    assert rig.files() == UNPACKED
    assert rig.file_list() == listed(UNPACKED)


def test_a_continued_load_reports_the_files_of_earlier_attempts(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    files = {f"a{number}": RANDOM.randbytes(300_000) for number in range(8)}
    files["b"] = RANDOM.randbytes(2_000_000)
    inner = {
        f"{name}.tar": loader_rig.archive("tar", {"x": content, "y": b"y"})
        for name, content in files.items()
    }
    content = loader_rig.archive("tar", inner)
    # The large one stops in its middle until the first pod has ended.
    source = served.put("set.tar", content, faults=origin_server.Faults(hold_after=1_000_000))
    pod = rig.start(source, request="v", unpack="recursive")
    try:
        loader_rig.wait_until(lambda: list(rig.volume.rglob(".load-*-v/ledger")))
        loader_rig.wait_until(lambda: len(list(rig.volume.rglob("tree/*/x"))) == 8)
    finally:
        loader_rig.kill(pod)

    served.put("set.tar", content)
    run = rig.load(source, request="v", unpack="recursive")

    line = next(line for line in map(json.loads, run.log.splitlines()) if "verifying" in str(line))
    assert line["done"] == line["fetched"] == line["total"] == sum(map(len, inner.values()))
    assert line["files"] == run.result.files == 18
    assert line["bytes"] == run.result.bytes


@pytest.mark.parametrize("indexes", [1, 2])
def test_a_pod_killed_before_any_change_of_a_directory_is_continued(
    tmp_path: pathlib.Path, served: origin_server.Origin, indexes: int
):
    members = [
        loader_rig.entry("d/file", b"content"),
        loader_rig.link("hard", "d/file", hard=True),
        loader_rig.link("leads", "d/file"),
    ]
    source = served.put("set.tar", loader_rig.tar(members))
    parameters = {"request": "v", "indexes": indexes}
    for change in itertools.count(1):
        (tmp_path / str(change)).mkdir()
        rig = loader_rig.Rig(tmp_path / str(change))
        killed = rig.start(source, environ={"KILLED_BEFORE": str(change)}, **parameters)
        code = rig.wait(killed).code
        run = rig.load(source, **parameters)
        assert run.result.files == 2, change
        assert rig.files() == {"d/file": b"content", "hard": b"content", "leads": b"content"}
        assert rig.run_verb("verify")[-1]["state"] == "verified"
        assert rig.kept_names() == {"v", "v.json", "v.files", "v.verified"}, change
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert change > 10, "it was killed, and at the end it was not"


def test_a_file_that_has_to_be_fetched_again_is_published(
    rig: loader_rig.Rig,
):
    content = RANDOM.randbytes(6_000_000)
    with hub_server.Hub.start() as served:
        # Without a validator a broken transfer cannot be resumed.
        fault = origin_server.Faults(validators=False, ranges=False, drop_after=5_000_000)
        served.put("org/name", {"a.bin": content}, faults={"a.bin": fault})
        run = rig.load("hf://datasets/org/name", hub=served.url)
    assert run.result.files == 1
    assert rig.files() == {"a.bin": content}


def test_what_is_there_when_credentials_expire_is_not_fetched_again(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    late = origin_server.Faults(status=403, delay_seconds=0.5)
    one = served.put("one.bin", b"1" * 100_000)
    two = served.put("two.bin", b"2", faults=late)
    run = rig.load(f"{one} {two}", request="v")
    assert run.code == 1
    assert "answers 403" in run.error
    served.put("two.bin", b"2")
    assert rig.load(f"{one} {two}", request="v").result.files == 2
    assert [request.target for request in served.requests].count("/one.bin") == 1


@pytest.fixture
def half_done(rig: loader_rig.Rig, served: origin_server.Origin) -> Iterator[tuple[str, Process]]:
    """Return a source of UNPACKED, and a load of version v that waits for the rest of it."""
    content = loader_rig.archive("tar", UNPACKED)
    source = served.put(
        "set.tar", content, faults=origin_server.Faults(hold_after=len(content) // 2)
    )
    pod = rig.start(source, request="v")
    try:
        loader_rig.wait_until(lambda: list(rig.volume.rglob("tree/n03/*.jpg")))
        yield source, pod
    finally:
        loader_rig.kill(pod)


def test_a_process_that_is_killed_ends_the_pod_with_a_reason_and_the_next_one_continues(
    rig: loader_rig.Rig, served: origin_server.Origin, half_done: tuple[str, Process]
):
    source, pod = half_done
    os.kill(loader_rig.children(pod.pid)[0], signal.SIGKILL)
    run = rig.wait(pod)
    assert run.code == 75, "another pod may do it at once"
    assert (
        "a process of the loader was killed, probably because the node is out of mem" in run.error
    )
    served.put("set.tar", loader_rig.archive("tar", UNPACKED))
    assert rig.load(source, request="v").code == 0
    assert rig.files() == UNPACKED


def test_when_the_loader_is_killed_none_of_its_processes_continues(
    half_done: tuple[str, Process],
):
    _, pod = half_done
    workers = loader_rig.children(pod.pid)
    assert workers
    pod.kill()
    pod.wait()
    loader_rig.wait_until(
        lambda: not any(pathlib.Path(f"/proc/{each}/exe").exists() for each in workers)
    )


def test_a_journal_that_cannot_be_written_is_not_reported_as_a_killed_process(
    rig: loader_rig.Rig, half_done: tuple[str, Process]
):
    _, pod = half_done
    # Only the loader's own process writes the journal; the others write files.
    resource.prlimit(pod.pid, resource.RLIMIT_FSIZE, (8192, 8192))
    run = rig.wait(pod)
    assert run.code == 75
    assert "the volume failed at" in run.error
    assert "File too large" in run.error


def test_another_attempt_does_not_mix_two_versions_of_a_source(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    old = {f"{number}": b"old" * 9000 for number in range(100)}
    new = {f"{number}": b"new" * 9000 for number in range(0, 200, 2)}
    slow = origin_server.Faults(hold_after=1_500_000)
    source = served.put("set.tar", loader_rig.archive("tar", old), faults=slow)
    pod = rig.start(source, request="v")
    loader_rig.wait_until(lambda: list(rig.volume.rglob("tree/3")))
    loader_rig.kill(pod)
    served.put("set.tar", loader_rig.archive("tar", new))
    assert rig.load(source, request="v").code == 0
    assert rig.files() == new
    assert rig.file_list() == listed(new)
