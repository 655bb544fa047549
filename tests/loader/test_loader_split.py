"""Parts of split archives are joined in their order, and nothing else is."""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

import pytest

from datasets.loader.base import split_names
from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, tar

FILES = {"a": os.urandom(70_000), "d/b": b"2" * 3000, "d/c": os.urandom(2_500_000)}


def cut(content: bytes, count: int) -> list[bytes]:
    size = -(-len(content) // count)
    return [content[at : at + size] for at in range(0, len(content), size)]


def put(served: origin_server.Origin, names: list[str], parts: list[bytes]) -> list[str]:
    return [served.put(name, part) for name, part in zip(names, parts, strict=True)]


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def listed(served: origin_server.Origin, lines: list[str]) -> dict[str, Any]:
    return {
        "source_list": served.put("list", "\n".join(lines).encode()),
        "digest_key": "5e" * 32,
    }


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("set.{}.", ["aa", "ab", "ac"]),
        ("set.{}", ["aa", "ab", "ac"]),
        ("set.{}.", ["00", "01", "02"]),
        ("set.{}.", ["001", "002", "003"]),
        ("set.{}.part-", ["00", "01", "02"]),
        ("set.{}.part", ["1", "2", "3"]),
        ("set.part_", ["a" * 2, "ab", "ac"]),
        ("set-v1.", ["aa", "ab", "ac"]),
    ],
)
@pytest.mark.parametrize("archive_format", ["tar", "tar.gz", "zip"])
def test_parts_are_joined_in_their_order(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    name: str,
    numbers: list[str],
    archive_format: str,
):
    content = loader_rig.archive(archive_format, FILES)
    names = [name.format(archive_format) + number for number in numbers]
    urls = put(served, names, cut(content, 3))
    result = rig.load(" ".join(reversed(urls)), checksum=sha256(content)).result
    assert rig.files() == FILES
    assert (result.checksum, result.fetched) == (sha256(content), len(content))
    assert result.archive_format == archive_format


@pytest.mark.parametrize("accept_ranges", [True, False])
@pytest.mark.parametrize("archive_format", ["tar.gz", "zip"])
def test_parts_in_a_list_have_checksums_of_their_own(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, accept_ranges: bool
):
    content = loader_rig.archive(archive_format, FILES)
    parts = cut(content, 12)
    names = [f"s/set.{archive_format}.{number:02}" for number in range(12)]
    faults = origin_server.Faults(ranges=accept_ranges)
    for name, part in zip(names, parts, strict=True):
        served.put(name, part, faults=faults)
    lines = [f"{sha256(part)[7:]}  {name}" for name, part in zip(names, parts, strict=True)]
    lines.append(f"{sha256(b'text')[7:]}  README")
    served.put("README", b"text")
    random.Random(1).shuffle(lines)
    rig.load("", **listed(served, lines))
    found = rig.files()
    assert found.pop("README") == b"text"
    assert found == {f"s/{path}": each for path, each in FILES.items()}
    wrong = [*lines[:5], "0" * 64 + lines[5][64:], *lines[6:]]
    assert "not sha256:0000" in rig.refused("", "y", **listed(served, wrong))


@pytest.mark.parametrize("archive_format", ["tar", "tar.gz", "tar.xz", "zip"])
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_part_that_is_missing_is_called_so(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, lost: int
):
    content = loader_rig.archive(archive_format, {"f": os.urandom(300_000), "g": b"1"})
    urls = put(served, [f"s.{archive_format}.0{n}" for n in range(4)], cut(content, 4))
    del urls[lost]
    error = rig.refused(" ".join(urls))
    assert {0: "the first part", 1: "a part between 00 and 02", 3: "the last of its 3 parts"}[
        lost
    ] in error
    assert "list all of" in error
    assert len(rig.load(" ".join(urls), unpack=False).result.checksum) == 0
    assert len(rig.files()) == 3


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_parts_may_lose_their_ranges(
    rig: loader_rig.Rig, served: origin_server.Origin, answers: int
):
    content = loader_rig.archive("tar", {"f": os.urandom(300_000)})
    faults = origin_server.Faults(range_answers=answers)
    names = [f"s.tar.0{number}" for number in range(3)]
    urls = [
        served.put(name, part, faults=faults)
        for name, part in zip(names, cut(content, 3), strict=True)
    ]
    rig.load(" ".join(urls)).result  # noqa: B018
    assert list(rig.files()) == ["f"]
    alone = served.put("t.tar.00", content, faults=faults)
    assert rig.load(alone, "y").result.archive_format == "tar"


