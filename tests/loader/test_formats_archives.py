from __future__ import annotations

import gzip
import io
import itertools
import lzma
import os
import stat
import sys
import types
import zipfile
from typing import Any

import pytest

from datasets.loader.archives import archive_reader, decompress, formats, members, zip_range_reader
from datasets.loader.base import byte_streams, failure, file_names
from tests.loader import formats_rig, loader_rig
from tests.loader.formats_rig import Packed, Trickle, flat
from tests.loader.loader_rig import COMPRESS, entry, link, tar

FILES = {"a": b"1" * 3000, "d/e": b"", "d/c": formats_rig.noise(100_000)}


@pytest.fixture
def with_zstd(monkeypatch: pytest.MonkeyPatch):
    # Python has it since 3.14; for older ones there is a backport.
    library: Any = pytest.importorskip(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )
    monkeypatch.setitem(sys.modules, "compression.zstd", library)
    return library


@pytest.fixture
def without_zstd(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "compression.zstd", None)


def read(content: bytes, archive_format: str, *, recursive: bool = False) -> list[tuple[Any, ...]]:
    return flat(archive_reader.read(Trickle(content, 70_000), archive_format, recursive=recursive))


def unpacked(content: bytes, archive_format: str = "tar") -> dict[str, bytes]:
    return formats_rig.files(archive_reader.read(Trickle(content), archive_format, recursive=True))


def refused(content: bytes, archive_format: str = "tar", *, recursive: bool = True) -> str:
    return formats_rig.refused(
        archive_reader.read(Trickle(content), archive_format, recursive=recursive)
    )


# --- recognition of the format


@pytest.mark.parametrize("archive_format", loader_rig.ARCHIVES)
@pytest.mark.parametrize("name", ["set", "set.{}", "set-v1.0"])
@pytest.mark.parametrize("unpack", ["true", "recursive"])
def test_an_archive_is_recognised_and_read(archive_format: str, name: str, unpack: str):
    content = loader_rig.archive(archive_format, FILES)
    head = formats.head_of(lambda count: content[:count])
    assert formats.recognise(head, name.format(archive_format), unpack=unpack) == archive_format
    assert formats.recognise(head, name.format(archive_format), unpack="false") == formats.FILE
    assert formats_rig.files(archive_reader.read(Trickle(content), archive_format)) == FILES


@pytest.mark.parametrize("archive_format", [*loader_rig.ARCHIVES, "file"])
def test_no_more_is_read_than_it_takes_to_recognise_a_source(archive_format: str):
    files = {"a": os.urandom(2**21)}
    content = files["a"] if archive_format == "file" else loader_rig.archive(archive_format, files)
    asked: list[int] = []

    def peek(count: int) -> bytes:
        asked.append(count)
        return content[:count]

    assert formats.recognise(formats.head_of(peek), "set", unpack="true") == archive_format
    assert max(asked) <= (2**20 if archive_format in {"tar.bz2", "tar.xz"} else 2**16)


@pytest.mark.parametrize(
    ("head", "name", "archive_format"),
    [
        (b"1,2\n", "a.csv", "file"),
        (b"PK\3\4rest", "weights.npz", "file"),
        (b"PK\5\6" + bytes(18), "empty.zip", "zip"),
        (bytes(1024), "empty.tar", "tar"),
        (bytes(1024), "zeros.bin", "file"),
        (bytes(1024), "zeros", "file"),
        (gzip.compress(b"1" * 600, mtime=0), "train-images.gz", "file"),
        (gzip.compress(bytes(600), mtime=0), "empty.tgz", "tar.gz"),
        (b"<!DOCTYPE html><p>", "page.html", "file"),
        *((b"text", f"set.tar.{ending}", "file") for ending in ("md5", "sha256", "idx", "json")),
    ],
)
def test_what_is_no_archive_is_a_file(head: bytes, name: str, archive_format: str):
    assert formats.recognise(head, name, unpack="recursive") == archive_format


