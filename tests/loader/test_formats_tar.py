from __future__ import annotations

import contextlib
import io
import os
import tarfile
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.loader.archives import formats, tar_reader
from datasets.loader.base import byte_streams
from tests.loader import formats_rig, loader_rig
from tests.loader.formats_rig import END, Trickle, flat, header, member, pax

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def read(content: bytes, most: int | None = None) -> list[tuple[Any, ...]]:
    return flat(tar_reader.read(Trickle(content, most)))


def refused(content: bytes) -> str:
    return formats_rig.refused(tar_reader.read(Trickle(content)))


def file(name: str, content: bytes = b"", *, executable: bool = False) -> tuple[Any, ...]:
    return ("File", name, executable, content)


letters = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
foreign = st.integers(0xDC80, 0xDCFF).map(chr)
parts = st.text(letters | foreign, min_size=1, max_size=12).filter(lambda p: p not in {".", ".."})
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
long_paths = paths.map(lambda path: "long/" * 60 + path)
bodies = st.binary(max_size=40) | st.integers(0, 1600).map(os.urandom)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("file"), paths | long_paths, bodies, st.booleans()),
            st.tuples(st.just("directory"), paths),
            st.tuples(st.just("symbolic"), paths, paths | long_paths),
            st.tuples(st.just("hard"), paths, paths | long_paths),
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from([None, 1, 100, 700]),
)
def test_what_tarfile_writes_is_read(made: list[tuple[Any, ...]], format_: int, most: int | None):
    entries: list[loader_rig.Entry] = []
    expected: list[tuple[Any, ...]] = []
    for kind, path, *rest in made:
        if kind == "file":
            content, executable = rest
            entries.append(loader_rig.entry(path, content, mode=0o755 if executable else 0o640))
            expected.append(file(path, content, executable=executable))
        elif kind == "directory":
            entries.append(loader_rig.entry(path, type=tarfile.DIRTYPE))
            expected.append(("Directory", path))
        elif kind == "symbolic":
            entries.append(loader_rig.link(path, rest[0]))
            expected.append(("SymbolicLink", path, rest[0]))
        else:
            entries.append(loader_rig.link(path, rest[0], hard=True))
            expected.append(("HardLink", path, rest[0]))
    found = read(loader_rig.tar(entries, format_), most)
    assert list(map(_encoded, found)) == list(map(_encoded, expected))


def _encoded(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # Bytes that are not UTF-8 on their own may become UTF-8 next to others.
    return tuple(os.fsencode(each) if isinstance(each, str) else each for each in values)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(paths, bodies), max_size=5), st.binary(min_size=1, max_size=3), st.data()
)
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    made: list[tuple[str, bytes]], noise: bytes, data: st.DataObject
):
    content = bytearray(loader_rig.tar([loader_rig.entry(*each) for each in made]))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at : at + len(noise)] = noise
    with contextlib.suppress(byte_streams.Damaged):
        read(bytes(content))


@pytest.mark.parametrize("format_", FORMATS)
def test_an_archive_that_is_cut_off_is_refused_wherever_it_is(format_: int):
    name = "directory/" * 12 + "file"
    entries = [loader_rig.entry(name, os.urandom(700)), loader_rig.entry("b", b"1" * 512)]
    content = loader_rig.tar([*entries, loader_rig.link("l", "b")], format_)
    end = len(content.rstrip(b"\0"))
    end += -end % 512
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        ends = {*(each.offset for each in packed), end} - {0}
    for part in formats_rig.cuts(content, end + 512, step=32):
        reason = "the archive ends in the middle"
        if len(part) in ends:
            reason = "no blocks of zeros at its end"
        assert reason in refused(part)
    assert len(read(content[: end + 512])) == 3


