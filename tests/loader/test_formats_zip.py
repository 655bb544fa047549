from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.loader.archives import zip_range_reader, zip_stream_reader
from datasets.loader.base import byte_streams
from tests.loader import formats_rig
from tests.loader.formats_rig import Packed, RandomAccess, Trickle, Unseekable, flat, wide, zipped

METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]
LINK, FIFO, DIRECTORY = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFDIR | 0o755
# The two readers: with ranges, and without.
BOTH = ["ranges", "stream"]


def open_(how: str, content: bytes, most: int | None = None) -> Any:
    if how == "stream":
        return zip_stream_reader.read(Trickle(content, most))
    return zip_range_reader.read(RandomAccess(content), Trickle(content, most))


def read(how: str, content: bytes, most: int | None = None) -> list[tuple[Any, ...]]:
    return flat(open_(how, content, most))


def refused(how: str, content: bytes) -> str:
    return formats_rig.refused(open_(how, content))


def file(name: str, content: bytes = b"", *, executable: bool = False) -> tuple[Any, ...]:
    return ("File", name, executable, content)


parts = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=9
).filter(lambda part: part not in {".", ".."})
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)
bodies = st.binary(max_size=40) | st.builds(
    lambda size, seed: (seed * size)[:size], st.integers(0, 5000), st.binary(min_size=1)
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["file", "program", "directory", "link"]),
            paths,
            bodies,
            st.sampled_from(METHODS),
            st.booleans(),
        ),
        max_size=6,
        unique_by=lambda each: each[1],
    ),
    st.sampled_from(["ranges", "stream", "piped"]),
    st.sampled_from([None, 1, 100]),
    st.binary(max_size=50),
)
def test_what_zipfile_writes_is_read(
    made: list[tuple[Any, ...]], how: str, most: int | None, comment: bytes
):
    raw = Unseekable() if how == "piped" else io.BytesIO()
    expected: list[tuple[Any, ...]] = []
    afterwards: list[tuple[Any, ...]] = []
    how = "stream" if how == "piped" else how
    with zipfile.ZipFile(raw, "w") as packed:
        packed.comment = comment
        for kind, path, content, method, large in made:
            if isinstance(raw, Unseekable) and method == zipfile.ZIP_STORED:
                method = zipfile.ZIP_DEFLATED  # noqa: PLW2901 - where it ends is not told
            info = zipfile.ZipInfo(path)
            info.compress_type = method
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            if kind == "directory":
                packed.writestr(path + "/", b"")
                expected.append(("Directory", path))
                continue
            if kind == "link":
                info.external_attr = LINK << 16
                content = b"target"  # noqa: PLW2901
            if kind == "program":
                info.external_attr = (stat.S_IFREG | 0o755) << 16
                afterwards.append(("BecomesExecutable", path))
            with packed.open(info, "w", force_zip64=large) as member:
                member.write(content)
            if kind == "link" and how == "ranges":
                expected.append(("SymbolicLink", path, "target"))
                continue
            executable = kind == "program" and how == "ranges"
            expected.append(file(path, content, executable=executable))
            if kind == "link":
                afterwards.append(("BecomesLink", path))
    content = bytes(raw.content) if isinstance(raw, Unseekable) else raw.getvalue()
    assert read(how, content, most) == expected + (afterwards if how == "stream" else [])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(BOTH), st.binary(min_size=1, max_size=4), st.data(), st.booleans())
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(
    how: str, noise: bytes, data: st.DataObject, large: bool
):
    packed = [Packed(b"a", b"1" * 300, descriptor="signed"), Packed(b"b", b"2", method=0)]
    content = zipped(*packed, Packed(b"l", b"a", mode=LINK), wide=large)
    at = data.draw(st.integers(0, len(content) - 1))
    content = content[:at] + noise + content[at + len(noise) :]
    with contextlib.suppress(byte_streams.Damaged):
        read(how, content)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("how", BOTH)
