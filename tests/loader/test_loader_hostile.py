"""Input that is made to take time or memory, or that leads out of the load's directory."""

from __future__ import annotations

import gzip
import json
import struct
import tarfile
from typing import Any

import pytest

from datasets.loader.archives import formats, tar_sparse, zip_headers
from datasets.loader.base import failure, urls
from datasets.loader.sources import xml_reader
from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, link, tar

KEY = "5e" * 32


# --- what takes time


@pytest.mark.parametrize(
    "head",
    [
        b"<!---->" * 60,
        b"<!---->" * 600,
        b"<!--x-- >" * 400,
        b"<?xml ?> " * 400,
        b"<!--" * 1000,
        b"<!doctype" + b" " * 4000,
    ],
)
def test_many_comments_before_no_page_are_read_once(
    rig: loader_rig.Rig, served: origin_server.Origin, head: bytes
):
    assert rig.load(served.put("f.bin", head)).result.files == 1


@pytest.mark.parametrize(
    "before",
    [b"", b"\xef\xbb\xbf", b" \n", b"<!---->" * 200, b'<?xml version="1.0"?><!-- a -->\n'],
)
@pytest.mark.parametrize("page", [b"<!DOCTYPE  html>", b"<html>", b"<HEAD x>", b"<body>"])
def test_a_page_is_recognised_behind_comments(before: bytes, page: bytes):
    with pytest.raises(failure.Failure, match="web page"):
        formats.recognise(before + page, "f.bin", unpack="true")


def test_a_sparse_map_without_a_line_end_is_refused_at_once():
    """Joined to all before it, each of its blocks would take longer than the last one."""
    read = 0

    class Zeros:
        def read(self, count: int, /) -> bytes:
            nonlocal read
            read += count
            return bytes(count)

    fields = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "1"}
    with pytest.raises(failure.Failure, match="a number cannot be read"):
        tar_sparse.pax_map(Zeros(), fields)
    assert read == 512


def test_the_text_of_an_element_may_come_in_many_parts():
    parts = b"".join(b"x<b/>" for _ in range(10_000))
    (element,) = xml_reader.elements([b"<a>" + parts + b"</a>"], ["a"], 10**7)
    assert element.text == "x" * 10_000


def test_extra_fields_of_no_length_are_read_by_one_look_at_each():
    text = struct.pack("<2H", 7, 0) * 16_000 + struct.pack("<2H2s", 8, 2, b"ab")
    assert zip_headers._extras(text) == {7: b"", 8: b"ab"}


def test_a_host_is_not_longer_than_names_can_be():
    for host in ("a." * 126 + "a", "a" * 63):
        urls.check_web(f"https://{host}/")
    with pytest.raises(ValueError, match="not a URL"):
        urls.check_web("https://" + "xn--" * 4000)


@pytest.mark.parametrize("header", ["Content-Length", "Content-Range"])
def test_a_header_of_very_many_digits_is_no_number(
    rig: loader_rig.Rig, served: origin_server.Origin, header: str
):
    """Python itself refuses to convert as many."""
    value = "9" * 5000 if header == "Content-Length" else f"bytes {'9' * 5000}-9/9"
    run = rig.load(served.put("f.bin", b"data", headers={header: value}))
    assert "has a bug" not in run.message


# --- what takes memory


def deep(names: int) -> str:
    return "a/" * names


@pytest.mark.parametrize("kind", ["file", "directory", "link", "hard link", "target"])
@pytest.mark.parametrize("path", [deep(500_000), "b" * 1_000_000, deep(300), "c" * 3701])
def test_a_path_that_no_data_set_can_have_is_refused_when_it_is_read(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str, path: str
):
    """A thousand bytes of tar.gz hold a path of a million bytes, half of them directories."""
    member = {
        "file": entry(path + "f", b"1"),
        "directory": entry(path, type=tarfile.DIRTYPE),
        "link": link(path + "f", "x"),
        "hard link": link("l", path + "f", hard=True),
        "target": link("l", path + "d" * 4096),
    }[kind]
    content = gzip.compress(tar([entry("x", b"1"), member]))
    assert "make the archive again with shorter ones" in rig.refused(served.put("s.tgz", content))


@pytest.mark.parametrize("unpack", ["true", "recursive"])
def test_a_long_name_in_a_zip_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, unpack: str
):
    content = loader_rig.archive("zip", {deep(30_000) + "f": b"1"})
    error = rig.refused(served.put("s.zip", content), unpack=unpack)
    assert "make the archive again with shorter ones" in error


def test_archives_in_archives_do_not_add_up_to_a_longer_path(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    inner = tar([entry(deep(200) + "f", b"1")])
    content = tar([entry(deep(200) + "i.tar", inner)])
    error = rig.refused(served.put("s.tar", content), unpack="recursive")
    assert "make the archive again with shorter ones" in error


def test_the_longest_path_is_loaded(rig: loader_rig.Rig, served: origin_server.Origin):
    path = deep(250) + "f"
    assert rig.load(served.put("s.tar", tar([entry(path, b"1")]))).result.files == 1
    assert rig.files() == {path: b"1"}


def test_a_list_has_no_path_that_no_data_set_can_have(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    served.put("f", b"1")
    for path in (deep(300) + "f", "d" * 3701):
        listed = served.put("list", f"{served.url}/f - {path}\n".encode())
        error = rig.load("", source_list=listed, digest_key=KEY).error
        assert "longer than 3700 bytes, or too deep" in error


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '{"a":' * 100_000])
def test_an_answer_that_json_cannot_be_is_no_hub(
    rig: loader_rig.Rig, served: origin_server.Origin, text: str
):
    served.put("api/datasets/a/b/revision/main", text.encode())
    assert "is not a Hub" in rig.refused("hf://datasets/a/b", hub=served.url)


# --- what leads elsewhere


def hub(served: origin_server.Origin, **fields: Any) -> None:
    """Answer as a Hub that has one file, whose listing says what a test wants."""
    commit = "0123456789" * 4
    told = {"sha": commit, "id": "a/b"}
    served.put("api/datasets/a/b/revision/main", json.dumps(told).encode())
    listed = [{"type": "file", "size": 1, "oid": "0", **fields}]
    for path in ("", "/ab"):
        served.put(f"api/datasets/a/b/tree/{commit}{path}", json.dumps(listed).encode())


@pytest.mark.parametrize("path", ["ab../x", "abc", "ab.", "x/ab", "ab..", "aX/../x", "ab/../x"])
def test_a_mirror_of_the_hub_names_nothing_beside_what_was_asked_for(
    rig: loader_rig.Rig, served: origin_server.Origin, path: str
):
    """What follows the path that was asked for, `../x`, would be beside the data set's tree."""
    hub(served, path=path)
    error = rig.refused("hf://datasets/a/b@main/ab", hub=served.url)
    assert "is not a Hub" in error or "has . or .. in it" in error


def test_a_mirror_of_the_hub_has_no_negative_sizes(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    hub(served, path="f", size=-1)
    assert "is not a Hub" in rig.refused("hf://datasets/a/b", hub=served.url)


@pytest.mark.parametrize("key", ["other/x", "a", "../x", "a../x"])
def test_a_service_lists_nothing_beside_the_prefix(
    rig: loader_rig.Rig, served: origin_server.Origin, key: str
):
    text = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
    served.put("bucket/", f"<ListBucketResult>{text}</ListBucketResult>".encode())
    error = rig.refused("s3://bucket/a/", endpoint=served.url)
    assert "does not list it as S3 does" in error or "has . or .. in it" in error
