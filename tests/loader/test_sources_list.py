from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import itertools
import tracemalloc
import urllib.parse
from collections.abc import Iterable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from datasets.loader.base import failure, name_set, tasks
from datasets.loader.http import http_client
from datasets.loader.sources import expansion, source_list, table
from datasets.loader.sources.source_object import SourceObject
from sandbox.servers import hub_server, origin_server, s3_server
from tests.loader import sources_rig

BASE = "https://a.example/lists/SHA256SUMS?sig=1"
MD5, SHA256, SHA512 = "0" * 32, "ab" * 32, "c" * 128
NAMES = strategies.text(
    strategies.characters(blacklist_characters="\0\n\r/\\", blacklist_categories=("Cs",)),
    min_size=1,
    max_size=20,
).filter(lambda name: name not in {".", ".."} and name.strip() == name)
PATHS = strategies.lists(NAMES, min_size=1, max_size=3).map("/".join)


def parse(text: str | bytes, base: str = BASE) -> list[SourceObject]:
    content = text.encode() if isinstance(text, str) else text
    return [found for _, found in source_list.parse([content], base)]


def one(text: str | bytes, base: str = BASE) -> tuple[str, str, str]:
    (found,) = parse(text, base)
    assert not found.listed
    return found.url, found.path, found.checksum


def refusal(text: str | bytes) -> str:
    with pytest.raises(failure.Failure) as raised:
        parse(text)
    assert ": " in str(raised.value), "what is so: what to do"
    assert "hunter2" not in str(raised.value)
    return str(raised.value)


# --- lines


