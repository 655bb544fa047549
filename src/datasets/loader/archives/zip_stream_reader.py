"""Reads a zip archive as it streams by, from an origin that gives no parts.

What it holds stands before each member; its list at the end only says which of them may be
executed, and which are links. Of what is listed and what has come, the sums are compared.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from ..base import byte_streams, failure
from . import members, zip_headers

SMALL_BYTES = 2**20
# What is read for a member of unknown length grows from this: the most of it may be the next one.
FIRST_BYTES = 2**12
DESCRIPTOR_SIGNATURE = SPLIT_SIGNATURE = b"PK\7\10"
DESCRIPTOR_FLAG = 0x8
STORED = 0
# What can stand behind a member.
FOLLOWING = (
    zip_headers.LOCAL_SIGNATURE,
    zip_headers.ENTRY_SIGNATURE,
    *zip_headers.END_SIGNATURES,
)


def read(
    raw: byte_streams.Readable, count: Callable[[int], None] = lambda _: None
) -> Iterator[members.Member]:
    """The members of the archive, in its order; then what its list says of them.

    A large file's content is to be read before the next member is asked for.

    Args:
        raw: The archive.
        count: Is told how many bytes came out of a decompressor.

    Raises:
        Failure: The archive is cut off, damaged, or has what a data set must not have.
    """
    stream = zip_headers.ZipStream(raw)
    came, listed = _Sum(), _Sum()
    signature = stream.exactly(4)
    if signature == SPLIT_SIGNATURE:
        raise zip_headers.split_archive()
    if signature not in FOLLOWING:
        raise members.RefusedArchive(
            "the archive has something in front of its files, and comes from an origin that gives "
            "no parts of it: offer it as tar.gz, or where ranges are served"
        )
    while signature == zip_headers.LOCAL_SIGNATURE:
        yield from _member(stream, came, count)
        signature = stream.exactly(4)
    while signature == zip_headers.ENTRY_SIGNATURE:
        entry = zip_headers.read_listed(stream, signature)
        listed.add(entry, entry.size, entry.check)
        yield from _afterwards(entry)
        signature = stream.exactly(4)
    _end(stream, signature)
    if came.value != listed.value:
        raise byte_streams.damaged("its list of files does not fit its files")


class _Sum:
    """What a number of members have in common with the same ones in another order."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, entry: zip_headers.ZipEntry, size: int, check: int) -> None:
        text = f"{entry.name}\0{size}\0{check}\0{entry.offset}"
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        self.value += int.from_bytes(digest, "big")


def _member(
    stream: zip_headers.ZipStream, came: _Sum, count: Callable[[int], None]
) -> Iterator[members.Member]:
    entry = zip_headers.read_local(stream, stream.position - len(zip_headers.LOCAL_SIGNATURE))
    path = members.inside_path(entry.name)
    zip_headers.check_readable(entry)
    directory = entry.name.endswith("/")
    if _is_endless(entry) and not directory:
        raise members.RefusedArchive(
            f"the archive has {failure.quote(entry.name)} stored without its size, and comes from "
            "an origin that gives no parts of it: offer it as tar.gz, or where ranges are served"
        )
    content = _content(stream, entry, came, count)
    yield members.Directory(path) if directory else _file(path, entry, content)
    for _ in content:
        pass


def _is_endless(entry: zip_headers.ZipEntry) -> bool:
    """Whether nothing tells where the content ends."""
    return _is_described(entry) and entry.method == STORED and not entry.packed


def _is_described(entry: zip_headers.ZipEntry) -> bool:
    """Whether its size and check stand behind the content."""
    return bool(entry.flags & DESCRIPTOR_FLAG)


def _file(path: str, entry: zip_headers.ZipEntry, content: Iterator[bytes]) -> members.File:
    """A small file has been read when it is given out, also where nobody knew that it is small."""
    held: list[bytes] = []
    size = 0
    for chunk in content:
        held.append(chunk)
        size += len(chunk)
        if size > SMALL_BYTES:
            known = None if _is_described(entry) else entry.size
            return members.File(path, False, itertools.chain(held, content), known)
    return members.File(path, False, (b"".join(held),), size)


