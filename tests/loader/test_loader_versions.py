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
    assert rig.load(source, request=version, overwrite=True).result.version == version
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
