"""What a source is and how it is called: by its bytes, its names and the origin's headers."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from email import message as email_message
from typing import Any
from urllib import parse

import pytest

from datasets import dataset
from datasets.loader.archives import formats
from datasets.loader.http import header_names
from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, tar

FILES = {"a": b"1" * 3000, "d/b": b"2"}
PAGE = b"<html><body>Please wait while we check your browser</body></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}
GZIPPED = gzip.compress(b"1,2", mtime=0)


def raw(text: str) -> str:
    """Return a header's value that is sent as UTF-8."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize("archive_format", ["zip", "tar", "tar.gz", "tar.xz"])
@pytest.mark.parametrize(
    "path", ["download.php", "get.cgi", "file.aspx", "file.do", "a.jsp", "page.html", "x"]
)
def test_an_archive_that_a_program_sends_is_unpacked(
    rig: loader_rig.Rig, served: origin_server.Origin, path: str, archive_format: str
):
    content = loader_rig.archive(archive_format, FILES)
    # PHP calls it a page.
    source = served.put(path, content, headers=HTML)
    assert rig.load(f"{source}?file=x.{archive_format}").result.archive_format == archive_format
    assert rig.files() == FILES


@pytest.mark.parametrize(
    ("urls", "header", "name"),
    [
        (("download.php?id=1&file=sub/x.csv", ""), "", "x.csv"),
        (("download.php?filename=x.csv&key=secret.csv", ""), "", "x.csv"),
        (("download.php?key=secret.csv", ""), "", "download.php"),
        (("download.php?file=x.csv", ""), 'attachment; filename="y.csv"', "y.csv"),
        (("latest", "v3/final.csv"), "", "final.csv"),
        (("first.csv", "v3/final.csv"), "", "final.csv"),
        (("first.csv", "v3/final.csv"), "attachment; filename=z", "z"),
        (("first.csv", "blob/0123456789abcdef"), "", "first.csv"),
        (("first.csv", "serve.php"), "", "first.csv"),
        (("first", "v3/final"), "", "final"),
    ],
)
def test_a_file_is_called_by_its_origin_then_by_its_last_url_then_by_its_first(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    urls: tuple[str, str],
    header: str,
    name: str,
):
    url, final = urls
    path = url.partition("?")[0]
    headers = {"Content-Disposition": header} if header else {}
    end = served.put(final or path, b"1,2\n", headers=headers)
    if final:
        served.redirect(path, end)
    assert rig.load(f"{served.url}/{url}").result.files == 1
    assert rig.files() == {name: b"1,2\n"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (raw('attachment; filename="données 1.csv"'), "données 1.csv"),
        (raw("attachment; filename=voilà"), "voilà"),
        (raw('attachment; filename="数据.csv"'), "数据.csv"),
        (raw("attachment; filename=\"x.csv\"; filename*=UTF-8''%E6%95%B0.csv"), "数.csv"),
        ('attachment; filename="%E6%95%B0%E6%8D%AE.csv"', "数据.csv"),
        ('attachment; filename="=?UTF-8?B?5pWw5o2uLmNzdg==?="', "数据.csv"),
        ('attachment; filename="\xe9t\xe9.csv"', "été.csv"),
        ('attachment; filename="100%.csv"', "100%.csv"),
        ("attachment; filename*=nonsense''x.csv", "x.csv"),
        (raw('attachment; filename="../é.csv"'), "é.csv"),
        (raw("attachment; filename=\"x.csv\"; filename*=UTF-8''%FF%FE.csv"), "x.csv"),
        (raw('attachment; filename="表\u3000一.csv"'), "表\u3000一.csv"),
        (raw('attachment; filename="a\u00a0b.csv"'), "a\u00a0b.csv"),
    ],
)
def test_a_name_in_a_header_is_read_as_its_origin_meant_it(
    rig: loader_rig.Rig, served: origin_server.Origin, header: str, name: str
):
    source = served.put("get", b"1,2\n", headers={"Content-Disposition": header})
    assert rig.load(source).code == 0
    assert rig.files() == {name: b"1,2\n"}


def test_of_two_headers_the_one_with_a_name_counts():
    headers = email_message.Message()
    headers["Content-Disposition"] = "attachment"
    headers["Content-Disposition"] = 'attachment; filename="x.csv"'
    assert header_names.attachment(headers) == "x.csv"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a%C2%A0b.csv", "a\u00a0b.csv"),
        ("%E3%80%80.csv", "\u3000.csv"),
        ("x.csv%20", "x.csv"),
        ("x%09y.csv", "data"),
        ("x.csv;jsessionid=0123ABCD.node1", "x.csv"),
        ("x.csv;v=1", "x.csv;v=1"),
    ],
)
def test_a_name_in_a_url_is_kept_if_it_can_be_a_file_s(
    rig: loader_rig.Rig, served: origin_server.Origin, path: str, name: str
):
    served.put(parse.unquote(path), b"1,2\n")
    assert rig.load(f"{served.url}/{path}").result.files == 1
    assert rig.files() == {name: b"1,2\n"}


