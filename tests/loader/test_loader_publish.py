from __future__ import annotations

import lzma
import os
import pathlib
import random
import signal
import stat
import subprocess
import tarfile
import threading
import time

import pytest

from datasets.loader.work import publish
from sandbox.servers import origin_server
from tests.loader import formats_rig, loader_rig
from tests.loader.loader_rig import entry, tar

FILES = {f"d{number % 5}/{number}": b"%d" % number * 5000 for number in range(200)}
OTHER = {f"d{number % 5}/{number}": b"-%d" % number * 5000 for number in range(200)}


def put(served: origin_server.Origin, name: str, files: dict[str, bytes], **faults: float) -> str:
    content = loader_rig.archive("tar", files)
    return served.put(name, content, faults=origin_server.Faults(**faults))


def test_a_data_set_is_a_relative_link_to_its_version(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    result = rig.load(put(served, "s.tar", FILES)).result
    link = rig.volume / "datasets/x"
    assert str(link.readlink()) == f".versions/x/{result.version}"
    moved = rig.volume.rename(rig.path / "mounted-elsewhere")
    assert loader_rig.tree(moved / "datasets/x") == FILES
    assert loader_rig.versions(moved) == [result.version]


def test_the_same_load_again_reports_what_is_there(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = put(served, "s.tar", FILES)
    first = rig.load(source).result
    again = rig.load(source + "?X-Amz-Signature=again").result
    assert again.existing and not first.existing
    assert (again.version, again.files, again.checksum) == (
        first.version,
        first.files,
        first.checksum,
    )
    assert len(served.requests) == 1


def test_paths_that_come_again_and_again_are_listed_in_parts(
    rig: loader_rig.Rig, served: origin_server.Origin, monkeypatch: pytest.MonkeyPatch
):
    once = [entry(f"d/{number}", b"%d" % number) for number in range(40)]
    again = [entry(f"d/{number}", b"-%d" % number) for number in range(0, 40, 2)]
    links = [loader_rig.link(f"l{number}", f"d/{number}") for number in range(20)]
    tops = [entry("d", type=tarfile.DIRTYPE)]
    source = served.put("s.tar", tar([*tops, *once, *links, *tops, *again, *links, *again]))
    rig.load(source)
    monkeypatch.setattr(publish, "MOST_KEPT_BYTES", 3 * publish.LINE_BYTES)
    rig.load(source, "parts")
    assert rig.file_list("parts") == rig.file_list()
    assert rig.files("parts")["d/2"] == b"-2" and len(rig.file_list()) == 61


@pytest.mark.parametrize("kind", ["links", "directories", "replaced"])
def test_more_names_than_fit_into_memory_are_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, monkeypatch: pytest.MonkeyPatch, kind: str
):
    entries = {
        "links": [loader_rig.link(f"l{number}", "f") for number in range(6)],
        "directories": [entry(f"d{number}", type=tarfile.DIRTYPE) for number in range(6)],
        "replaced": [entry("f", b"%d" % number) for number in range(7)],
    }[kind]
    monkeypatch.setattr(publish, "MOST_NAMES", 5)
    error = rig.load(served.put("s.tar", tar([entry("f", b"1"), *entries]))).error
    assert "more than 5 links, directories and files that replace others" in error


def test_more_links_of_a_zip_without_ranges_than_fit_into_memory_are_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, monkeypatch: pytest.MonkeyPatch
):
    packed = [
        formats_rig.Packed(b"l%d" % number, b"f", method=0, mode=stat.S_IFLNK | 0o777)
        for number in range(6)
    ]
    content = formats_rig.zipped(formats_rig.Packed(b"f", b"1"), *packed)
    faults = origin_server.Faults(ranges=False)
    source = served.put("s.zip", content, faults=faults)
    monkeypatch.setattr(publish, "MOST_KEPT_BYTES", 3 * publish.LINE_BYTES)
    assert "too many symbolic links to read without ranges" in rig.load(source).error