@pytest.mark.parametrize("size", [tar_reader.SMALL_BYTES, tar_reader.SMALL_BYTES + 1, 3_000_000])
def test_a_large_file_comes_in_pieces_and_a_small_one_whole(size: int):
    content = os.urandom(size)
    packed = member(b"a", content) + member(b"b", b"1") + END
    first, second = list(tar_reader.read(Trickle(packed)))
    assert isinstance(first, tar_reader.members.File)
    assert isinstance(first.chunks, tuple) == (size <= tar_reader.SMALL_BYTES)
    assert (first.size, second.path) == (size, "b")
    assert read(packed) == [file("a", content), file("b", b"1")]


def test_what_was_not_read_of_a_large_file_is_skipped():
    packed = member(b"a", os.urandom(3_000_001)) + member(b"b", b"1") + END
    for found in tar_reader.read(Trickle(packed)):
        assert isinstance(found, tar_reader.members.File)
        next(iter(found.chunks))
    assert found.path == "b"


def test_a_large_file_that_is_cut_off_is_refused():
    assert "in the middle" in refused(member(b"a", os.urandom(3_000_000))[:2_000_000])


@pytest.mark.parametrize("magic", [b"", b"ustar  \0", b"ustar\x0000"])
def test_old_and_new_headers_are_read(magic: bytes):
    packed = member(b"a/b", b"12", magic=magic) + member(b"d/", magic=magic, kind=b"\0")
    packed += member(b"c", b"3", magic=magic, kind=b"\0")
    packed += member(b"e", b"4", magic=magic, kind=b"7") + END
    assert read(packed) == [
        file("a/b", b"12"),
        ("Directory", "d"),
        file("c", b"3"),
        file("e", b"4"),
    ]


def test_a_name_fills_its_field_and_goes_on_in_the_prefix():
    name, prefix = b"n" * 100, b"p" * 155
    packed = member(name, b"1", prefix=prefix) + member(name, b"2", magic=b"ustar  \0") + END
    assert read(packed) == [
        file("p" * 155 + "/" + "n" * 100, b"1"),
        file("n" * 100, b"2"),
    ]


def test_the_times_that_gnu_has_in_the_prefixs_place_are_no_name():
    packed = member(b"a", b"1", magic=b"ustar  \0", rest=b"14000000000\0" * 2) + END
    assert read(packed) == [file("a", b"1")]


def test_a_checksum_of_signed_bytes_counts_too():
    name = "été".encode()
    assert read(member(name, b"1", signed=True) + END) == [file("été", b"1")]
    wrong = bytearray(member(name, b"1", signed=True) + END)
    wrong[0] += 1
    assert "no header" in refused(bytes(wrong))


@pytest.mark.parametrize(
    "field",
    [b"\x80" + bytes(10) + b"\5", b"5".rjust(11) + b"\0", b"0000000005 \0", b"5" + bytes(11)],
)
def test_a_size_may_be_written_in_several_ways(field: bytes):
    packed = header(b"a", size_field=field) + formats_rig.padded(b"12345") + END
    assert read(packed) == [file("a", b"12345")]


@pytest.mark.parametrize(
    "field", [b"\xff" * 12, b"99999999999\0", b"-0000000001\0", b"five".ljust(12)]
)
def test_a_size_that_is_none_is_refused(field: bytes):
    assert "damaged" in refused(header(b"a", size_field=field) + bytes(512) + END)


def test_a_size_of_terabytes_is_believed_and_missed():
    field = b"\x80" + (2**45).to_bytes(11, "big")
    assert "in the middle" in refused(header(b"a", size_field=field) + bytes(5000))


def test_attributes_count_for_one_member_and_global_ones_for_all():
    packed = pax(("size", "3"), ("path", "every"), kind=b"g")
    packed += header(b"x") + formats_rig.padded(b"123")
    packed += pax(("path", "own"), ("size", "2"), ("mtime", "1.5"))
    packed += header(b"x") + formats_rig.padded(b"12")
    packed += pax(("path", "")) + header(b"header") + formats_rig.padded(b"456") + END
    assert read(packed) == [file("every", b"123"), file("own", b"12"), file("header", b"456")]