@pytest.mark.parametrize("location", ["/dön/naïve 数.csv", "/d%C3%B6n/na%C3%AFve%20%E6%95%B0.csv"])
def test_a_redirect_may_be_in_raw_utf8(
    rig: loader_rig.Rig, served: origin_server.Origin, location: str
):
    served.put("dön/naïve 数.csv", b"1,2\n")
    assert rig.load(served.redirect("latest", raw(location))).code == 0
    assert rig.files() == {"naïve 数.csv": b"1,2\n"}


@pytest.mark.parametrize(
    ("unpack", "archive_format", "name"),
    [
        ("zip", "zip", "weights.npz"),
        ("zip", "zip", "download"),
        ("tar", "tar", "model.nemo"),
        ("tar", "tar.gz", "layer.dat"),
        ("tar.bz2", "tar.bz2", "layer.dat"),
    ],
)
def test_a_format_can_be_required(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    unpack: str,
    archive_format: str,
    name: str,
):
    source = served.put(name, loader_rig.archive(archive_format, FILES))
    assert rig.load(source, unpack=unpack).result.archive_format == archive_format
    assert rig.files() == FILES


@pytest.mark.parametrize("unpack", ["tar", "tar.xz"])
def test_another_format_than_the_required_one_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, unpack: str
):
    zipped = served.put("x.zip", loader_rig.archive("zip", FILES))
    assert f"'x.zip' is not a {unpack} archive: " in rig.refused(zipped, unpack=unpack)
    assert "is not a tar archive: " in rig.refused(served.put("x", b"text"), unpack="tar")
    assert "or not a zip archive; " in rig.refused(served.put("x", b"text"), unpack="zip")


def test_what_can_be_required_are_the_formats_that_are_read():
    readable = {row.name for row in formats.READABLE}
    assert set(dataset.UNPACK) == {"true", "false", "recursive", *readable}


@pytest.mark.parametrize("name", ["set.zip", "data.csv", "x", "get.php?file=x.zip"])
@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b" \r\n<!DOCTYPE html><p>", {}),
        (b"<!-- a --><!-- b --><html>", {}),
        (b"<script>location.reload()</script>", {}),
        (b"\xef\xbb\xbf<HTML lang=en>", {"Content-Type": "application/octet-stream"}),
        (b'<?xml version="1.0"?>\n<!DOCTYPE\nhtml PUBLIC "-">', {}),
        (b"<p>Your download will begin soon", HTML),
        (b"<br />\n<b>Warning</b>: in get.php", HTML),
        (b"Redirecting ...\n<html><head>", HTML),
        (b"<!-- never ends", HTML),
    ],
)
def test_a_page_is_not_data(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    name: str,
    content: bytes,
    headers: dict[str, str],
):
    path, mark, query = name.partition("?")
    source = served.put(path, content, headers=headers) + mark + query
    assert "is a web page (HTML)" in rig.refused(source)


@pytest.mark.parametrize(
    ("name", "content", "headers"),
    [
        ("page.html", PAGE, HTML),
        ("page.htm", b"<p>", HTML),
        ("data.csv", b"1,<b>,2\n", HTML),
        ("data.xml", b"<?xml version='1.0'?><records>", HTML),
        ("drawing.svg", b"<svg xmlns='x'>", {"Content-Type": "image/svg+xml"}),
        ("data.xml", b"<table><a>", {"Content-Type": "text/xml"}),
        ("data.json", b'{"a": "<html>"}', {"Content-Type": "application/json"}),
        ("data.bin", b"\0\1<html>", HTML),
        ("data.bin", b"\0\1\2", {"Content-Type": "text/plain"}),
        ("data.csv", b"a,b\n", {"Content-Type": "text/plain"}),
        ("README.md", b'<h1 align="center">A model</h1>\n', {"Content-Type": "text/plain"}),
        ("App.vue", b"<script setup>", {}),
        ("log.xml", b"<meta><a/></meta>", {"Content-Type": "text/xml"}),
    ],
)
def test_what_only_looks_like_a_page_is_data(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    name: str,
    content: bytes,
    headers: dict[str, str],
):
    assert rig.load(served.put(name, content, headers=headers)).result.archive_format == "file"
    assert rig.files() == {name: content}


@pytest.mark.parametrize("name", ["data.parquet", "model.safetensors", "x.csv", "image.png"])
@pytest.mark.parametrize("media_type", ["application/json", "application/problem+json"])
def test_a_text_about_an_error_is_not_data(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str, media_type: str
):
    content = b'{"status": "being prepared"}'
    source = served.put(name, content, headers={"Content-Type": media_type})
    assert f"is a text ({media_type}), not what '{name}' should be: " in rig.refused(source)
    # Whoever knows its checksum knows what it is.
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert rig.load(source, checksum=checksum).result.files == 1


