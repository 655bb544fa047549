"""Read a zip archive from an origin that serves ranges: its central directory is at its end.

The members are read from one stream of the whole archive, so that it can be hashed; the central
directory from another.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ..base import byte_streams, failure
from . import members, zip_checks, zip_headers

SMALL_BYTES = 2**20
# Skipping this many bytes is faster than a new request for the bytes behind them.
GAP_BYTES = 2**18


class ArchivePart(byte_streams.Readable, Protocol):
    """A stream that has to be closed."""

    def close(self) -> None:
        """Close it."""
        ...


class RangeArchive(Protocol):
    """An archive that can be read from any position."""

    size: int

    def stream(self, offset: int, /) -> ArchivePart:
        """Return its bytes from an offset on."""
        ...


def read(archive: RangeArchive, data: byte_streams.Readable) -> Iterator[members.Member]:
    """Yield the members of an archive, in the order of its central directory.

    A large file's content must be read before the next member is requested.

    Args:
        archive: The archive, for its central directory, and for members out of order.
        data: The archive from its beginning; it is read up to the end of its last member.

    Raises:
        Failure: The archive is cut off, damaged, or has what a data set must not have.
    """
    directory = _find_directory(archive)
    if not any(directory):
        return
    content, raw = _Content(archive, data), archive.stream(directory.start)
    with contextlib.closing(content), contextlib.closing(raw):
        listing = zip_headers.ZipStream(raw)
        count = 0
        while listing.position < directory.length:
            yield _member(content, zip_headers.read_listed(listing), directory.base)
            count += 1
        if (
            listing.position != directory.length
            or count % (zip_checks.MOST_16 + 1) != directory.members
        ):
            raise byte_streams.damaged("its list of files is not as long as it says")


class _CentralDirectory(NamedTuple):
    """The position of the central directory.

    Attributes:
        start: The position of its first byte.
        length: Its length in bytes.
        members: The number of its entries, modulo 2**16.
        base: The position where the archive begins: other data may precede it.
    """

    start: int
    length: int
    members: int
    base: int


def _find_directory(archive: RangeArchive) -> _CentralDirectory:
    tail_start = max(0, archive.size - zip_headers.END.size - zip_headers.LONGEST_COMMENT)
    tail = _part(archive, tail_start, archive.size - tail_start)
    at = _end(tail)
    record = tail[at : at + zip_headers.END.size]
    end, where = tail_start + at, -1
    before = tail[at - zip_headers.LOCATOR.size : at] if at >= zip_headers.LOCATOR.size else b""
    record64 = b""
    if before.startswith(zip_headers.LOCATOR_SIGNATURE):
        end, record64, where = _end64(archive, end - zip_headers.LOCATOR.size, before)
    found = zip_checks.parse_end(record, record64)
    base = end - found.length - found.offset
    # The locator's position is counted like those of the members; and a list of nothing that has
    # something before it is damaged.
    if base < 0 or (record64 and where + base != end) or (base and not found.length):
        raise byte_streams.damaged("its list of files is not where it should be")
    return _CentralDirectory(
        base + found.offset, found.length, found.members & zip_checks.MOST_16, base
    )


def _end(tail: bytes) -> int:
    """Return the position of the end record: the comment in it may contain anything."""
    size = zip_headers.END.size
    at = last = tail.rfind(zip_headers.END_SIGNATURE, 0, len(tail) - size + 4)
    if at < 0:
        raise byte_streams.no_list()
    while at >= 0:
        if at + size + int.from_bytes(tail[at + size - 2 : at + size], "little") == len(tail):
            return at
        at = tail.rfind(zip_headers.END_SIGNATURE, 0, at)
    # Other data follow the archive.
    return last


def _end64(archive: RangeArchive, end: int, locator: bytes) -> tuple[int, bytes, int]:
    """Return the position of the zip64 end record, its content, and its stated position."""
    _, _, stated, disks = zip_headers.LOCATOR.unpack(locator)
    if disks > 1:
        raise zip_headers.split_archive()
    # It is right before its locator unless it was extended, and where the locator says unless
    # other data precede the archive.
    for where in (end - zip_headers.END64.size, stated):
        if 0 <= where <= end - zip_headers.END64.size:
            record = _part(archive, where, zip_headers.END64.size)
            if record.startswith(zip_headers.END64_SIGNATURE):
                return where, record, stated
    raise byte_streams.damaged("its list of files is not where it should be")


def _part(archive: RangeArchive, offset: int, count: int) -> bytes:
    if not count:
        raise byte_streams.truncated()
    with contextlib.closing(archive.stream(offset)) as stream:
        return byte_streams.read_exactly(stream, count)


class _Content:
    """The archive's data, read forward; earlier data are fetched again."""

    def __init__(self, archive: RangeArchive, data: byte_streams.Readable) -> None:
        self._archive = archive
        self._data = zip_headers.ZipStream(data)
        self._part: ArchivePart | None = None
        self._again = self._data
        self._again_start = 0

    def at(self, offset: int) -> zip_headers.ZipStream:
        """Return the data from an offset on."""
        if offset >= self._data.position:
            stream, gap = self._data, offset - self._data.position
        else:
            stream, gap = self._reread(offset)
        for _ in byte_streams.read_pieces(stream, gap):
            pass
        return stream

    def _reread(self, offset: int) -> tuple[zip_headers.ZipStream, int]:
        gap = offset - self._again_start - self._again.position
        if not self._part or not 0 <= gap <= GAP_BYTES:
            self.close()
            self._part = self._archive.stream(offset)
            self._again, self._again_start, gap = zip_headers.ZipStream(self._part), offset, 0
        return self._again, gap

    def close(self) -> None:
        part, self._part = self._part, None
        if part:
            part.close()


