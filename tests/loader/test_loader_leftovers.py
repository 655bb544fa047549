"""Leftovers of loads on the volume, and their removal."""

from __future__ import annotations

import os
import pathlib
import signal

from datasets.loader.access import open_directory
from datasets.loader.base import tasks
from datasets.loader.store import byte_locks, load_directory, volume
from sandbox.servers import origin_server
from tests.loader import loader_rig


def wait_for_path(rig: loader_rig.Rig, pattern: str) -> pathlib.Path:
    """Wait for the one path of a pattern, and return it."""
    loader_rig.wait_until(lambda: list(rig.volume.rglob(pattern)))
    return next(iter(rig.volume.rglob(pattern)))


def published(rig: loader_rig.Rig, served: origin_server.Origin) -> str:
    """Publish a data set as version v; return its source."""
    source = served.put("old.tar", loader_rig.archive("tar", {"f": b"old"}))
    assert rig.load(source, request="v").code == 0
    return source


def test_a_pod_that_waited_removes_what_one_left_that_was_killed_when_it_had_published(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = loader_rig.archive("tar", {"f": b"1" * 100_000})
    source = served.put("set.tar", content, faults=origin_server.Faults(hold_after=50_000))
    parameters = {"request": "v", "indexes": 2}
    waiting = rig.start(source, **parameters)
    try:
        with wait_for_path(rig, ".load-*-v/lock").open("r+b") as lock:
            assert byte_locks.try_lock(lock.fileno(), load_directory.END)
            served.release()
            wait_for_path(rig, ".load-*-v/ledger")
            # Its shard is unlocked: only the step that needs the lock is left.
            loader_rig.wait_until(
                lambda: byte_locks.try_lock(lock.fileno(), load_directory.FIRST_SHARD)
            )
            byte_locks.unlock(lock.fileno(), load_directory.FIRST_SHARD)
            killed = rig.start(
                source,
                environ={"JOB_COMPLETION_INDEX": "1", "KILLED_BEFORE": ".trash-"},
                **parameters,
            )
            waiting.send_signal(signal.SIGSTOP)
            os.waitpid(waiting.pid, os.WUNTRACED)
        assert rig.wait(killed).code == -signal.SIGKILL
        assert rig.files() == {"f": b"1" * 100_000}
        assert any(name.startswith(".load-") for name in rig.kept_names())
        waiting.send_signal(signal.SIGCONT)
        assert rig.wait(waiting).result.existing
    finally:
        loader_rig.kill(waiting)
    assert rig.kept_names() == {"v", "v.json", "v.files"}


def test_a_pod_that_comes_late_leaves_a_load_alone_that_has_begun_since(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    old = published(rig, served)
    content = loader_rig.archive("tar", {"f": b"new", "g": b"2" * 100_000})
    new = served.put("new.tar", content, faults=origin_server.Faults(hold_after=50_000))
    pod = rig.start(new, request="w", overwrite=True)
    try:
        wait_for_path(rig, ".load-*-w/shard-0/owner")
        (rig.volume / "datasets/.versions/x/.trash-old").mkdir()
        assert rig.load(old, request="v").result.existing
        assert {name.partition("-")[0] for name in rig.kept_names()} == {
            "v",
            "v.json",
            "v.files",
            ".load",
        }
        served.release()
        run = rig.wait(pod)
    finally:
        loader_rig.kill(pod)
    assert run.code == 0
    assert run.log.count("preparing") == 1, "it was not begun anew"
    assert rig.files()["f"] == b"new"


def test_a_pod_that_comes_late_leaves_alone_what_a_loader_of_the_users_own_has_left(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    old = published(rig, served)
    assert rig.wait(rig.start("", verb="prepare", request="w")).code == 0
    wait_for_path(rig, ".custom-w/files").joinpath("f").write_bytes(b"new")
    assert rig.load(old, request="v").result.existing
    assert rig.load("", request="w", overwrite=True).code == 0
    assert rig.files() == {"f": b"new"}


def test_a_pod_that_comes_late_leaves_alone_what_is_just_being_published(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    old = published(rig, served)
    new = served.put("new.tar", loader_rig.archive("tar", {"f": b"new"}))
    parameters = {"request": "w", "overwrite": True}
    # The tree is in its place, but the link does not point to it yet.
    killed = rig.start(new, environ={"KILLED_BEFORE": "'link'"}, **parameters)
    assert rig.wait(killed).code == -signal.SIGKILL
    assert {"w", "w.json", "w.files"} < rig.kept_names()
    assert rig.load(old, request="v").result.existing
    assert rig.load(new, **parameters).code == 0
    assert rig.files() == {"f": b"new"}


def test_what_was_brought_in_vain_is_removed_by_its_own_load(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    for version in ("v", "w"):
        assert rig.wait(rig.start("", verb="prepare", request=version)).code == 0
        wait_for_path(rig, f".custom-{version}/files").joinpath("f").write_bytes(b"1")
        assert rig.load("", request=version).code == 0
    assert rig.kept_names() == {"v", "v.json", "v.files"}


def test_what_is_published_once_more_keeps_the_version_before_it(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    for version in ("v", "w"):
        source = served.put("set.tar", loader_rig.archive("tar", {"f": version.encode()}))
        rig.load(source, request=version, overwrite=True)
    stored = volume.StoredDataSet(str(rig.volume), "x")
    task = tasks.Task("x", "w", "")
    with stored.locked():
        current = stored.current()
        assert current
        assert current.result
        elsewhere = open_directory.open_root(str(rig.path))
        again = stored.publish(elsewhere, "gone", task, current.result)
        after = stored.current()
    assert after
    assert (after.version, after.previous) == ("w", "v")
    assert again.trash
    assert not again.trash.names
    assert rig.versions() == ["v", "w"]