@pytest.mark.parametrize(
    ("line", "url", "path", "checksum"),
    [
        ("https://b.example/x?s=1", "https://b.example/x?s=1", "", ""),
        ("https://b.example/x train/", "https://b.example/x", "train/", ""),
        ("https://b.example/x  a b/c", "https://b.example/x", "a b/c", ""),
        (f"https://b.example/x {SHA256}", "https://b.example/x", "", f"sha256:{SHA256}"),
        (
            f"https://b.example/x\tSHA512:{SHA512.upper()}",
            "https://b.example/x",
            "",
            f"sha512:{SHA512}",
        ),
        (
            f"https://b.example/x sha-256={SHA256} y",
            "https://b.example/x",
            "y",
            f"sha256:{SHA256}",
        ),
        (f"https://b.example/x {MD5} d/y z", "https://b.example/x", "d/y z", f"md5:{MD5}"),
        ("https://b.example/x - y", "https://b.example/x", "y", ""),
        ("https://b.example/x#frag", "https://b.example/x", "", ""),
        ("x.tar", "https://a.example/lists/x.tar", "", ""),
        ("d/x.tar", "https://a.example/lists/d/x.tar", "d/", ""),
        ("./d/%C3%BC%20x", "https://a.example/lists/d/%C3%BC%20x", "d/", ""),
        ("d/x.tar y", "https://a.example/lists/d/x.tar", "y", ""),
        ("/x", "https://a.example/x", "", ""),
        ("../d/x", "https://a.example/d/x", "", ""),
        ("x?y=1", "https://a.example/lists/x?y=1", "", ""),
        ("//b.example/x", "https://b.example/x", "", ""),
        ("s3://bucket/a/x.tar", "s3://bucket/a/x.tar", "", ""),
        (f"{SHA256}  x y", "https://a.example/lists/x%20y", "", f"sha256:{SHA256}"),
        (f"{SHA256} *d/x", "https://a.example/lists/d/x", "d/", f"sha256:{SHA256}"),
        (f"{SHA256.upper()}\tx", "https://a.example/lists/x", "", f"sha256:{SHA256}"),
        (f"{MD5}  ./d/e/x:y", "https://a.example/lists/d/e/x%3Ay", "d/e/", f"md5:{MD5}"),
        (f"{MD5}   blank", "https://a.example/lists/%20blank", "", f"md5:{MD5}"),
        (f"{SHA512}  ?#%41", "https://a.example/lists/%3F%23%2541", "", f"sha512:{SHA512}"),
        (f"\\{MD5}  a\\\\b\\nc", "https://a.example/lists/a%5Cb%0Ac", "", f"md5:{MD5}"),
        (f"{MD5}  a\\nb", "https://a.example/lists/a%5Cnb", "", f"md5:{MD5}"),
        (
            f"SHA256 (d/x (1)) = {SHA256}",
            "https://a.example/lists/d/x%20%281%29",
            "d/",
            f"sha256:{SHA256}",
        ),
        (f"MD5(x)= {MD5}", "https://a.example/lists/x", "", f"md5:{MD5}"),
        ("https://b.example/x   # the test set", "https://b.example/x", "", ""),
        (f"x {MD5} #1", "https://a.example/lists/x", "", f"md5:{MD5}"),
        (f"{MD5}  #x", "https://a.example/lists/%23x", "", f"md5:{MD5}"),
        (f"SHA512 (x) = {SHA512}", "https://a.example/lists/x", "", f"sha512:{SHA512}"),
    ],
)
def test_a_line_is_an_entry(line: str, url: str, path: str, checksum: str):
    assert one(line) == (url, path, checksum)
    assert one(f"# comment\r\n\r\n  \n{line}\r\n#x") == (url, path, checksum)
    assert one(b"\xef\xbb\xbf" + line.encode()) == (url, path, checksum)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ftp://b.example/x", "is not a URL of a kind that can be read"),
        ("https://me:hunter2@b.example/x", "has credentials in its URL"),
        ("https://[/x", "is not a URL"),
        ("s3://bucket/a/", "is a prefix: name it as a source of its own"),
        ("s3://bucket", "is a prefix"),
        ("hf://datasets/org/name", "is on the Hub: name it as a source of its own"),
        (f"{'0' * 40}  x", "has sha1 with 40 hex digits, which is not supported: use sha256"),
        (f"{'0' * 56}  x", "has sha224"),
        (f"{'0' * 96}  x", "has sha384"),
        (f"SHA1 (x) = {'0' * 40}", "has SHA1 with 40 hex digits"),
        (f"SHA512/256 (x) = {SHA256}", "has SHA512/256 with 64 hex digits"),
        (f"BLAKE2b (x) = {SHA512}", "has BLAKE2b with 128 hex digits"),
        ("SHA256 (x) = abc", "has SHA256 with 3 hex digits"),
        (f"https://b.example/x sha1:{'0' * 40}", "has sha1 with 40 hex digits"),
        (f"https://b.example/x md5:{SHA256}", "has md5 with 64 hex digits"),
        ("https://b.example/x sha256:abc", "has a checksum of another length"),
        ("https://b.example/x /etc/passwd", "cannot be in a data set (it is absolute)"),
        ("https://b.example/x ../y", "cannot be in a data set (it has . or .. in it)"),
        ("https://b.example/x a//b", "cannot be in a data set (a part of it is empty)"),
        ("https://b.example/x\thttps://c.example/x?sig=hunter2", "'https://c.example/x?', which"),
        ("https://b.example/x https://me:hunter2@c.example/y", "'https://c.example/y', which"),
        ("https://b.example/x -O //me:hun@ter/hunter2@c.example/y", "'-O //c.example/y', which"),
        (f"{MD5}  https://me:hunter2@c.example/y", "'https://c.example/y', which"),
        ("https://b.example/x https://c.example/y#hunter2", "'https://c.example/y#', which"),
        (f"{MD5}  /etc/passwd", "cannot be in a data set (it is absolute)"),
        (f"{MD5}  a/../../b", "cannot be in a data set"),
        (f"{MD5}  d/", "names no file"),
        (f"{MD5}  ./", "names no file"),
        ("x\0y", "has a zero byte"),
        ("https://b.example/x a\0b", "has a zero byte"),
        (b"\xff\xfeh\0", "is not UTF-8"),
        ("https://b.example/x\n  out=y", "is an option of another tool"),
        ("x" * 20_000, "has more than 16384 bytes"),
    ],
)
def test_a_line_that_is_none_is_named(line: str | bytes, message: str):
    first = b"https://b.example/1\n#\n"
    error = refusal(first + (line if isinstance(line, bytes) else line.encode()) + b"\nx")
    number = 4 if line == "https://b.example/x\n  out=y" else 3
    assert error.startswith(f"line {number} of the list ")
    assert message in error


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "\ufeff"])
def test_a_list_of_nothing_is_refused(text: str):
    assert "the list names nothing: a line is `URL [checksum] [path]`" in refusal(text)


def test_a_list_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source_list, "MOST_ENTRIES", 3)
    assert len(parse("x\n" * 3)) == 3
    assert "the list has more than 3 entries" in refusal("x\n" * 4)
    monkeypatch.setattr(source_list, "MOST_BYTES", 100)
    assert "the list has more than 100 bytes: split it" in refusal("#" * 60 + "\n" + "#" * 60)