def _member(content: _Content, entry: zip_headers.ZipEntry, base: int) -> members.Member:
    path = members.inside_path(entry.name)
    zip_headers.check_kind(entry)
    if not zip_headers.is_directory(entry):
        zip_headers.check_readable(entry)
    data = content.at(base + entry.offset)
    if data.read_exactly(4) != zip_headers.LOCAL_SIGNATURE:
        raise byte_streams.damaged(f"{failure.quote(entry.name)} is not where the list says")
    local = zip_headers.read_local(data, entry.offset, windows=entry.windows)
    zip_checks.check_local(local, entry)
    if zip_headers.is_directory(entry):
        return members.Directory(path)
    chunks = _chunks(data, entry)
    if zip_headers.is_link(entry):
        zip_headers.check_link(entry)
        target = b"".join(chunks).decode("utf-8", "surrogateescape")
        return members.symbolic_link(path, target)
    executable = bool(entry.mode & 0o111)
    if entry.size <= SMALL_BYTES:
        return members.File(path, executable, (b"".join(chunks),), entry.size)
    return members.File(path, executable, chunks, entry.size)


def _chunks(data: zip_headers.ZipStream, entry: zip_headers.ZipEntry) -> Iterator[bytes]:
    """Yield a member's content, and compare it with its size and CRC."""
    end = data.position + entry.packed
    size, check = 0, 0
    packed = byte_streams.read_pieces(data, entry.packed)
    for chunk in zip_headers.decompressed(packed, zip_headers.METHODS[entry.method]()):
        size += len(chunk)
        check = zlib.crc32(chunk, check)
        if size > entry.size:
            break
        yield chunk
    if (size, check) != (entry.size, entry.check):
        raise byte_streams.damaged(f"{failure.quote(entry.name)} is not what the list says")
    # Data that the decompressor did not need come before the descriptor.
    for _ in byte_streams.read_pieces(data, end - data.position):
        pass
    if zip_checks.is_described(entry):
        zip_checks.check_descriptor(data, entry)
