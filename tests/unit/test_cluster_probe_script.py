"""The probe's program, run as its pod runs it, on a directory."""

from __future__ import annotations

import os
import pathlib
import stat
import subprocess
import sys

import pytest

from cluster import probe

SCRIPT = pathlib.Path(probe.__file__).with_name("probe_script.py").read_text()


def run(root: pathlib.Path, zone: str = "us-east-1a", **environment: str):
    log = root.parent / f"{zone}.log"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={
            "PROBE_ROOT": str(root),
            "PROBE_ROOT_MODE": "1777",
            "PROBE_ZONE": zone,
            "PROBE_RUN": f"probe-{zone}-1",
            "TERMINATION_LOG": str(log),
            **environment,
        },
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, log.read_text() if log.exists() else done.stderr


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "volume"
    path.mkdir(mode=0o755)
    return path


def test_it_sets_the_roots_mode_and_leaves_one_marker(root):
    code, message = run(root)

    assert (code, message) == (
        0,
        "wrote and read back in us-east-1a; read the files of 0 other zones",
    )
    assert stat.S_IMODE(root.stat().st_mode) == 0o1777
    assert [p.name for p in (root / ".aws-efs" / "probe").iterdir()] == ["us-east-1a"]


def test_it_reads_what_the_other_zones_wrote(root):
    run(root, "us-east-1a")
    run(root, "us-east-1b")
    assert run(root, "us-east-1c")[1].endswith("read the files of 2 other zones")


def test_it_can_run_again(root):
    run(root)
    assert run(root)[0] == 0


def test_a_damaged_file_of_another_zone_is_reported(root):
    run(root, "us-east-1b")
    marker = root / ".aws-efs" / "probe" / "us-east-1b"
    marker.write_bytes(marker.read_bytes()[:-10])

    code, message = run(root)

    assert code == 1
    assert message == "us-east-1a: the file that zone us-east-1b wrote reads back damaged here"


def test_a_symlink_in_place_of_its_directory_is_not_followed(root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / ".aws-efs").symlink_to(elsewhere)

    code, message = run(root)

    assert code == 1
    assert ".aws-efs is not ours: remove it from the volume" in message
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a directory away")
def test_a_directory_of_another_user_is_not_used(root):
    (root / ".aws-efs").mkdir()
    os.chown(root / ".aws-efs", 1000, 1000)
    assert run(root)[0] == 1


def test_a_volume_that_refuses_writes_is_reported_with_its_error(root):
    (root / ".aws-efs").write_text("in the way")
    code, message = run(root)
    assert code == 1
    assert "NotADirectoryError" in message or "FileExistsError" in message