def test_a_line_that_never_ends_is_not_read_to_its_end():
    endless = itertools.repeat(b"x" * 1000, 100)
    with pytest.raises(failure.Failure, match="line 1 of the list has more than 16384 bytes"):
        list(source_list.parse(endless, BASE))
    assert next(endless, b"")


def test_a_list_in_a_bucket_has_its_files_beside_it():
    (found,) = parse(f"{MD5}  d/a b", "s3://bucket/sums/MD5SUMS")
    assert (found.url, found.path) == ("s3://bucket/sums/d/a%20b", "d/")
    assert one("../x", "s3://bucket/sums/list")[0] == "s3://bucket/x"


@sources_rig.FREE
@hypothesis.given(strategies.lists(PATHS, min_size=1), strategies.integers(1, 50))
def test_what_sha256sum_writes_is_read(paths: list[str], size: int):
    lines = [f"{hashlib.sha256(path.encode()).hexdigest()}  {path}\n" for path in paths]
    content = "".join(lines).encode()
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    found = [each for _, each in source_list.parse(chunks, BASE)]
    assert len(found) == len(paths)
    for path, each in zip(paths, found, strict=True):
        assert each.url.startswith("https://a.example/lists/")
        assert urllib.parse.unquote(each.url).removeprefix("https://a.example/lists/") == path
        assert each.path == path[: path.rfind("/") + 1]
        assert each.checksum == f"sha256:{hashlib.sha256(path.encode()).hexdigest()}"


@sources_rig.FREE
@hypothesis.given(strategies.binary(max_size=200), strategies.integers(1, 200))
@hypothesis.example(b"<metalink><file name='x'>", 1)
@hypothesis.example(b"\\" + MD5.encode() + b"  \\", 1)
def test_whatever_comes_is_read_or_refused(content: bytes, size: int):
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    try:
        found = list(source_list.parse(chunks, BASE))
    except failure.Failure as error:
        assert ": " in str(error)
        return
    for _, each in found:
        table.check(each.url)
        assert not each.path.startswith("/")
        assert ".." not in each.path.split("/")


@sources_rig.FREE
@hypothesis.given(strategies.text(alphabet=f"ab0 \t/.:?#*\\()=-\n{MD5}", max_size=100))
def test_a_list_is_read_alike_however_it_is_cut(text: str):
    def read(size: int) -> list[tuple[int, SourceObject]] | str:
        content = f"{text}\n{MD5}  {text}\nhttps://a.example/{text}".encode()
        chunks = [content[at : at + size] for at in range(0, len(content), size)]
        try:
            return list(source_list.parse(chunks, BASE))
        except failure.Failure as error:
            return str(error)

    assert read(1) == read(7) == read(10_000)


# --- Metalink


METALINK_4 = f"""<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <generator>x</generator>
  <file name="d/x.tar">
    <size>1234</size>
    <hash type="md5">{MD5}</hash>
    <hash type="sha-256">{SHA256}</hash>
    <pieces length="2" type="sha-1"><hash>{"0" * 40}</hash></pieces>
    <url location="de" priority="2">https://slow.example/x.tar</url>
    <url priority="1">
      https://fast.example/x.tar?a=1&amp;b=2
    </url>
    <url>ftp://first.example/x.tar</url>
    <metaurl mediatype="torrent" priority="1">https://t.example/x.torrent</metaurl>
  </file>
  <file name="other name"><url>https://b.example/y</url></file>
</metalink>"""
METALINK_3 = f"""<metalink version="3.0" xmlns="http://www.metalinker.org/"><files>
  <file name="x"><size>7</size>
    <verification><hash type="sha512">{SHA512}</hash>
      <pieces type="sha1"><hash piece="0">{"0" * 40}</hash></pieces></verification>
    <resources maxconnections="1">
      <url type="http" preference="10">http://slow.example/x</url>
      <url type="bittorrent" preference="100">ftp://b.example/x</url>
      <url type="http" preference="90">http://fast.example/x</url>
    </resources></file>
</files></metalink>"""


def test_metalink_4_is_read():
    first, second = parse(METALINK_4)
    assert first == SourceObject(
        "https://fast.example/x.tar?a=1&b=2", "d/", 1234, checksum=f"sha256:{SHA256}"
    )
    assert second == SourceObject("https://b.example/y", "other name")