@pytest.mark.parametrize(
    ("head", "name", "reason"),
    [
        (b"", "a.tar", "the source is empty"),
        (b"<!DOCTYPE html><p>", "set.tar", "a web page"),
        (b"\xef\xbb\xbf <html>", "download", "a web page"),
        (b"Rar!\x1a\x07", "a.rar", "a rar archive"),
        (b"7z\xbc\xaf\x27\x1c", "a.7z", "a 7z archive"),
        (b"text", "a.tar.gz", "not the archive that its name says"),
        (gzip.compress(formats_rig.noise(600), mtime=0)[:40], "a.tgz", "in the middle"),
        (b"\x1f\x8b\x08" + b"x" * 600, "a.tgz", "damaged"),
    ],
)
def test_what_is_not_what_it_is_called_is_refused(head: bytes, name: str, reason: str):
    with pytest.raises(failure.Failure, match=reason):
        formats.recognise(head, name, unpack="true")


def test_an_archive_is_recognised_whatever_its_first_chunk_holds():
    packed = tar([entry("a", b"1")])
    content = b"".join(gzip.compress(packed[at : at + 100]) for at in range(0, len(packed), 100))
    assert formats.recognise(content, "set", unpack="true") == "tar.gz"


# --- compressed streams


@pytest.mark.parametrize("archive_format", ["tar.gz", "tar.bz2", "tar.xz"])
def test_a_compressed_archive_that_is_cut_off_or_damaged_is_refused(archive_format: str):
    content = COMPRESS[archive_format](tar([entry("a", formats_rig.noise(2000))]))
    for part in formats_rig.cuts(content, step=17):
        assert "in the middle" in refused(part, archive_format)
    for at in (20, len(content) // 2, len(content) - 6):
        damaged = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
        refused(damaged, archive_format)


@pytest.mark.parametrize("archive_format", ["tar.gz", "tar.bz2", "tar.xz"])
def test_what_came_out_of_a_decompressor_is_counted(archive_format: str):
    packed = tar([entry("a", bytes(3_000_000))])
    counts: list[int] = []
    found = archive_reader.read(
        Trickle(COMPRESS[archive_format](packed)), archive_format, count=counts.append
    )
    assert formats_rig.files(found) == {"a": bytes(3_000_000)}
    assert sum(counts) == len(packed)
    assert max(counts) <= byte_streams.CHUNK_BYTES


def test_what_came_out_of_a_zip_is_counted():
    counts: list[int] = []
    packed = formats_rig.zipped(Packed(b"a", bytes(3_000_000)), Packed(b"b", b"1", method=0))
    flat(archive_reader.read(Trickle(packed), "zip", count=counts.append))
    assert sum(counts) == 3_000_000


def test_what_zlib_holds_back_when_it_has_taken_all_of_its_input_is_not_lost():
    # The last bytes of the output belong to one long match, and do not fill a chunk.
    for size in range(byte_streams.CHUNK_BYTES, byte_streams.CHUNK_BYTES + 300, 7):
        packed = tar([entry("a", bytes(size))])
        assert read(gzip.compress(packed), "tar.gz") == [("File", "a", False, bytes(size))]
        zipped = formats_rig.zipped(Packed(b"a", bytes(size)))
        assert unpacked(zipped, "zip") == {"a": bytes(size)}


@pytest.mark.parametrize("frames", [1, 3])
def test_zstd_is_read_where_python_has_it(with_zstd: Any, frames: int):
    packed = tar([entry("a", bytes(900_000)), entry("b", formats_rig.noise(900_000))])
    size = -(-len(packed) // frames)
    pieces = [packed[at : at + size] for at in range(0, len(packed), size)]
    content = b"".join(map(with_zstd.compress, pieces)) + bytes(64)
    assert formats.recognise(content[:100_000], "set.tar.zst", unpack="true") == "tar.zst"
    assert [each[1] for each in read(content, "tar.zst")] == ["a", "b"]
    for part in formats_rig.cuts(content[:-64], step=50_000):
        assert "in the middle" in refused(part, "tar.zst")
    damaged = content[:50] + b"xxxx" + content[54:]
    assert "damaged" in refused(damaged, "tar.zst")


def test_a_zstd_that_wants_gigabytes_is_refused(with_zstd: Any):
    options = {
        with_zstd.CompressionParameter.window_log: 30,
        with_zstd.CompressionParameter.content_size_flag: 0,
    }
    compressor = with_zstd.ZstdCompressor(options=options)
    content = compressor.compress(tar([entry("a", b"1")])) + compressor.flush()
    assert "too much memory" in refused(content, "tar.zst")


def test_a_member_of_a_zip_may_be_of_zstd(with_zstd: Any):
    content = formats_rig.noise(5000) + bytes(2_000_000)
    packed = Packed(b"a", content, method=93, raw=with_zstd.compress(content))
    assert unpacked(formats_rig.zipped(packed), "zip") == {"a": content}


def test_without_zstd_the_message_names_the_remedy(without_zstd: None):
    head = decompress.ZSTD + bytes(600)
    for name in ("set.tar.zst", "set.tzst"):
        with pytest.raises(failure.Failure) as caught:
            formats.recognise(head, name, unpack="true")
        for remedy in ("loader-image=python:3.14-slim", "tar.gz", "unpack=false"):
            assert remedy in str(caught.value)
        assert formats.recognise(head, name, unpack="false") == "file"
    # A file without an archive's name stays a file.
    assert formats.recognise(head, "corpus.jsonl.zst", unpack="true") == "file"
    with pytest.raises(failure.Failure, match=r"python:3\.14-slim"):
        flat(
            archive_reader.read(Trickle(formats_rig.zipped(Packed(b"a", b"1", method=93))), "zip")
        )


def test_the_window_that_zstd_may_use_is_bounded(monkeypatch: pytest.MonkeyPatch):
    given: list[Any] = []

    def decompressor(zstd_dict: Any = None, options: Any = None) -> Any:
        given.append((zstd_dict, options))

    library: Any = types.SimpleNamespace(
        DecompressionParameter=types.SimpleNamespace(window_log_max="window"),
        ZstdDecompressor=decompressor,
    )
    monkeypatch.setitem(sys.modules, "compression.zstd", library)
    decompress.DecompressedStream(io.BytesIO(b""), decompress.zstd_decompressor)
    assert given == [(None, {"window": 27})]


# --- archives in archives


def test_the_directory_of_an_archive_is_its_path_without_its_ending():
    for path, directory in {
        "n01440764.tar": "n01440764",
        "a/b.tar.gz": "a/b",
        "b.TGZ": "b",
        "v1.0.zip": "v1.0",
        "a.tar.zst": "a",
        "a/.tar": "a/.tar",
        ".zip": ".zip",
        "plain": "plain",
    }.items():
        assert archive_reader.nested_directory(path) == directory


@pytest.mark.parametrize("outer", loader_rig.ARCHIVES)
@pytest.mark.parametrize("inner", loader_rig.ARCHIVES)
def test_archives_in_an_archive_are_unpacked_beside_their_neighbours(outer: str, inner: str):
    packed = loader_rig.archive(inner, FILES)
    content = loader_rig.archive(outer, {"x": b"0", f"in/n.{inner}": packed, "y": b"2"})
    expected = {f"in/n/{path}": body for path, body in FILES.items()} | {"x": b"0", "y": b"2"}
    assert unpacked(content, outer) == expected
    assert formats_rig.files(archive_reader.read(Trickle(content), outer)) == {
        "x": b"0",
        f"in/n.{inner}": packed,
        "y": b"2",
    }


def test_members_come_in_one_order_whatever_the_stream_gives():
    inner = {f"{number}.tgz": loader_rig.archive("tar.gz", FILES) for number in range(3)}
    content = loader_rig.archive("tar", inner)
    expected = read(content, "tar", recursive=True)
    assert [each[1] for each in expected[:4]] == ["0/a", "0/d/e", "0/d/c", "1/a"]
    assert flat(archive_reader.read(Trickle(content, 777), "tar", recursive=True)) == expected


def test_archives_are_unpacked_three_deep_and_then_kept():
    deep = {"4.tar": loader_rig.archive("tar", {"f": b"1"})}
    content = b""
    for level in (3, 2, 1):
        content = loader_rig.archive("tar", deep)
        deep = {f"{level}.tar": content, f"{level}.txt": b""}
    # The outermost archive is one of the three.
    found = unpacked(loader_rig.archive("tar", deep))
    assert set(found) == {"1.txt", "1/2.txt", "1/2/3.txt", "1/2/3.tar"}


@pytest.mark.parametrize("size", [300, 3_000_000])
def test_what_only_has_the_name_of_an_archive_is_kept(size: int):
    body = formats_rig.noise(size)
    files = {
        "a.tar": body,
        "b.zip": b"<html>",
        "c.tgz": b"",
        "d.7z": b"7z\xbc\xaf\x27\x1c",
        "e": b"1",
    }
    assert unpacked(loader_rig.archive("tar", files)) == files


def test_a_compressed_archive_that_is_damaged_at_its_beginning_is_no_file():
    packed = loader_rig.archive("tar.gz", FILES)
    for bad in (packed[:30], packed[:12] + b"x" * 90):
        assert refused(loader_rig.archive("tar", {"in.tgz": bad})).startswith("'in.tgz': ")


def test_an_inner_archive_of_zstd_is_not_kept_where_it_cannot_be_read(without_zstd: None):
    content = loader_rig.archive("tar", {"in.tar.zst": decompress.ZSTD + bytes(600)})
    with pytest.raises(failure.Failure, match=r"python:3\.14-slim"):
        unpacked(content)


def test_archives_in_a_zip_with_ranges_are_unpacked():
    files = {"a": formats_rig.noise(3_000_000), "b": b"1" * 3_000_000}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as outer:
        outer.writestr("in.tar", loader_rig.archive("tar", files))
        outer.writestr("c", b"2")
    archive = formats_rig.RandomAccess(buffer.getvalue())
    found = archive_reader.unpack_nested(zip_range_reader.read(archive, Trickle(archive.content)))
    assert formats_rig.files(found) == {"in/a": files["a"], "in/b": files["b"], "c": b"2"}


def test_a_name_decides_whether_a_file_in_an_archive_is_looked_into():
    packed = loader_rig.archive("zip", FILES)
    assert formats.recognise_inner(packed, "in/a.zip") == "zip"
    assert formats.recognise_inner(packed, "in/weights.npz") == "file"
    assert formats.recognise_inner(packed, "in/a") == "file"


def test_the_check_of_an_archive_in_an_archive_counts_to_its_end():
    # Data after an inner archive are not unpacked, but count in the outer check.
    inner = loader_rig.archive("zip", {"a": b"1"}) + bytes(3_000_000)
    archive = formats_rig.RandomAccess(
        formats_rig.zipped(Packed(b"in.zip", inner, listed={"check": 1}))
    )
    found = archive_reader.unpack_nested(zip_range_reader.read(archive, Trickle(archive.content)))
    assert "is not what the list says" in formats_rig.refused(found)


def test_what_only_has_the_content_of_an_archive_is_kept():
    packed = loader_rig.archive("zip", FILES)
    files = {"weights.npz": packed, "download": packed}
    assert unpacked(loader_rig.archive("tar", files)) == files


def test_a_large_archive_in_an_archive_streams_by():
    files = {"a": formats_rig.noise(3_000_000), "b": b"1"}
    inner = loader_rig.archive("tar.gz", files)
    content = loader_rig.archive("tar", {"in.tar.gz": inner, "after": b"2"})
    assert unpacked(content) == {"in/a": files["a"], "in/b": b"1", "after": b"2"}
    # The chunks of a file are not read here; the next members come all the same.
    found = archive_reader.read(Trickle(content), "tar", recursive=True)
    assert [member.path for member in found] == ["in/a", "in/b", "after"]
    wide = loader_rig.archive(
        "tar", {"in.tar": loader_rig.archive("tar", {"a": bytes(9_000_000)})}
    )
    peak = formats_rig.peak_of(
        lambda: [
            sum(map(len, member.chunks))
            for member in archive_reader.read(io.BytesIO(wide), "tar", recursive=True)
            if isinstance(member, members.File)
        ]
    )
    assert peak < 5 * 2**20


def test_all_kinds_of_members_move_into_the_directory():
    inner = tar(
        [
            entry(".", type=b"5"),
            entry("d", type=b"5"),
            entry("f", b"1", mode=0o755),
            link("d/up", "../f"),
            link("hard", "f", hard=True),
        ]
    )
    assert read(tar([entry("in.tar", inner)]), "tar", recursive=True) == [
        ("Directory", "in"),
        ("Directory", "in/d"),
        ("File", "in/f", True, b"1"),
        ("SymbolicLink", "in/d/up", "../f"),
        ("HardLink", "in/hard", "in/f"),
    ]
    link_mode = stat.S_IFLNK | 0o777
    packed = [Packed(b"run", b"1", mode=0o755), Packed(b"l", b"run", mode=link_mode)]
    content = tar([entry("z.zip", formats_rig.zipped(*packed))])
    assert read(content, "tar", recursive=True)[2:] == [
        ("BecomesExecutable", "z/run"),
        ("BecomesLink", "z/l"),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        tar([entry("/etc/passwd", b"1")]),
        tar([entry("../other", b"1")]),
        tar([link("l", "../other")]),
        tar([link("h", "../other", hard=True)]),
        tar([entry("fifo", type=b"6")]),
        tar([entry("a", formats_rig.noise(2000))])[:1500],
        tar([entry("a", formats_rig.noise(2_000_000))])[:-500_000],
        tar([entry("a", b"1")])[:1024] + b"noise" * 500,
        formats_rig.zipped(Packed(b"a", b"1", flags=1)),
    ],
)
def test_an_archive_that_is_at_fault_in_another_one_is_named(bad: bytes):
    content = tar(
        [entry("x", b"1"), entry("in/n01.zip" if bad[:2] == b"PK" else "in/n01.tar", bad)]
    )
    assert refused(content).startswith("'in/n01.")
    deeper = tar([entry("top.tar", content)])
    assert refused(deeper).startswith("'top.tar': 'in/n01.")


def test_the_outer_archive_is_not_called_by_the_inner_ones_name():
    inner = loader_rig.archive("tar", {"a": formats_rig.noise(2_000_000)})
    content = loader_rig.archive("tar", {"in.tar": inner, "after": b"1" * 5000})
    end = len(content.rstrip(b"\0"))
    for at in (end - 1000, 1_000_000, 1_500_000):
        assert refused(content[:at]).startswith("the archive ends")


def test_trouble_of_the_network_keeps_its_own_words():
    content = tar([entry("in.tar", tar([entry("a", formats_rig.noise(3_000_000))]))])

    class Broken(Trickle):
        def read(self, count: int) -> bytes:
            if self._at > 2_000_000:
                raise failure.Later("the connection broke: run it again")
            return super().read(count)

    with pytest.raises(failure.Later, match=r"^the connection broke"):
        flat(archive_reader.read(Broken(content), "tar", recursive=True))


def test_archives_in_archives_of_any_number_take_no_memory():
    inner = loader_rig.archive("tar", {"a": b"1"})
    one = tar([entry("in.tar", inner)])[: 512 + len(inner)]

    class Endless:
        left = 2000
        rest = b""

        def read(self, count: int) -> bytes:
            while len(self.rest) < count and self.left:
                self.left -= 1
                self.rest += one if self.left else one + bytes(1024)
            chunk, self.rest = self.rest[:count], self.rest[count:]
            return chunk

    def count() -> None:
        found = archive_reader.read(Endless(), "tar", recursive=True)
        assert sum(1 for _ in itertools.islice(found, 3000)) == 2000

    assert formats_rig.peak_of(count) < 5 * 2**20


@pytest.mark.parametrize("row", formats.FORMATS, ids=lambda row: row.name)
def test_every_ending_in_the_table_is_an_archive_name(row: formats.ArchiveFormat):
    for ending in row.endings:
        assert file_names.ARCHIVE_NAME.search(f"set{ending}")
        assert formats.takes_much_memory(f"SET{ending.upper()}") == row.large_decompressor


@pytest.mark.parametrize("archive_format", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("tail", [b"x", b"x" * 512, b"<html>" * 200])
def test_data_after_the_end_are_called_so(archive_format: str, tail: bytes):
    content = loader_rig.archive(archive_format, FILES)
    assert "other data after its end" in refused(content + tail, archive_format)
    assert unpacked(content + bytes(len(tail)), archive_format) == FILES
    assert checked(content + tail, archive_format) == FILES


def checked(content: bytes, archive_format: str) -> dict[str, bytes]:
    """Return the files of an archive whose checksum is right."""
    stream = Trickle(content)
    found = archive_reader.read(stream, archive_format, recursive=True, checked=True)
    return formats_rig.files(found)


@pytest.mark.parametrize("archive_format", ["tar.gz", "tar.bz2", "tar.xz", "tar.zst"])
def test_one_byte_too_many_is_other_data_whatever_it_is(
    archive_format: str, request: pytest.FixtureRequest
):
    compress = COMPRESS.get(archive_format)
    if compress is None:
        compress = request.getfixturevalue("with_zstd").compress
    content = compress(tar([entry("a", b"1")]))
    for byte in range(1, 256):
        tail = bytes([byte])
        assert "other data after its end" in refused(content + tail, archive_format)
        assert checked(content + tail, archive_format) == {"a": b"1"}
    # A second stream of the same kind is no other data.
    second = compress(tar([entry("b", b"2")]))
    assert unpacked(content + second, archive_format) == {"a": b"1", "b": b"2"}
    assert "in the middle" in refused(content + second[:9], archive_format)


def test_frames_of_zstd_that_are_to_be_skipped_may_follow(with_zstd: Any):
    content = with_zstd.compress(tar([entry("a", b"1")]))
    skipped = b"\x5a\x2a\x4d\x18" + (9).to_bytes(4, "little") + b"123456789"
    assert unpacked(content + skipped + content, "tar.zst") == {"a": b"1"}


def test_a_skipped_frame_of_zstd_may_come_first(with_zstd: Any):
    """The parallel zstd writes one in front of each other frame."""
    packed = tar([entry("a", b"1")])
    content = b"".join(
        b"\x50\x2a\x4d\x18\4\0\0\0" + len(frame).to_bytes(4, "little") + frame
        for frame in map(with_zstd.compress, (packed[:700], packed[700:]))
    )
    for name in ("set.tar.zst", "set"):
        assert formats.recognise(content, name, unpack="true") == "tar.zst"
    assert unpacked(content, "tar.zst") == {"a": b"1"}


def test_nothing_follows_lzma():
    content = lzma.compress(tar([entry("a", b"1")]), lzma.FORMAT_ALONE)
    assert "other data after its end" in refused(content * 2, "tar.lzma")
    assert checked(content * 2, "tar.lzma") == {"a": b"1"}


@pytest.mark.parametrize("archive_format", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_tar_without_its_end_is_whole_if_its_checksum_is_right(archive_format: str):
    packed = b"".join(
        info.tobuf() + content + bytes(-len(content) % 512)
        for info, content in itertools.starmap(entry, FILES.items())
    )
    content = COMPRESS[archive_format](packed)
    assert "no blocks of zeros at its end" in refused(content, archive_format)
    assert checked(content, archive_format) == FILES
    # A checksum that fits does not mend a member that is cut off.
    cut = COMPRESS[archive_format](packed[:-600])
    with pytest.raises(failure.Failure, match="in the middle"):
        checked(cut, archive_format)
    if archive_format != "tar":
        assert "other data after its end" in refused(content + b"other", archive_format)
        assert checked(content + b"other", archive_format) == FILES
        assert "other data after its end" in refused(cut + b"other", archive_format)


def test_the_checksum_of_the_whole_is_enough_for_the_archives_in_it():
    inner = COMPRESS["tar.gz"](tar([entry("a", b"1")])) + b"other"
    content = tar([entry("in.tar.gz", inner), entry("b", b"2")])
    assert "'in.tar.gz': the archive has other data after its end" in refused(content, "tar")
    assert checked(content, "tar") == {"in/a": b"1", "b": b"2"}