@pytest.mark.parametrize(
    "faults",
    [
        *({"range_status": status} for status in (403, 429, 503)),
        *({"range_body": body} for body in ("shifted", "whole")),
        {"backends": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("archive_format", ["tar", "zip"])
def test_parts_that_have_no_ranges_that_last_are_joined(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    faults: dict[str, Any],
    archive_format: str,
):
    content = loader_rig.archive(archive_format, {"f": os.urandom(300_000)})
    names = [f"s.{archive_format}.0{number}" for number in range(3)]
    kind = origin_server.Faults(**faults)
    urls = [
        served.put(name, part, faults=kind)
        for name, part in zip(names, cut(content, 3), strict=True)
    ]
    rig.load(" ".join(urls)).result  # noqa: B018
    assert list(rig.files()) == ["f"]


def test_what_is_only_called_like_parts_is_kept(rig: loader_rig.Rig, served: origin_server.Origin):
    tables = {f"t.csv.{n:02}": b"%d,2\n" % n for n in range(3)}
    whole = {f"set.{n:02}": tar([entry(f"f{n}", b"1")]) for n in range(3)}
    for name, content in {**tables, **whole, "v1.10": b"1", "x.gz": b"2"}.items():
        served.put(name, content)
    names = [*tables, *whole, "v1.10", "x.gz"]
    rig.load(" ".join(f"{served.url}/{name}" for name in names))
    assert rig.files() == {
        **tables,
        "f0": b"1",
        "f1": b"1",
        "f2": b"1",
        "v1.10": b"1",
        "x.gz": b"2",
    }


@pytest.mark.parametrize("ending", ["asc", "sig", "md", "br2", "2", "05", "part2", "old", "bk"])
def test_what_is_beside_an_archive_is_a_file_of_its_own(
    rig: loader_rig.Rig, served: origin_server.Origin, ending: str
):
    names = ["s.zip", f"s.zip.{ending}"]
    content = loader_rig.archive("zip", FILES)
    urls = put(served, names, [content, b"other"])
    rig.load(" ".join(urls))
    assert rig.files() == {**FILES, names[1]: b"other"}


@pytest.mark.parametrize("ending", ["asc", "md", "py", "BK"])
def test_other_files_beside_parts_are_files(
    rig: loader_rig.Rig, served: origin_server.Origin, ending: str
):
    parts = [*cut(loader_rig.archive("tar.gz", FILES), 2), b"text"]
    names = ["s.tar.gz.aa", "s.tar.gz.ab", f"s.tar.gz.{ending}"]
    rig.load(" ".join(put(served, names, parts)))
    assert rig.files() == {**FILES, f"s.tar.gz.{ending}": b"text"}


def test_a_part_that_begins_with_a_member_is_a_part(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = tar([entry("a", b"1" * 512), entry("b", b"2" * 512)])
    urls = put(served, ["s.tar.aa", "s.tar.ab"], [content[:1024], content[1024:]])
    rig.load(" ".join(urls))
    assert rig.files() == {"a": b"1" * 512, "b": b"2" * 512}


def test_one_checksum_does_not_cover_several_archives(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    whole = [tar([entry(f"f{n}", b"1")]) for n in range(2)]
    urls = put(served, ["set.00", "set.01"], whole)
    assert "put checksums into a source-list" in rig.refused(
        " ".join(urls), checksum=sha256(b"".join(whole))
    )


def test_a_load_of_parts_goes_on_after_a_break(rig: loader_rig.Rig, served: origin_server.Origin):
    files = {f"d/{n}": os.urandom(50_000) for n in range(60)}
    parts = cut(loader_rig.archive("tar", files), 3)
    urls = [
        served.put(f"s.tar.a{letter}", part, faults=origin_server.Faults(drop_after=700_000))
        for letter, part in zip("abc", parts, strict=True)
    ]
    rig.load(" ".join(urls))
    assert rig.files() == files


@pytest.mark.parametrize(
    "numbers",
    ["8 9 10 11", "98 99 100", "88 89 9000 9001", "9899 990000", "yz zaaa zaab", "az ba", "zz"],
)
def test_what_follows_a_number(numbers: str):
    assert split_names.gap(numbers.split()) is None


@pytest.mark.parametrize("numbers", ["00 02", "aa ac", "9 11", "00 00", "89 9001", "zz aaa"])
def test_what_does_not_follow(numbers: str):
    assert split_names.gap(numbers.split()) is not None


@pytest.mark.parametrize(
    ("numbers", "length"),
    [
        ("aa", 1),
        ("aa ab md py", 2),
        ("aa ab ad ae", 4),
        ("aa af", 1),
        ("ay az ba bb", 4),
        ("aa aaa", 2),
        ("00 01 99", 3),
    ],
)
def test_how_many_numbers_belong_together(numbers: str, length: int):
    assert split_names.sequence_length(numbers.split()) == length
