from __future__ import annotations

import hashlib
import json
import os
import pathlib
import random
import subprocess
import tarfile

import pytest

from datasets.loader.tree import tree_writer
from datasets.loader.work import item_large_file, plan
from sandbox.servers import origin_server, s3_server
from tests.loader import loader_rig
from tests.loader.nested_rig import INNER, NESTED, UNPACKED, listed, nested

Process = subprocess.Popen[str]
RANDOM = random.Random(11)


@pytest.mark.parametrize("archive_format", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("ranges", [True, False])
def test_an_archive_of_archives_is_unpacked_into_a_directory_for_each(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, ranges: bool
):
    content = nested(archive_format)
    source = served.put(
        f"set.{archive_format}", content, faults=origin_server.Faults(ranges=ranges)
    )
    result = rig.load(source, unpack="recursive").result
    assert rig.files() == UNPACKED
    assert rig.file_list() == listed(UNPACKED)
    assert (result.files, result.bytes) == (len(UNPACKED), sum(map(len, UNPACKED.values())))


@pytest.mark.parametrize("answers", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_an_archive_of_archives_may_lose_its_ranges(
    rig: loader_rig.Rig, served: origin_server.Origin, answers: int, count: int
):
    faults = origin_server.Faults(range_answers=answers)
    source = served.put("set.tar", NESTED, faults=faults)
    run = rig.run_pod(source, 0, count, unpack="recursive")
    assert run.result.files == len(UNPACKED)
    assert rig.files() == UNPACKED


def test_without_recursive_the_inner_archives_stay_files(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(served.put("set.tar", NESTED))
    assert sorted(rig.files()) == [f"{top}.tar" for top in sorted(INNER)]


@pytest.mark.parametrize(
    ("archive_format", "second"), [("tar", "tar"), ("tar", "zip"), ("zip", "tar")]
)
def test_archives_are_unpacked_as_deep_however_they_are_fetched(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, second: str
):
    content = {"file": RANDOM.randbytes(300_000)}
    for name, kind in (("fourth", "tar"), ("third", "tar"), ("second", second)):
        content = {f"{name}.{kind}": loader_rig.archive(kind, content)}
    packed = loader_rig.archive(archive_format, content)
    trees: list[dict[str, bytes]] = []
    for ranges in (True, False):
        source = served.put(
            f"set.{archive_format}", packed, faults=origin_server.Faults(ranges=ranges)
        )
        rig.load(source, str(ranges).lower(), unpack="recursive")
        trees.append(rig.files(str(ranges).lower()))
    assert trees[0] == trees[1]
    assert list(trees[0]) == ["second/third/fourth.tar"], "the limit is three"


def everything(root: pathlib.Path) -> dict[str, tuple[int, bytes]]:
    """Return the modes and contents of all paths in a directory."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("size", [1_000_000, 5_000_000])
def test_what_is_no_archive_in_an_archive_of_archives_is_there_however_it_is_fetched(
    rig: loader_rig.Rig, served: origin_server.Origin, size: int
):
    members = [
        loader_rig.entry("./", type=tarfile.DIRTYPE),
        loader_rig.entry("docs/empty/", type=tarfile.DIRTYPE),
        loader_rig.entry("README.txt", b"hello"),
        loader_rig.entry("run.sh", b"#!/bin/sh", mode=0o755),
        loader_rig.entry(".gitkeep"),
        loader_rig.entry("video.mp4", RANDOM.randbytes(size)),
        loader_rig.entry("called.tar", RANDOM.randbytes(size)),
        loader_rig.entry("n.tar", loader_rig.archive("tar", {"x": RANDOM.randbytes(600_000)})),
    ]
    trees: list[dict[str, tuple[int, bytes]]] = []
    forms: set[str] = set()
    for ranges in (True, False):
        name = str(ranges).lower()
        source = served.put(
            "set.tar", loader_rig.tar(members), faults=origin_server.Faults(ranges=ranges)
        )
        forms.add(rig.load(source, name, unpack="recursive").result.archive_format)
        assert rig.run_verb("verify", name)[-1]["state"] == "verified"
        trees.append(everything((rig.volume / "datasets" / name).resolve()))
    assert trees[0] == trees[1]
    assert {"docs/empty", "README.txt", "n/x", "called.tar"} < set(trees[0])
    assert trees[0]["README.txt"][1] == b"hello"
    assert forms == {"tar"}


def test_of_two_members_of_one_name_in_an_archive_of_archives_the_last_one_counts(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    inner = [loader_rig.archive("tar", {"x": RANDOM.randbytes(400_000)}) for _ in range(2)]
    members = [
        loader_rig.entry("n.tar", inner[0]),
        loader_rig.entry("README", b"first"),
        loader_rig.entry("n.tar", inner[1]),
        loader_rig.entry("README", b"last"),
    ]
    rig.load(served.put("set.tar", loader_rig.tar(members)), unpack="recursive")
    assert rig.files()["README"] == b"last"
    assert loader_rig.archive("tar", {"x": rig.files()["n/x"]}) == inner[1]


def test_of_two_files_of_one_name_the_last_one_counts_whatever_their_sizes(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    small, large = b"small", RANDOM.randbytes(5_000_000)
    for number, contents in enumerate([(small, large), (large, small), (large, large[::-1])]):
        packed = loader_rig.tar(loader_rig.entry("data.bin", content) for content in contents)
        rig.load(served.put("set.tar", packed), f"x{number}")
        assert rig.files(f"x{number}") == {"data.bin": contents[1]}
        assert rig.run_verb("verify", f"x{number}")[-1]["state"] == "verified"


def test_what_comes_after_a_large_file_of_its_name_replaces_it(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    large = [bytes([number]) * (tree_writer.SMALL_BYTES + 5) for number in range(6)]
    members = [
        member
        for number, content in enumerate(large)
        for member in (
            loader_rig.entry(f"d/{number}", content),
            loader_rig.entry(f"d/{number}", b"small" if number % 2 else large[number - 1]),
        )
    ]
    source = served.put("s.tar", loader_rig.tar(members))
    assert rig.load(source).code == 0
    assert rig.files() == {
        f"d/{number}": b"small" if number % 2 else large[number - 1] for number in range(6)
    }
    assert rig.run_verb("verify")[-1]["state"] == "verified"


def test_inner_archives_are_fetched_side_by_side_and_nothing_twice(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(served.put("set.tar", NESTED), unpack="recursive")
    starts = [request.headers.get("range", "") for request in served.requests]
    assert len(set(starts)) == len(starts)
    assert len(starts) > len(INNER)


def test_the_checksum_of_an_archive_whose_parts_are_fetched_is_held_against_all_of_it(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = served.put("set.tar", NESTED)
    right = f"sha256:{hashlib.sha256(NESTED).hexdigest()}"
    assert rig.load(source, unpack="recursive", checksum=right).result.checksum == right
    error = rig.load(source, "y", unpack="recursive", checksum="sha256:" + "0" * 64).error
    assert f"has the checksum {right}" in error
    assert not (rig.volume / "datasets/y").exists()


@pytest.mark.parametrize("count", [2, 5])
def test_pods_share_an_archive_of_archives_and_one_of_them_publishes(
    rig: loader_rig.Rig, served: origin_server.Origin, count: int
):
    source = served.put("set.tar", NESTED, faults=origin_server.Faults(bytes_per_second=4_000_000))
    runs = rig.run_pods(source, count, unpack="recursive")
    assert [run.code for run in runs] == [0] * count
    assert rig.files() == UNPACKED
    assert rig.file_list() == listed(UNPACKED)
    published = [run for run in runs if '"existing": false' in run.message]
    assert len(published) == 1
    fetched = [
        max(json.loads(line).get("fetched", 0) for line in run.log.splitlines()) for run in runs
    ]
    assert sum(share > 0 for share in fetched if share < len(NESTED)) > 1, "they have shared it"


def test_pods_share_one_large_file_by_ranges(
    rig: loader_rig.Rig, served: origin_server.Origin, monkeypatch: pytest.MonkeyPatch
):
    big = RANDOM.randbytes(9 * 2**20)
    monkeypatch.setattr(plan, "SHARD_BYTES", 2**20)
    source = served.put("big.bin", big)
    expected = f"md5:{hashlib.md5(big).hexdigest()}"
    # In this process, so that parts of a file may be small.
    with loader_rig.small_parts():
        first = rig.run_pod(source, 0, 3, checksum=expected)
    assert rig.files() == {"big.bin": big}
    assert first.result.checksum == expected
    assert rig.file_list() == listed({"big.bin": big})
    ranges = {request.headers.get("range") for request in served.requests}
    assert len(ranges) > 3


@pytest.mark.parametrize(
    "faults",
    [
        *({"range_status": status} for status in (403, 429, 500, 503)),
        {"backends": 2},
        {"backends": 3},
    ],
    ids=str,
)
def test_what_has_no_ranges_that_last_is_not_divided(
    rig: loader_rig.Rig, served: origin_server.Origin, faults: dict[str, int]
):
    content = RANDOM.randbytes(5 * 2**20)
    kind = origin_server.Faults(**faults)  # type: ignore[arg-type]
    source = served.put("big.bin", content, faults=kind)
    with loader_rig.small_parts():
        assert rig.run_pod(source, 0, 2).result.files == 1
    assert rig.files() == {"big.bin": content}
    source = served.put("set.tar", NESTED, faults=kind)
    run = rig.run_pod(source, 0, 2, unpack="recursive", overwrite=True)
    assert run.result.files == len(UNPACKED)
    assert rig.files() == UNPACKED


def test_several_sources_go_each_to_its_place(rig: loader_rig.Rig, served: origin_server.Origin):
    one = served.put("one.tar", loader_rig.archive("tar", {"a/1": b"1", "README": b"one"}))
    two = served.put("two.csv", b"2,2")
    result = rig.load(f"{one} {two}").result
    assert rig.files() == {"a/1": b"1", "README": b"one", "two.csv": b"2,2"}
    assert result.archive_format == "many"


def test_two_sources_with_one_path_are_refused_with_the_path(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    one = served.put("one.tar", loader_rig.archive("tar", {"a": b"1", "README": b"one"}))
    two = served.put("two.tar", loader_rig.archive("tar", {"b": b"2", "README": b"two"}))
    error = rig.refused(f"{one} {two}")
    assert "two sources have 'README'" in error


def test_a_large_object_of_a_bucket_is_fetched_by_many_connections(rig: loader_rig.Rig):
    content = RANDOM.randbytes(24 * 2**20)
    with s3_server.Buckets.start() as served:
        served.make("public-data", public=True)
        served.put("public-data", {"set/large.bin": content, "set/small": b"1"})
        rig.load("s3://public-data/set/", endpoint=served.url)
        ranges = {request.headers.get("range") for request in served.requests} - {None}
    assert rig.files() == {"large.bin": content, "small": b"1"}
    assert len(ranges) == len(content) // item_large_file.LEAST_PIECE_BYTES


def test_several_sources_of_unknown_size_have_no_total(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    sources = [served.put(f"{number}.bin", b"1" * 1000) for number in range(3)]
    run = rig.load(" ".join(sources))
    totals = [json.loads(line).get("total") for line in run.log.splitlines()]
    assert set(totals) == {None}


def test_files_get_the_mode_and_the_owner_that_were_asked_for(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    if os.getuid():
        pytest.skip("only root may give files away")
    entries = [loader_rig.entry("d/f", b"1"), loader_rig.entry("run", b"2", mode=0o755)]
    source = served.put("set.tar", loader_rig.tar(entries))
    rig.load(source, mode="0640", owner="1000:2000")
    root = rig.volume / "datasets/x/"
    found = {
        path.name: (oct(path.stat().st_mode & 0o7777), path.stat().st_uid, path.stat().st_gid)
        for path in [root.resolve() / name for name in ("d", "d/f", "run")]
    }
    assert found == {
        "d": ("0o750", 1000, 2000),
        "f": ("0o640", 1000, 2000),
        "run": ("0o750", 1000, 2000),
    }


def test_a_published_data_set_is_verified_and_a_changed_file_is_named(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(served.put("set.tar", loader_rig.archive("tar", UNPACKED)))
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    victim = rig.volume / "datasets/x/n03/5.jpg"
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + b"?")
    last = rig.run_verb("verify")[-1]
    assert last["state"] == "failed"
    assert (
        "1 of 144 files of x are not as they were published ('n03/5.jpg' has other"
        in (last["error"])
    )
    victim.unlink()
    assert "'n03/5.jpg' is missing" in rig.run_verb("verify")[-1]["error"]
    victim.write_bytes(content)
    (rig.volume / "datasets/x/n03/more").write_bytes(b"")
    assert "1 files are not in the file list" in rig.run_verb("verify")[-1]["error"]


def test_a_deleted_data_set_leaves_nothing_and_others_stay(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = served.put("set.tar", loader_rig.archive("tar", UNPACKED))
    rig.load(source)
    rig.load(source, overwrite=True)
    rig.load(source, "y")
    last = rig.run_verb("delete")[-1]
    assert (last["state"], last["files"]) == ("deleted", 2 * len(UNPACKED))
    assert {path.split("/")[-1] for path in rig.all_paths() if "/x" in path} == set()
    assert rig.files("y") == UNPACKED
    assert rig.run_verb("delete")[-1]["state"] == "deleted", "it can be run again"


def test_files_that_cannot_be_removed_are_reported(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(served.put("set.tar", loader_rig.archive("tar", {"d/f": b"1"})))
    kept = (rig.volume / "datasets/x/d").resolve() / "f"
    if subprocess.run(["chattr", "+i", kept], check=False).returncode:
        pytest.skip("this file system, or this user, cannot make a file immutable")
    try:
        last = rig.run_verb("delete")[-1]
    finally:
        (kept,) = rig.volume.rglob("d/f")
        subprocess.run(["chattr", "-i", kept], check=True)
    assert "could not be removed: run delete-dataset again" in last["error"]
    assert rig.run_verb("delete")[-1]["state"] == "deleted"
    assert not rig.all_paths()


def test_the_inventory_tells_what_is_published_and_what_was_begun(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = served.put("set.csv", b"1,2")
    rig.load(f"{source}?X-Amz-Signature=abc", "done")
    held = served.put("set.tar", NESTED, faults=origin_server.Faults(hold_after=262_144))
    pod = rig.start(held, "begun", request="v")
    loader_rig.wait_until(lambda: list(rig.volume.rglob("tree/*.tar")))
    loader_rig.kill(pod)
    begun, done, last = rig.run_verb("inventory")
    assert (begun["name"], begun["dataset"]) == ("begun", "unfinished")
    assert (begun["version"], len(begun["fingerprint"])) == ("v", 64)
    assert (done["name"], done["dataset"], done["files"]) == ("done", "published", 1)
    assert done["source"] == f"{source}?..."
    assert (last["state"], last["count"]) == ("inventoried", 2)
