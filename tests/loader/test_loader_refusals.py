from __future__ import annotations

import gzip
import io
import pathlib
import random
import stat
import tarfile
import zipfile

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, link, tar

FILES = {"a": b"1" * 3000, "d/b": b"2" * 50_000}


@pytest.fixture
def rig(tmp_path: pathlib.Path):
    (tmp_path / "volume-owner").write_bytes(b"untouched")
    rig = loader_rig.Rig(tmp_path)
    yield rig
    assert (tmp_path / "volume-owner").read_bytes() == b"untouched"
    assert not (tmp_path / "evil").exists()


def zipped(name: str, content: bytes = b"1", mode: int = stat.S_IFREG | 0o644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        info.external_attr = mode << 16
        packed.writestr(info, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../evil", "d/../../evil", "..", "d/.."])
@pytest.mark.parametrize("archive_format", ["tar.gz", "zip"])
def test_a_path_that_climbs_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, name: str
):
    content = zipped(name) if archive_format == "zip" else gzip.compress(tar([entry(name, b"1")]))
    assert "leads out of it: make the archive again" in rig.refused(
        served.put(f"s.{archive_format}", content)
    )


@pytest.mark.parametrize("name", ["/evil", "//evil", "/"])
@pytest.mark.parametrize("archive_format", ["tar.gz", "zip"])
def test_an_absolute_path_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, name: str
):
    content = zipped(name) if archive_format == "zip" else gzip.compress(tar([entry(name, b"1")]))
    assert "absolute path" in rig.refused(served.put(f"s.{archive_format}", content))


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "..", "../evil", "d/../../evil", "./../x", "", "a/../..", "a/b/../../../evil"],
)
@pytest.mark.parametrize("archive_format", ["tar.gz", "zip"])
def test_a_link_out_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, target: str
):
    content = (
        zipped("out", target.encode(), stat.S_IFLNK | 0o777)
        if archive_format == "zip"
        else gzip.compress(tar([entry("f", b"1"), link("out", target)]))
    )
    assert "leads out of it" in rig.refused(served.put(f"s.{archive_format}", content))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../volume-owner", "d/../.."])
def test_a_hard_link_out_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, target: str
):
    content = tar([entry("f", b"1"), link("out", target, hard=True)])
    error = rig.refused(served.put("s.tar", content))
    assert "leads out of it" in error or "absolute path" in error


def test_a_hard_link_to_what_is_not_there_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = tar([entry("f", b"1"), link("h", "volume-owner", hard=True)])
    assert "which is not in it" in rig.refused(served.put("s.tar", content))


@pytest.mark.parametrize(
    "entries",
    [
        [link("a", "."), entry("a/f", b"1")],
        [link("a", "d"), entry("d/f", b"1"), entry("a/f", b"1")],
        # Each stays inside by its text, but the second one not behind the first.
        [entry("deep/er/f", b"1"), link("a", "deep/er"), link("a/b", "../../../evil")],
        [entry("t/f", b"1"), link("d/e/a", "../../t"), link("d/e/a/b", "../../../../evil")],
        [link("a/b/c", "../../d"), link("a/b/c/e", "../../../evil"), entry("d/f", b"1")],
        [link("a", "."), link("a", ".."), entry("f", b"1")],
        [link("a", "d"), entry("d/f", b"1"), link("a/l", "f", hard=True)],
    ],
)
def test_nothing_is_written_through_a_link_of_the_archive(
    rig: loader_rig.Rig, served: origin_server.Origin, entries: list[loader_rig.Entry]
):
    error = rig.refused(served.put("s.tar", tar(entries)))
    assert "as different things" in error or "leads out of it" in error


@pytest.mark.parametrize(
    "entries",
    [
        [entry("a", b"1"), entry("a/b", b"1")],
        [entry("a/b", b"1"), entry("a", b"1")],
        [entry("a", b"1"), entry("a", type=tarfile.DIRTYPE)],
        [entry("a/b/c", b"1"), entry("a/b", b"1")],
        [entry("a", b"1"), link("a", "b")],
        [link("a", "b"), entry("a", b"1")],
    ],
)
def test_one_path_for_different_things_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, entries: list[loader_rig.Entry]
):
    assert "as different things" in rig.refused(served.put("s.tar", tar(entries)))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a pipe"),
    ],
)
def test_a_device_or_a_pipe_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: bytes, what: str
):
    content = tar([entry("f", b"1"), entry("dev", type=kind, devmajor=1, devminor=3)])
    assert what in rig.refused(served.put("s.tar", content))


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_device_or_a_pipe_in_a_zip_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: int
):
    content = zipped("dev", b"", kind | 0o644)
    assert "a data set has only files" in rig.refused(served.put("s.zip", content))


