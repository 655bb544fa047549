"""Byte streams that archives are read from, and the failures of bad archives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from . import failure

CHUNK_BYTES = 2**18
# These bytes show the format; more of them would take long over a slow connection.
FIRST_BYTES = 2**16
MOST_DIGITS = 19


class Damaged(failure.Failure):
    """A truncated or damaged archive."""


class Truncated(Damaged):
    """An archive that ends in the middle."""


class BadEnd(Damaged):
    """An archive whose members were all read, but that does not end as it should.

    If its checksum is right, it is as it is at its origin, and nothing is lost.
    """


class Readable(Protocol):
    """A readable stream of bytes."""

    def read(self, count: int, /) -> bytes:
        """Return the next bytes, at most `count`; none at the end."""
        ...


class BufferedReader:
    """A reader that reads a stream in large pieces and returns small ones.

    Args:
        raw: The stream.
    """

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._data: bytes = b""
        self._at = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end."""
        if self._at == len(self._data):
            self._data, self._at = self._raw.read(CHUNK_BYTES), 0
        chunk = self._data[self._at : self._at + count]
        self._at += len(chunk)
        return chunk

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, or all that are left."""
        end = self._at + count
        if end <= len(self._data):
            chunk = self._data[self._at : end]
            self._at = end
            return chunk
        chunks = [self._data[self._at :]]
        self._data, self._at = b"", 0
        left = count - len(chunks[0])
        while left and (chunk := self.read(left)):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)


def read_pieces(stream: Readable, count: int) -> Iterator[bytes]:
    """Yield the next `count` bytes in pieces.

    Raises:
        Failure: The stream ends earlier.
    """
    while count:
        piece = stream.read(min(count, CHUNK_BYTES))
        if not piece:
            raise truncated()
        count -= len(piece)
        yield piece


def read_exactly(stream: Readable, count: int) -> bytes:
    """Return exactly the next `count` bytes.

    Raises:
        Failure: The stream ends earlier.
    """
    return b"".join(read_pieces(stream, count))


def drain(stream: Readable) -> None:
    """Read a stream to its end: checksums cover all of it, and its own check may be there."""
    while stream.read(CHUNK_BYTES):
        pass


def parse_decimal(text: bytes) -> int:
    """Return the number that a text of decimal digits stands for.

    Raises:
        Failure: It is not a number, or larger than any size can be.
    """
    if not text.isdigit() or len(text) > MOST_DIGITS:
        raise damaged("a number cannot be read")
    return int(text)


def truncated() -> Truncated:
    """Return the failure of an archive that ends too early."""
    return Truncated(
        "the archive ends in the middle: it is truncated at its origin; check the source"
    )


def no_list() -> Truncated:
    """Return the failure of a zip archive without its list of files."""
    return Truncated(
        "the archive has no list of files at its end: it is truncated, or not a zip archive; "
        "check the source"
    )


def other_data() -> BadEnd:
    """Return the failure of an archive with other data after its end."""
    return BadEnd(
        "the archive has other data after its end: check that it was uploaded and joined as it "
        "should be; if it is right, give its checksum"
    )


def no_end() -> BadEnd:
    """Return the failure of a tar archive that ends after a member, without its end."""
    return BadEnd(
        "the archive has no blocks of zeros at its end: it is truncated, or its tool wrote none; "
        "check the source, and give its checksum if it is whole"
    )


def damaged(reason: str) -> Damaged:
    """Return the failure of an archive that contradicts itself."""
    return Damaged(
        f"the archive is damaged, {reason}: check the source, and give its checksum if it has one"
    )