@pytest.mark.parametrize("name", ["README.md", "log.xml"])
def test_a_page_is_none_of_the_texts_that_may_begin_alike(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str
):
    assert "is a web page" in rig.refused(served.put(name, b"<html><p>"))
    assert "is a web page" in rig.refused(served.put(name, b"<h1>Gone</h1>", headers=HTML))


@pytest.mark.parametrize("name", ["x.csv", "data", "model.bin", "set.tar.gz"])
@pytest.mark.parametrize("unpack", ["true", "false"])
def test_a_pointer_of_git_lfs_is_not_data(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str, unpack: str
):
    digest = hashlib.sha256(b"the data").hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 8\n"
    source = served.put(name, pointer.encode(), headers={"Content-Type": "text/plain"})
    assert "is a pointer of Git LFS, not the data: " in rig.refused(source, unpack=unpack)


def test_a_redirect_to_a_page_is_not_data(rig: loader_rig.Rig, served: origin_server.Origin):
    page = served.put("login.html", PAGE, headers=HTML)
    assert "is a web page" in rig.refused(served.redirect("data.csv", page))
    assert "is not the archive that its name says" in rig.refused(
        served.redirect("set.zip", served.put("gone.txt", b"not found"))
    )


@pytest.mark.parametrize("status", [202, 204, 226])
def test_only_statuses_that_bring_data_do(
    rig: loader_rig.Rig, served: origin_server.Origin, status: int
):
    faults = origin_server.Faults(status=status)
    source = served.put("x.csv", b"1,2\n", faults=faults)
    assert f"answers {status}" in rig.refused(source, patience=0.3)


def test_data_that_are_being_prepared_are_waited_for(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    faults = origin_server.Faults(status=202, status_times=2)
    assert rig.load(served.put("x.csv", b"1,2\n", faults=faults)).result.bytes == 4


# --- compressed responses


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("size", [100, 9_000_000])
@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
def test_a_response_that_is_compressed_unasked_is_decoded(
    rig: loader_rig.Rig, served: origin_server.Origin, coding: str, size: int, length: bool
):
    content = bytes(size // 2) + b"1" * (size // 2)
    sent = zlib.compress(content) if coding == "deflate" else gzip.compress(content)
    source = served.put(
        "x.csv",
        sent,
        headers={"Content-Encoding": coding},
        faults=origin_server.Faults(length=length),
    )
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert rig.load(source, checksum=checksum).result.bytes == size
    assert rig.files() == {"x.csv": content}


def test_a_response_that_is_compressed_is_the_same_with_several_pods(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = bytes(3_000_000)
    headers = {"Content-Encoding": "gzip"}
    sources = " ".join(
        served.put(name, gzip.compress(content), headers=headers) for name in ("x.csv", "y.csv")
    )
    rig.run_pods(sources, 2)
    assert rig.files() == {"x.csv": content, "y.csv": content}


@pytest.mark.parametrize(
    ("name", "sent", "content"),
    [
        ("x.csv.gz", GZIPPED, GZIPPED),
        ("x.csv.gz", gzip.compress(GZIPPED, mtime=0), GZIPPED),
        ("x.csv", b"1,2", b"1,2"),
    ],
)
def test_a_coding_that_was_not_applied_is_not_undone(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str, sent: bytes, content: bytes
):
    assert rig.load(served.put(name, sent, headers={"Content-Encoding": "gzip"})).code == 0
    assert rig.files() == {name: content}


@pytest.mark.parametrize("name", ["set.tar.gz", "set.tgz", "set.tar", "set.zip"])
def test_an_archive_in_a_compressed_response_is_unpacked(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str
):
    content = tar(entry(path, body) for path, body in FILES.items())
    if name == "set.zip":
        content = loader_rig.archive("zip", FILES)
    source = served.put(name, gzip.compress(content), headers={"Content-Encoding": "gzip"})
    assert rig.load(source).code == 0
    assert rig.files() == FILES


def test_a_response_that_is_a_bomb_is_refused(rig: loader_rig.Rig, served: origin_server.Origin):
    bomb = gzip.compress(bytes(8_000_000))
    source = served.put("x.csv", bomb, headers={"Content-Encoding": "gzip"})
    assert "like an archive bomb" in rig.refused(source, limits={"free_bytes": 2_000_000})


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
def test_a_coding_that_cannot_be_undone_is_named(
    rig: loader_rig.Rig, served: origin_server.Origin, coding: str
):
    source = served.put("x.csv", b"data", headers={"Content-Encoding": coding})
    assert "which cannot be read here" in rig.refused(source)


def test_a_compressed_response_that_is_cut_off_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    headers: dict[str, Any] = {"Content-Encoding": "gzip"}
    source = served.put("x.csv", gzip.compress(b"1" * 5000)[:-9], headers=headers)
    assert ": " in rig.refused(source)