def test_metalink_3_is_read():
    assert parse(METALINK_3) == [
        SourceObject("http://fast.example/x", "", 7, checksum=f"sha512:{SHA512}")
    ]


def test_a_torrent_of_a_file_is_not_the_file():
    torrent = '<url type="bittorrent" preference="100">https://b.example/x.torrent</url>'
    only, both = (
        f'<metalink version="3.0"><files><file name="x"><resources>{urls}</resources></file>'
        "</files></metalink>"
        for urls in (torrent, f'{torrent}<url type="https">https://b.example/x</url>')
    )
    assert [each.url for each in parse(both)] == ["https://b.example/x"]
    assert "has a file without an http, https or s3 URL" in refusal(only)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><metalink>&a;</metalink>", "declares a document type"),
        ("<metalink>", "is not a Metalink (line 1 is not XML)"),
        ("<html><body>Login</body></html>", "is not a Metalink (it is a web page)"),
        ("<!doctype html><html>", "is not a Metalink"),
        ("<metalink/>", "the list names nothing"),
        ("<metalink>\n<file name='x'/></metalink>", "line 2 of the list has a file without an"),
        ("<metalink><file><url>https://b.example/x</url></file></metalink>", "names no file"),
        ("<metalink><file name='../x'><url>https://b.example/x</url></file></metalink>",
         "cannot be in a data set"),
        ("<metalink><file name='x'><url>https://u:hunter2@b.example/x</url></file></metalink>",
         "has credentials in its URL"),
        (f"<metalink><file name='x'><hash type='sha-1'>{'0' * 40}</hash>"
         "<url>https://b.example/x</url></file></metalink>", "unsupported checksums only"),
    ],
)  # fmt: skip
def test_metalink_that_is_none_is_refused(text: str, message: str):
    assert message in refusal(text)


# --- all sources of a task


@pytest.fixture
def served():
    with origin_server.Origin.start() as started:
        yield started


def task(*sources: str | tasks.Source, **fields: Any) -> tasks.Task:
    named = tuple(
        each if isinstance(each, tasks.Source) else tasks.Source(each) for each in sources
    )
    return tasks.Task("x", "v", "f", sources=named, **{"opening_seconds": 1, **fields})


expand = sources_rig.expand


def denied(asked: tasks.Task, pattern: str) -> None:
    with pytest.raises(failure.Failure, match=pattern):
        expand(asked)


def test_a_source_goes_where_the_user_says():
    found = expand(
        task(
            "https://a.example/x.tar?sig=1",
            tasks.Source("https://a.example/y", f"sha256:{SHA256}", "d/y"),
        )
    )
    assert found == [
        SourceObject("https://a.example/x.tar?sig=1", source=0),
        SourceObject("https://a.example/y", "d/y", checksum=f"sha256:{SHA256}", source=1),
    ]


@pytest.mark.parametrize("path", ["/x", "../x", "a/../b", "a//b", "a\0b", "."])
def test_a_path_of_a_source_stays_inside(path: str):
    denied(task(tasks.Source("https://a.example/x", path=path)), "cannot be in a data set")


def test_a_list_is_fetched_with_what_it_names(served: origin_server.Origin):
    name = served.put("d/SHA256SUMS", f"{SHA256}  sub/x\nhttps://b.example/y\n".encode())
    found = expand(task("https://a.example/z", source_list=name))
    assert [(each.url, each.path) for each in found] == [
        ("https://a.example/z", ""),
        (f"{served.url}/d/sub/x", "sub/"),
        ("https://b.example/y", ""),
    ]


def test_a_list_is_resumed_after_a_break(served: origin_server.Origin):
    lines = b"".join(b"https://b.example/%d\n" % number for number in range(20_000))
    name = served.put("list", lines, faults=origin_server.Faults(drop_after=100_000, drop_times=2))
    assert len(expand(task(source_list=name))) == 20_000
    assert len(served.requests) == 3


def test_a_list_that_is_not_there_is_refused(served: origin_server.Origin):
    denied(task(source_list=f"{served.url}/none"), "answers 404: nothing is there")
    denied(task(source_list="hf://datasets/org/name/list"), "is on the Hub, which lists its files")