def test_an_archive_that_is_cut_off_is_refused_wherever_it_is(how: str, large: bool):
    packed = [Packed(b"a", os.urandom(200)), Packed(b"b", b"2", descriptor="signed64")]
    content = zipped(*packed, Packed(b"c", b"3" * 90, method=0), wide=large)
    for part in formats_rig.cuts(content):
        if part:
            refused(how, part)
    assert len(read(how, content)) == 3


def test_a_stream_that_is_cut_off_in_its_comment_is_refused():
    content = zipped(Packed(b"a", b"1"), comment=b"a comment")
    for part in formats_rig.cuts(content):
        refused("stream", part)


@pytest.mark.parametrize("how", BOTH)
def test_an_archive_of_nothing_has_no_members(how: str):
    assert read(how, zipped()) == []
    assert read(how, zipped(wide=True, comment=b"c")) == []


@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [2**20, 2**20 + 1, 3_000_000])
def test_a_large_file_comes_in_pieces_and_a_small_one_whole(how: str, method: int, size: int):
    buffer = io.BytesIO()
    content = os.urandom(size // 3) + bytes(size - size // 3)
    with zipfile.ZipFile(buffer, "w", method) as packed:
        packed.writestr("a", content)
        packed.writestr("b", b"1")
    first, *_ = open_(how, buffer.getvalue())
    assert isinstance(first.chunks, tuple) == (size <= 2**20)
    assert first.size == size
    assert read(how, buffer.getvalue())[:2] == [file("a", content), file("b", b"1")]


@pytest.mark.parametrize("how", BOTH)
def test_what_was_not_read_of_a_large_file_is_skipped(how: str):
    packed = [Packed(b"a", bytes(5_000_000)), Packed(b"b", os.urandom(3_000_000), descriptor="s")]
    content = zipped(*packed, Packed(b"c", b"1"))
    found = []
    for member in open_(how, content):
        found.append(member.path)
        next(iter(member.chunks))
    assert found == ["a", "b", "c"]


@pytest.mark.parametrize("descriptor", ["plain", "signed", "plain64", "signed64"])
@pytest.mark.parametrize("body", [b"", b"1", formats_rig.noise(5000), bytes(2_500_000)])
@pytest.mark.parametrize("how", BOTH)
def test_sizes_may_stand_behind_the_content(how: str, descriptor: str, body: bytes):
    packed = [Packed(b"a", body, descriptor=descriptor), Packed(b"b", b"2" * 99)]
    content = zipped(*packed, Packed(b"c", body, descriptor=descriptor))
    expected = [file("a", body), file("b", b"2" * 99), file("c", body)]
    assert read(how, content, 3000) == expected
    # A directory may be stored like this, too.
    content = zipped(Packed(b"d/", method=0, descriptor=descriptor), Packed(b"d/e", b"1"))
    assert read(how, content) == [("Directory", "d"), file("d/e", b"1")]


def test_a_stored_file_without_its_size_needs_ranges():
    content = zipped(Packed(b"a", b"PK\1\2", method=0, descriptor="signed"))
    assert "from an origin that serves ranges" in refused("stream", content)
    assert read("ranges", content) == [file("a", b"PK\1\2")]


def test_a_stored_file_that_has_its_size_in_both_places_is_read():
    packed = Packed(b"a", b"PK\3\4", method=0, descriptor="signed")
    content = bytearray(zipped(packed))
    struct.pack_into("<3L", content, 14, zlib.crc32(packed.content), 4, 4)
    assert read("stream", bytes(content)) == [file("a", b"PK\3\4")]


@pytest.mark.parametrize("how", BOTH)
def test_numbers_may_stand_in_the_extra_field(how: str):
    most = 2**32 - 1
    body = b"12345" * 100
    packed = Packed(b"b", body, local_extra=wide(500, 500), method=0)
    packed.extra = struct.pack("<2HB", 0xCAFE, 1, 0) + wide(500, 500, 18)
    packed.listed = {"size": most, "packed": most, "offset": most}
    content = bytearray(zipped(Packed(b"aaaa", b"1"), packed))
    first = len(Packed(b"aaaa", b"1").local())
    content = content.replace(wide(500, 500, 18), wide(500, 500, first))
    struct.pack_into("<2L", content, first + 18, most, most)
    assert read(how, bytes(content)) == [file("aaaa", b"1"), file("b", body)]


@pytest.mark.parametrize("how", BOTH)
def test_names_are_read_as_their_writers_meant_them(how: str):
    name = "zażółć"
    field = struct.pack("<BL", 1, zlib.crc32(b"plain")) + name.encode()
    extra = struct.pack("<2H", 0x7075, len(field)) + field
    stale = struct.pack("<2HBL", 0x7075, 7, 1, 12345) + b"no"
    content = zipped(
        Packed("ünï".encode(), b"1", flags=0x800),
        Packed("日本".encode(), b"2"),
        Packed("tête".encode("cp437"), b"3"),
        Packed(b"plain", b"4", extra=extra, local_extra=extra),
        Packed(b"stale", b"5", extra=stale, local_extra=stale),
        Packed(b"\xff", b"6", flags=0x800),
    )
    assert [each[1] for each in read(how, content)] == [
        "ünï",
        "日本",
        "tête",
        name,
        "stale",
        "\udcff",
    ]


def test_kinds_and_permissions_come_from_the_list():
    packed = [
        Packed(b"run", b"1", mode=stat.S_IFREG | 0o700),
        Packed(b"dos", b"2", mode=0o777, made_by=0),
        Packed(b"d/link", b"../run", mode=LINK),
        Packed(b"d/mac", b"3", mode=0o755, made_by=19),
    ]
    assert read("ranges", zipped(*packed)) == [
        file("run", b"1", executable=True),
        file("dos", b"2"),
        ("SymbolicLink", "d/link", "../run"),
        file("d/mac", b"3", executable=True),
    ]
    assert read("stream", zipped(*packed)) == [
        file("run", b"1"),
        file("dos", b"2"),
        file("d/link", b"../run"),
        file("d/mac", b"3"),
        ("BecomesExecutable", "run"),
        ("BecomesLink", "d/link"),
        ("BecomesExecutable", "d/mac"),
    ]


@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (Packed(b"p", mode=FIFO), "which is a pipe"),
        (Packed(b"s", mode=stat.S_IFSOCK), "a socket"),
        (Packed(b"c", mode=stat.S_IFCHR), "a character device"),
        (Packed(b"b", mode=stat.S_IFBLK), "a block device"),
        (Packed(b"e", b"1", flags=1), "without a password"),
        (Packed(b"m", b"1", method=97), "the method 97"),
        (Packed(b"/a", b"1"), "absolute path"),
        (Packed(b"a/../../b", b"1"), "leads out of it"),
        (Packed(b"../", b""), "leads out of it"),
        (Packed(b"a\0b", b"1"), "invalid name"),
        (Packed(b"l", b"x" * 5000, mode=LINK), "has no path as its target"),
    ],
)
def test_what_a_data_set_must_not_have_is_refused(how: str, packed: Packed, reason: str):
    assert reason in refused(how, zipped(Packed(b"a", b"1"), packed))


