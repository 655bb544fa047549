"""Damage small archives of each format in every bit, and at random: nothing wrong is read."""

from __future__ import annotations

import gzip
import io
import lzma
import random
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from datasets.loader.archives import archive_reader, zip_range_reader
from datasets.loader.base import failure
from tests.loader import formats_rig, loader_rig
from tests.loader.formats_rig import Packed, Trickle, Unseekable, flat
from tests.loader.loader_rig import entry, link, tar

FILES = {"a.txt": b"hello " * 9, "d/empty": b"", "d/ünï": formats_rig.noise(60)}
DAMAGES = 400
Found = list[tuple[Any, ...]]


def written_by_zipfile(raw: Any) -> None:
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in FILES.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            packed.writestr(info, content)


def seekable() -> bytes:
    raw = io.BytesIO()
    written_by_zipfile(raw)
    return raw.getvalue()


def piped() -> bytes:
    raw = Unseekable()
    written_by_zipfile(raw)
    return bytes(raw.content)


def of_unix(*, wide: bool = False) -> bytes:
    return formats_rig.zipped(
        Packed(b"file", b"123", mode=stat.S_IFREG | 0o644),
        Packed(b"run", b"xyz" * 20, mode=stat.S_IFREG | 0o755),
        Packed(b"link", b"file", method=0, mode=stat.S_IFLNK | 0o777),
        Packed(b"d/", method=0, mode=stat.S_IFDIR | 0o755, dos=0x10),
        wide=wide,
    )


def of_windows() -> bytes:
    return formats_rig.zipped(
        Packed(b"folder\\", method=0, made_by=0, dos=0x10),
        Packed(b"folder\\sub\\file.txt", b"123", made_by=0),
    )


ZIPS: dict[str, Callable[[], bytes]] = {
    "seekable": seekable,
    "piped": piped,
    "unix": of_unix,
    "zip64": lambda: of_unix(wide=True),
    "windows": of_windows,
}


def flips(content: bytes) -> Iterator[bytes]:
    """Yield content with each single bit changed."""
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def damages(content: bytes) -> Iterator[bytes]:
    """Yield content that was overwritten, shortened, repeated or moved at random."""
    chance = random.Random(len(content))
    for _ in range(DAMAGES):
        start = chance.randrange(len(content))
        end = min(len(content), start + chance.choice([1, 2, 7, 40, 200]))
        before, part, after = content[:start], content[start:end], content[end:]
        yield chance.choice(
            [
                before + chance.randbytes(len(part)) + after,
                before + bytes(len(part)) + after,
                before + after,
                before + part + part + after,
                after + before + part,
                before + part[::-1] + after,
            ]
        )


def wrong(
    read: Callable[[bytes], Found], good: bytes, damaged: Iterable[bytes]
) -> tuple[int, int, list[bytes]]:
    """Return how many were read, how many were refused, and those that were read differently."""
    expected, same, refused, other = read(good), 0, 0, list[bytes]()
    for content in damaged:
        try:
            found = read(content)
        except failure.Failure as error:
            assert ": " in str(error), "an error is a problem, then its remedy"
            refused += 1
            continue
        same += 1
        if found != expected:
            other.append(content)
    return same, refused, other


def contents(found: Iterable[tuple[Any, ...]]) -> Found:
    """Return the names and contents of members; a link's content is its target.

    Only one field of a zip has a file's permissions, and whether a file is a link.
    """
    return [
        (each[1], each[-1].encode() if each[0] == "SymbolicLink" else each[-1])
        for each in found
        if not each[0].startswith("Becomes")
    ]


def read_zip(how: str) -> Callable[[bytes], Found]:
    def read(content: bytes) -> Found:
        if how == "stream":
            return contents(flat(archive_reader.read(Trickle(content), "zip")))
        archive = formats_rig.RandomAccess(content)
        return contents(flat(zip_range_reader.read(archive, Trickle(content))))

    return read


@pytest.mark.parametrize("how", ["ranges", "stream"])
@pytest.mark.parametrize("kind", ZIPS)
def test_no_changed_bit_of_a_zip_changes_a_name_or_a_content(kind: str, how: str):
    content = ZIPS[kind]()
    same, refused, other = wrong(read_zip(how), content, flips(content))
    assert not other
    assert same + refused == 8 * len(content)
    # Times, versions and permissions are not compared with anything.
    assert refused > 0.6 * 8 * len(content)