def test_a_list_is_read_from_a_bucket_and_names_objects_in_it(served: origin_server.Origin):
    with s3_server.Buckets.start() as s3:
        keys = {"access-key": s3.credentials.access_key, "secret-key": s3.credentials.secret_key}
        s3.make("private-data")
        s3.put(
            "private-data",
            {"d/list": f"{MD5}  a b\n{served.url}/y".encode(), "d/a b": b"1"},
        )
        asked = task(source_list="s3://private-data/d/list", endpoint=s3.url, credentials=keys)
        found = expand(asked)
        assert [each.auth for each in found] == ["s3", ""]
        assert sources_rig.fetch(asked, found[0]) == b"1"
        denied(
            task(source_list="s3://private-data/d/", endpoint=s3.url, credentials=keys),
            "is not one object",
        )


@pytest.mark.parametrize("place", ["web", "bucket"])
def test_a_list_does_not_choose_the_buckets_that_the_key_reads(
    served: origin_server.Origin, place: str
):
    lines = b"s3://payroll/x\n"
    with s3_server.Buckets.start() as s3:
        keys = {"access-key": s3.credentials.access_key, "secret-key": s3.credentials.secret_key}
        for name in ("payroll", "shared"):
            s3.make(name)
        s3.put("payroll", {"x": b"2"})
        s3.put("shared", {"list": lines})
        url = served.put("list", lines) if place == "web" else "s3://shared/list"
        asked = task(source_list=url, endpoint=s3.url, credentials=keys)
        denied(asked, "the key is for those only: give base=s3://payroll/")
        assert not any("payroll" in each.path for each in s3.requests)

        named = dataclasses.replace(asked, list_base="s3://payroll/")
        other = tasks.Source("s3://payroll/x", path="y")
        for sources, base in (((), named.list_base), ((other,), "")):
            allowed = dataclasses.replace(asked, sources=sources, list_base=base)
            assert sources_rig.fetch(allowed, expand(allowed)[-1]) == b"2"


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_the_bucket_of_an_object_in_a_list_is_looked_for_once(
    served: origin_server.Origin, region: str
):
    name = served.put("list", b"s3://far-away/x\ns3://far-away/y\n")
    with s3_server.Buckets.start() as s3:
        s3.make("far-away", region=region, public=True, listable=False)
        found = expand(task(source_list=name), s3.port)
        assert len(s3.requests) == 1
        assert f"far-away.s3.{region}.amazonaws.com/x" in found[0].url


def test_sources_of_all_kinds_are_brought_together(served: origin_server.Origin):
    with s3_server.Buckets.start() as s3, hub_server.Hub.start() as own:
        s3.make("public-data", public=True)
        s3.put("public-data", {"p/x": b"1"})
        own.put("org/name", {"x": b"2"})
        found = expand(
            task(
                tasks.Source("s3://public-data/p/", path="a"),
                tasks.Source("hf://datasets/org/name", path="b/"),
                "https://a.example/x",
                endpoint=s3.url,
                hub=own.url,
            )
        )
    assert [each.path for each in found] == ["a/x", "b/x", ""]
    assert [each.auth for each in found] == ["s3", "hub", ""]
    assert [each.source for each in found] == [-1, -1, 2]


def test_a_checksum_is_of_one_file():
    with hub_server.Hub.start() as own:
        own.put("org/name", {"x": b"2" * 2000, "y": b"3"})
        digest = f"sha256:{SHA256}"
        one_file = tasks.Source("hf://datasets/org/name/x", digest)
        assert expand(task(one_file, hub=own.url))[0].checksum == digest
        denied(
            task(tasks.Source("hf://datasets/org/name", digest), hub=own.url),
            "one checksum cannot cover",
        )


# --- two entries of one path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["https://a.example/x", "https://b.example/x"],
            "the path 'x' comes twice, by line 1 of the list and by line 2 of the list",
        ),
        (["https://a.example/x d/y", "#", "d/y"], "'d/y' comes twice, by line 1 .* line 3"),
        ([f"{MD5}  d/x", f"{SHA256} *d/x"], "'d/x' comes twice"),
        (
            ["https://a.example/x.tar", "https://a.example/x.tar"],
            "^https://a.example/x.tar comes twice",
        ),
        (
            ["https://a.example/x?sig=1", "https://a.example/x?sig=1"],
            r"^https://a.example/x\?\.\.\. comes twice",
        ),
        (["https://a.example/x.tar y", "https://a.example/z y"], "'y' comes twice"),
    ],
)
def test_two_entries_of_one_path_are_refused(
    served: origin_server.Origin, lines: list[str], message: str
):
    name = served.put("list", "\n".join(lines).encode())
    denied(task(source_list=name), message)


