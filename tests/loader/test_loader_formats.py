from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile
import zlib

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, link, tar

FILES = {"a": b"1" * 3000, "d/e/b": b"", "d/c": os.urandom(100_000)}


@pytest.mark.parametrize("archive_format", loader_rig.ARCHIVES)
def test_an_archive_is_unpacked(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    content = loader_rig.archive(archive_format, FILES)
    result = rig.load(served.put(f"set.{archive_format}", content)).result
    assert rig.files() == FILES
    assert (result.files, result.bytes) == (3, sum(map(len, FILES.values())))
    assert (result.archive_format, result.fetched) == (archive_format, len(content))
    assert result.path == "/datasets/x"
    assert result.checksum == f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "sha512"])
@pytest.mark.parametrize("archive_format", ["tar.gz", "zip", "txt"])
def test_a_checksum_is_held_against_what_was_fetched(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str, algorithm: str
):
    content = loader_rig.archive(archive_format, FILES) if archive_format != "txt" else b"text"
    source = served.put(f"set.{archive_format}", content)
    right = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    wrong = f"{algorithm}:{hashlib.new(algorithm, b'other').hexdigest()}"
    error = rig.refused(source, checksum=wrong)
    assert right in error and wrong in error
    assert rig.load(source, checksum=right).result.checksum == right


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("end", ["other data after its end", "no blocks of zeros at its end"])
def test_a_checksum_decides_on_an_archive_that_ends_otherwise(
    rig: loader_rig.Rig, served: origin_server.Origin, end: str, recursive: bool
):
    inner = loader_rig.archive("tar.gz", {"f": os.urandom(600_000)})
    content = loader_rig.tar([entry("in.tgz", inner + b"other"), entry("a", os.urandom(2**21))])
    content = content + b"other" if end.startswith("other") else content.rstrip(b"\0")
    content += bytes(-len(content) % 512) if end.startswith("no") else b""
    source = served.put("set.tar", content)
    unpack = "recursive" if recursive else True
    error = rig.refused(source, unpack=unpack)
    assert end in error or (recursive and "'in.tgz': the archive has other data" in error)
    wrong = "sha256:" + "0" * 64
    assert f"not {wrong}" in rig.refused(source, unpack=unpack, checksum=wrong)
    right = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert rig.load(source, unpack=unpack, checksum=right).result.checksum == right
    assert set(rig.files()) == {"in/f" if recursive else "in.tgz", "a"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("labels.csv", "labels.csv"),
        ("a/b/%C3%A9t%C3%A9%201.csv?v=2", "été 1.csv"),
        ("", "data"),
        ("..%2f..%2fetc%2fpasswd", "passwd"),
        ("dir/..", "data"),
    ],
)
def test_one_file_keeps_the_name_that_its_url_gives_it(
    rig: loader_rig.Rig, served: origin_server.Origin, path: str, name: str
):
    served.put(origin_server.path_of(f"/{path}")[1:], b"1,2\n")
    assert rig.load(f"{served.url}/{path}").result.archive_format == "file"
    assert rig.files() == {name: b"1,2\n"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="set.csv"', "set.csv"),
        ("attachment; filename*=UTF-8''%C3%A9t%C3%A9.csv", "été.csv"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename=".."', "download"),
        ("attachment", "download"),
    ],
)
def test_a_name_that_the_origin_gives_goes_before_the_urls(
    rig: loader_rig.Rig, served: origin_server.Origin, header: str, name: str
):
    source = served.put("download", b"1,2\n", headers={"Content-Disposition": header})
    assert rig.load(source).code == 0
    assert list(rig.files()) == [name]


