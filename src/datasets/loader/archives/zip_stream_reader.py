"""Read a zip archive as it streams by, from an origin that serves no ranges.

Members are read by their local headers; the central directory at the end only tells which of them
are executable, and which are links. Checksums over both are compared.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from ..base import byte_streams, failure
from . import members, zip_checks, zip_headers

SMALL_BYTES = 2**20
# Reads of a member of unknown length grow from this: most of one may belong to the next member.
FIRST_BYTES = 2**12
SPLIT_SIGNATURE = zip_checks.DESCRIPTOR_SIGNATURE
STORED = 0


def read(
    raw: byte_streams.Readable, count: Callable[[int], None] = lambda _: None
) -> Iterator[members.Member]:
    """Yield the members of an archive, in its order; then what its central directory adds.

    A large file's content must be read before the next member is requested.

    Args:
        raw: The archive.
        count: Called with the number of bytes that a decompressor returned.

    Raises:
        Failure: The archive is cut off, damaged, or has what a data set must not have.
    """
    stream = zip_headers.ZipStream(raw)
    received, listed = _Sum(), _Sum()
    signature = stream.read_exactly(4)
    if signature == SPLIT_SIGNATURE:
        raise zip_headers.split_archive()
    if signature not in zip_checks.FOLLOWING:
        raise members.RefusedArchive(
            "the archive has other data before its files, and its origin serves no ranges: offer "
            "it as tar.gz, or from an origin that serves ranges"
        )
    while signature == zip_headers.LOCAL_SIGNATURE:
        yield from _member(stream, received, count)
        signature = stream.read_exactly(4)
    start = stream.position - len(signature)
    while signature == zip_headers.ENTRY_SIGNATURE:
        entry = zip_headers.read_listed(stream, signature)
        listed.add(entry, entry.size, entry.packed, entry.check)
        yield from _listed_changes(entry)
        signature = stream.read_exactly(4)
    length = stream.position - len(signature) - start
    found = zip_checks.EndRecord(listed.members, length, start)
    _check_end(_end(stream, signature), found)
    if received.value != listed.value:
        raise byte_streams.damaged("its list of files does not fit its files")


class _Sum:
    """A checksum of members that is the same in any order."""

    def __init__(self) -> None:
        self.value = self.members = 0

    def add(self, entry: zip_headers.ZipEntry, size: int, packed: int, check: int) -> None:
        text = f"{entry.name}\0{size}\0{packed}\0{check}\0{entry.offset}\0{entry.method}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        self.value += int.from_bytes(digest, "big")
        self.members += 1


def _member(
    stream: zip_headers.ZipStream, received: _Sum, count: Callable[[int], None]
) -> Iterator[members.Member]:
    start = stream.position - len(zip_headers.LOCAL_SIGNATURE)
    # Most archives with backslashes in their names are of Windows; the list tells of the others.
    entry = zip_headers.read_local(stream, start, windows=True)
    path = members.inside_path(entry.name)
    zip_headers.check_readable(entry)
    directory = entry.name.endswith("/")
    if _is_endless(entry) and not directory:
        raise members.RefusedArchive(
            f"the archive has {failure.quote(entry.name)} stored without its size, and its origin "
            "serves no ranges: offer it as tar.gz, or from an origin that serves ranges"
        )
    content = _content(stream, entry, received, count)
    yield members.Directory(path) if directory else _file(path, entry, content)
    for _ in content:
        pass


def _is_endless(entry: zip_headers.ZipEntry) -> bool:
    """Tell whether the end of the content is unknown."""
    return zip_checks.is_described(entry) and entry.method == STORED and not entry.packed


def _file(path: str, entry: zip_headers.ZipEntry, content: Iterator[bytes]) -> members.File:
    """Return a file; a small one is read whole, even if its size was unknown."""
    chunks: list[bytes] = []
    size = 0
    for chunk in content:
        chunks.append(chunk)
        size += len(chunk)
        if size > SMALL_BYTES:
            known = None if zip_checks.is_described(entry) else entry.size
            return members.File(path, False, itertools.chain(chunks, content), known)
    return members.File(path, False, (b"".join(chunks),), size)


def _content(
    stream: zip_headers.ZipStream,
    entry: zip_headers.ZipEntry,
    received: _Sum,
    count: Callable[[int], None],
) -> Iterator[bytes]:
    """Yield a member's content, and compare it with what the archive says of it."""
    decompressor = zip_headers.METHODS[entry.method]()
    packed = _Packed(stream, entry, decompressor)
    size, check = 0, 0
    for chunk in zip_headers.decompressed(packed, decompressor):
        if decompressor is not None:
            count(len(chunk))
        size += len(chunk)
        check = zlib.crc32(chunk, check)
        if size > entry.size and not zip_checks.is_described(entry):
            break
        yield chunk
    actual = (check, packed.count, size)
    stated = (entry.check, entry.packed, entry.size)
    if zip_checks.is_described(entry):
        stated = zip_checks.read_descriptor(stream, actual)
    if actual != stated:
        raise byte_streams.damaged(f"{failure.quote(entry.name)} is not what its header says")
    received.add(entry, size, packed.count, check)