def test_attributes_may_hold_line_ends_equals_signs_and_any_bytes():
    packed = pax(("comment", "a=b\n9 x=y\n"), ("hdrcharset", "BINARY"), ("path", b"\xff\n=x"))
    assert read(packed + member(b"x", b"1") + END) == [file("\udcff\n=x", b"1")]


def test_the_targets_of_links_may_be_long():
    target = "t/" * 200 + "t"
    packed = pax(("linkpath", target)) + member(b"l", kind=b"2", target=b"short")
    packed += member(b"././@LongLink", target.encode() + b"\0", kind=b"K")
    packed += member(b"h", kind=b"1", target=b"short") + END
    assert read(packed) == [("SymbolicLink", "l", target), ("HardLink", "h", target)]


def test_an_attribute_of_a_million_bytes_is_read_and_a_larger_one_refused():
    packed = pax(("comment", "n" * 1_000_000), ("path", "y")) + member(b"x", b"1") + END
    assert read(packed) == [file("y", b"1")]
    for kind in (b"x", b"g", b"L", b"K", b"X"):
        assert "1048577 bytes" in refused(member(b"x", bytes(2**20 + 1), kind=kind) + END)


def test_a_header_of_a_hundred_thousand_attributes_takes_no_longer_than_its_bytes():
    text = formats_rig.record(b"a", b"b") * 160_000
    begun = time.process_time()
    assert read(member(b"x", text[:960_000], kind=b"x") + member(b"f", b"1") + END)
    assert time.process_time() - begun < 3


def test_global_attributes_without_end_do_not_fill_the_memory():
    class Endless:
        def __init__(self) -> None:
            self.number = 0
            self.rest = b""

        def read(self, count: int) -> bytes:
            if not self.rest and self.number < 60:
                self.number += 1
                self.rest = pax((f"SCHILY.{self.number}", b"v" * 900_000), kind=b"g")
            chunk, self.rest = self.rest[:count], self.rest[count:]
            return chunk

    assert formats_rig.peak_of(lambda: refused_stream(Endless())) < 12 * 2**20


def refused_stream(stream: Any) -> str:
    return formats_rig.refused(tar_reader.read(stream))


@pytest.mark.parametrize(
    "text",
    [
        b"5 a",
        b"x a=b\n",
        b" a=b\n",
        b"0 a=b\n",
        b"6 a=bc\n",
        b"6 a=bc6 d=e\n",
        b"60 a=b\n",
        b"6 abc\n",
        b"-6 a=b\n",
        b"999999999999999999999 a=b\n",
        b"10 size=-1\n",
        b"10 size=x\n\n",
    ],
)
def test_attributes_that_make_no_sense_are_refused(text: bytes):
    assert "damaged" in refused(member(b"x", text, kind=b"x") + member(b"f", b"1") + END)


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"M"])
def test_what_is_no_file_directory_or_link_is_refused(kind: bytes):
    assert "only files, directories and links" in refused(member(b"x", kind=kind) + END)


def test_unknown_kinds_are_files_and_labels_are_skipped():
    packed = member(b"a", b"1", kind=b"Z") + member(b"label", kind=b"V")
    packed += member(b"d", b"names", kind=b"D") + END
    assert read(packed) == [file("a", b"1"), ("Directory", "d")]


@pytest.mark.parametrize(
    "packed",
    [
        member(b"/a"),
        member(b"a/../../b"),
        pax(("path", "../a")) + member(b"a"),
        member(b"h", kind=b"1", target=b"../x"),
        member(b"h", kind=b"1", target=b"/x"),
        member(b"l", kind=b"2", target=b"/x"),
        member(b"d/l", kind=b"2", target=b"../../x"),
        member(b"l", kind=b"2"),
        pax(("path", "a\0b")) + member(b"a"),
    ],
)
def test_what_leads_out_of_the_archive_is_refused(packed: bytes):
    assert "make the archive again without it" in refused(packed + END)


