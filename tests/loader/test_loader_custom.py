"""Publication of a data set that a custom loader has written into its directory."""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from datasets.loader.base import failure, report, tasks
from datasets.loader.verbs import custom_loader, prepare
from tests.loader import loader_rig


def prepared(rig: loader_rig.Rig, version: str = "v") -> pathlib.Path:
    """Return the directory that the user's container has as /data."""
    assert rig.wait(rig.start("", verb="prepare", request=version)).code == 0
    return rig.volume / f"datasets/.versions/x/.custom-{version}/files"


def test_what_was_left_is_published_with_modes_and_links(rig: loader_rig.Rig):
    data = prepared(rig)
    assert stat.S_IMODE(data.stat().st_mode) == 0o777, "any user may write there"
    (data / "d").mkdir(mode=0o700)
    (data / "d/file").write_bytes(b"content")
    (data / "d/file").chmod(0o600)
    (data / "run").write_bytes(b"#!/bin/sh")
    (data / "run").chmod(0o700)
    (data / "link").symlink_to("d/file")
    (data / "d/up").symlink_to("../run")

    result = rig.load("", request="v", mode="640", owner=f"{os.getuid()}:{os.getgid()}").result

    assert (result.files, result.bytes) == (2, 16)
    root = rig.volume / "datasets/x"
    modes = {name: stat.S_IMODE((root / name).stat().st_mode) for name in ("d", "d/file", "run")}
    assert modes == {"d": 0o750, "d/file": 0o640, "run": 0o750}
    assert set(rig.file_list()) == {"d", "d/file", "run", "link", "d/up"}
    assert rig.file_list()["link"] == {"path": "link", "link": "d/file"}
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    assert rig.kept_names() == {"v", "v.json", "v.files", "v.verified"}


def test_the_next_attempt_finds_an_empty_directory(rig: loader_rig.Rig):
    (prepared(rig) / "half").write_bytes(b"half")
    data = prepared(rig)
    assert not list(data.iterdir())
    (data / "whole").write_bytes(b"whole")
    assert rig.load("", request="v").result.files == 1
    assert rig.files() == {"whole": b"whole"}


def test_it_is_published_once_and_replaced_when_asked_for(rig: loader_rig.Rig):
    (prepared(rig) / "f").write_bytes(b"1")
    first = rig.load("", request="v")
    assert rig.load("", request="v").result == first.result
    (prepared(rig, "w") / "f").write_bytes(b"2")
    assert rig.load("", request="w", overwrite=True).result.files == 1
    assert rig.files() == {"f": b"2"}
    assert rig.kept_names() == {f"{name}{end}" for name in "vw" for end in ("", ".json", ".files")}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/passwd", "may lead out"),
        ("../../x", "may lead out"),
        ("d/../../x", "may lead out"),
    ],
)
def test_a_link_that_may_lead_out_is_refused(rig: loader_rig.Rig, target: str, reason: str):
    data = prepared(rig)
    (data / "f").write_bytes(b"1")
    (data / "d").mkdir()
    (data / "d/link").symlink_to(target)
    error = rig.load("", request="v").error
    assert reason in error
    assert "'d/link'" in error
    assert not (rig.volume / "datasets/x").exists()


def test_what_is_no_file_is_refused(rig: loader_rig.Rig):
    os.mkfifo(prepared(rig) / "pipe")
    assert "'pipe', which is neither file, directory nor link" in rig.load("", request="v").error


def test_nothing_is_no_data_set(rig: loader_rig.Rig):
    (prepared(rig) / "empty").mkdir()
    assert "wrote no files in /data" in rig.load("", request="v").error


def test_too_much_is_refused(rig: loader_rig.Rig):
    data = prepared(rig)
    for name in "abc":
        (data / name).write_bytes(b"12345")
    for limits in ({"most_bytes": 14}, {"most_members": 2}):
        assert "more than a data set may have" in rig.load("", request="v", limits=limits).error
    assert rig.load("", request="v", limits={"most_bytes": 15, "most_members": 3}).code == 0


def test_without_its_files_the_user_is_advised_to_run_again(rig: loader_rig.Rig):
    assert "the files that your loader wrote are gone" in rig.load("", request="v").error


def test_what_is_prepared_again_while_it_is_verified_is_not_published(rig: loader_rig.Rig):
    (prepared(rig) / "f").write_bytes(b"1")
    task = tasks.Task("x", "v", "", root=str(rig.volume))

    class Late(report.Report):
        """A report that lets a second pod of the index prepare while the first one verifies."""

        def write_progress(self, state: str, fields: Callable[[], Mapping[str, Any]]) -> None:
            super().write_progress(state, fields)
            if fields()["files"]:
                prepare.run(task, self, 0)

    with pytest.raises(failure.Later, match="started again meanwhile"):
        custom_loader.publish(task, Late(str(rig.path / "message")))
    assert not (rig.volume / "datasets/x").exists()