def test_a_link_that_leads_out_is_refused():
    assert "which leads out of it" in refused("ranges", zipped(Packed(b"l", b"../x", mode=LINK)))


def test_a_directory_that_only_the_list_knows_needs_ranges():
    listed = Packed(b"d", mode=DIRECTORY, dos=0x10)
    content = zipped(listed, Packed(b"d/a", b"1"))
    assert read("ranges", content) == [("Directory", "d"), file("d/a", b"1")]
    assert "from an origin that serves ranges" in refused("stream", content)


@pytest.mark.parametrize("how", BOTH)
def test_what_is_a_directory_and_a_file_at_once_is_refused(how: str):
    for packed in (Packed(b"d", b"1", mode=DIRECTORY), Packed(b"d/", b"1", method=0)):
        assert "is a directory by one of its attributes" in refused(how, zipped(packed))
    unknown = Packed(b"a", b"1", mode=0o110644)
    assert "which is of an unknown kind" in refused(how, zipped(unknown))


@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize("made_by", [0, 6, 10, 14])
def test_backslashes_of_windows_lead_into_directories(how: str, made_by: int):
    names = [b"folder\\", b"folder\\sub\\file.txt", "folder/\\ünï.txt".encode(), b"\x82t\x82\\x"]
    content = zipped(*(Packed(name, made_by=made_by) for name in names))
    assert [each[:2] for each in read(how, content)] == [
        ("Directory", "folder"),
        ("File", "folder/sub/file.txt"),
        ("File", "folder/ünï.txt"),
        ("File", "été/x"),
    ]
    # In Shift-JIS this is one letter between slashes.
    content = zipped(Packed(b"a/\x95\x5c", made_by=made_by))
    assert [each[1] for each in read(how, content)] == ["a/ò\\"]
    assert "leads out of it" in refused(how, zipped(Packed(b"..\\..\\x", made_by=made_by)))


