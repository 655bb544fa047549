"""The probe's program, run as its pod runs it, on a directory."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import pathlib
import stat
import subprocess
import sys

import pytest

from cluster import probe

SCRIPT = pathlib.Path(probe.__file__).with_name("probe_script.py").read_text()


def run(root: pathlib.Path, zone: str = "us-east-1a", *, script: str = SCRIPT, **environment: str):
    log = root.parent / f"{zone}.{environment.get('PROBE_RUN', '')}.log"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={
            "PROBE_ROOT": str(root),
            "PROBE_ROOT_MODE": "1777",
            "PROBE_NAMESPACES": "",
            "PROBE_NAMESPACE_MODE": "1777",
            "PROBE_ZONE": zone,
            "PROBE_RUN": f"probe-{zone}-1",
            "PROBE_BDI": str(root.parent / "none"),
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


# What NFS servers answer to root if a policy grants no root access, or no writes.
@pytest.mark.parametrize("call", ["mkdir", "fchmod"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "root is refused on the volume: check the file system's policy in AWS ("),
        (errno.EPERM, "root is refused on the volume: check the file system's policy in AWS ("),
        (errno.EROFS, "the volume is read-only: check mount-options and the file system's policy"),
        (errno.EIO, "OSError: [Errno 5]"),
    ],
)
def test_a_server_that_refuses_root_is_told_with_the_policy(root, call, number, message):
    refusing = (
        "import os\n"
        f"def refuse(*args, **kwargs): raise OSError({number}, os.strerror({number}))\n"
        f"os.{call} = refuse\n"
        f"exec(compile({SCRIPT!r}, 'probe', 'exec'))"
    )
    code, told = run(root, script=refusing)
    assert code == 1
    assert told.startswith(message)
    assert os.strerror(number) in told


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
        "wrote and read back in us-east-1a; read the files of 0 zones",
    )
    assert stat.S_IMODE(root.stat().st_mode) == 0o1777
    assert [p.name for p in (root / ".aws-efs" / "probe").iterdir()] == ["us-east-1a"]


def test_it_reads_what_the_other_zones_wrote(root):
    run(root, "us-east-1a")
    run(root, "us-east-1b")
    assert run(root, "us-east-1c")[1].endswith("read the files of 2 zones")


def test_it_reads_what_another_node_of_its_zone_wrote(root):
    run(root, PROBE_RUN="probe-node-1")
    assert run(root, PROBE_RUN="probe-node-2")[1].endswith("read the files of 1 zones")
    marker = root / ".aws-efs" / "probe" / "us-east-1a"
    assert marker.read_text().startswith("us-east-1a probe-node-2 ")


@pytest.mark.parametrize("zone", ["us-east-1a", "us-east-1b"])
@pytest.mark.parametrize("damage", ["cut", "changed", "a link", "a pipe"])
def test_a_damaged_file_is_reported_once(root, zone: str, damage: str):
    run(root, zone)
    marker = root / ".aws-efs" / "probe" / zone
    content = marker.read_bytes()
    marker.unlink()
    if damage == "a link":
        marker.symlink_to("/etc/hostname")
    elif damage == "a pipe":
        os.mkfifo(marker)
    else:
        marker.write_bytes(content[:-10] if damage == "cut" else content.replace(b"1", b"2"))

    assert run(root) == (1, f"us-east-1a: the file that zone {zone} wrote reads back damaged here")
    assert run(root)[0] == 0


def test_many_probes_at_once_do_not_disturb_each_other(root):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(run, root, PROBE_RUN=f"probe-{number}") for number in range(12)]
    assert {each.result()[0] for each in runs} == {0}
    assert [p.name for p in (root / ".aws-efs" / "probe").iterdir()] == ["us-east-1a"]


def test_it_measures_how_far_the_kernel_reads_ahead_on_its_mount(root, tmp_path):
    device = root.stat().st_dev
    bdi = tmp_path / "bdi" / f"{os.major(device)}:{os.minor(device)}"
    bdi.mkdir(parents=True)
    (bdi / "read_ahead_kb").write_text("128\n")
    _, message = run(root, PROBE_BDI=str(tmp_path / "bdi"))
    assert message.endswith("; read-ahead 128 KiB")


@pytest.mark.parametrize("content", ["", "many", None])
def test_a_kernel_that_does_not_tell_its_read_ahead_is_no_failure(root, tmp_path, content):
    device = root.stat().st_dev
    bdi = tmp_path / "bdi" / f"{os.major(device)}:{os.minor(device)}"
    bdi.mkdir(parents=True)
    if content is not None:
        (bdi / "read_ahead_kb").write_text(content)
    code, message = run(root, PROBE_BDI=str(tmp_path / "bdi"))
    assert (code, "read-ahead" in message) == (0, False)


def test_a_symlink_in_place_of_its_directory_is_not_followed(root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / ".aws-efs").symlink_to(elsewhere)

    code, message = run(root)

    assert code == 1
    assert ".aws-efs is not ours: remove it from the volume" in message
    assert list(elsewhere.iterdir()) == []


OWN = ("datasets", "datasets/.versions", ".aws-efs", ".aws-efs/dynamic", ".aws-efs/probe")
# Only root gets to dynamic volumes by the root of the file system.
MODES = {name: 0o700 if name == ".aws-efs/dynamic" else 0o755 for name in OWN}
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
    assert stat.S_IMODE((root / name).stat().st_mode) == MODES[name]
    assert (root / name).stat().st_uid == os.getuid()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o2775])
def test_what_the_kubelet_has_made_and_nobody_used_is_taken_over(root, mode: int):
    for name in (*OWN, "datasets/flowers"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in (*OWN, "datasets/flowers"):
        (root / name).chmod(mode)
    assert run(root)[0] == 0
    assert {name: stat.S_IMODE((root / name).stat().st_mode) for name in OWN} == MODES
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


def test_it_writes_through_no_link(root, tmp_path):
    run(root)
    target = tmp_path / "target"
    (root / ".aws-efs/probe/.us-east-1a.probe-us-east-1a-1").symlink_to(target)
    (root / ".aws-efs/probe/us-east-1a").unlink()
    assert run(root)[0] == 0
    assert not target.exists()


def test_a_volume_that_refuses_writes_is_reported_with_its_error(root):
    (root / ".aws-efs").write_text("in the way")
    code, message = run(root)
    assert code == 1
    assert "NotADirectoryError" in message or "FileExistsError" in message
