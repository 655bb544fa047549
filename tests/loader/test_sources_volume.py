"""Sources on the volume itself: what a path has becomes a data set, and only what all may read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import tracemalloc
from collections.abc import Callable

import pytest

from datasets.loader.base import failure, tasks
from datasets.loader.http import http_client
from datasets.loader.sources import volume_tree
from sandbox.servers import origin_server
from tests.loader import loader_rig, stranger_rig
from tests.loader.stranger_rig import UID

FILES = {
    "a.txt": b"a" * 3000,
    "empty": b"",
    "train/deep/er/b": b"b" * 200_000,
    "with blank, 100 % and ?#&": b"c",
    "ünïcödé/线": b"d",
    "two\nlines": b"e",
}
SOURCE = "volume:/inbox/photos"
SECRET = b"somebody's secret"


def fill(rig: loader_rig.Rig, path: str = "inbox/photos") -> pathlib.Path:
    """Put the files on the volume, as its users do: all may read them."""
    top = rig.volume / path
    for name, content in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    for each in (top, *top.parents):
        if each == rig.volume:
            break
        each.chmod(0o755)
    return top


# --- what is loaded


def test_a_directory_becomes_a_data_set_of_its_own(rig: loader_rig.Rig):
    top = fill(rig)
    (top / "train/run.sh").write_bytes(b"#!/bin/sh\n")
    (top / "train/run.sh").chmod(0o755)
    before = stranger_rig.snapshot(top)

    result = rig.load(SOURCE).result

    assert rig.files() == {**FILES, "train/run.sh": b"#!/bin/sh\n"}
    assert (result.files, result.path) == (len(FILES) + 1, "/datasets/x")
    assert stranger_rig.snapshot(top) == before, "the source stays as it is"
    loaded = rig.volume / "datasets/x"
    assert os.access(loaded / "train/run.sh", os.X_OK)
    assert (loaded / "a.txt").stat().st_mode & 0o777 == 0o644
    (top / "a.txt").write_bytes(b"changed afterwards")
    assert rig.files()["a.txt"] == FILES["a.txt"], "it is a copy"
    assert rig.run_verb("verify")[-1]["state"] == "verified"


@pytest.mark.parametrize("slash", ["", "/"])
def test_one_file_is_unpacked_or_kept_as_from_anywhere_else(rig: loader_rig.Rig, slash: str):
    fill(rig)
    packed = loader_rig.archive("tar.gz", {"x/y": b"1", "z": b"2"})
    (rig.volume / "inbox/set.tar.gz").write_bytes(packed)
    source = f"volume:/inbox/set.tar.gz{slash}"
    rig.load(source, "unpacked").result  # noqa: B018 - it asserts
    assert rig.files("unpacked") == {"x/y": b"1", "z": b"2"}
    rig.load(source, "kept", unpack=False).result  # noqa: B018
    assert rig.files("kept") == {"set.tar.gz": packed}


def test_a_checksum_is_compared(rig: loader_rig.Rig):
    fill(rig)
    source = f"{SOURCE}/a.txt"
    wrong = rig.load(source, checksum="md5:" + "0" * 32).error
    assert "md5" in wrong
    assert rig.load(source, checksum="md5:" + hashlib.md5(FILES["a.txt"]).hexdigest())
    assert "many files" in rig.load(SOURCE, "y", checksum="md5:" + "0" * 32).error


def test_patterns_select_and_what_is_left_out_may_be_anything(rig: loader_rig.Rig):
    top = fill(rig)
    (top / "latest").symlink_to("train")
    (top / "private").mkdir(mode=0o700)
    (top / "private/key").write_bytes(SECRET)
    os.mkfifo(top / "pipe")
    rig.load(SOURCE, exclude=("latest", "private/", "p?pe", "two*")).result  # noqa: B018
    assert set(rig.files()) == set(FILES) - {"two\nlines"}
    rig.load(SOURCE, "y", include=("*.txt", "train/"), exclude=("private/*",)).result  # noqa: B018
    assert set(rig.files("y")) == {"a.txt", "train/deep/er/b"}


def test_archives_below_it_are_unpacked_if_asked_for(rig: loader_rig.Rig):
    fill(rig)
    (rig.volume / "inbox/photos/set.zip").write_bytes(loader_rig.archive("zip", {"y": b"1"}))
    rig.load(SOURCE, unpack="recursive").result  # noqa: B018
    assert rig.files() == {**FILES, "set/y": b"1"}


def test_it_goes_with_sources_of_other_kinds(rig: loader_rig.Rig, served: origin_server.Origin):
    fill(rig)
    rig.load(f"{SOURCE} {served.put('other', b'2')}").result  # noqa: B018
    assert rig.files() == {**FILES, "other": b"2"}


def test_pods_share_the_files_and_the_parts_of_a_large_one(rig: loader_rig.Rig):
    top = fill(rig)
    large = os.urandom(5 * 2**20 + 17)
    (top / "large").write_bytes(large)
    (top / "large").chmod(0o755)
    with loader_rig.small_parts():
        runs = [rig.run_pod(SOURCE, index, 3, request="r") for index in (0, 1, 2)]
    assert rig.files() == {**FILES, "large": large}
    assert os.access(rig.volume / "datasets/x/large", os.X_OK)
    assert [run.code for run in runs] == [0, 0, 0]
    assert runs[0].result.shards > 1


@pytest.mark.parametrize("before", ["3", "6", "9", "12"])
def test_a_copy_that_was_killed_is_continued(rig: loader_rig.Rig, before: str):
    top = fill(rig)
    killed = rig.wait(rig.start(SOURCE, environ={"KILLED_BEFORE": before}))
    assert killed.code == -9
    rig.load(SOURCE).result  # noqa: B018
    assert rig.files() == FILES
    assert loader_rig.tree(top) == FILES


def test_what_was_copied_is_not_copied_again(rig: loader_rig.Rig):
    top = fill(rig)
    assert not rig.load(SOURCE, request="r").result.existing
    shutil.rmtree(top)
    assert rig.load(SOURCE, request="s").result.existing


# --- what is refused


def _link(top: pathlib.Path) -> None:
    (top / "train/link").symlink_to("/etc/passwd")


def _link_to_directory(top: pathlib.Path) -> None:
    (top / "link").symlink_to("train")


def _pipe(top: pathlib.Path) -> None:
    os.mkfifo(top / "pipe")


def _socket(top: pathlib.Path) -> None:
    # Its own path may be longer than an address.
    directory = os.open(top, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{directory}/socket")
    os.close(directory)


def _private_file(top: pathlib.Path) -> None:
    (top / "train/deep/er/b").chmod(0o640)


def _private_directory(top: pathlib.Path) -> None:
    (top / "train/deep").chmod(0o750)


def _private_top(top: pathlib.Path) -> None:
    top.chmod(0o711)


def _sparse(top: pathlib.Path) -> None:
    with (top / "hole").open("wb") as file:
        file.truncate(2**40)


def _bad_name(top: pathlib.Path) -> None:
    (pathlib.Path(os.fsdecode(os.fsencode(top) + b"/\xff"))).write_bytes(b"1")


def _deep(top: pathlib.Path) -> None:
    directory = os.open(top, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", 0o755, dir_fd=directory)
        below = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(directory)


def _gone(top: pathlib.Path) -> None:
    shutil.rmtree(top)


def _top_is_a_link(top: pathlib.Path) -> None:
    top.rename(top.with_name("elsewhere"))
    top.symlink_to("elsewhere")


def _link_above(top: pathlib.Path) -> None:
    top.parent.rename(top.parent.with_name("elsewhere"))
    top.parent.symlink_to("elsewhere")


REFUSED: dict[Callable[[pathlib.Path], None], str] = {
    _link: "'train/link' in volume:/inbox/photos is a symbolic link",
    _link_to_directory: "'link' in volume:/inbox/photos is a symbolic link",
    _pipe: "'pipe' in volume:/inbox/photos is no file (a pipe, socket or device)",
    _socket: "'socket' in volume:/inbox/photos is no file",
    _private_file: "not all users may read 'train/deep/er/b' in volume:/inbox/photos",
    _private_directory: "not all users may read the directory '/inbox/photos/train/deep'",
    _private_top: "not all users may read the directory '/inbox/photos'",
    _sparse: "'hole' in volume:/inbox/photos is sparse: of its 1099511627776 bytes",
    _bad_name: "its name is not UTF-8",
    _deep: "too deep",
    _gone: "volume:/inbox/photos is not on the volume",
    _top_is_a_link: "volume:/inbox/photos is a symbolic link, which is not followed",
    _link_above: "volume:/inbox/photos is not on the volume, or a symbolic link leads there",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_cannot_be_in_a_data_set_is_refused(
    rig: loader_rig.Rig, change: Callable[[pathlib.Path], None]
):
    top = fill(rig)
    change(top)
    assert REFUSED[change] in rig.load(SOURCE).error
    assert not (rig.volume / "datasets/x").exists()


def test_more_files_than_a_source_may_have_are_refused(rig: loader_rig.Rig):
    fill(rig)
    assert "has more than 3 files" in rig.load(SOURCE, limits={"most_members": 3}).error
    assert "max-size" in rig.load(SOURCE, "y", limits={"most_bytes": 1000}).error


def test_directories_without_files_count_too(rig: loader_rig.Rig):
    top = fill(rig)
    for number in range(30):
        (top / "none" / str(number)).mkdir(parents=True)
    error = rig.load(SOURCE, limits={"most_members": 20}).error
    assert "has more than 20 files and directories" in error


@pytest.mark.parametrize("source", [SOURCE, f"{SOURCE}/a.txt"])
def test_what_a_closed_directory_above_keeps_private_is_not_published(
    rig: loader_rig.Rig, source: str
):
    top = fill(rig)
    top.parent.chmod(0o700)
    error = rig.load(source).error
    assert "not all users may read the directory '/inbox'" in error
    top.parent.chmod(0o711)
    assert rig.load(source, "y").result


def test_a_list_cannot_name_a_path_of_the_volume_nor_be_one(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    fill(rig)
    listed = served.put("list", b"volume:///inbox/photos/a.txt\n")
    error = rig.load("", source_list=listed, digest_key="00").error
    assert "is a path of the volume: give it as a source of its own" in error
    error = rig.load("", "y", source_list=f"{SOURCE}/a.txt", digest_key="00").error
    assert "no source list is read" in error


# --- what others do meanwhile


def opened(rig: loader_rig.Rig, name: str, **headers: str) -> http_client.Response:
    task = tasks.Task("x", "r", "f", (tasks.Source(SOURCE),), root=str(rig.volume))
    known = {each.replace("_", "-"): value for each, value in headers.items()}
    return volume_tree.opener(task)(f"{SOURCE}/{name}", known)


def _written(path: pathlib.Path) -> None:
    with path.open("r+b") as file:
        file.write(b"B")


def _cut(path: pathlib.Path) -> None:
    os.truncate(path, 70_000)


def _longer(path: pathlib.Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _back_dated(path: pathlib.Path) -> None:
    before = path.stat()
    _written(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [_written, _cut, _longer, _back_dated])
def test_a_file_that_changes_while_it_is_read_is_read_again(
    rig: loader_rig.Rig, change: Callable[[pathlib.Path], None]
):
    path = fill(rig) / "train/deep/er/b"
    with contextlib.closing(opened(rig, "train/deep/er/b")) as response:
        assert response.read(65_536)
        change(path)
        with pytest.raises(failure.StartOver, match="changed"):
            while response.read(65_536):
                pass


def test_parts_of_two_versions_are_not_mixed(rig: loader_rig.Rig):
    path = fill(rig) / "train/deep/er/b"
    with contextlib.closing(opened(rig, "train/deep/er/b", Range="bytes=0-9")) as first:
        assert (first.status, first.read(100)) == (206, b"b" * 10)
        version = first.headers["ETag"]
    with contextlib.closing(
        opened(rig, "train/deep/er/b", Range="bytes=10-", If_Range=version)
    ) as second:
        assert second.headers["Content-Range"] == "bytes 10-199999/200000"
    path.rename(path.with_name("old"))
    path.write_bytes(b"b" * 200_000)
    with pytest.raises(failure.StartOver, match="changed"):
        opened(rig, "train/deep/er/b", Range="bytes=10-", If_Range=version)


@pytest.mark.parametrize("change", [_gone, _private_file, _private_directory, _private_top])
def test_what_a_listed_file_has_become_is_looked_at_again(
    rig: loader_rig.Rig, change: Callable[[pathlib.Path], None]
):
    change(fill(rig))
    with pytest.raises((failure.StartOver, failure.Failure)):
        opened(rig, "train/deep/er/b")


def test_a_listed_file_that_has_become_a_link_is_not_followed(rig: loader_rig.Rig):
    top = fill(rig)
    (top / "secret").write_bytes(SECRET)
    (top / "a.txt").unlink()
    (top / "a.txt").symlink_to("secret")
    with pytest.raises(failure.StartOver):
        opened(rig, "a.txt")


@stranger_rig.needs_root
@pytest.mark.parametrize("linked", [False, True])
def test_somebody_elses_private_files_are_not_published(rig: loader_rig.Rig, linked: bool):
    """Its owner may move them by his right to write in the directory, or link them."""
    top = fill(rig)
    victim = rig.volume / "shared"
    victim.mkdir()
    (victim / "key").write_bytes(SECRET)
    (victim / "key").chmod(0o600)
    os.chown(victim / "key", 2000, 2000)
    for each in (victim, top):
        os.chown(each, UID, UID)
    if linked:
        os.link(victim / "key", top / "a-key")
    else:
        moved = pathlib.Path("shared/key")
        assert not stranger_rig.act(rig.volume, lambda: moved.rename("inbox/photos/a-key"))
    assert "not all users may read 'a-key'" in rig.load(SOURCE).error
    assert not (rig.volume / "datasets/x").exists()


@stranger_rig.needs_root
@pytest.mark.parametrize("attempt", range(3))
def test_directories_exchanged_for_links_lead_nowhere(rig: loader_rig.Rig, attempt: int):
    rig.volume.chmod(0o1777)
    private = rig.volume / "private"
    private.mkdir()
    top = rig.volume / "inbox/photos"
    for number in range(40):
        (top / f"d{number}").mkdir(parents=True)
        (top / f"d{number}/f0").write_bytes(b"public")
        (private / "f0").write_bytes(SECRET)
    for each in (top.parent, top, *top.rglob("*")):
        each.chmod(each.stat().st_mode & 0o777 | 0o755)
        os.chown(each, UID, UID)
    (private / "f0").chmod(0o644)
    private.chmod(0o700)
    exchange = stranger_rig.Exchange(top, private, rig.path / "stash")
    with stranger_rig.acting(rig.volume, exchange.all_the_time):
        run = rig.load(SOURCE)
    if run.code:
        assert "symbolic link" in run.error or "changed" in run.error
        assert not (rig.volume / "datasets/x").exists()
    else:
        assert set(rig.files().values()) == {b"public"}
    for path in (rig.volume / "datasets").rglob("*"):
        assert not path.is_file() or path.read_bytes() != SECRET


# --- what it takes


def test_the_memory_of_a_listing_does_not_grow_with_the_tree(rig: loader_rig.Rig):
    top = rig.volume / "inbox/photos"
    for number in range(100):
        (top / f"d{number}").mkdir(parents=True)
    for number in range(10_000):
        (top / f"d{number % 10}/f{number:06}-{'x' * 100}").touch()
    for each in (top.parent, top, *top.iterdir()):
        each.chmod(0o755)
    task = tasks.Task("x", "r", "f", (tasks.Source(SOURCE),), root=str(rig.volume))
    tracemalloc.start()
    try:
        count = sum(1 for _ in volume_tree.VolumeReader(task).expand(SOURCE))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000
    # All paths alone would have more than 2 MB.
    assert peak < 1.5e6
