"""The table of archive formats, and the recognition of a source by its first bytes and name."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from ..base import byte_streams, failure, file_names
from . import answers, decompress, members, tar_header, tar_reader

# A decompressor may return nothing before a whole block is read: bzip2's blocks have up to 900 kB.
HEAD_BYTES = 2**20
FILE, TAR, ZIP = "file", "tar", "zip"
LOCAL_HEADER = b"PK\3\4"


class Recogniser(Protocol):
    """A check of the first bytes of an archive, decompressed if it is compressed."""

    def __call__(self, data: bytes, *, named: bool) -> bool:
        """Tell whether the bytes begin an archive; `named` if the file has an archive's name."""
        ...


def begins_tar(data: bytes, *, named: bool) -> bool:
    """Tell whether these bytes begin a tar archive."""
    block = data[: tar_reader.BLOCK_BYTES]
    if not named:
        return tar_header.is_certain(block)
    # A tar archive without members consists of zeros, as other files may.
    return tar_header.is_header(block) or block == bytes(tar_reader.BLOCK_BYTES)


class ArchiveFormat(NamedTuple):
    """A row of the table of archive formats.

    Attributes:
        name: The name, as in results.
        magic: The first bytes, one of these; none where only the recogniser can tell.
        endings: The endings of file names.
        reader: The module of this package that reads it, imported on demand; empty where the
            format cannot be read.
        recogniser: The check of the first bytes; none where the magic is enough.
        decompressor: Makes a decompressor of the whole archive; none where it has none.
        head_bytes: The number of first bytes that the recogniser needs.
        large_decompressor: Whether its decompressor may take 128 MiB.
        range_reader: The module that reads it from an origin that serves ranges, if any.
        description: The name in messages, of a format that cannot be read.
    """

    name: str
    magic: tuple[bytes, ...]
    endings: tuple[str, ...]
    reader: str = ""
    recogniser: Recogniser | None = None
    decompressor: Callable[[], Any] | None = None
    head_bytes: int = byte_streams.FIRST_BYTES
    large_decompressor: bool = False
    range_reader: str = ""
    description: str = ""