def test_a_source_and_a_list_may_not_have_one_path(served: origin_server.Origin):
    name = served.put("list", b"https://b.example/x")
    denied(
        task(
            "https://a.example/x?sig=hunter2",
            tasks.Source("https://a.example/q", path="x"),
            source_list=name,
        ),
        "by the source https://a.example/q and by line 1 of the list: ",
    )


@pytest.mark.parametrize(
    "lines",
    [
        [f"{MD5}  a/X", f"{MD5}  a/x", f"{MD5}  A/x"],
        [f"{MD5}  \u00fc", f"{MD5}  u\u0308"],
        ["https://a.example/train/x.tar.gz", "https://a.example/val/x.tar.gz"],
        ["https://a.example/get?id=1", "https://a.example/get?id=2"],
        ["https://a.example/x a/", "https://b.example/x b/"],
    ],
)
def test_what_only_looks_alike_is_kept(served: origin_server.Origin, lines: list[str]):
    name = served.put("list", "\n".join(lines).encode())
    assert len(expand(task(source_list=name))) == len(lines)


def test_names_are_compared_in_few_bytes_each():
    count = 200_000
    tracemalloc.start()
    names = name_set.NameSet()
    for number in range(count):
        names.add(f"some/long/directory/name/{number}")
    names.add("some/long/directory/name/77")
    found = names.repeated()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "some/long/directory/name/77" in found
    assert "some/long/directory/name/78" not in found
    assert len(found) == 1
    assert peak < 12 * count


def test_names_whose_hashes_are_alike_are_no_duplicates(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(name_set, "hash", lambda _: 1, raising=False)
    assert len(expand(task("https://a.example/x", "https://a.example/y"))) == 2
    denied(task("https://a.example/x", "https://b.example/x"), "comes twice")


def test_of_a_list_with_all_lines_twice_few_are_kept(
    served: origin_server.Origin, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(expansion, "MOST_SUSPECTS", 10)
    lines = [f"https://a.example/{number}" for number in range(50)]
    text = "\n".join(lines + lines[::-1]).encode()
    denied(task(source_list=served.put("list", text)), "comes twice, by line")


def test_a_list_of_many_is_read_in_little_memory():
    def chunks(count: int) -> Iterable[bytes]:
        return (b"%064x  some/directory/%d\n" % (number, number) for number in range(count))

    tracemalloc.start()
    count = sum(1 for _ in source_list.parse(chunks(5_000), BASE))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000
    assert peak < 300_000


def test_signers_say_what_to_do_where_they_do_not_suffice():
    asked = functools.partial(task, "s3://bucket/key", "hf://datasets/org/name")
    signers, explainers = expansion.signers(asked())
    assert signers.keys() == explainers.keys() == {"s3", "hub"}
    answer = http_client.Refused("refused", "https://host/x", 403, {}, b"")
    for explain in explainers.values():
        assert "credentials=" in str(explain(answer, "https://a.example/"))
    assert all(signer("GET", "https://a.example/") == {} for signer in signers.values())
    keys = {"access-key": "AKID", "secret-key": "hunter2", "token": "hf_hunter2"}
    signers, explainers = expansion.signers(asked(credentials=keys))
    assert signers["hub"]("GET", "https://x/") == {"Authorization": "Bearer hf_hunter2"}
    assert "Signature=" in signers["s3"]("GET", "https://x/")["Authorization"]
    refused = [explain(answer, "https://a.example/") for explain in explainers.values()]
    assert "hunter2" not in f"{refused} {asked(credentials=keys)!r}"


def test_only_what_a_task_may_need_is_there_to_sign():
    assert expansion.signers(task("https://a.example/b"))[0].keys() == {"web"}
    listed = expansion.signers(task(source_list="https://a.example/b"))[0]
    assert listed.keys() == {"s3", "web"}


# --- lists of other tools


def sized(text: str | bytes, **options: Any) -> list[tuple[str, str, int | None, str]]:
    content = text.encode() if isinstance(text, str) else text
    found = source_list.parse([content], BASE, **options)
    return [(each.url, each.path, each.size, each.checksum) for _, each in found]


def test_a_list_for_googles_transfer_service_is_read():
    lines = [
        "TsvHttpData-1.0",
        "https://b.example/x\t1357\t1B2M2Y8AsgTpgAmY7PhCfg==",
        "https://b.example/y\t3",
        "https://b.example/z",
        "https://b.example/without-size\t\t1B2M2Y8AsgTpgAmY7PhCfg==",
    ]
    assert sized("\r\n".join(lines)) == [
        ("https://b.example/x", "", 1357, "md5:d41d8cd98f00b204e9800998ecf8427e"),
        ("https://b.example/y", "", 3, ""),
        ("https://b.example/z", "", None, ""),
        ("https://b.example/without-size", "", None, "md5:d41d8cd98f00b204e9800998ecf8427e"),
    ]
    assert "has a URL with blanks" in refusal("https://b.example/a b.csv\t1357")


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (f"https://b.example/x\t1357\t{MD5}", ("", 1357, f"md5:{MD5}")),
        (f"https://b.example/x\t{MD5}\t1357", ("", 1357, f"md5:{MD5}")),
        (
            "https://b.example/x\t1357\t1B2M2Y8AsgTpgAmY7PhCfg==\td/",
            ("d/", 1357, "md5:d41d8cd98f"),
        ),
        ("https://b.example/x\t1357", ("", 1357, "")),
        (f"https://b.example/x 1357 {SHA256}", ("", 1357, f"sha256:{SHA256}")),
        ("https://b.example/x 1357", ("1357", None, "")),
    ],
)
def test_a_size_in_a_line_is_no_name(line: str, entry: tuple[str, int | None, str]):
    ((_, path, size, checksum),) = sized(line)
    assert (path, size) == entry[:2]
    assert checksum.startswith(entry[2])