def test_a_backslash_of_another_system_belongs_to_the_name():
    content = zipped(Packed(b"back\\slash", b"1"), Packed(b"d/e", b"2"))
    assert read("ranges", content) == [file("back\\slash", b"1"), file("d/e", b"2")]
    assert "from an origin that serves ranges" in refused("stream", content)


@pytest.mark.parametrize("how", BOTH)
@pytest.mark.parametrize("listed", [{"size": 4}, {"size": 2}, {"check": 1}])
def test_a_list_that_says_something_else_of_a_file_is_refused(how: str, listed: dict[str, int]):
    refused(how, zipped(Packed(b"a", b"123", listed=listed), Packed(b"b", b"2")))


@pytest.mark.parametrize("packed", [1, 10_000])
def test_a_list_with_a_wrong_length_in_the_archive_is_refused(packed: int):
    content = zipped(Packed(b"a", b"123", listed={"packed": packed}), Packed(b"b", b"2"))
    for how in BOTH:
        refused(how, content)


def test_a_list_that_fits_no_file_is_refused():
    packed = [Packed(b"a", b"1"), Packed(b"b", b"2"), Packed(b"c", b"3")]
    assert len(read("stream", zipped(*packed, order=[2, 0, 1]))) == 3
    for order in ([0, 1], [0, 1, 2, 2], [0, 1, 2, 2, 2], [0, 1, 1], [0, 0, 2]):
        assert "does not fit its files" in refused("stream", zipped(*packed, order=order))
    packed[1].listed = {"name": b"x"}
    assert "does not fit its files" in refused("stream", zipped(*packed))
    packed[1].listed = {"offset": 0}
    assert "does not fit its files" in refused("stream", zipped(*packed))
    assert "not where the list says" in refused(
        "ranges", zipped(Packed(b"a", listed={"offset": 3}))
    )


@pytest.mark.parametrize("how", BOTH)
def test_a_file_that_is_larger_than_it_says_is_stopped_at_once(how: str):
    bomb = Packed(b"a", bytes(200_000_000))
    content = bytearray(zipped(Packed(b"a", b"1", raw=bomb.packed())))
    assert "is not what" in refused(how, bytes(content))
    peak = formats_rig.peak_of(lambda: refused(how, bytes(content)))
    assert peak < 4 * 2**20


@pytest.mark.parametrize("how", BOTH)
def test_compressed_data_that_do_not_fit_together_are_refused(how: str):
    content = zipped(Packed(b"a", b"1", raw=b"\xff" * 20))
    assert "do not fit together" in refused(how, content)
    content = zipped(Packed(b"a", b"1", method=12, raw=b"BZh9" + b"x" * 20))
    assert "do not fit together" in refused(how, content)


@pytest.mark.parametrize("how", BOTH)
def test_one_part_of_several_is_refused(how: str):
    content = zipped(Packed(b"a", b"1"), end={"disk": 3})
    assert "join them" in refused(how, content)
    if how == "stream":
        assert "join them" in refused(how, b"PK\7\10" + content)
    else:
        content = bytearray(zipped(Packed(b"a", b"1"), wide=True))
        struct.pack_into("<L", content, content.index(b"PK\6\7") + 16, 2)
        assert "join them" in refused(how, bytes(content))


