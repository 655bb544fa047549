"""What loads leave on the volume beside the data sets, and who removes it."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest

from datasets.loader import files, locks, place, spec, volume
from sandbox import origin
from tests.unit import loader_rig


def left(rig: loader_rig.Rig) -> set[str]:
    return {path.name for path in (rig.volume / "datasets/.versions/x").iterdir()}


def found(rig: loader_rig.Rig, pattern: str) -> pathlib.Path:
    """The one path of that pattern, as soon as it is there."""
    loader_rig.wait_for(lambda: list(rig.volume.rglob(pattern)))
    return next(iter(rig.volume.rglob(pattern)))


def test_a_pod_that_waited_removes_what_one_left_that_was_killed_when_it_had_published(
    rig: loader_rig.Rig, served: origin.Origin
):
    content = loader_rig.archive("tar", {"f": b"1" * 100_000})
    source = served.put("set.tar", content, faults=origin.Faults(hold_after=50_000))
    parameters = {"version": "v", "indexes": 2}
    waiting = rig.begin(source, **parameters)
    try:
        with found(rig, ".load-*-v/lock").open("r+b") as lock:
            assert locks.try_lock(lock.fileno(), place.END)
            served.release()
            assert found(rig, ".load-*-v/ledger")
            # It has let go of its shard: all that is left to do is what the lock is for.
            loader_rig.wait_for(lambda: locks.try_lock(lock.fileno(), place.FIRST_SHARD))
            locks.unlock(lock.fileno(), place.FIRST_SHARD)
            killed = rig.begin(
                source,
                environ={"JOB_COMPLETION_INDEX": "1", "KILLED_BEFORE": ".trash-"},
                **parameters,
            )
            waiting.send_signal(signal.SIGSTOP)
        assert rig.end(killed).code == -signal.SIGKILL
        assert rig.files() == {"f": b"1" * 100_000}
        assert any(name.startswith(".load-") for name in left(rig))
        waiting.send_signal(signal.SIGCONT)
        assert rig.end(waiting).result.existing
    finally:
        loader_rig.end_at_once(waiting)
    assert left(rig) == {"v", "v.json", "v.files"}


@pytest.mark.parametrize("begun", ["load", "given"])
def test_a_pod_that_comes_late_leaves_a_load_alone_that_has_begun_since(
    rig: loader_rig.Rig, served: origin.Origin, begun: str
):
    source = served.put("old.tar", loader_rig.archive("tar", {"f": b"old"}))
    rig.load(source, version="v")
    for name in (".trash-old", ".load-0a-u"):
        (rig.volume / "datasets/.versions/x" / name).mkdir()
    # A load that was begun anew elsewhere goes on no more.
    (rig.volume / "datasets/.versions/x/.load-0a-u" / place.SUPERSEDED).touch()
    parameters = {"version": "w", "overwrite": True}
    if begun == "given":
        assert rig.end(rig.begin("", verb="prepare", **parameters)).code == 0
        new = ""
        found(rig, ".given-w/files").joinpath("f").write_bytes(b"new")
    else:
        content = loader_rig.archive("tar", {"f": b"new", "g": b"2" * 100_000})
        new = served.put("new.tar", content, faults=origin.Faults(hold_after=50_000))
        pod = rig.begin(new, **parameters)
        assert found(rig, ".load-*-w/shard-0/owner")

    assert rig.load(source, version="v").result.existing
    assert len(left(rig)) == len({"v", "v.json", "v.files", "what has begun"})

    if begun == "given":
        run = rig.load(new, **parameters)
    else:
        served.release()
        run = rig.end(pod)
    assert run.code == 0
    assert run.log.count("preparing") == (begun == "load"), "it was not begun anew"
    assert rig.files()["f"] == b"new"


def test_what_is_published_once_more_keeps_the_version_before_it(
    rig: loader_rig.Rig, served: origin.Origin
):
    for version in ("v", "w"):
        source = served.put("set.tar", loader_rig.archive("tar", {"f": version.encode()}))
        rig.load(source, version=version, overwrite=True)
    slot = volume.Slot(rig.volume, "x")
    task = spec.Spec("x", "w", "")
    with slot.locked():
        current = slot.current()
        assert current
        assert current.result
        gone = rig.path / "gone"
        again = slot.publish(gone, gone, task, current.result)
        after = slot.current()
    assert after
    assert (after.version, after.previous) == ("w", "v")
    assert not again.litter
    assert rig.versions() == ["v", "w"]


def test_what_the_system_takes_in_small_pieces_is_written_whole(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    real = os.pwritev

    def short(descriptor: int, data: list[memoryview], position: int) -> int:
        return real(descriptor, [data[0][:3]], position)

    monkeypatch.setattr(os, "pwritev", short)
    descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    try:
        data = [memoryview(each) for each in (b"abcdefg", b"", b"hi", b"jklm")]
        assert files.write_all(descriptor, data, 2) == 13
    finally:
        os.close(descriptor)
    assert (tmp_path / "f").read_bytes() == b"\0\0abcdefghijklm"