def test_a_compressed_list_has_its_lines_below_another_base():
    text = gzip.compress(b"crawl/a.warc.gz\ncrawl/") + gzip.compress(b"b.warc.gz\n")
    for size in (1, 7, 1000):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        found = source_list.parse(chunks, "https://data.example/", keep_directories=True)
        assert [(each.url, each.path) for _, each in found] == [
            ("https://data.example/crawl/a.warc.gz", "crawl/"),
            ("https://data.example/crawl/b.warc.gz", "crawl/"),
        ]
    assert "ends in the middle" in refusal(text[:-9])
    assert "compressed data are damaged" in refusal(text[:12] + b"xxxx" + text[16:])


def test_absolute_urls_below_the_base_keep_their_directories(served: origin_server.Origin):
    lines = b"https://a.example/a/x\nhttps://a.example/b%20c/x?sig=1\nhttps://o.example/d/y\nz"
    found = expand(task(source_list=served.put("l/list", lines), list_base="https://a.example/"))
    assert [(each.url, each.path) for each in found] == [
        ("https://a.example/a/x", "a/"),
        ("https://a.example/b%20c/x?sig=1", "b c/"),
        ("https://o.example/d/y", ""),
        ("https://a.example/z", ""),
    ]


SIGNED = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

{MD5}  x
- https://b.example/-y
-----BEGIN PGP SIGNATURE-----
Version: 1

iQEzBAEBCAAdFiEE
-----END PGP SIGNATURE-----
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_signed_list_is_read_in_any_encoding(end: str, encoding: str):
    content = SIGNED.replace("\n", end).encode(encoding)
    urls = [each.url for each in parse(content)]
    assert urls == ["https://a.example/lists/x", "https://b.example/-y"]
    assert [each.url for each in parse(f"x{end}y".encode(encoding))] == [
        "https://a.example/lists/x",
        "https://a.example/lists/y",
    ]
    assert "ends in the middle of its PGP signature" in refusal(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("line", "name", "checksum"),
    [
        (f"SHA2-256(x)= {SHA256}", "x", f"sha256:{SHA256}"),
        (f"SHA2-512(d/x)= {SHA512}", "d/x", f"sha512:{SHA512}"),
        (f"\\SHA256 (a\\\\b) = {SHA256}", "a%5Cb", f"sha256:{SHA256}"),
        ("https://b.example/\u00e9 d/", "\u00e9", ""),
    ],
)
def test_a_checksum_of_other_tools_is_read(line: str, name: str, checksum: str):
    (found,) = parse(f"\ufeff{line}\r\n")
    assert found.url.endswith(urllib.parse.quote(name, safe="/%"))
    assert found.checksum == checksum
    assert "SHA3-256" in refusal(f"SHA3-256(x)= {SHA256}")