class _Packed:
    """The compressed data of a member; its decompressor finds the end if that is unknown.

    Attributes:
        count: The number of bytes that were read.
    """

    def __init__(
        self, stream: zip_headers.ZipStream, entry: zip_headers.ZipEntry, decompressor: Any
    ) -> None:
        self._stream = stream
        self._decompressor = decompressor
        known = entry.method == STORED or not zip_checks.is_described(entry)
        self._size = entry.packed if known else None
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        step = FIRST_BYTES if self._size is None else byte_streams.CHUNK_BYTES
        while self._size is None or self.count < self._size:
            most = step if self._size is None else min(step, self._size - self.count)
            chunk = self._stream.read(most)
            if not chunk:
                raise byte_streams.truncated()
            self.count += len(chunk)
            yield chunk
            if self._decompressor is not None and self._decompressor.eof:
                rest = len(self._decompressor.unused_data)
                self._stream.unread(rest)
                self.count -= rest
                return
            step = min(2 * step, byte_streams.CHUNK_BYTES)


def _listed_changes(entry: zip_headers.ZipEntry) -> Iterator[members.Member]:
    """Yield what the central directory adds to a member that was read already."""
    zip_headers.check_kind(entry)
    if "\\" in entry.name and not entry.windows:
        raise members.RefusedArchive(
            f"the archive has {failure.quote(entry.name)} with a backslash in its name, and its "
            "origin serves no ranges: offer it as tar.gz, or from an origin that serves ranges"
        )
    if entry.name.endswith("/"):
        return
    path = members.inside_path(entry.name)
    if zip_headers.is_directory(entry):
        raise members.RefusedArchive(
            f"the archive has the directory {failure.quote(entry.name)} without a slash at its "
            "end, and its origin serves no ranges: offer it as tar.gz, or from an origin that "
            "serves ranges"
        )
    if zip_headers.is_link(entry):
        zip_headers.check_link(entry)
        yield members.BecomesLink(path)
    elif entry.mode & 0o111:
        yield members.BecomesExecutable(path)


def _end(stream: zip_headers.ZipStream, signature: bytes) -> zip_checks.EndRecord:
    """Read the records after the central directory: an archive without them is truncated."""
    record64 = b""
    if signature == zip_headers.END64_SIGNATURE:
        start = stream.position - len(signature)
        record64 = signature + stream.read_exactly(zip_headers.END64.size - len(signature))
        length = int.from_bytes(record64[4:12], "little") + 12
        for _ in byte_streams.read_pieces(stream, max(0, length - len(record64))):
            pass
        locator = zip_headers.LOCATOR.unpack(stream.read_exactly(zip_headers.LOCATOR.size))
        if locator[0] != zip_headers.LOCATOR_SIGNATURE or locator[2] != start:
            raise byte_streams.damaged("its list of files has no end")
        signature = stream.read_exactly(4)
    if signature != zip_headers.END_SIGNATURE:
        raise byte_streams.damaged("there is no header where one should be")
    record = signature + stream.read_exactly(zip_headers.END.size - len(signature))
    found = zip_checks.parse_end(record, record64)
    stream.read_exactly(zip_headers.END.unpack(record)[-1])
    return found


def _check_end(stated: zip_checks.EndRecord, found: zip_checks.EndRecord) -> None:
    """Refuse an archive whose end says something else of its list than the list itself."""
    most = zip_checks.MOST_16
    if (stated.members & most, *stated[1:]) != (found.members & most, *found[1:]):
        raise byte_streams.damaged("its list of files is not as long as it says")
