"""Other users write on the volume, too: what they make, forge, exchange, lock or add."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import signal
import stat
import time
from collections.abc import Callable

import pytest

from datasets.loader.base import tasks
from datasets.loader.store import readback, versions
from sandbox.servers import origin_server
from tests.loader import loader_rig, stranger_rig
from tests.loader.loader_rig import entry, link, tar
from tests.loader.stranger_rig import UID

pytestmark = stranger_rig.needs_root

FILES = {"d/a": b"1" * 3000, "d/b": b"2" * 50, "e/f/g": b"3"}
VERSION = "20260101t000000-00000000"


@pytest.fixture
def rig(tmp_path: pathlib.Path):
    """Return a volume that all may write on, with files of a neighbour that stay as they are."""
    rig = loader_rig.Rig(tmp_path)
    rig.volume.chmod(0o1777)
    neighbour = rig.volume / "neighbour"
    (neighbour / "d").mkdir(parents=True)
    for number in range(20):
        (neighbour / f"d/{number}").write_bytes(b"private")
        (neighbour / f"d/{number}").chmod(0o600)
    neighbour.chmod(0o700)
    for path in (neighbour, *neighbour.rglob("*")):
        os.chown(path, 2000, 2000)
    before = stranger_rig.snapshot(neighbour)
    yield rig
    assert stranger_rig.snapshot(neighbour) == before, "a neighbour's files stay as they are"


def put(served: origin_server.Origin, **faults: object) -> str:
    content = loader_rig.archive("tar", FILES)
    return served.put("s.tar", content, faults=origin_server.Faults(**faults))  # type: ignore


def forge(rig: loader_rig.Rig, datasets: pathlib.Path) -> None:
    """Forge a published data set x, complete with record and list, as its own files only."""
    version = datasets / ".versions/x" / VERSION
    version.mkdir(parents=True)
    (version / "evil").write_bytes(b"evil")
    (datasets / "x").symlink_to(f".versions/x/{VERSION}")
    result = tasks.Result(1, 4, 1.0, "/datasets/x", VERSION, "", 4, "tar")
    record = versions.VersionRecord(VERSION, "ab", "", result, request="v", mode="0644")
    text = json.dumps(dataclasses.asdict(record))
    (version.parent / f"{VERSION}.json").write_text(text)
    line = {"path": "evil", "bytes": 4, "sha256": "0" * 64}
    (version.parent / f"{VERSION}.files").write_text(json.dumps(line) + "\n")


def give(path: pathlib.Path) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, UID, UID, follow_symlinks=False)


# --- what is made before the loader comes


@pytest.mark.parametrize("place", ["datasets", "datasets/.versions", "datasets/.versions/x"])
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777])
def test_what_another_user_has_made_is_not_believed(
    rig: loader_rig.Rig, served: origin_server.Origin, place: str, mode: int
):
    forge(rig, rig.volume / "datasets")
    give(rig.volume / place)
    (rig.volume / place).chmod(mode)
    before = stranger_rig.snapshot(rig.volume)

    error = rig.load(put(served), request="v").error

    assert error.startswith(f"/{place} on the volume is not the charm's alone (uid {UID}, mode ")
    assert "move it away" in error
    assert served.requests == []
    for verb in ("verify", "delete"):
        assert "is not the charm's alone" in rig.run_verb(verb)[-1]["error"], verb
    *listed, last = rig.run_verb("inventory")
    assert listed == []
    if place == "datasets/.versions/x":
        assert last["count"] == 0
    else:
        assert "is not the charm's alone" in last["error"]
    after = stranger_rig.snapshot(rig.volume)
    # The one file that another data set may need.
    after.pop("datasets/.versions/.lock", None)
    assert after == before


@pytest.mark.parametrize("place", ["datasets", "datasets/.versions", "datasets/.versions/x"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o2775])
def test_what_the_kubelet_made_and_another_user_has_filled_is_not_believed(
    rig: loader_rig.Rig, served: origin_server.Origin, place: str, mode: int
):
    forge(rig, rig.volume / "datasets")
    for each in (rig.volume / place).iterdir():
        give(each)
    (rig.volume / place).chmod(mode)
    assert "is not the charm's alone" in rig.refused(put(served), request="v")
    assert stat.S_IMODE((rig.volume / place).stat().st_mode) == mode, "it is left as it is"


@pytest.mark.parametrize("place", ["datasets", "datasets/.versions", "datasets/.versions/x"])
def test_a_file_of_roots_under_another_name_is_no_reason_to_take_a_directory_over(
    rig: loader_rig.Rig, served: origin_server.Origin, place: str
):
    rig.load(put(served), "other")
    record = next((rig.volume / "datasets/.versions/other").glob("*.json"))
    shutil.move(rig.volume / "datasets", rig.volume / "kept")
    (rig.volume / place).mkdir(parents=True)
    os.link(rig.volume / "kept/.versions/other" / record.name, rig.volume / place / "v.json")
    (rig.volume / place).chmod(0o1777)
    assert "is not the charm's alone" in rig.refused(put(served))


@pytest.mark.parametrize("made", [(), ("",), (".versions",), (".versions/x",), ("x",)])
def test_empty_directories_of_the_kubelets_are_taken_over(
    rig: loader_rig.Rig, served: origin_server.Origin, made: tuple[str, ...]
):
    datasets = rig.volume / "datasets"
    for place in made:
        path = datasets / place
        path.mkdir(parents=True)
        for each in (path, *path.parents):
            if each.is_relative_to(datasets):
                each.chmod(0o1777)
    assert rig.load(put(served)).result.files == 3
    assert rig.files() == FILES
    for place in ("", ".versions", ".versions/x"):
        assert stat.S_IMODE((datasets / place).stat().st_mode) == 0o755
    assert rig.run_verb("verify")[-1]["state"] == "verified"


def test_a_directory_of_the_kubelets_that_a_pod_has_written_to_is_left_alone(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    place = rig.volume / "datasets/x"
    place.mkdir(parents=True)
    place.chmod(0o1777)
    written = stranger_rig.act(place, lambda: pathlib.Path("result").write_bytes(b"1"))
    assert written == 0
    assert "was not made by this charm: move it away" in rig.refused(put(served))
    assert (place / "result").read_bytes() == b"1"


def test_an_empty_directory_of_another_user_is_not_taken_over(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    assert stranger_rig.act(rig.volume, lambda: pathlib.Path("datasets").mkdir()) == 0
    assert f"(uid {UID}, mode 0777)" in rig.refused(put(served))


@pytest.mark.parametrize("kind", ["link", "foreign", "open", "readable"])
def test_a_load_that_others_could_have_made_is_not_continued(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str, tmp_path: pathlib.Path
):
    source = put(served)
    # The loader's own name for it.
    fingerprint = json.loads(rig._task(source, "x"))["fingerprint"]
    home = rig.volume / "datasets/.versions/x"
    home.mkdir(parents=True)
    load = home / f".load-{fingerprint}-v"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if kind == "link":
        load.symlink_to(elsewhere)
    else:
        (load / "tree").mkdir(parents=True)
        (load / "tree/evil").write_bytes(b"evil")
        (load / "plan").write_text("[]")
        load.chmod({"foreign": 0o700, "open": 0o1777, "readable": 0o755}[kind])
    if kind == "foreign":
        give(load)

    assert rig.load(source, request="w").result.version == "w"

    assert rig.files() == FILES
    assert rig.kept_names() == {"w", "w.json", "w.files"}, "it is removed in the end"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("file", ["plan", "ledger", "lock", "superseded", "shard-0/owner"])
@pytest.mark.parametrize("kind", ["foreign", "open", "link", "pipe", "directory"])
def test_a_file_of_a_load_that_others_could_have_made_is_not_believed(
    rig: loader_rig.Rig, served: origin_server.Origin, file: str, kind: str
):
    pod = rig.start(put(served, hold_after=2000), request="v")
    try:
        loader_rig.wait_until(lambda: list(rig.volume.rglob(".load-*-v/shard-0/owner")))
    finally:
        loader_rig.kill(pod)
    (load,) = rig.volume.rglob(".load-*-v")
    path, other = load / file, rig.path / "other"
    content = path.read_bytes() if path.exists() else b"forged"
    other.write_bytes(content)
    path.unlink(missing_ok=True)
    if kind == "link":
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        shutil.copy(other, path)
        path.chmod(0o666 if kind == "open" else 0o644)
    if kind == "foreign":
        os.chown(path, UID, UID)
    served.release()
    served.put("s.tar", loader_rig.archive("tar", FILES))

    run = rig.load(f"{served.url}/s.tar", request="v")

    if file in {"lock", "superseded"}:
        # It is left alone; another one is begun.
        assert run.result.files == 3
        assert rig.files() == FILES
        assert rig.run_verb("verify")[-1]["state"] == "verified"
    else:
        assert "is not the charm's alone" in run.error
    assert other.read_bytes() == content


def test_a_name_that_another_user_owns_is_not_the_charms(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(put(served))
    os.chown(rig.volume / "datasets/x", UID, UID, follow_symlinks=False)
    assert "was not made by this charm" in rig.refused(put(served))
    assert "was not made by this charm" in rig.run_verb("verify")[-1]["error"]


@pytest.mark.parametrize("kind", ["foreign", "open", "link", "pipe"])
@pytest.mark.parametrize("suffix", [".json", ".files"])
def test_a_record_or_a_list_that_others_could_have_written_is_not_believed(
    rig: loader_rig.Rig, served: origin_server.Origin, suffix: str, kind: str
):
    source = put(served)
    rig.load(source, request="v")
    path = rig.volume / f"datasets/.versions/x/v{suffix}"
    if kind == "foreign":
        os.chown(path, UID, UID)
    elif kind == "open":
        path.chmod(0o646)
    else:
        moved = path.rename(rig.path / "moved")
        path.symlink_to(moved) if kind == "link" else os.mkfifo(path)
    if suffix == ".json":
        assert "overwrite=true" in rig.load(source).error
        (listed, _) = rig.run_verb("inventory")
        assert listed["files"] is None
    else:
        assert "the file list of x is missing" in rig.run_verb("verify")[-1]["error"]
    assert rig.load(source, overwrite=True).result.files == 3


# --- what they see and lock while it loads


def test_nothing_of_a_load_is_open_to_others(rig: loader_rig.Rig, served: origin_server.Origin):
    content = loader_rig.archive("tar", {**FILES, "large": bytes(2_000_000)})
    held = origin_server.Faults(hold_after=1_000_000)
    pod = rig.start(served.put("s.tar", content, faults=held), request="v", mode="666")
    try:
        loader_rig.wait_until(lambda: list(rig.volume.rglob("tree/d")))
        (load,) = rig.volume.rglob(".load-*-v")
        for path in (load, *load.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.is_relative_to(load / "tree") and path != load / "tree":
                assert not (path.is_dir() and mode & 0o022), path
            else:
                assert mode == (0o700 if path.is_dir() else 0o600), path
        denied = stranger_rig.act(rig.volume, lambda: os.listdir(load.relative_to(rig.volume)))
        assert denied == errno.EACCES
    finally:
        loader_rig.kill(pod)


def test_the_umask_does_not_open_anything(rig: loader_rig.Rig, served: origin_server.Origin):
    rig.load(put(served))
    for path in (rig.volume / "datasets").rglob("*"):
        if not path.is_symlink():
            assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path


@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_a_reader_cannot_lock_loads_out(
    rig: loader_rig.Rig, served: origin_server.Origin, mode: int
):
    (rig.volume / "datasets/.versions").mkdir(parents=True)
    lock = rig.volume / "datasets/.versions/.lock"
    lock.touch()
    # As an older loader has made it.
    lock.chmod(mode)
    rig.load(put(served))

    def hold() -> None:
        with open("datasets/.versions/.lock", "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH)

    assert stranger_rig.act(rig.volume, hold) == errno.EACCES
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["foreign", "link", "pipe", "directory"])
def test_a_lock_that_is_not_the_loaders_is_reported(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    lock = rig.volume / "datasets/.versions/.lock"
    lock.parent.mkdir(parents=True)
    if kind == "foreign":
        lock.touch()
        os.chown(lock, UID, UID)
    elif kind == "link":
        lock.symlink_to(rig.path / "target")
    else:
        os.mkfifo(lock) if kind == "pipe" else lock.mkdir()
    assert "/.lock on the volume is not the charm's alone" in rig.refused(put(served))
    assert not (rig.path / "target").exists()


# --- what the owner of a data set does with it


def owned(rig: loader_rig.Rig, served: origin_server.Origin, count: int = 40) -> pathlib.Path:
    """Publish a data set that another user owns, with many directories; return it."""
    files = {f"d{number}/f{each}": b"1" for number in range(count) for each in range(5)}
    source = served.put("owned.tar", loader_rig.archive("tar", files))
    rig.load(source, request="v", owner=f"{UID}:{UID}")
    root = rig.volume / "datasets/.versions/x/v"
    assert {path.stat().st_uid for path in (root, *root.rglob("*"))} == {UID}
    return root


HOW = ["all_the_time", "when_it_begins"]


def victim(rig: loader_rig.Rig) -> pathlib.Path:
    """Return a directory of root's with files of the same names."""
    path = rig.volume / "victim"
    path.mkdir()
    for number in range(300):
        (path / f"f{number}").write_bytes(b"1")
        (path / f"f{number}").chmod(0o600)
    return path


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("attempt", range(2))
def test_a_directory_that_becomes_a_link_while_a_data_set_is_deleted_does_not_lead_out(
    rig: loader_rig.Rig, served: origin_server.Origin, how: str, attempt: int
):
    root = owned(rig, served, count=400)
    target = victim(rig)
    before = stranger_rig.snapshot(target)
    exchange = stranger_rig.Exchange(root, target, rig.volume / "stash")
    with stranger_rig.acting(root, getattr(exchange, how)):
        rig.run_verb("delete")
    assert stranger_rig.snapshot(target) == before
    assert rig.run_verb("delete")[-1]["state"] == "deleted"
    assert not (rig.volume / "datasets/.versions/x").exists()


