from __future__ import annotations

import gzip
import lzma
import struct
import tarfile

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, tar

FILES = {"a": b"1" * 3000, "d/b": b"2" * 50_000}


def zeros(archive_format: str, count: int, name: str = "zeros") -> bytes:
    return loader_rig.archive(archive_format, {name: bytes(count)})


@pytest.mark.parametrize("archive_format", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_a_bomb_is_refused_before_it_has_grown(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    source = served.put(f"s.{archive_format}", zeros(archive_format, 8_000_000))
    error = rig.refused(source, limits={"free_bytes": 2_000_000})
    assert "like an archive bomb" in error


def test_a_file_of_zeros_that_is_small_is_no_bomb(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    assert rig.load(served.put("s.tar.gz", zeros("tar.gz", 5_000_000))).result.bytes == 5_000_000


def test_an_archive_of_nothing_but_its_end_is_a_bomb_too(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = gzip.compress(tar([entry("f", b"1")]) + bytes(8_000_000))
    error = rig.refused(served.put("s.tgz", content), limits={"free_bytes": 2_000_000})
    assert "like an archive bomb" in error


def test_a_sparse_file_cannot_pretend_to_be_small(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    info, _ = entry("hole")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (2**50).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content = bytes(header) + bytes(1024)
    error = rig.refused(served.put("s.tar", content), limits={"free_bytes": 2_000_000})
    assert "like an archive bomb" in error


def test_overlapping_members_of_a_zip_are_refused(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = zeros("zip", 1_000_000)
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    directory = b"".join(
        content[start : start + 46] + b"%05d" % number + content[start + 51 : end]
        for number in range(300)
    )
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 300, 300, len(directory), start, 0)
    content = content[:start] + directory + tail
    error = rig.refused(served.put("s.zip", content), limits={"free_bytes": 2_000_000})
    assert "is not what the list says" in error


def test_limits_are_those_of_all_sources_together(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    bombs = [served.put(f"{name}.tar.gz", zeros("tar.gz", 1_500_000, name)) for name in "abc"]
    assert rig.load(bombs[0], "one", limits={"free_bytes": 2_000_000}).result.files == 1
    assert "like an archive bomb" in rig.refused(" ".join(bombs), limits={"free_bytes": 2_000_000})
    plain = [
        served.put(f"{name}.tar", tar([entry(name, bytes(9000)), entry(f"{name}2", b"")]))
        for name in "ab"
    ]
    assert "more than 17999 bytes" in rig.refused(" ".join(plain), limits={"most_bytes": 17_999})
    assert "more than 3 members" in rig.refused(" ".join(plain), limits={"most_members": 3})


def test_the_limit_of_bytes_is_that_of_all_pods_together(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    # Each pod writes less than the limit.
    sources = [served.put(f"{name}.tar", tar([entry(name, bytes(30_000))])) for name in "abcd"]
    runs = rig.run_pods(" ".join(sources), 2, limits={"most_bytes": 100_000})
    assert any(run.code and "more than 100000 bytes" in run.error for run in runs)
    assert not (rig.volume / "datasets/x").is_symlink()
    assert all(run.code == 0 for run in rig.run_pods(" ".join(sources), 2, "y"))


def test_files_whose_sizes_are_known_are_refused_before_any_is_fetched(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    names = [f"{number}.csv" for number in range(3)]
    sources = " ".join(served.put(name, b"1,2\n" * 10_000) for name in names)
    run = rig.run_pod(sources, 0, 2, limits={"most_bytes": 100_000})
    assert "more than 100000 bytes: allow more by max-size=" in run.error
    assert not any(path.endswith(".csv") for path in rig.all_paths())


@pytest.mark.parametrize("archive_format", ["tar", "zip"])
def test_too_many_entries_are_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    content = loader_rig.archive(archive_format, {str(number): b"" for number in range(30)})
    source = served.put(f"s.{archive_format}", content)
    assert "more than 29 members" in rig.refused(source, limits={"most_members": 29})
    assert rig.load(source, limits={"most_members": 30}).result.files == 30


@pytest.mark.parametrize("archive_format", [*loader_rig.ARCHIVES, "csv"])
def test_too_many_bytes_are_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    content = (
        loader_rig.archive(archive_format, FILES) if archive_format != "csv" else b"1" * 60_000
    )
    source = served.put(f"s.{archive_format}", content)
    assert "more than 40000 bytes" in rig.refused(source, limits={"most_bytes": 40_000})


def test_an_extension_header_of_any_size_does_not_fill_the_memory(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        info, _ = entry("name", type=kind)
        info.size = 2**40
        content = info.tobuf(tarfile.GNU_FORMAT) + bytes(10_000)
        assert "damaged" in rig.refused(served.put("s.tar", content))


@pytest.mark.parametrize(
    "record", [b"5 a", b"x a=b\n", b"0 a=b\n", b"999999999999999999999999 a=b\n", b"11 size=-1\n"]
)
def test_an_extension_header_that_makes_no_sense_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, record: bytes
):
    extension, _ = entry("x", record, type=tarfile.XHDTYPE)
    content = extension.tobuf() + record.ljust(512, b"\0") + tar([entry("f", b"1")])
    assert "damaged" in rig.refused(served.put("s.tar", content))


def test_a_name_that_the_volume_does_not_take_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    assert "at most 255 bytes" in rig.refused(served.put("s.tar", tar([entry("é" * 128, b"1")])))


def test_an_xz_that_wants_gigabytes_is_refused(rig: loader_rig.Rig, served: origin_server.Origin):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**28}]
    content = lzma.compress(tar([entry("f", b"1")]), filters=filters)
    assert "too much memory" in rig.refused(served.put("s.tar.xz", content))
