from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

from datasets.loader.archives import tar_reader
from tests.loader import formats_rig
from tests.loader.formats_rig import END, Trickle, header, member, padded, pax

PAX_1 = (("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", "s"))


def read(content: bytes) -> dict[str, bytes]:
    return formats_rig.files(tar_reader.read(Trickle(content, 600)))


def refused(content: bytes) -> str:
    return formats_rig.refused(tar_reader.read(Trickle(content)))


def number(value: int) -> bytes:
    return b"%011o\0" % value


def old(size: int, extents: list[tuple[int, int]], body: bytes, *, wide: bool = False) -> bytes:
    """Return a sparse file of old GNU tar: four parts in the header, 21 in each next block."""
    field = (lambda value: b"\x80" + value.to_bytes(11, "big")) if wide else number
    pairs = [field(offset) + field(length) for offset, length in extents]
    rest = bytes(41) + b"".join(pairs[:4]).ljust(96, b"\0")
    rest += bytes([len(pairs) > 4]) + field(size)
    blocks = b""
    for at in range(4, len(pairs), 21):
        more = len(pairs) > at + 21
        blocks += (b"".join(pairs[at : at + 21]).ljust(504, b"\0") + bytes([more])).ljust(
            512, b"\0"
        )
    block = header(b"s", len(body), kind=b"S", magic=b"ustar  \0", rest=rest)
    return block + blocks + padded(body)


def new(size: int | str, table: str, body: bytes) -> bytes:
    """Return a sparse file of PAX 1.0: the map precedes the body."""
    head = pax(*PAX_1, ("GNU.sparse.realsize", str(size)))
    return head + member(b"GNUSparseFile.0/s", padded(table.encode()) + body)


@pytest.mark.skipif(not shutil.which("tar"), reason="needs GNU tar")
@pytest.mark.parametrize("format_", [["gnu"], ["posix", "--sparse-version=1.0"]])
@pytest.mark.parametrize("count", [1, 4, 5, 26, 60])
def test_what_gnu_tar_writes_is_read(tmp_path: pathlib.Path, format_: list[str], count: int):
    made = tmp_path / "sparse"
    with made.open("wb") as file:
        for at in range(count):
            file.seek(at * 50_000 + 4096)
            file.write(os.urandom(5000))
        file.truncate(count * 50_000 + 7)
    (tmp_path / "after").write_bytes(b"1")
    command = ["tar", "-C", str(tmp_path), "--sparse", f"--format={format_[0]}", *format_[1:]]
    command += ["-cf", "-", "sparse", "after"]
    packed = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(packed) < made.stat().st_size
    assert read(packed) == {"sparse": made.read_bytes(), "after": b"1"}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("count", [1, 4, 5, 25, 26, 47])
def test_the_old_map_continues_after_the_header(count: int, wide: bool):
    body = os.urandom(10 * count)
    extents = [(100 * at + 50, 10) for at in range(count)]
    expected = b"".join(bytes(50) + body[10 * at :][:10] + bytes(40) for at in range(count))
    packed = old(100 * count, extents, body, wide=wide) + member(b"b", b"1") + END
    assert read(packed) == {"s": expected, "b": b"1"}


def test_the_new_map_may_take_several_blocks():
    extents = [(1000 * at, 1) for at in range(200)]
    table = "".join(f"{value}\n" for value in (200, *(v for pair in extents for v in pair)))
    packed = new(200_000, table, b"x" * 200) + member(b"b", b"1") + END
    assert read(packed) == {"s": (b"x" + bytes(999)) * 200, "b": b"1"}


def test_a_large_hole_is_given_out_in_pieces():
    packed = old(2**34, [(2**34, 0)], b"") + END
    (found,) = tar_reader.read(Trickle(packed))
    assert isinstance(found, tar_reader.members.File)
    assert found.size == 2**34
    assert len(next(iter(found.chunks))) <= 2**20


@pytest.mark.parametrize(
    ("packed", "problem"),
    [
        (old(100, [(0, 10), (5, 10)], bytes(20)), "overlap"),
        (old(100, [(95, 10)], bytes(10)), "overlap"),
        (old(100, [(0, 50)], bytes(10)), "middle"),
        (new(100, "1\n0\n50\n", bytes(10)), "middle"),
        (new(100, "2\n0\n10\n5\n10\n", bytes(20)), "overlap"),
        (new(100, "x\n", b""), "number"),
        (new("", "1\n0\n1\n", b"1"), "number"),
        (new(100, "9" * 600, b""), "number"),
        (new(100, "5\n0\n1\n", b"1"), "number"),
        (new(100, "100001\n", b""), "more than 100000 parts"),
        (
            pax(("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,1")) + member(b"s", b"1"),
            "old format (PAX 0.x)",
        ),
        (pax(("GNU.sparse.numblocks", "1")) + member(b"s", b"1"), "old format (PAX 0.x)"),
        (header(b"s", kind=b"S", rest=bytes(41) + b"x" * 96), "number"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(packed: bytes, problem: str):
    assert problem in refused(packed + END)


def test_a_map_without_end_does_not_fill_the_memory():
    block = (number(1) * 42) + b"\1"
    packed = old(2**30, [(0, 1)] * 5, b"")[:512] + block.ljust(512, b"\0") * 5000 + END
    assert "more than 100000 parts" in refused(packed)


def test_a_sparse_file_that_is_cut_off_is_refused():
    for packed in (
        old(1000, [(100 * at, 10) for at in range(9)], bytes(90)),
        new(9, "1\n0\n9\n", b"123456789"),
    ):
        for part in formats_rig.cuts(packed, step=64):
            assert "in the middle" in refused(part)