@pytest.mark.parametrize("how", HOW)
def test_a_directory_that_becomes_a_link_does_not_lead_the_next_load_out(
    rig: loader_rig.Rig, served: origin_server.Origin, how: str
):
    root = owned(rig, served, count=400)
    target = victim(rig)
    before = stranger_rig.snapshot(target)
    exchange = stranger_rig.Exchange(root, target, rig.volume / "stash")
    source = f"{served.url}/owned.tar"
    with stranger_rig.acting(root, getattr(exchange, how)):
        for version in ("w", "z"):
            # The second one removes the version that is attacked.
            rig.load(source, request=version, overwrite=True, owner=f"{UID}:{UID}")
    assert stranger_rig.snapshot(target) == before
    assert rig.load(source, request="last", overwrite=True).result.files == 2000


def test_what_is_nested_deeper_than_a_path_is_long_is_deleted(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    root = owned(rig, served, count=1)

    def nest() -> None:
        for _ in range(120):
            os.mkdir("n" * 200)
            os.chdir("n" * 200)
        pathlib.Path("deepest").write_bytes(b"1")

    assert stranger_rig.act(root, nest) == 0
    assert "1 files are not in the file list" in rig.run_verb("verify")[-1]["error"]
    assert rig.run_verb("delete")[-1]["state"] == "deleted"
    assert not (rig.volume / "datasets/.versions/x").exists()


@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_what_its_owner_has_closed_is_deleted(
    rig: loader_rig.Rig, served: origin_server.Origin, mode: int
):
    root = owned(rig, served, count=3)
    assert stranger_rig.act(root, lambda: os.chmod("d1", mode)) == 0
    assert rig.run_verb("delete")[-1]["state"] == "deleted"


@pytest.mark.parametrize("kind", ["files", "directories", "deeper"])
def test_who_keeps_adding_to_a_data_set_does_not_keep_it_from_being_deleted(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    root = owned(rig, served, count=1)

    def add() -> None:
        name = os.urandom(8).hex()
        if kind == "files":
            os.close(os.open(f"d0/{name}", os.O_WRONLY | os.O_CREAT))
        else:
            os.mkdir(f"d0/{name}")
        if kind == "deeper":
            os.mkdir(f"d0/{name}/deeper")
        # The loader, too, needs a processor.
        time.sleep(0.001)

    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(stranger_rig.acting(root, add))
        process = rig.start("", verb="delete")
        stack.callback(loader_rig.kill, process)
        assert process.wait(60) == 0
    assert not (rig.volume / "datasets/.versions/x").exists()


def test_what_its_owner_moves_in_before_it_has_its_name_is_not_given_to_him(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = served.put("s.tar", loader_rig.archive("tar", FILES))
    owner, version = f"{UID}:{UID}", "datasets/.versions/x/v"
    before_link = {"KILLED_BEFORE": ".versions/x/v"}
    killed = rig.start(source, environ=before_link, request="v", owner=owner)
    assert rig.wait(killed).code == -signal.SIGKILL
    assert (rig.volume / version / "d").stat().st_uid == UID
    # Whoever lets all write in a directory lets them move it, too, but not into those in it.
    private = rig.volume / "open/moved/private"
    private.mkdir(parents=True, mode=0o700)
    for path in (private, private.parent, private.parent.parent):
        os.chown(path, 2000, 2000)
    private.parent.chmod(0o777)
    private.parent.parent.chmod(0o777)
    moved = f"{version}/d/moved"
    assert stranger_rig.act(rig.volume, lambda: os.rename("open/moved", moved)) == 0
    before = stranger_rig.snapshot(rig.volume / moved)

    assert rig.load(source, request="v", owner=owner).result.files == 3

    assert (rig.volume / "datasets/x").readlink().name == "v"
    assert stranger_rig.snapshot(rig.volume / moved) == before


def test_a_copy_that_became_endless_is_not_read(rig: loader_rig.Rig, served: origin_server.Origin):
    members = [entry("f", b"1" * 3000), link("hard", "f", hard=True)]
    rig.load(served.put("s.tar", tar(members)), request="v", owner=f"{UID}:{UID}")
    root = rig.volume / "datasets/x"

    def grow() -> None:
        for name in ("f", "hard"):
            os.unlink(name)
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, 0o644))
            os.truncate(name, 2**43)

    assert stranger_rig.act(root, grow) == 0
    process = rig.start("", verb="verify")
    with contextlib.ExitStack() as stack:
        stack.callback(loader_rig.kill, process)
        assert process.wait(60) == 1
    assert rig.wait(process).error.startswith("2 of 2 files of x are not as they were published")


def test_a_file_that_grows_while_it_is_compared_is_not_read_to_its_end(tmp_path: pathlib.Path):
    with (tmp_path / "f").open("wb+") as file:
        file.truncate(2**43)
        assert readback.sha256(file.fileno(), 10) == (11, hashlib.sha256(bytes(11)).hexdigest())


def pipe(path: pathlib.Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace(path: pathlib.Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


CHANGES: dict[str, tuple[Callable[[pathlib.Path], object], str]] = {
    "pipe for a file": (lambda root: pipe(root / "d/a"), "'d/a' is not a file"),
    "more pipes": (lambda root: os.mkfifo(root / "d/p"), "not in the file list, one is 'd/p'"),
    "link for a file": (lambda root: replace(root / "d/a", "b"), "'d/a' is not a file"),
    "another target": (lambda root: replace(root / "l", "e"), "'l' has another target"),
    "file for a link": (
        lambda root: ((root / "l").unlink(), (root / "l").write_bytes(b"1")),
        "'l' is not a link",
    ),
    "more links": (lambda root: (root / "m").symlink_to("l"), "one is 'm'"),
    "more directories": (lambda root: (root / "d/m").mkdir(), "one is 'd/m'"),
    "more names of a file": (lambda root: os.link(root / "d/a", root / "m"), "one is 'm'"),
    "link for a directory": (
        lambda root: (
            (root / "e").rename(root.parents[3] / "elsewhere"),
            (root / "e").symlink_to(root.parents[3] / "elsewhere"),
        ),
        "'e/f/g' is missing",
    ),
    "an empty directory less": (lambda root: (root / "empty").rmdir(), "'empty' is missing"),
    "file for a directory": (
        lambda root: ((root / "empty").rmdir(), (root / "empty").write_bytes(b"")),
        "'empty' is not a directory",
    ),
    "directory for a file": (
        lambda root: ((root / "d/a").unlink(), (root / "d/a").mkdir()),
        "'d/a' is not a file",
    ),
    "a mode": (lambda root: (root / "d/a").chmod(0o666), "'d/a' has the mode 0666, not 0644"),
    "an x": (lambda root: (root / "d/a").chmod(0o755), "'d/a' has the mode 0755, not 0644"),
    "no x": (lambda root: (root / "run").chmod(0o644), "'run' has the mode 0644, not 0755"),
    "setuid": (lambda root: (root / "run").chmod(0o4755), "'run' has the mode 4755, not 0755"),
    "a directory's mode": (lambda root: (root / "d").chmod(0o777), "'d' has the mode 0777"),
    "its own mode": (lambda root: root.chmod(0o1777), "'.' has the mode 1777, not 0755"),
    "an owner": (lambda root: os.chown(root / "d/a", 1, 0), "'d/a' belongs to 1:0, not to 0:0"),
    "a group": (lambda root: os.chown(root / "d/a", 0, 1), "'d/a' belongs to 0:1, not to 0:0"),
    "a directory's owner": (lambda root: os.chown(root / "d", 1, 1), "'d' belongs to 1:1"),
    "a link's owner": (
        lambda root: os.chown(root / "l", 1, 1, follow_symlinks=False),
        "'l' belongs to 1:1, not to 0:0",
    ),
    "content of the same size": (
        lambda root: (root / "d/b").write_bytes(b"x" * 50),
        "'d/b' has other content",
    ),
    "another size": (lambda root: (root / "d/b").write_bytes(b"x"), "'d/b' has 1 bytes, not 50"),
    "the mode of a copy": (
        lambda root: (
            (root / "hard").unlink(),
            (root / "hard").write_bytes(FILES["d/a"]),
            (root / "hard").chmod(0o600),
        ),
        "'hard' has the mode 0600, not 0644",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_published_data_set_is_found(
    rig: loader_rig.Rig, served: origin_server.Origin, change: str
):
    members = [entry(name, content) for name, content in FILES.items()]
    members += [
        entry("run", b"#!", mode=0o755),
        entry("empty/", type=b"5"),
        link("l", "d/a"),
        link("hard", "d/a", hard=True),
    ]
    rig.load(served.put("s.tar", tar(members)), request="v")
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    apply, difference = CHANGES[change]
    apply(rig.volume / "datasets/.versions/x/v")
    last = rig.run_verb("verify")[-1]
    assert last["state"] == "failed"
    assert difference in last["error"]


def test_a_data_set_with_an_owner_and_a_mode_is_verified_with_them(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    members = [entry("d/f", b"1"), entry("run", b"2", mode=0o755), link("l", "run")]
    source = served.put("s.tar", tar(members))
    for mode in ("0640", "0666", "0600"):
        rig.load(source, "y", mode=mode, owner=f"{UID}:2000", overwrite=True)
        assert rig.run_verb("verify", "y")[-1]["state"] == "verified", mode
    os.chown(rig.volume / "datasets/y/d", 0, 0)
    assert f"'d' belongs to 0:0, not to {UID}:2000" in rig.run_verb("verify", "y")[-1]["error"]


# --- custom loaders


def prepared(rig: loader_rig.Rig) -> pathlib.Path:
    """Return the directory that the user's container has as /data, with a file of its user."""
    assert rig.wait(rig.start("", verb="prepare", request="v")).code == 0
    data = rig.volume / "datasets/.versions/x/.custom-v/files"
    assert stranger_rig.act(data, lambda: pathlib.Path("f").write_bytes(b"1")) == 0
    return data


def test_nobody_else_gets_at_the_files_of_a_custom_loader(rig: loader_rig.Rig):
    data = prepared(rig).relative_to(rig.volume)
    added = stranger_rig.act(rig.volume, lambda: (data / "evil").write_bytes(b"1"), uid=2000)
    assert added == errno.EACCES


def test_what_a_custom_loader_wrote_is_roots_in_the_end(rig: loader_rig.Rig):
    data = prepared(rig)

    def write() -> None:
        os.mkdir("d", 0o777)
        os.symlink("../f", "d/l")
        os.link("f", "d/hard")

    assert stranger_rig.act(data, write) == 0
    assert rig.load("", request="v").result.files == 2
    root = rig.volume / "datasets/.versions/x/v"
    assert {path.lstat().st_uid for path in (root, *root.rglob("*"))} == {0}
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    assert stranger_rig.act(root, lambda: os.rename("f", "g")) == errno.EACCES


def test_files_of_two_users_are_not_one_loaders(rig: loader_rig.Rig):
    data = prepared(rig)
    # By a pod that mounts the same directory.
    assert stranger_rig.act(data, lambda: pathlib.Path("evil").write_bytes(b"1"), uid=2000) == 0
    error = rig.load("", request="v").error
    assert f"belong to several users (uid {UID}, uid 2000)" in error
    assert not (rig.volume / "datasets/x").exists()


def test_another_ones_file_under_a_name_of_a_custom_loader_is_refused(rig: loader_rig.Rig):
    data = prepared(rig)
    # As on a node that does not protect hard links.
    other = rig.volume / "other"
    other.write_bytes(b"private")
    other.chmod(0o600)
    os.chown(other, UID, UID)
    os.link(other, data / "taken")
    before = stranger_rig.snapshot(rig.volume / "other")
    error = rig.load("", request="v", mode="644").error
    assert "'taken', a file that has another name elsewhere on the volume: copy it" in error
    assert stranger_rig.snapshot(rig.volume / "other") == before


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("attempt", range(2))
def test_what_is_exchanged_while_it_is_taken_over_gives_nothing_away(
    rig: loader_rig.Rig, how: str, attempt: int
):
    data = prepared(rig)

    def write() -> None:
        for number in range(20):
            os.mkdir(f"d{number}")
            for each in range(300):
                pathlib.Path(f"d{number}/f{each}").write_bytes(b"1")

    assert stranger_rig.act(data, write) == 0
    target = victim(rig)
    before = stranger_rig.snapshot(target)
    exchange = stranger_rig.Exchange(data, target, rig.volume / "stash")
    with stranger_rig.acting(data, getattr(exchange, how)):
        rig.load("", request="v", mode="644", owner=f"{UID}:{UID}")
    assert stranger_rig.snapshot(target) == before


def test_nothing_is_added_once_a_directory_is_taken_over(rig: loader_rig.Rig):
    data = prepared(rig)
    assert stranger_rig.act(data, lambda: [os.mkdir(f"d{number}") for number in range(50)]) == 0

    def add() -> None:
        for number in range(50):
            name = f"d{number}/{os.urandom(4).hex()}"
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT))

    with stranger_rig.acting(data, add):
        result = rig.load("", request="v").result
        verified = rig.run_verb("verify")[-1]
    assert (verified["state"], verified["files"]) == ("verified", result.files)