@pytest.mark.parametrize("large", [False, True])
def test_something_may_stand_in_front_where_ranges_are_served(large: bool):
    packed = [Packed(b"a", b"1"), Packed(b"b", b"2")]
    content = zipped(*packed, front=b"#!/bin/sh\n", comment=b"c", wide=large)
    assert read("ranges", content) == [file("a", b"1"), file("b", b"2")]
    assert "other data before its files" in refused("stream", content)


def test_a_comment_may_look_like_an_end():
    comment = b"PK\5\6 is no end" + bytes(30) + b"PK\5\6"
    content = zipped(Packed(b"a", b"1"), comment=comment)
    for how in BOTH:
        assert read(how, content) == [file("a", b"1")]


def test_something_may_stand_behind():
    content = zipped(Packed(b"a", b"1")) + b"\0" * 100
    for how in BOTH:
        assert read(how, content) == [file("a", b"1")]


@pytest.mark.parametrize(
    "end", [{"count": 1}, {"count": 3}, {"length": 40}, {"length": 2000}, {"offset": 5000}]
)
def test_a_list_that_is_not_what_the_end_says_is_refused(end: dict[str, int]):
    refused("ranges", zipped(Packed(b"a", b"1"), Packed(b"b", b"2"), end=end))


def test_a_list_that_continues_into_the_data_after_it_is_refused():
    content = bytearray(zipped(Packed(b"a", b"1")))
    # The length of a comment that does not exist.
    struct.pack_into("<H", content, content.index(b"PK\1\2") + 32, 3)
    assert "not as long as it says" in refused("ranges", bytes(content))
    refused("stream", bytes(content))


def test_more_files_than_fit_in_sixteen_bits_are_read_without_large_records():
    packed = [Packed(b"%d" % number, method=0) for number in range(65_540)]
    content = zipped(*packed, end={"count": 4})
    assert len(read("ranges", content)) == 65_540


def test_files_that_are_listed_in_another_order_are_fetched_again():
    packed = [Packed(b"%d" % number, os.urandom(1000)) for number in range(50)]
    order = [*range(40, 50), *range(40)]
    archive = RandomAccess(zipped(*packed, order=order))
    found = flat(zip_range_reader.read(archive, Trickle(archive.content)))
    assert found == [file(str(number), packed[number].content) for number in order]
    # The end, the central directory, and one stream for all earlier members.
    assert len(archive.opened) == 3
    assert all(stream.closed == 1 for _, stream in archive.opened)
    archive = RandomAccess(zipped(*packed, order=order[::-1]))
    assert len(flat(zip_range_reader.read(archive, Trickle(archive.content)))) == 50
    assert all(stream.closed == 1 for _, stream in archive.opened)


def test_streams_are_closed_when_a_reader_is_given_up():
    packed = [Packed(b"a", b"1"), Packed(b"b", b"2")]
    archive = RandomAccess(zipped(*packed, order=[1, 0]))
    found = zip_range_reader.read(archive, Trickle(archive.content))
    next(iter(found))
    next(iter(found))
    found.close()  # type: ignore[attr-defined]
    assert all(stream.closed == 1 for _, stream in archive.opened)


@pytest.mark.parametrize("how", BOTH)
def test_a_list_of_any_length_does_not_fill_the_memory(how: str):
    content = zipped(*(Packed(b"%099d" % number, method=0) for number in range(10_000)))

    def count() -> None:
        if how == "stream":
            found = zip_stream_reader.read(io.BytesIO(content))
        else:
            found = zip_range_reader.read(Window(content), io.BytesIO(content))
        assert sum(1 for _ in found) == 10_000

    assert formats_rig.peak_of(count) < 1.5 * 2**20


class Window:
    """An archive whose bytes are never copied."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def stream(self, offset: int) -> io.BytesIO:
        opened = io.BytesIO(self._content)
        opened.seek(offset)
        return opened