def _content(
    stream: zip_headers.ZipStream,
    entry: zip_headers.ZipEntry,
    came: _Sum,
    count: Callable[[int], None],
) -> Iterator[bytes]:
    """What the member holds, compared with what the archive says of it."""
    decompressor = zip_headers.METHODS[entry.method]()
    packed = _Packed(stream, entry, decompressor)
    size, check = 0, 0
    for chunk in zip_headers.decompressed(packed, decompressor):
        if decompressor is not None:
            count(len(chunk))
        size += len(chunk)
        check = zlib.crc32(chunk, check)
        if size > entry.size and not _is_described(entry):
            break
        yield chunk
    found = (check, packed.count, size)
    wanted = (entry.check, entry.packed, entry.size)
    if _is_described(entry):
        wanted = _descriptor(stream, found)
    if found != wanted:
        raise byte_streams.damaged(f"{failure.quote(entry.name)} is not what its header says")
    came.add(entry, size, check)


class _Packed:
    """A member as it is in the archive; where its length is unknown, its decompressor finds it.

    Attributes:
        count: How many bytes it has.
    """

    def __init__(
        self, stream: zip_headers.ZipStream, entry: zip_headers.ZipEntry, decompressor: Any
    ) -> None:
        self._stream = stream
        self._decompressor = decompressor
        known = entry.method == STORED or not _is_described(entry)
        self._size = entry.packed if known else None
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        wanted = FIRST_BYTES if self._size is None else byte_streams.CHUNK_BYTES
        while self._size is None or self.count < self._size:
            most = wanted if self._size is None else min(wanted, self._size - self.count)
            chunk = self._stream.read(most)
            if not chunk:
                raise byte_streams.truncated()
            self.count += len(chunk)
            yield chunk
            if self._decompressor is not None and self._decompressor.eof:
                rest = len(self._decompressor.unused_data)
                self._stream.give_back(rest)
                self.count -= rest
                return
            wanted = min(2 * wanted, byte_streams.CHUNK_BYTES)


def _descriptor(
    stream: zip_headers.ZipStream, found: tuple[int, int, int]
) -> tuple[int, int, int]:
    """What stands behind the content: with a signature or without, in 32 bits or in 64."""
    data = stream.exactly(4)
    if data == DESCRIPTOR_SIGNATURE:
        data = stream.exactly(4)
    short = data + stream.exactly(8)
    check, packed, size = struct.unpack("<3L", short)
    if (check, packed, size) == found:
        # That of an empty file in 64 bits begins like this, too.
        following = stream.exactly(4)
        stream.give_back(4)
        if following in FOLLOWING:
            return check, packed, size
    check, packed, size = struct.unpack("<LQQ", short + stream.exactly(8))
    return check, packed, size


def _afterwards(entry: zip_headers.ZipEntry) -> Iterator[members.Member]:
    """What the list says of a member that is in the tree already."""
    if entry.name.endswith("/"):
        return
    zip_headers.check_kind(entry)
    path = members.inside_path(entry.name)
    if zip_headers.is_directory(entry):
        raise members.RefusedArchive(
            f"the archive has the directory {failure.quote(entry.name)} without a slash at its "
            "end, and comes from an origin that gives no parts of it: offer it as tar.gz, or "
            "where ranges are served"
        )
    if zip_headers.is_link(entry):
        zip_headers.check_link(entry)
        yield members.BecomesLink(path)
    elif entry.mode & 0o111:
        yield members.BecomesExecutable(path)


def _end(stream: zip_headers.ZipStream, signature: bytes) -> None:
    """What stands behind the list: an archive that ends in it is not whole."""
    if signature == zip_headers.END64_SIGNATURE:
        length = int.from_bytes(stream.exactly(8), "little")
        for _ in byte_streams.pieces(stream, length):
            pass
        locator = stream.exactly(zip_headers.LOCATOR.size)
        if not locator.startswith(zip_headers.LOCATOR_SIGNATURE):
            raise byte_streams.damaged("its list of files has no end")
        signature = stream.exactly(4)
    if signature != zip_headers.END_SIGNATURE:
        raise byte_streams.damaged("there is no header where one should be")
    fields = zip_headers.END.unpack(
        signature + stream.exactly(zip_headers.END.size - len(signature))
    )
    if fields[1] not in {0, 0xFFFF}:
        raise zip_headers.split_archive()
    stream.exactly(fields[-1])
