"""The versions of a data set that are on the volume, and the return to one of them."""

from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig, stranger_rig

OLD, NEW = {"f": b"old", "d/g": b"1"}, {"f": b"new"}


def publish(
    rig: loader_rig.Rig, served: origin_server.Origin, version: str, **files: bytes
) -> str:
    """Publish a version, and return its source."""
    content = loader_rig.archive("tar", files)
    source = served.put(f"{version}.tar", content)
    more: dict[str, Any] = {"overwrite": True} if (rig.volume / "datasets/x").exists() else {}
    assert rig.load(source, request=version, **more).result.version == version
    return source


def publish_both(rig: loader_rig.Rig, served: origin_server.Origin) -> tuple[str, str]:
    """Publish v, then w in its place; return their sources."""
    return publish(rig, served, "v", **OLD), publish(rig, served, "w", **NEW)


def listed(rig: loader_rig.Rig) -> list[dict[str, Any]]:
    *lines, last = rig.run_verb("versions")
    assert (last["state"], last["count"]) == ("inventoried", len(lines))
    return lines


def states(rig: loader_rig.Rig) -> dict[str, str]:
    return {line["version"]: line["dataset"] for line in listed(rig)}


# --- which ones there are


def test_the_versions_are_told_with_all_that_is_known_of_them(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    began = time.time()
    old = publish(rig, served, "v", **OLD)
    new = served.put("w.tar", loader_rig.archive("tar", NEW))
    signed = f"{new}?{loader_rig.SIGNED}"
    assert rig.load(signed, request="w", overwrite=True).code == 0
    assert rig.run_verb("verify")[-1]["state"] == "verified"

    second, first = listed(rig)

    assert (second["version"], second["dataset"]) == ("w", "published")
    assert (first["version"], first["dataset"]) == ("v", "kept")
    assert (second["files"], second["bytes"]) == (1, 3)
    assert (first["files"], first["bytes"]) == (2, 4)
    assert (second["source"], first["source"]) == (f"{new}?...", old)
    assert began - 1 < first["published"] < second["published"] < time.time() + 1
    assert second["published"] < second["verified"] < time.time() + 1
    assert (second["differences"], first["verified"]) == (0, 0)


def test_a_version_that_a_second_overwrite_removed_is_not_told(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    publish(rig, served, "y", f=b"newest")
    assert states(rig) == {"y": "published", "w": "kept"}


def test_a_version_that_was_never_published_is_not_told(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish(rig, served, "v", **OLD)
    new = served.put("w.tar", loader_rig.archive("tar", NEW))
    # Its tree is in its place, but the link does not point to it yet.
    killed = rig.start(new, environ={"KILLED_BEFORE": "'link'"}, request="w", overwrite=True)
    assert rig.wait(killed).code != 0
    assert rig.versions()[-1] == "w"
    assert states(rig) == {"v": "published"}


def test_a_version_whose_files_are_gone_is_not_told(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    home = rig.volume / "datasets/.versions/x"
    (home / "v").rename(rig.path / "v")
    assert states(rig) == {"w": "published"}
    (home / "w").rename(rig.path / "w")
    assert "files of its versions are missing: run create" in rig.run_verb("versions")[-1]["error"]


@pytest.mark.parametrize("begun", [False, True])
def test_without_a_published_version_nothing_is_told_and_nothing_made(
    rig: loader_rig.Rig, served: origin_server.Origin, begun: bool
):
    if begun:
        assert rig.wait(rig.start("", verb="prepare", request="v")).code == 0
    before = rig.all_paths()
    assert "no version of it is published: run" in rig.run_verb("versions")[-1]["error"]
    assert rig.all_paths() == before


def test_a_version_without_its_record_is_told_without_what_it_knew(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish(rig, served, "v", **OLD)
    (rig.volume / "datasets/.versions/x/v.json").unlink()
    (line,) = listed(rig)
    assert (line["version"], line["files"], line["published"]) == ("v", None, 0)


def test_the_versions_of_a_custom_loader_are_told_as_others_are(rig: loader_rig.Rig):
    for version in ("v", "w"):
        assert rig.wait(rig.start("", verb="prepare", request=version)).code == 0
        (files,) = rig.volume.rglob(f".custom-{version}/files")
        (files / "f").write_bytes(version.encode())
        assert rig.load("", request=version, overwrite=True).code == 0
    assert states(rig) == {"w": "published", "v": "kept"}
    assert {line["source"] for line in listed(rig)} == {"a custom loader"}


# --- whether they were verified


def test_a_verification_is_of_its_version_and_tells_what_differs(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish(rig, served, "v", **OLD)
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    (rig.volume / "datasets/x/f").write_bytes(b"bad")
    (rig.volume / "datasets/x/more").write_bytes(b"")
    assert rig.run_verb("verify")[-1]["state"] == "failed"
    (line,) = listed(rig)
    assert line["differences"] == 2
    assert line["verified"] > line["published"]
    publish(rig, served, "w", **NEW)
    new, old = listed(rig)
    assert (new["verified"], new["differences"]) == (0, 0)
    assert (old["verified"], old["differences"]) == (line["verified"], 2)
    publish(rig, served, "y", **NEW)
    assert not [name for name in rig.kept_names() if name.startswith("v")]


def test_a_verification_killed_before_any_change_of_a_directory_leaves_no_half_note(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = publish(rig, served, "v", **OLD)
    change = 0
    for change in range(1, 20):
        process = rig.start("", verb="verify", environ={"KILLED_BEFORE": str(change)})
        ended = rig.wait(process).code == 0
        (line,) = listed(rig)
        assert bool(line["verified"]) == ended
        if ended:
            break
    assert change > 1
    rig.load(source, request="v")
    assert rig.kept_names() == {"v", "v.json", "v.files", "v.verified"}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"verified": 1, "more": 2}', "1" * 5000])
def test_a_note_that_cannot_be_read_is_none(
    rig: loader_rig.Rig, served: origin_server.Origin, text: str
):
    publish(rig, served, "v", **OLD)
    (rig.volume / "datasets/.versions/x/v.verified").write_text(text)
    (line,) = listed(rig)
    assert line["verified"] == 0


@stranger_rig.needs_root
@pytest.mark.parametrize("kind", ["foreign", "open", "link", "pipe"])
def test_a_note_that_others_could_have_written_is_not_believed(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    publish(rig, served, "v", **OLD)
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    forge(rig, rig.volume / "datasets/.versions/x/v.verified", kind)
    (line,) = listed(rig)
    assert line["verified"] == 0
    # The next verification takes its place.
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    (line,) = listed(rig)
    assert line["verified"] > 0


@stranger_rig.needs_root
@pytest.mark.parametrize("kind", ["foreign", "open", "link", "pipe"])
def test_a_kept_version_whose_record_others_could_have_written_is_not_told(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    publish_both(rig, served)
    forge(rig, rig.volume / "datasets/.versions/x/v.json", kind)
    assert states(rig) == {"w": "published"}


@stranger_rig.needs_root
@pytest.mark.parametrize("previous", ["../y/v", "/etc", "..", "", ".trash-1", "no"])
def test_a_version_before_that_is_no_version_is_not_followed(
    rig: loader_rig.Rig, served: origin_server.Origin, previous: str
):
    publish_both(rig, served)
    record = rig.volume / "datasets/.versions/x/w.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "previous": previous}))
    assert states(rig) == {"w": "published"}


def forge(rig: loader_rig.Rig, path: pathlib.Path, kind: str) -> None:
    """Make a file of the loader's one that others could have written."""
    if kind == "foreign":
        os.chown(path, stranger_rig.UID, stranger_rig.UID)
    elif kind == "open":
        path.chmod(0o646)
    else:
        moved = path.rename(rig.path / "moved")
        path.symlink_to(moved) if kind == "link" else os.mkfifo(path)


# --- rollback


def roll_back(
    rig: loader_rig.Rig,
    version: str = "",
    request: str = "r",
    environ: loader_rig.Environ = loader_rig.NOTHING,
) -> tuple[int, dict[str, Any]]:
    """Roll the data set back; return the exit code and the last line of the log."""
    process = rig.start("", verb="rollback", environ=environ, request=request, version=version)
    run = rig.wait(process)
    lines = [json.loads(line) for line in run.log.splitlines()]
    return run.code, lines[-1] if lines else {}


BOTH = {f"{name}{end}" for name in "vw" for end in ("", ".json", ".files")}


def test_a_rollback_publishes_the_version_before_and_keeps_both(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    old, new = publish_both(rig, served)
    assert rig.files() == NEW

    code, told = roll_back(rig)

    assert code == 0
    assert (told["state"], told["version"], told["replaced"]) == ("rolled back", "v", "w")
    assert (told["files"], told["bytes"], told["source"]) == (2, 4, old)
    assert rig.files() == OLD
    assert rig.kept_names() == BOTH
    assert states(rig) == {"v": "published", "w": "kept"}
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    # A load with its parameters finds it; another one is not taken for it.
    assert rig.load(old).result.existing
    assert rig.kept_names() == BOTH | {"v.verified"}
    assert "other parameters" in rig.load(new).error
    assert (rig.volume / "datasets/.versions/x/w/f").read_bytes() == NEW["f"]


def test_a_rollback_does_not_undo_itself_but_the_newer_version_can_be_named(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    assert roll_back(rig, request="r")[0] == 0
    code, told = roll_back(rig, request="s")
    assert code == 1
    assert told["error"] == "no version before v is on the volume: set version=w for the newer one"
    assert rig.files() == OLD
    code, told = roll_back(rig, "w", request="t")
    assert (code, told["version"], told["replaced"]) == (0, "w", "v")
    assert rig.files() == NEW
    assert roll_back(rig, request="u")[1]["version"] == "v"
    assert rig.files() == OLD
    assert rig.kept_names() == BOTH


def test_the_published_version_can_be_named_and_nothing_changes(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    before = (rig.volume / "datasets/x").lstat().st_ino
    code, told = roll_back(rig, "w")
    assert (code, told["version"], told["replaced"]) == (0, "w", "")
    assert (rig.volume / "datasets/x").lstat().st_ino == before


def test_what_a_rollback_left_is_replaced_by_the_next_load(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    assert roll_back(rig)[0] == 0
    publish(rig, served, "y", f=b"newest")
    assert states(rig) == {"y": "published", "v": "kept"}
    assert rig.versions() == ["v", "y"]
    assert roll_back(rig, request="s")[1]["version"] == "v"
    assert rig.files() == OLD
    assert rig.run_verb("delete")[-1]["state"] == "deleted"
    assert not rig.all_paths()


@pytest.mark.parametrize("version", ["", "v"])
def test_a_rollback_killed_before_any_change_of_a_directory_is_continued(
    tmp_path: pathlib.Path, served: origin_server.Origin, version: str
):
    for change in range(1, 30):
        (tmp_path / str(change)).mkdir()
        rig = loader_rig.Rig(tmp_path / str(change))
        publish_both(rig, served)
        code, _ = roll_back(rig, version, environ={"KILLED_BEFORE": str(change)})
        assert rig.files() in (OLD, NEW)
        assert set(states(rig)) == {"v", "w"}
        again, told = roll_back(rig, version)
        assert (again, told["version"]) == (0, "v"), change
        assert rig.files() == OLD
        assert rig.kept_names() == BOTH, change
        if code == 0:
            assert change > 3, "it was killed, and at the end it was not"
            return
    pytest.fail("it never ended")


def test_a_rollback_that_was_killed_and_given_up_leaves_all_to_the_next_load(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    # The record is written, the link is not.
    assert roll_back(rig, environ={"KILLED_BEFORE": ".versions/x/v"})[0] != 0
    record = json.loads((rig.volume / "datasets/.versions/x/v.json").read_text())
    assert record["previous"] == "w"
    assert rig.files() == NEW
    publish(rig, served, "y", f=b"newest")
    assert rig.kept_names() == {f"{name}{end}" for name in "wy" for end in ("", ".json", ".files")}
    assert roll_back(rig, request="s")[1]["version"] == "w"


def test_readers_see_the_one_version_or_the_other_during_a_rollback(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    link = rig.volume / "datasets/x"
    process = rig.start("", verb="rollback", request="r")
    seen: list[bytes] = []
    while process.poll() is None:
        seen.append((link / "f").read_bytes())
    assert rig.wait(process).code == 0
    assert set(seen) <= {OLD["f"], NEW["f"]}
    assert (link / "f").read_bytes() == OLD["f"]


def test_a_load_that_is_not_finished_goes_on_after_a_rollback(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    content = loader_rig.archive("tar", {"f": b"newest", "g": b"2" * 100_000})
    source = served.put("y.tar", content, faults=origin_server.Faults(hold_after=50_000))
    pod = rig.start(source, request="y", overwrite=True)
    loader_rig.wait_until(lambda: list(rig.volume.rglob(".load-*-y/shard-0/owner")))
    loader_rig.kill(pod)
    assert roll_back(rig)[0] == 0
    assert rig.files() == OLD
    served.release()
    served.put("y.tar", content)
    assert rig.load(source, request="y", overwrite=True).result.version == "y"
    assert states(rig) == {"y": "published", "v": "kept"}


@pytest.mark.parametrize("version", ["", "y", "../y", "v.json", ".."])
def test_a_version_that_is_not_there_is_refused_and_nothing_changes(
    rig: loader_rig.Rig, served: origin_server.Origin, version: str
):
    publish(rig, served, "v", **OLD)
    before = rig.all_paths()
    code, told = roll_back(rig, version)
    wanted = f"version {version} is not on the volume: run list-versions"
    assert told["error"].startswith(wanted if version else "no other version is on the volume: ")
    assert code == 1
    assert rig.all_paths() == before
    (rig.volume / "datasets").rename(rig.path / "datasets")
    assert roll_back(rig)[1]["error"].startswith("no version of it is published: run ")
    assert not rig.all_paths()


def test_a_version_whose_files_are_gone_is_not_published(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    (rig.volume / "datasets/.versions/x/v").rename(rig.path / "v")
    code, told = roll_back(rig)
    assert (code, told["error"][:31]) == (1, "the files of version v are miss")
    assert rig.files() == NEW


@pytest.mark.parametrize("gone", ["w", "vw"])
def test_the_published_version_is_refused_where_its_files_are_gone(
    rig: loader_rig.Rig, served: origin_server.Origin, gone: str
):
    publish_both(rig, served)
    for version in gone:
        (rig.volume / "datasets/.versions/x" / version).rename(rig.path / version)
    code, told = roll_back(rig, "w")
    assert (code, told["error"][:31]) == (1, "the files of version w are miss")


def test_the_version_of_a_custom_loader_is_published_again(rig: loader_rig.Rig):
    for version in ("v", "w"):
        assert rig.wait(rig.start("", verb="prepare", request=version)).code == 0
        (files,) = rig.volume.rglob(f".custom-{version}/files")
        (files / "f").write_bytes(version.encode())
        assert rig.load("", request=version, overwrite=True).code == 0
    code, told = roll_back(rig)
    assert (code, told["version"], told["source"]) == (0, "v", "a custom loader")
    assert rig.files() == {"f": b"v"}
    assert rig.run_verb("verify")[-1]["state"] == "verified"


def test_a_long_source_fits_the_termination_message(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    sources = " ".join(served.put(f"{'a' * 180}{n}/{'b' * 190}{n}", b"1") for n in range(3))
    assert rig.load(sources, request="v").code == 0
    publish(rig, served, "w", **NEW)
    process = rig.start("", verb="rollback", request="r")
    message = json.loads(rig.wait(process).message)
    assert message["source"] == f"{sources[:250]}..."
    assert listed(rig)[0]["source"] == sources


@stranger_rig.needs_root
@pytest.mark.parametrize("kind", ["foreign", "open", "link", "pipe"])
def test_a_version_whose_record_others_could_have_written_is_not_published(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    publish_both(rig, served)
    forge(rig, rig.volume / "datasets/.versions/x/v.json", kind)
    for version in ("", "v"):
        code, told = roll_back(rig, version)
        assert (code, told["state"]) == (1, "failed")
        assert "on the volume: " in told["error"]
    assert rig.files() == NEW


@stranger_rig.needs_root
@pytest.mark.parametrize("place", ["datasets", "datasets/.versions", "datasets/.versions/x"])
@pytest.mark.parametrize("how", ["owner", "mode"])
def test_where_others_could_have_written_nothing_is_rolled_back(
    rig: loader_rig.Rig, served: origin_server.Origin, place: str, how: str
):
    publish_both(rig, served)
    if how == "owner":
        os.chown(rig.volume / place, stranger_rig.UID, stranger_rig.UID)
    else:
        os.chown(rig.volume / "datasets/.versions/x/w", stranger_rig.UID, stranger_rig.UID)
        os.chown(rig.volume / "datasets/.versions/x", 0, 0)
        (rig.volume / place).chmod(0o777)
        for each in (rig.volume / place).iterdir():
            os.chown(each, stranger_rig.UID, stranger_rig.UID, follow_symlinks=False)
    before = stranger_rig.snapshot(rig.volume)
    code, told = roll_back(rig)
    assert code == 1
    assert "is not the charm's alone" in told["error"]
    after = stranger_rig.snapshot(rig.volume)
    assert after == before


@stranger_rig.needs_root
@pytest.mark.parametrize("kind", ["their link", "directory", "link elsewhere"])
def test_what_is_not_ours_at_the_data_sets_path_is_not_replaced(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    publish_both(rig, served)
    path = rig.volume / "datasets/x"
    if kind == "their link":
        os.chown(path, stranger_rig.UID, stranger_rig.UID, follow_symlinks=False)
    else:
        path.unlink()
        if kind == "directory":
            path.mkdir()
            (path / "theirs").write_bytes(b"1")
        else:
            path.symlink_to(".versions/y/v")
    code, told = roll_back(rig)
    assert code == 1
    assert "was not made by this charm: move it away" in told["error"]
    assert (rig.volume / "datasets/.versions/x/w/f").read_bytes() == NEW["f"]


def test_a_record_with_more_than_is_known_is_read(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    publish_both(rig, served)
    record = rig.volume / "datasets/.versions/x/v.json"
    fields = json.loads(record.read_text())
    assert "rollback" not in fields, "earlier loaders can read what no rollback has touched"
    record.write_text(json.dumps({**fields, "later": 1}))
    assert roll_back(rig)[1]["version"] == "v"