def test_a_load_that_was_published_before_its_pod_was_lost_is_not_done_again(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = put(served, "s.tar", FILES)
    rig.load(source)
    first = rig.load(source, overwrite=True, request="one").result
    again = rig.load(source, overwrite=True, request="one").result
    assert (first.existing, again.existing) == (False, True)
    assert len(served.requests) == 2


def test_other_parameters_are_refused_unless_it_may_be_overwritten(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(put(served, "s.tar", FILES))
    other = put(served, "o.tar", OTHER)
    error = rig.refused(other)
    assert "overwrite=true" in error
    assert rig.files() == FILES
    rig.load(other, overwrite=True)
    assert rig.files() == OTHER


def test_the_version_before_stays_until_the_next_overwrite(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    for number, version in enumerate(["one", "two", "three"]):
        source = put(served, "s.tar", {"n": b"%d" % number})
        rig.load(source, overwrite=True, request=version)
        assert rig.files() == {"n": b"%d" % number}
    assert rig.versions() == ["three", "two"]


def test_a_failed_overwrite_leaves_what_is_there(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(put(served, "s.tar", FILES))
    bad = served.put("bad.tar", tar([entry("a", b"1"), entry("../evil", b"1")]))
    rig.refused(bad, overwrite=True)
    rig.refused(put(served, "o.tar", OTHER), overwrite=True, checksum="md5:" + "0" * 32)
    assert rig.files() == FILES


def test_a_reader_never_sees_half_a_data_set(rig: loader_rig.Rig, served: origin_server.Origin):
    source, other = put(served, "s.tar", FILES), put(served, "o.tar", OTHER)
    link = rig.volume / "datasets/x"
    seen: list[dict[str, bytes] | None] = []
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            seen.append(loader_rig.tree(link) if link.exists() else None)

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        ended_loads = [rig.wait(rig.start(each, overwrite=True)) for each in (source, other)]
    finally:
        time.sleep(0.05)
        ended.set()
        reader.join()
    assert [run.code for run in ended_loads] == [0, 0]
    states = [
        state for number, state in enumerate(seen) if not number or state != seen[number - 1]
    ]
    assert states == [None, FILES, OTHER]


def test_a_load_killed_at_any_point_can_be_run_again_and_leaves_no_trash(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(put(served, "o.tar", OTHER), request="before")
    source = put(served, "s.tar", FILES, bytes_per_second=8_000_000)
    chance = random.Random(3)
    for _ in range(5):
        process = rig.start(source, overwrite=True, request="killed")
        time.sleep(chance.uniform(0.1, 0.5))
        loader_rig.kill(process)
        assert rig.files() in (OTHER, FILES)
    assert rig.load(source, overwrite=True, request="killed").code == 0
    assert rig.files() == FILES
    assert rig.versions() == ["before", "killed"]


def test_what_a_killed_load_left_goes_with_the_next_one(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    process = rig.start(put(served, "s.tar", FILES, hold_after=2_000_000))
    loader_rig.wait_until(lambda: list(rig.volume.rglob("d0/0")))
    loader_rig.kill(process)
    assert any(name.startswith(".load-") for name in rig.versions())
    assert not (rig.volume / "datasets/x").exists()
    assert rig.load(put(served, "s.tar", FILES)).result.files == len(FILES)
    assert len(rig.versions()) == 1


def test_a_load_that_gets_sigterm_reports_it_and_is_continued(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = put(served, "s.tar", FILES, hold_after=2_000_000)
    process = rig.start(source, request="stopped")
    loader_rig.wait_until(lambda: len(list(rig.volume.rglob("tree/*/*"))) > 100)
    process.send_signal(signal.SIGTERM)
    run = rig.wait(process)
    assert run.code == 128 + signal.SIGTERM
    assert "was stopped before it finished: try again" in run.error
    assert not (rig.volume / "datasets/x").exists()
    begun = {path: path.stat().st_mtime_ns for path in rig.volume.rglob("d?/*")}
    served.release()
    assert rig.load(source).result.version == "stopped"
    assert rig.files() == FILES
    kept = {path: path.stat().st_mtime_ns for path in rig.volume.rglob("d?/*")}
    assert begun
    assert set(begun.values()) & set(kept.values()), "what was there is not written again"


def test_two_loads_of_one_data_set_do_not_meet(rig: loader_rig.Rig, served: origin_server.Origin):
    slow = put(served, "s.tar", FILES, hold_after=2_000_000)
    first = rig.start(slow, request="first")
    loader_rig.wait_until(lambda: list(rig.volume.rglob("d0/0")))
    # Another data set is not blocked.
    assert rig.load(put(served, "o.tar", OTHER), "y").code == 0
    assert first.poll() is None
    second = rig.start(slow)
    time.sleep(0.3)
    assert second.poll() is None
    served.release()
    assert first.wait() == 0
    assert rig.wait(second).result.existing
    assert len(served.requests) == 2
    assert rig.versions() == ["first"]


@pytest.mark.parametrize("kind", ["full directory", "file", "link out", "link in"])
def test_what_is_not_ours_at_its_place_is_left_alone(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    place = rig.volume / "datasets/x"
    place.parent.mkdir()
    if kind == "file":
        place.write_bytes(b"theirs")
    elif kind.startswith("link"):
        place.symlink_to(".versions/y/1" if kind == "link in" else "/etc")
    else:
        place.mkdir()
        (place / "theirs").write_bytes(b"1")
    error = rig.refused(put(served, "s.tar", FILES), overwrite=True)
    assert "was not made by this charm: move it away, or choose another name" in error


@pytest.mark.parametrize("place", ["datasets", "datasets/.versions", "datasets/.versions/x"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_where_a_directory_is_needed_is_reported_and_kept(
    rig: loader_rig.Rig, served: origin_server.Origin, place: str, kind: str
):
    path = rig.volume / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_bytes(b"theirs")
    else:
        path.symlink_to(rig.path)
    error = rig.refused(put(served, "s.tar", FILES))
    assert "is not a directory: move it away" in error
    assert sorted(entry.name for entry in rig.path.iterdir() if entry.is_dir()) == ["volume"]


def test_a_data_set_whose_record_is_lost_can_be_replaced(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = put(served, "s.tar", FILES)
    rig.load(source)
    for record in rig.volume.rglob("*.json"):
        record.write_text("{")
    assert "overwrite=true" in rig.refused(source)
    rig.load(source, overwrite=True)
    assert rig.files() == FILES


def test_a_full_volume_is_reported(tmp_path: pathlib.Path, served: origin_server.Origin):
    rig = loader_rig.Rig(tmp_path)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", rig.volume]
    if os.getuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount")
    try:
        source = served.put("s.csv", b"1" * 2_000_000)
        # In a process of its own, which leaves no directory of the mount open.
        assert "no space is left on the volume" in rig.wait(rig.start(source)).message
    finally:
        subprocess.run(["umount", rig.volume], check=True)


@pytest.mark.skipif(not os.getuid(), reason="root may write anywhere")
def test_a_volume_that_may_not_be_written_is_reported(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.volume.chmod(0o555)
    assert "check the options root-mode" in rig.refused(put(served, "s.tar", FILES))


@pytest.mark.parametrize("archive_format", ["tar.gz", "zip"])
def test_a_big_file_is_loaded_in_little_memory(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    size = 272 * 2**20
    source = served.put(f"s.{archive_format}", loader_rig.big_zeros(archive_format, size))
    limits = {"most_expansion": 2000}
    run = rig.wait(rig.start(source, limits=limits))
    assert run.result.bytes == size
    assert 0 < run.peak_bytes < 256 * 2**20


def test_many_hungry_archives_are_loaded_in_little_memory(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    # With preset 9 a decompressor takes 65 MiB, if the content is that large.
    files = {"zeros": bytes(70 * 2**20), "noise": random.Random(1).randbytes(300_000)}
    packed = lzma.compress(loader_rig.archive("tar", files), preset=9)
    outer = loader_rig.archive("tar", {f"n{number}.tar.xz": packed for number in range(6)})
    limits = {"most_expansion": 2000}
    source = served.put("s.tar", outer)
    run = rig.wait(rig.start(source, unpack="recursive", limits=limits))
    assert run.result.files == 12
    assert 0 < run.peak_bytes < 256 * 2**20


def test_many_files_are_loaded_in_little_memory(rig: loader_rig.Rig, served: origin_server.Origin):
    # The same directories again and again, as they cost the volume least.
    names = ["d" * 50 + str(number % 7) for number in range(10_000)]
    content = loader_rig.directories(names) + tar([entry("f", b"1")])
    run = rig.wait(rig.start(served.put("s.tar", content)))
    assert run.result.files == 1
    assert 0 < run.peak_bytes < 48 * 2**20