@pytest.mark.parametrize("archive_format", loader_rig.ARCHIVES)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_archive_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, share: float
):
    noise = random.Random(7).randbytes(20_000)
    content = loader_rig.archive(archive_format, {**FILES, "noise": noise})
    if archive_format == "tar":
        content = content.rstrip(b"\0")  # nothing is lost with a part of its padding
    error = rig.refused(served.put(f"s.{archive_format}", content[: int(len(content) * share)]))
    assert "truncated" in error or "damaged" in error


def test_a_tar_that_ends_between_two_members_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = tar([entry("a", b"1" * 512), entry("b", b"1" * 512)])
    assert "truncated" in rig.refused(served.put("s.tar", content[:1024]))
    assert "truncated" in rig.refused(served.put("s.tgz", gzip.compress(content[:1024])))


@pytest.mark.parametrize("archive_format", loader_rig.ARCHIVES)
def test_a_damaged_archive_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    content = bytearray(loader_rig.archive(archive_format, FILES))
    # In a plain tar only its headers are checked.
    at = 512 * 7 if archive_format == "tar" else len(content) // 2
    content[at : at + 40] = bytes(byte ^ 0x55 for byte in content[at : at + 40])
    error = rig.refused(served.put(f"s.{archive_format}", bytes(content)))
    assert "damaged" in error or "truncated" in error or "does not know" in error


def test_a_zip_whose_member_is_not_what_was_packed_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = zipped("f", b"what was packed").replace(b"was packed", b"was forged")
    assert "is not what the list says" in rig.refused(served.put("s.zip", content))


@pytest.mark.parametrize("archive_format", loader_rig.ARCHIVES)
def test_an_archive_without_files_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    content = loader_rig.archive(archive_format, {})
    assert "holds no files" in rig.refused(served.put(f"s.{archive_format}", content))


def test_an_empty_source_is_refused(rig: loader_rig.Rig, served: origin_server.Origin):
    assert "is empty" in rig.refused(served.put("s.tar", b""))
    assert "is empty" in rig.refused(served.put("s.csv", b""))


@pytest.mark.parametrize("unpack", [True, False])
@pytest.mark.parametrize("name", ["s.tar.gz", "s.csv", "download"])
@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html>\n<html><body>Please log in</body></html>",
        b"\xef\xbb\xbf \n<!-- hello -->\n<HTML>",
        b'<?xml version="1.0"?><!doctype html>',
    ],
)
def test_a_web_page_in_the_place_of_data_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, page: bytes, name: str, unpack: bool
):
    source = served.put(name, page, headers={"Content-Type": "text/html"})
    assert "is a web page (HTML)" in rig.refused(source, unpack=unpack)


def test_a_web_page_that_is_asked_for_as_one_is_stored(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(served.put("index.html", b"<html>"))
    assert rig.files() == {"index.html": b"<html>"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.tar.zst", b"\x28\xb5\x2f\xfd....", "compressed with zstd"),
        ("s.7z", b"7z\xbc\xaf\x27\x1c....", "a 7z archive"),
        ("s.rar", b"Rar!\x1a\x07....", "a rar archive"),
        ("s.tar.gz", b"a,b\n1,2\n", "is not the archive that its name says"),
        (
            "s.tar.gz",
            gzip.compress(b"a,b\n1,2\n", mtime=0),
            "is not the archive that its name says",
        ),
        ("s.zip", b"PK", "is not the archive that its name says"),
    ],
)
def test_what_is_not_the_archive_that_it_is_called_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str, content: bytes, message: str
):
    error = rig.refused(served.put(name, content))
    assert message in error
    assert "unpack=false" in error


def test_an_encrypted_zip_is_refused(rig: loader_rig.Rig, served: origin_server.Origin):
    content = bytearray(zipped("f"))
    content[content.index(b"PK\1\2") + 8] |= 1
    assert "encrypted" in rig.refused(served.put("s.zip", bytes(content)))


def test_a_zip_with_an_unknown_compression_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = bytearray(zipped("f"))
    content[content.index(b"PK\1\2") + 10] = 97
    assert "the method 97" in rig.refused(served.put("s.zip", bytes(content)))