@pytest.mark.parametrize("how", ["ranges", "stream"])
@pytest.mark.parametrize("kind", ZIPS)
def test_no_random_damage_of_a_zip_changes_a_name_or_a_content(kind: str, how: str):
    content = ZIPS[kind]()
    _, refused, other = wrong(read_zip(how), content, damages(content))
    assert not other
    assert refused > DAMAGES // 2


ENTRIES = [
    *(entry(name, content) for name, content in FILES.items()),
    entry("d", type=tarfile.DIRTYPE),
    link("d/link", "../a.txt"),
    link("hard", "a.txt", hard=True),
]


def read_tar(archive_format: str) -> Callable[[bytes], Found]:
    return lambda content: flat(archive_reader.read(Trickle(content), archive_format))


@pytest.mark.parametrize("archive_format", ["tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("damage", [flips, damages])
def test_no_damage_of_a_compressed_tar_changes_anything(
    archive_format: str, damage: Callable[[bytes], Iterable[bytes]]
):
    content = loader_rig.COMPRESS[archive_format](tar(ENTRIES))
    if archive_format == "tar.gz":
        content = gzip.compress(tar(ENTRIES), mtime=0)
    same, refused, other = wrong(read_tar(archive_format), content, damage(content))
    assert not other
    assert same + refused == (8 * len(content) if damage is flips else DAMAGES)
    assert refused > 0.9 * (same + refused)


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_no_changed_bit_of_a_tar_is_unnoticed_but_in_its_contents(format_: int):
    content = tar(ENTRIES, format_)[: 9 * 512 + 1024]
    same, refused, other = wrong(read_tar("tar"), content, flips(content))
    assert same + refused == 8 * len(content)
    # A tar has checksums of its headers only.
    assert len(other) == 8 * sum(map(len, FILES.values()))
    headers = len(ENTRIES) * 512
    assert refused >= 8 * (headers + 1024) - 8 * len(ENTRIES) * 8


@pytest.mark.parametrize("damage", [flips, damages])
def test_no_damage_of_a_zstd_with_a_checksum_changes_anything(
    monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], Iterable[bytes]]
):
    library: Any = pytest.importorskip(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )
    monkeypatch.setitem(sys.modules, "compression.zstd", library)
    options = {library.CompressionParameter.checksum_flag: 1}
    content = library.compress(tar(ENTRIES), options=options)
    same, refused, other = wrong(read_tar("tar.zst"), content, damage(content))
    assert not other
    assert same + refused == (8 * len(content) if damage is flips else DAMAGES)
    assert refused > 0.9 * (same + refused)


@pytest.mark.parametrize("damage", [flips, damages])
def test_damage_of_lzma_that_changes_no_header_is_not_noticed_and_all_other_is(
    damage: Callable[[bytes], Iterable[bytes]],
):
    content = lzma.compress(tar(ENTRIES), lzma.FORMAT_ALONE)
    same, refused, other = wrong(read_tar("tar.lzma"), content, damage(content))
    total = 8 * len(content) if damage is flips else DAMAGES
    assert same + refused == total
    # It has no checksum; tar has those of its headers.
    names = {each[1] for each in read_tar("tar.lzma")(content)}
    for each in other:
        assert {found[1] for found in read_tar("tar.lzma")(each)} <= names
    assert refused > 0.6 * total


@pytest.mark.parametrize("damage", [flips, damages])
def test_damage_of_pax_attributes_is_refused_or_read_as_other_attributes(
    damage: Callable[[bytes], Iterable[bytes]],
):
    name = "d/" * 60 + "ü"
    attributes = formats_rig.pax(("path", name), ("size", "5"), ("mtime", "1.5"))
    rest = formats_rig.member(b"short", b"12345") + formats_rig.END
    content = attributes + rest
    body = len(attributes) - 512
    changed = (
        attributes[:512] + each.ljust(body, b"\0")[:body] + rest
        for each in damage(attributes[512:])
    )
    same, refused, other = wrong(read_tar("tar"), content, changed)
    total = 8 * body if damage is flips else DAMAGES
    assert same + refused == total
    assert refused > 0.02 * total
    for each in other:
        for found in read_tar("tar")(each):
            # Attributes have no checksum, but no path leads out.
            assert ".." not in found[1].split("/") and not found[1].startswith("/")