FORMATS = (
    ArchiveFormat(
        ZIP,
        (LOCAL_HEADER, b"PK\5\6"),
        (".zip",),
        "zip_stream_reader",
        range_reader="zip_range_reader",
    ),
    ArchiveFormat(TAR, (), (".tar",), "tar_reader", begins_tar),
    ArchiveFormat(
        "tar.gz",
        (b"\x1f\x8b\x08",),
        (".tar.gz", ".tgz"),
        "tar_reader",
        begins_tar,
        decompress.gzip_decompressor,
    ),
    ArchiveFormat(
        "tar.bz2",
        (b"BZh",),
        (".tar.bz2", ".tbz", ".tbz2", ".tb2", ".tz2"),
        "tar_reader",
        begins_tar,
        decompress.bz2_decompressor,
        HEAD_BYTES,
    ),
    ArchiveFormat(
        "tar.xz",
        (b"\xfd7zXZ\0",),
        (".tar.xz", ".txz"),
        "tar_reader",
        begins_tar,
        decompress.xz_decompressor,
        HEAD_BYTES,
        large_decompressor=True,
    ),
    ArchiveFormat(
        "tar.zst",
        (decompress.ZSTD, *decompress.SKIPPED_FRAMES),
        (".tar.zst", ".tzst"),
        "tar_reader",
        begins_tar,
        decompress.zstd_decompressor,
        HEAD_BYTES,
        large_decompressor=True,
    ),
    ArchiveFormat(
        "tar.lzma",
        # It has no magic: these are the usual properties, and a dictionary of whole 64 KiB.
        (b"\x5d\0\0",),
        (".tar.lzma", ".tlz"),
        "tar_reader",
        begins_tar,
        decompress.lzma_decompressor,
        HEAD_BYTES,
        large_decompressor=True,
    ),
    ArchiveFormat("7z", (b"7z\xbc\xaf\x27\x1c",), (".7z",), description="a 7z archive"),
    ArchiveFormat("rar", (b"Rar!\x1a\x07",), (".rar",), description="a rar archive"),
    ArchiveFormat(
        "tar.Z", (b"\x1f\x9d",), (".tar.Z", ".taz"), description="compressed by compress"
    ),
    ArchiveFormat(
        "tar.lz4",
        (b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"),
        (".tar.lz4",),
        description="compressed by lz4",
    ),
    ArchiveFormat("tar.lz", (b"LZIP",), (".tar.lz",), description="compressed by lzip"),
    ArchiveFormat("tar.lzo", (b"\x89LZO",), (".tar.lzo",), description="compressed by lzop"),
    # It has no magic at all.
    ArchiveFormat("tar.br", (), (".tar.br",), description="compressed by brotli"),
)
BY_NAME = {row.name: row for row in FORMATS}
READABLE = tuple(row for row in FORMATS if row.reader)
LARGE_DECOMPRESSOR_ENDINGS = tuple(
    ending for row in FORMATS if row.large_decompressor for ending in row.endings
)
# Formats such as .npz, .docx and .pt are zip archives too, but stay as they are; an ending that is
# not a word, as in "v1.0", does not count.
OTHER_ENDING = re.compile(r"\.(?!(?:gz|bz2|xz|zst)$)[a-z]\w{0,7}$", re.IGNORECASE)


def takes_much_memory(name: str) -> bool:
    """Tell whether a file of this name needs a decompressor that takes much memory."""
    return name.lower().endswith(LARGE_DECOMPRESSOR_ENDINGS)


def has_range_reader(archive_format: str) -> bool:
    """Tell whether an archive of this format is read in ranges if its origin serves them."""
    return bool(BY_NAME[archive_format].range_reader)


def read_range(
    archive_format: str, archive: Any, data: byte_streams.Readable
) -> Iterator[members.Member]:
    """Read the members of an archive whose format has a range reader.

    Args:
        archive_format: Its format, as `recognise` returns it.
        archive: The archive, readable from any position.
        data: The archive from its beginning.

    Raises:
        Failure: It is cut off, damaged, or has what a data set must not have.
    """
    return _module(BY_NAME[archive_format].range_reader).read(archive, data)


def read_stream(
    archive_format: str,
    stream: byte_streams.Readable,
    count: Callable[[int], None],
    *,
    checked: bool = False,
) -> Iterator[members.Member]:
    """Read the members of an archive as it streams by.

    Args:
        archive_format: Its format, as `recognise` returns it.
        stream: The archive.
        count: Called with the number of bytes that a decompressor returned.
        checked: Whether a checksum decides that it is the right one, whatever follows its end.

    Raises:
        Failure: It is cut off, damaged, or has what a data set must not have.
    """
    row = BY_NAME[archive_format]
    compressed = None
    if row.decompressor:
        stream = compressed = decompress.DecompressedStream(stream, row.decompressor, count)
    try:
        yield from _module(row.reader).read(stream, count)
        if compressed and compressed.has_other_data:
            raise byte_streams.other_data()
    except byte_streams.Damaged as error:
        if checked and isinstance(error, byte_streams.BadEnd):
            return
        if compressed and compressed.has_other_data:
            raise byte_streams.other_data() from None
        raise


def _module(name: str) -> Any:
    # Imported on demand: most loads need one reader only.
    return importlib.import_module(f".{name}", __package__)


def head_of(peek: Callable[[int], bytes]) -> bytes:
    """Return the first bytes of a source, as many as its recognition needs.

    Args:
        peek: Returns as many of its first bytes, or all if there are fewer.
    """
    head = peek(byte_streams.FIRST_BYTES)
    needed = max((row.head_bytes for row in READABLE if _has_magic(row, head)), default=0)
    return peek(needed) if needed > byte_streams.FIRST_BYTES else head


def _has_magic(row: ArchiveFormat, head: bytes) -> bool:
    return bool(row.magic) and head.startswith(row.magic)


def recognise(
    head: bytes,
    name: str,
    *,
    unpack: str,
    others: tuple[str, ...] = (),
    media_type: str = "",
    checked: bool = False,
    may_be_empty: bool = False,
) -> str:
    """Return the format of a source.

    Args:
        head: Its first bytes, from `head_of`.
        name: Its name.
        unpack: `true`, `false` or `recursive`: whether archives are unpacked; or the format that
            it must have, where `tar` is any tar.
        others: The names that the user gave it: in its URL, and as its path.
        media_type: Its type, as its origin tells it; empty if it does not.
        checked: Whether a checksum decides that it is the right one.
        may_be_empty: Whether it is one of many, of which some may be empty.

    Returns:
        The name of a format in FORMATS; or `file` if it stays as it is.

    Raises:
        Failure: Its content does not fit its name, or cannot be read.
    """
    archive_names = [each for each in (name, *others) if file_names.ARCHIVE_NAME.search(each)]
    if not head and not (checked or (may_be_empty and not archive_names)):
        raise failure.Failure(
            "the source is empty: check that it is the right one; if it is, give its checksum"
        )
    if unpack in BY_NAME:
        return _required(head, name, unpack)
    kept = OTHER_ENDING.search(name) and not file_names.PROGRAM_NAME.search(name)
    archive_format = FILE
    if unpack != "false" and (archive_names or not kept):
        archive_format = _archive(head, named=bool(archive_names))
    zip_names = (each for each in archive_names if each.lower().endswith(BY_NAME[ZIP].endings))
    if archive_format == FILE and unpack != "false" and any(zip_names) and LOCAL_HEADER in head:
        # Other data may precede a zip, as in an archive that unpacks itself.
        return ZIP
    if archive_format == FILE and not checked:
        answers.check(head, (name, *others), media_type)
    if archive_format == FILE and archive_names and unpack != "false":
        raise _not_an_archive(head, archive_names[0])
    return archive_format


def _required(head: bytes, name: str, required: str) -> str:
    """Return the format that the user asked for, if the source has it."""
    if required == ZIP:
        # What precedes it may be of any length.
        return ZIP
    found = _archive(head, named=True)
    if found == required or (required == TAR and BY_NAME.get(found, BY_NAME[ZIP]).recogniser):
        return found
    raise failure.Failure(
        f"{failure.quote(name)} is not a {required} archive: check the source, or leave unpack= "
        "out"
    )


def recognise_inner(head: bytes, name: str) -> str:
    """Return the format of a file in an archive; `file` if its content is not an archive.

    Args:
        head: Its first bytes, from `head_of`.
        name: Its name.

    Returns:
        As `recognise`.

    Raises:
        Failure: Its compressed data are damaged, or this Python cannot decompress it.
    """
    return _archive(head, named=True) if file_names.ARCHIVE_NAME.search(name) else FILE


def begun_by(head: bytes) -> str:
    """Return the format of an archive that begins with these bytes; `file` if none does."""
    return _archive(head, named=False)


def _archive(head: bytes, *, named: bool) -> str:
    for row in READABLE:
        if (not row.magic or head.startswith(row.magic)) and _begins(row, head, named=named):
            return row.name
    return FILE


def _begins(row: ArchiveFormat, head: bytes, *, named: bool) -> bool:
    if row.recogniser is None:
        return True
    data = _unpacked(head, row.decompressor, named=named) if row.decompressor else head
    return row.recogniser(data, named=named)


def _unpacked(head: bytes, decompressor: Callable[[], Any], *, named: bool) -> bytes:
    try:
        stream = decompress.DecompressedStream(io.BytesIO(head), decompressor)
        return byte_streams.BufferedReader(stream).take(tar_reader.BLOCK_BYTES)
    except failure.Failure:
        # A compressed file that is not an archive stays as it is, whatever its compression.
        if named:
            raise
        return b""


def _not_an_archive(head: bytes, name: str) -> failure.Failure:
    for row in FORMATS:
        called = not row.magic and name.lower().endswith(row.endings)
        if row.description and (called or _has_magic(row, head)):
            return failure.Failure(
                f"{failure.quote(name)} is {row.description}, which cannot be read here: offer it "
                "as tar.gz, tar.bz2, tar.xz or zip, or store it as it is with unpack=false"
            )
    return failure.Failure(
        f"{failure.quote(name)} is not the archive that its name says, or is cut off: check the "
        "source, or store it as it is with unpack=false"
    )