@pytest.mark.parametrize("archive_format", loader_rig.ARCHIVES)
def test_an_archive_stays_one_where_unpacking_is_not_wanted(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    content = loader_rig.archive(archive_format, FILES)
    assert (
        rig.load(served.put(f"set.{archive_format}", content), unpack=False).result.archive_format
        == "file"
    )
    assert rig.files() == {f"set.{archive_format}": content}


@pytest.mark.parametrize("name", ["weights.npz", "model.pt", "table.xlsx"])
def test_a_format_that_is_a_zip_inside_stays_one_file(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str
):
    content = loader_rig.archive("zip", FILES)
    assert rig.load(served.put(name, content)).result.archive_format == "file"
    assert rig.files() == {name: content}


def test_a_compressed_file_that_is_no_archive_stays_as_it_is(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = gzip.compress(os.urandom(5000))
    assert rig.load(served.put("train-images.gz", content)).result.archive_format == "file"
    assert rig.files() == {"train-images.gz": content}


@pytest.mark.parametrize("name", ["download", "set-v1.0", "set.tgz", "set.tar"])
@pytest.mark.parametrize("archive_format", ["tar.gz", "zip"])
def test_an_archive_is_known_by_its_content(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str, archive_format: str
):
    assert (
        rig.load(served.put(name, loader_rig.archive(archive_format, FILES))).result.archive_format
        == archive_format
    )
    assert rig.files() == FILES


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names_are_kept(
    rig: loader_rig.Rig, served: origin_server.Origin, format_: int
):
    long = "/".join(["directory" * 5] * 3) + "/" + "f" * 90
    names = [long, "d/ünï-日本", "with blank", "-x", "back\\slash", "line\nbreak", "./dot/./x//y"]
    if format_ != tarfile.USTAR_FORMAT:
        names.append("n" * 255)
    packed = tar([entry(name, name.encode()) for name in names], format_)
    assert rig.load(served.put("set.tar", packed)).code == 0
    assert set(rig.files()) == {os.path.normpath(name) for name in names}


def test_a_name_that_is_not_utf8_is_kept_as_it_is(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    packed = tar([entry("fl\udcfb", b"1")], tarfile.GNU_FORMAT)
    assert rig.load(served.put("set.tar", packed)).code == 0
    names = [os.fsencode(path.name) for path in (rig.volume / "datasets/x").iterdir()]
    assert names == [b"fl\xfb"]


def test_names_that_differ_only_in_case_or_form_are_different_files(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    files = {"a": b"1", "A": b"2", "é": b"3", "e\u0301": b"4"}
    assert rig.load(served.put("set.tar", loader_rig.archive("tar", files))).result.files == 4
    assert rig.files() == files


def test_all_can_read_and_only_the_loader_can_write(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    packed = tar(
        [
            entry("locked", b"1", mode=0o000),
            entry("open", b"1", mode=0o6777, uid=1000, gid=1000),
            entry("d", type=tarfile.DIRTYPE, mode=0o1700),
            entry("d/e/f", b"1", mode=0o600),
        ]
    )
    assert rig.load(served.put("set.tar", packed)).code == 0
    modes = {
        str(path.relative_to(rig.volume)): stat.S_IMODE(path.lstat().st_mode)
        for path in rig.volume.rglob("*")
        if not path.is_symlink()
    }
    modes = {path.rpartition("-")[2].partition("/")[2]: mode for path, mode in modes.items()}
    assert modes["locked"] == 0o644
    assert modes["open"] == 0o755
    assert modes["d"] == modes["d/e"] == 0o755
    assert modes["d/e/f"] == 0o644
    assert (rig.volume / "datasets/x/open").stat().st_uid == os.getuid()
    for path in (rig.volume / "datasets/x").resolve().parents[:3]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_links_that_stay_inside_are_made(rig: loader_rig.Rig, served: origin_server.Origin):
    packed = tar(
        [
            entry("d/file", b"1"),
            link("d/up", "../top"),
            link("here", "."),
            link("through", "here/d/./file"),
            link("middle", "d/../d/file"),
            link("dangling", "nothing"),
            link("hard", "d/file", hard=True),
            link("harder", "through", hard=True),
            entry("top", b"2"),
        ]
    )
    assert rig.load(served.put("set.tar", packed)).result.files == 3
    root = rig.volume / "datasets/x"
    assert (root / "d/up").read_bytes() == b"2"
    assert (root / "through").read_bytes() == (root / "middle").read_bytes() == b"1"
    assert (root / "dangling").is_symlink()
    assert (root / "hard").samefile(root / "d/file")
    assert (root / "harder").is_symlink()


def test_a_link_that_climbs_in_its_middle_leads_where_its_text_says(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    # Resolved step by step it would be outside of the data set.
    packed = tar([link("a", "."), link("b", "a/../f"), entry("f", b"1")])
    assert rig.load(served.put("set.tar", packed)).code == 0
    assert str((rig.volume / "datasets/x/b").readlink()) == "f"


def test_of_two_files_with_one_name_the_last_counts(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    packed = tar([entry("a", b"old"), entry("b", b"1"), entry("a", b"newer")])
    result = rig.load(served.put("set.tar", packed)).result
    assert (result.files, result.bytes) == (2, 6)
    assert rig.files() == {"a": b"newer", "b": b"1"}


def test_archives_that_stand_one_after_another_are_all_unpacked(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    both = [tar([entry("a", b"1")]), tar([entry("b", b"2")])]
    content = b"".join(map(gzip.compress, both)) + bytes(700)
    assert rig.load(served.put("set.tar.gz", content)).result.files == 2
    assert rig.files() == {"a": b"1", "b": b"2"}


@pytest.mark.skipif(not shutil.which("tar"), reason="needs GNU tar")
@pytest.mark.parametrize("format_", ["gnu", "pax"])
@pytest.mark.parametrize("parts", [3, 60])
def test_a_sparse_file_gets_its_holes_back(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    tmp_path: pathlib.Path,
    format_: str,
    parts: int,
):
    made = tmp_path / "sparse"
    with made.open("wb") as file:
        for part in range(parts):
            file.seek(part * 100_000 + 4096)
            file.write(os.urandom(5000))
        file.truncate(parts * 100_000 + 7)
    command = ["tar", "-C", tmp_path, "--sparse", f"--format={format_}", "-cf", "-", "sparse"]
    packed = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(packed) < made.stat().st_size / 2
    assert rig.load(served.put("set.tar", packed)).result.bytes == made.stat().st_size
    assert rig.files() == {"sparse": made.read_bytes()}


@pytest.mark.parametrize("front", [b"#!/bin/sh\nexit\n", b"PK00", b"MZ" + bytes(60_000)])
def test_a_zip_may_have_something_in_front_and_a_comment_behind(
    rig: loader_rig.Rig, served: origin_server.Origin, front: bytes
):
    buffer = io.BytesIO(front)
    with zipfile.ZipFile(buffer, "a") as packed:
        packed.writestr("a", b"1")
        packed.comment = b"PK\5\6 is no end"
    rig.load(served.put("set.zip", buffer.getvalue())).result  # noqa: B018
    assert rig.files() == {"a": b"1"}
    # Only its name tells that it is one.
    rig.load(served.put("setup.exe", buffer.getvalue()), "y").result  # noqa: B018
    assert rig.files("y") == {"setup.exe": buffer.getvalue()}
    plain = origin_server.Faults(ranges=False)
    error = rig.refused(served.put("z.zip", buffer.getvalue(), faults=plain), "z")
    assert "other data before its files" in error


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_zip_may_be_compressed_in_several_ways(
    rig: loader_rig.Rig, served: origin_server.Origin, method: int
):
    files = {"zeros": bytes(3_000_000), "noise": os.urandom(600_000), "empty": b""}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as packed:
        for name, content in files.items():
            with packed.open(name, "w", force_zip64=True) as member:
                member.write(content)
        packed.comment = b"a comment"
    assert rig.load(served.put("set.zip", buffer.getvalue())).result.files == 3
    assert rig.files() == files


@pytest.mark.parametrize("rest", range(0, 600, 37))
def test_what_deflate_holds_back_at_the_end_of_its_input_is_not_lost(
    rig: loader_rig.Rig, served: origin_server.Origin, rest: int
):
    files = {"zeros": bytes(2**18 + rest)}
    assert rig.load(served.put("set.zip", loader_rig.archive("zip", files))).code == 0
    assert rig.files() == files


def test_names_and_modes_in_a_zip_are_kept(rig: loader_rig.Rig, served: origin_server.Origin):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("ünï-日本", b"1")
        packed.writestr("d/", b"")
        runs = zipfile.ZipInfo("d/run")
        runs.external_attr = (stat.S_IFREG | 0o4711) << 16
        packed.writestr(runs, b"2")
        leads = zipfile.ZipInfo("leads")
        leads.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(leads, b"d/run")
        infozip = zipfile.ZipInfo("plain")
        utf8 = "zażółć".encode()
        field = struct.pack("<BL", 1, zlib.crc32(b"plain")) + utf8
        infozip.extra = struct.pack("<2H", 0x7075, len(field)) + field
        packed.writestr(infozip, b"3")
    assert rig.load(served.put("set.zip", buffer.getvalue())).result.files == 3
    assert rig.files() == {"ünï-日本": b"1", "d/run": b"2", "leads": b"2", "zażółć": b"3"}
    assert stat.S_IMODE((rig.volume / "datasets/x/d/run").stat().st_mode) == 0o755
    assert (rig.volume / "datasets/x/leads").is_symlink()


def test_a_zip_of_more_files_than_its_old_form_can_count_is_unpacked(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("a", b"1")
    content = buffer.getvalue()
    end = content.rindex(b"PK\5\6")
    count, length, offset = struct.unpack_from("<H2L", content, end + 10)
    content = (
        content[:end]
        + struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset)
        + struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
    )
    assert rig.load(served.put("set.zip", content)).result.files == 1
    assert rig.files() == {"a": b"1"}


def test_the_same_member_in_two_archives_is_no_conflict(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    shared = [entry("LICENSE", b"text"), entry("big", bytes(5_000_000)), link("d/l", "../LICENSE")]
    sources = " ".join(
        served.put(f"{name}.tar", tar([*shared, entry(f"d/{name}", b"1")])) for name in "abc"
    )
    assert rig.load(sources).result.files == 5
    assert set(rig.files()) == {"LICENSE", "big", "d/l", "d/a", "d/b", "d/c"}
    assert rig.run_verb("verify")[-1]["state"] == "verified"
    pods = rig.run_pods(sources, 2, "y")
    assert rig.files("y") == rig.files(), pods


@pytest.mark.parametrize(
    "other",
    [entry("LICENSE", b"TEXT"), entry("LICENSE", b"text", mode=0o755), link("LICENSE", "d")],
)
def test_another_member_of_the_same_name_in_two_archives_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, other: loader_rig.Entry
):
    one = served.put("a.tar", tar([entry("LICENSE", b"text")]))
    two = served.put("b.tar", tar([other, entry("d/x", b"1")]))
    assert "'LICENSE'" in rig.refused(f"{one} {two}")


@pytest.mark.parametrize("archive_format", ["tar.gz", "zip"])
def test_leading_directories_are_stripped(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    files = {"repo-1/a": b"1", "repo-1/d/b": b"2", "top": b"3"}
    source = served.put(f"s.{archive_format}", loader_rig.archive(archive_format, files))
    assert rig.load(source, strip_components=1).result.files == 2
    assert rig.files() == {"a": b"1", "d/b": b"2"}
    assert rig.load(source, "y", strip_components=2).result.files == 1
    assert rig.files("y") == {"b": b"2"}
    assert "holds no files" in rig.refused(source, "z", strip_components=3)


def test_stripping_makes_no_file_of_several(rig: loader_rig.Rig, served: origin_server.Origin):
    files = {"train/0.jpg": b"1", "test/0.jpg": b"2", "test/LICENSE": b"3", "train/LICENSE": b"3"}
    for archive_format in ("tar", "zip"):
        source = served.put(f"s.{archive_format}", loader_rig.archive(archive_format, files))
        error = rig.load(source, strip_components=1, unpack="recursive").error
        assert "strip-components=1 makes one file '0.jpg' of several" in error
    inner = {f"{name}.tar": loader_rig.archive("tar", {"0": name.encode()}) for name in "ab"}
    source = served.put("n.tar", loader_rig.archive("tar", inner))
    error = rig.load(source, "y", strip_components=1, unpack="recursive").error
    assert "makes one file '0' of several" in error
    del files["test/0.jpg"]
    source = served.put("same.tar", loader_rig.archive("tar", files))
    assert rig.load(source, "z", strip_components=1).result.files == 2
    assert rig.files("z") == {"0.jpg": b"1", "LICENSE": b"3"}


def test_links_are_stripped_with_what_they_lead_to(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    kept = [entry("r/d/f", b"1"), link("r/d/s", "../g"), link("r/h", "r/d/f", hard=True)]
    source = served.put("s.tar", tar([*kept, entry("r/g", b"2")]))
    assert rig.load(source, strip_components=1).result.files == 3
    assert rig.files() == {"d/f": b"1", "d/s": b"2", "h": b"1", "g": b"2"}
    out = served.put("o.tar", tar([entry("f", b"1"), link("r/s", "../f")]))
    assert "leads out of it" in rig.refused(out, "y", strip_components=1)
    hard = served.put("h.tar", tar([entry("f", b"1"), link("r/s", "f", hard=True)]))
    assert "leaves nothing" in rig.refused(hard, "y", strip_components=1)


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("s.tar.Z", b"\x1f\x9d\x90", "compressed by compress"),
        ("s.taz", b"\x1f\x9d\x90", "compressed by compress"),
        ("s.tar.lz4", b"\x04\x22\x4d\x18", "compressed by lz4"),
        ("s.tar.lz4", b"\x02\x21\x4c\x18", "compressed by lz4"),
        ("s.tar.lz", b"LZIP\1", "compressed by lzip"),
        ("s.tar.lzo", b"\x89LZO\0\r\n", "compressed by lzop"),
        ("s.tar.br", b"\x8b\xff\x07\x80", "compressed by brotli"),
    ],
)
def test_what_cannot_be_read_here_is_called_so(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str, head: bytes, kind: str
):
    content = head + os.urandom(3000)
    source = served.put(name, content)
    error = rig.refused(source)
    assert f"'{name}' is {kind}, which cannot be read here" in error
    assert "unpack=false" in error
    rig.load(source, unpack=False)
    assert rig.files() == {name: content}


@pytest.mark.parametrize("name", ["s.tar.lzma", "s.tlz", "download"])
def test_lzma_alone_is_read(rig: loader_rig.Rig, served: origin_server.Origin, name: str):
    content = lzma.compress(tar([entry(*each) for each in FILES.items()]), lzma.FORMAT_ALONE)
    assert rig.load(served.put(name, content)).result.archive_format == "tar.lzma"
    assert rig.files() == FILES
    assert "in the middle" in rig.refused(served.put("c.tar.lzma", content[:-900]), "y")


# --- empty files


def test_files_of_a_list_may_be_empty(rig: loader_rig.Rig, served: origin_server.Origin):
    files = {f"label-{number}.txt": b"" for number in range(5)} | {"z.bin": os.urandom(9 * 2**20)}
    for name, content in files.items():
        served.put(name, content)
    listed = served.put("list", "\n".join(files).encode())
    runs = rig.run_pods("", 2, source_list=listed, digest_key="5e" * 32)
    assert {run.code for run in runs} == {0}
    assert rig.files() == files
    # That an empty file has no ranges says nothing about its host.
    ranges = {each.target for each in served.requests if "range" in each.headers}
    assert ranges == {"/z.bin"}
    assert rig.load(" ".join(f"{served.url}/{name}" for name in files), "y").result.files == 6


def test_a_source_that_is_empty_needs_its_checksum(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    empty = served.put("x.txt", b"")
    assert "is empty: check that it is the right one" in rig.refused(empty)
    checksum = f"sha256:{hashlib.sha256(b'').hexdigest()}"
    assert rig.load(empty, checksum=checksum).result.bytes == 0
    assert rig.files() == {"x.txt": b""}
    listed = served.put("list", served.put("x.tar.gz", b"").encode())
    assert "is empty" in rig.refused("", "y", source_list=listed, digest_key="5e" * 32)
