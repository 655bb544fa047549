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
            "PROBE_NAMESPACES": "",
            "PROBE_NAMESPACE_MODE": "1777",
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


def mode_of(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_each_isolated_namespace_has_a_directory_that_its_pods_write_in(root):
    for names in ("default", "default research"):
        code, message = run(root, PROBE_NAMESPACES=names)
        assert code == 0, message
    home = root / "namespaces"
    assert mode_of(home) == 0o755
    assert {path.name: mode_of(path) for path in home.iterdir()} == {
        "default": 0o1777,
        "research": 0o1777,
    }


def test_without_isolation_there_are_no_directories_of_namespaces(root):
    assert run(root)[0] == 0
    assert not (root / "namespaces").exists()


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


OWN = ("datasets", "datasets/.versions", ".aws-efs", ".aws-efs/probe")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may give a directory away")


def refused(root: pathlib.Path, name: str, reason: str) -> None:
    """Run a probe that must refuse a directory, and leave it and the root as they are."""
    before = root.stat().st_mode, (root / name).lstat().st_mode
    code, message = run(root)
    assert code == 1
    assert message.startswith(f"/{name} is not ours: remove it from the volume ({reason}")
    assert (root.stat().st_mode, (root / name).lstat().st_mode) == before


@needs_root
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777])
def test_a_directory_of_another_user_is_not_used(root, name: str, mode: int):
    (root / name).mkdir(parents=True)
    os.chown(root / name, 1000, 1000)
    (root / name).chmod(mode)
    refused(root, name, f"uid 1000, mode {mode:04o}")


@pytest.mark.parametrize("name", OWN)
def test_its_directories_are_its_own_before_the_root_is_open(root, name: str):
    assert run(root)[0] == 0
    assert stat.S_IMODE((root / name).stat().st_mode) == 0o755
    assert (root / name).stat().st_uid == os.getuid()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o2775])
def test_what_the_kubelet_has_made_and_nobody_used_is_taken_over(root, mode: int):
    for name in (*OWN, "datasets/flowers"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in (*OWN, "datasets/flowers"):
        (root / name).chmod(mode)
    assert run(root)[0] == 0
    assert {stat.S_IMODE((root / name).stat().st_mode) for name in OWN} == {0o755}
    assert stat.S_IMODE((root / "datasets/flowers").stat().st_mode) == mode, "it is not ours"


@needs_root
@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("kind", ["file", "directory", "link", "pipe", "root's link", "root's"])
def test_what_the_kubelet_has_made_and_others_have_used_is_left_alone(
    root, tmp_path, name: str, kind: str
):
    (root / name).mkdir(parents=True)
    inside = root / name / "inside"
    if kind == "directory":
        inside.mkdir()
    elif "link" in kind:
        inside.symlink_to("/etc")
    elif kind == "pipe":
        os.mkfifo(inside)
    elif kind == "root's":
        (tmp_path / "record").write_text("root's")
        os.link(tmp_path / "record", inside)
    else:
        inside.write_bytes(b"1")
    if not kind.startswith("root's"):
        os.chown(inside, 1000, 1000, follow_symlinks=False)
    (root / name).chmod(0o1777)
    refused(root, name, "uid 0, mode 1777")


@pytest.mark.parametrize("name", OWN)
def test_a_link_is_not_followed(root, tmp_path, name: str):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(elsewhere)
    refused(root, name, "NotADirectoryError")
    assert list(elsewhere.iterdir()) == []


def test_a_pipe_among_the_other_zones_files_does_not_hold_it(root):
    run(root)
    os.mkfifo(root / ".aws-efs/probe/us-east-1z")
    assert "zone us-east-1z wrote reads back damaged" in run(root)[1]


def test_it_writes_through_no_link(root, tmp_path):
    run(root)
    target = tmp_path / "target"
    (root / ".aws-efs/probe/.us-east-1a.probe-us-east-1a-1").symlink_to(target)
    (root / ".aws-efs/probe/us-east-1a").unlink()
    (root / ".aws-efs/probe/us-east-1a").symlink_to(target)
    assert run(root)[0] == 0
    assert not target.exists()


def test_a_volume_that_refuses_writes_is_reported_with_its_error(root):
    (root / ".aws-efs").write_text("in the way")
    code, message = run(root)
    assert code == 1
    assert "NotADirectoryError" in message or "FileExistsError" in message