def test_a_file_that_anybody_may_execute_is_executable():
    modes = [
        b"0000100\0",
        b"0000010\0",
        b"0000001\0",
        b"0100700\0",
        b"0000666\0",
        b"0" * 7 + b"\0",
    ]
    packed = b"".join(member(b"%d" % at, mode=mode) for at, mode in enumerate(modes)) + END
    assert [each[2] for each in read(packed)] == [True, True, True, True, False, False]


def test_archives_that_stand_one_after_another_are_one():
    packed = member(b"a", b"1") + END + bytes(8192) + member(b"b", b"2") + END
    assert read(packed) == [file("a", b"1"), file("b", b"2")]


def test_what_is_no_archive_is_refused():
    assert "damaged" in refused(os.urandom(4096))
    assert "in the middle" in refused(b"")
    assert "damaged" in refused(member(b"a", b"1") + b"x" * 512 + END)


def test_a_block_is_a_header_by_its_checksum():
    block = header(b"a")
    assert tar_reader.is_header(block)
    assert not tar_reader.is_header(bytes(512))
    assert not tar_reader.is_header(block[:511])
    assert not tar_reader.is_header(b"b" + block[1:])
    assert not tar_reader.is_header(block[:148] + b"x" * 8 + block[156:])


@pytest.mark.parametrize(
    ("field", "total"),
    [
        (bytes(8), 0),
        (b" " * 8, 0),
        (b"-0000010", -8),
        (b"+0000010", 8),
        (b"00_00_10", 8),
        (b"0000008\0", 8),
        (b"\x80" + bytes(6) + b"\x09", 9),
    ],
)
def test_a_block_without_a_checksum_is_no_header(field: bytes, total: int):
    """A compressed archive's first bytes were: zeros, and signed bytes that add up to zero."""
    assert tar_reader.is_header(_block(b"0000010\0", 8))
    assert not tar_reader.is_header(_block(field, total))


@pytest.mark.parametrize(
    ("at", "field"),
    [
        (0, b"\0"),
        (100, b"x000644\0"),
        (100, b"\xd8\0\0\0\x12\0\0\0"),
        (124, b"\x81" + bytes(11)),
        (124, b"1,2,3,4,5,6,"),
    ],
)
def test_a_checksum_alone_makes_no_header_of_what_has_no_archives_name(at: int, field: bytes):
    """Of files of small numbers, one in thirty thousand was one by its checksum."""
    whole = header(b"a")
    assert formats.recognise(whole, "labels", unpack="true") == "tar"
    block = bytearray(whole)
    block[at : at + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert tar_reader.is_header(bytes(block))
    for name in ("labels", "labels.gz"):
        assert formats.recognise(bytes(block), name, unpack="true") == "file"


def _block(field: bytes, total: int) -> bytes:
    """Return a block with such a checksum field, whose signed bytes add up to a sum."""
    rest = bytearray(504)
    left = total - 8 * ord(" ")
    for at in range(1, 504):
        step = max(-128, min(127, left))
        rest[at] = step % 256
        left -= step
    return bytes(rest[:148]) + field + bytes(rest[148:])


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_small_members_are_read_fast(format_: int):
    content = os.urandom(4096)
    names = (f"train/n{number // 100:05d}/{number:06d}.jpg" for number in range(4000))
    packed = loader_rig.tar([loader_rig.entry(n, content, mtime=1.0) for n in names], format_)
    times: list[float] = []
    for _ in range(3):
        begun = time.process_time()
        assert sum(1 for _ in tar_reader.read(io.BytesIO(packed))) == 4000
        times.append(time.process_time() - begun)
    # About 40,000 members a second; tarfile reads 4,000.
    assert 4000 / min(times) > 10_000
