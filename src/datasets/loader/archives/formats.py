"""The table of archive formats, and the recognition of a source by its first bytes and name."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from ..base import byte_streams, failure, file_names
from . import decompress, members, tar_reader

# A decompressor may return nothing before a whole block is read: bzip2's blocks have up to 900 kB.
HEAD_BYTES = 2**20
FILE, TAR, ZIP = "file", "tar", "zip"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Recogniser(Protocol):
    """A check of the first bytes of an archive, decompressed if it is compressed."""

    def __call__(self, data: bytes, *, named: bool) -> bool:
        """Tell whether the bytes begin an archive; `named` if the file has an archive's name."""
        ...


def begins_tar(data: bytes, *, named: bool) -> bool:
    """Tell whether these bytes begin a tar archive."""
    block = data[: tar_reader.BLOCK_BYTES]
    # A tar archive without members consists of zeros, as other files may.
    return tar_reader.is_header(block) or (named and block == bytes(tar_reader.BLOCK_BYTES))


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
        (b"PK\3\4", b"PK\5\6"),
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
        (".tar.bz2", ".tbz", ".tbz2"),
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
        (ZSTD_MAGIC,),
        (".tar.zst", ".tzst"),
        "tar_reader",
        begins_tar,
        decompress.zstd_decompressor,
        HEAD_BYTES,
        large_decompressor=True,
    ),
    ArchiveFormat("7z", (b"7z\xbc\xaf\x27\x1c",), (".7z",), description="a 7z archive"),
    ArchiveFormat("rar", (b"Rar!\x1a\x07",), (".rar",), description="a rar archive"),
)
BY_NAME = {row.name: row for row in FORMATS}
READABLE = tuple(row for row in FORMATS if row.reader)
LARGE_DECOMPRESSOR_ENDINGS = tuple(
    ending for row in FORMATS if row.large_decompressor for ending in row.endings
)
# Formats such as .npz, .docx and .pt are zip archives too, but stay as they are; an ending that is
# not a word, as in "v1.0", does not count.
OTHER_ENDING = re.compile(r"\.(?!(?:gz|bz2|xz|zst)$)[a-z]\w{0,7}$", re.IGNORECASE)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What may precede a page, by its beginning and its end.
BEFORE_PAGE = ((b"<!--", b"-->"), (b"<?xml", b"?>"))
PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
PAGE_NAME = re.compile(r"\.x?html?$", re.IGNORECASE)


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
    archive_format: str, stream: byte_streams.Readable, count: Callable[[int], None]
) -> Iterator[members.Member]:
    """Read the members of an archive as it streams by.

    Args:
        archive_format: Its format, as `recognise` returns it.
        stream: The archive.
        count: Called with the number of bytes that a decompressor returned.

    Raises:
        Failure: It is cut off, damaged, or has what a data set must not have.
    """
    row = BY_NAME[archive_format]
    if row.decompressor:
        stream = decompress.DecompressedStream(stream, row.decompressor, count)
    return _module(row.reader).read(stream, count)


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


def recognise(head: bytes, name: str, *, unpack: str) -> str:
    """Return the format of a source.

    Args:
        head: Its first bytes, from `head_of`.
        name: Its name.
        unpack: `true`, `false` or `recursive`: whether archives are unpacked.

    Returns:
        `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz`, `tar.zst`; or `file` if it stays as it is.

    Raises:
        Failure: Its content does not fit its name, or cannot be read.
    """
    if not head:
        raise failure.Failure("the source is empty: check that it is the right one")
    if _is_page(head[:4096]) and not PAGE_NAME.search(name):
        raise failure.Failure(
            "the source is a web page (HTML), not the data: use the link to the file itself, and "
            "one that needs no login"
        )
    if unpack == "false" or (
        OTHER_ENDING.search(name) and not file_names.ARCHIVE_NAME.search(name)
    ):
        return FILE
    named = bool(file_names.ARCHIVE_NAME.search(name))
    archive_format = _archive(head, named=named)
    if archive_format == FILE and named:
        raise _not_an_archive(head, name)
    return archive_format


def _is_page(head: bytes) -> bool:
    """Tell whether these bytes begin a web page, by one look at each: anybody may choose them."""
    at = len(head) - len(head.removeprefix(BYTE_ORDER_MARK))
    while True:
        at = len(head) - len(head[at:].lstrip())
        end = next((end for start, end in BEFORE_PAGE if head.startswith(start, at)), b"")
        closed = head.find(end, at + 4) if end else -1
        if closed < 0:
            return bool(PAGE.match(head, at))
        at = closed + len(end)


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
        if row.description and _has_magic(row, head):
            return failure.Failure(
                f"{failure.quote(name)} is {row.description}, which this loader cannot read: "
                "offer it as tar.gz, tar.bz2, tar.xz or zip, or store it as it is with "
                "unpack=false"
            )
    return failure.Failure(
        f"{failure.quote(name)} is not the archive that its name says, or is cut off: check the "
        "source, or store it as it is with unpack=false"
    )
