from __future__ import annotations

import contextlib
import os
import tarfile
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.loader.archives import tar_index
from datasets.loader.base import failure
from tests.loader import formats_rig, loader_rig
from tests.loader.formats_rig import END, header, member, padded, pax


class Counted(formats_rig.RandomAccess):
    """An archive that records its reads, and refuses reads that no origin could serve."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[tuple[int, int]] = []

    def read_at(self, offset: int, count: int) -> bytes:
        self.reads.append((offset, count))
        data = super().read_at(offset, count)
        assert len(data) == count, "nothing is asked for that is behind the end"
        return data


def scan(content: bytes) -> list[tuple[str, bytes]]:
    archive = Counted(content)
    found = tar_index.scan(archive.read_at, archive.size)
    return [
        (each.path, content[each.offset : each.offset + each.size])
        for each in found
        if not each.directory
    ]


def refused(content: bytes) -> str:
    with pytest.raises(failure.Failure) as caught:
        scan(content)
    return str(caught.value)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("abé/", min_size=1, max_size=150).map(lambda text: "x" + text.strip("/")),
            st.integers(0, 3000) | st.integers(60_000, 200_000),
        ),
        max_size=6,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_the_files_are_found_where_they_are(made: Sequence[tuple[str, int]], format_: int):
    files = [(path, os.urandom(size)) for path, size in made]
    packed = loader_rig.tar([loader_rig.entry(*each) for each in files], format_)
    expected = [("/".join(filter(None, path.split("/"))), content) for path, content in files]
    assert scan(packed) == expected


def test_bodies_are_jumped_over():
    content = bytes(10_000_000)
    packed = b"".join(member(b"%d" % number, content) for number in range(5)) + END
    archive = Counted(packed)
    assert len(list(tar_index.scan(archive.read_at, archive.size))) == 5
    assert len(archive.reads) <= 7
    assert sum(count for _, count in archive.reads) <= 7 * 2**16


def test_small_members_share_a_window():
    packed = b"".join(member(b"%d" % number, bytes(500)) for number in range(1000)) + END
    archive = Counted(packed)
    assert len(list(tar_index.scan(archive.read_at, archive.size))) == 1000
    assert len(archive.reads) <= len(packed) // 2**16 + 20


def test_directories_modes_and_old_headers_are_read():
    packed = member(b"d/", kind=b"5") + member(b"o/", kind=b"\0", magic=b"")
    packed += member(b"d/a", b"1", kind=b"\0", magic=b"") + member(b"d/b", b"2", kind=b"7") + END
    assert scan(packed) == [("d/a", b"1"), ("d/b", b"2")]
    packed = packed[: -len(END)] + loader_rig.tar([loader_rig.entry("run", mode=0o750)])
    archive = Counted(packed)
    found = list(tar_index.scan(archive.read_at, archive.size))
    assert [each.path for each in found if each.directory] == ["d", "o"]
    assert [each.path for each in found if each.executable] == ["run"]


def test_names_and_sizes_come_from_attributes_too():
    long = "n/" * 200 + "n"
    packed = pax(("size", "3"), ("path", long)) + header(b"x") + padded(b"123")
    packed += member(b"@LongLink", long.encode() + b"\0", kind=b"L") + member(b"x", b"4")
    packed += header(b"y", size_field=b"\x80" + bytes(10) + b"\2") + padded(b"56") + END
    assert scan(packed) == [(long, b"123"), (long, b"4"), ("y", b"56")]


@pytest.mark.parametrize(
    "packed",
    [
        member(b"l", kind=b"2", target=b"a"),
        member(b"l", kind=b"1", target=b"a"),
        member(b"s", kind=b"S", magic=b"ustar  \0"),
        pax(("GNU.sparse.major", "1")) + member(b"s", b"1"),
        member(b"v", kind=b"V"),
        member(b"d", b"names", kind=b"D"),
        member(b"c", kind=b"3"),
        member(b"m", kind=b"M"),
        member(b"z", kind=b"Z"),
    ],
)
def test_what_is_not_plain_is_left_to_be_read_in_order(packed: bytes):
    with pytest.raises(tar_index.NotPlain):
        scan(member(b"a", b"1") + packed + END)


@pytest.mark.parametrize("path", [b"/a", b"../a", b"a/../../b"])
def test_what_leads_out_is_refused(path: bytes):
    assert "make the archive again without it" in refused(member(path, b"1") + END)


def test_an_archive_that_is_cut_off_is_refused_wherever_it_is():
    packed = pax(("path", "long" * 100)) + member(b"a", os.urandom(70_000)) + member(b"b", b"1")
    for part in formats_rig.cuts(packed + END, len(packed) + 512, step=128):
        # Its reader tells whether it is whole.
        with pytest.raises((tar_index.NotPlain, failure.Failure)):
            scan(part)
    with pytest.raises(tar_index.NotPlain):
        scan(packed + END + b"other")
    assert len(scan(packed + END[:512])) == 2


def test_an_origin_that_gives_less_than_it_said_is_noticed():
    packed = member(b"a", b"1") + member(b"b", b"2") + END
    with pytest.raises(failure.Failure, match="in the middle"):
        list(tar_index.scan(lambda offset, count: packed[offset:][: min(count, 400)], len(packed)))
    packed = member(b"@LongLink", b"n" * 900, kind=b"L") + packed
    with pytest.raises(failure.Failure, match="in the middle"):
        list(tar_index.scan(lambda offset, count: packed[offset:][: min(count, 600)], len(packed)))


def test_attributes_of_any_size_do_not_fill_the_memory():
    for kind in (b"x", b"g", b"L", b"K"):
        packed = header(b"x", 2**30, kind=kind) + bytes(4096)
        with pytest.raises(failure.Failure, match="bytes"):
            list(tar_index.scan(lambda offset, count, p=packed: p[offset:][:count], 2**31))


def test_a_member_that_ends_behind_the_archive_is_noticed():
    large = b"\x80" + (2**40).to_bytes(11, "big")
    assert "in the middle" in refused(header(b"a", size_field=large) + END)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=4), st.integers(0, 4000))
def test_a_damaged_archive_is_read_or_refused_and_nothing_else(noise: bytes, at: int):
    packed = pax(("path", "x" * 120)) + member(b"a", b"1" * 600) + member(b"b", b"2") + END
    packed = packed[:at] + noise + packed[at + len(noise) :]
    with contextlib.suppress(failure.Failure, tar_index.NotPlain):
        scan(packed)
