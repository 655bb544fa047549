"""Streams of bytes as archives are read from, and the two ways in which archives go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from . import failure

CHUNK_BYTES = 2**18
# What comes first shows what it is: a slow connection would take its time to bring more.
FIRST_BYTES = 2**16
MOST_DIGITS = 19


class Damaged(failure.Failure):
    """An archive is not whole."""


class Readable(Protocol):
    """What a stream of bytes can do."""

    def read(self, count: int, /) -> bytes:
        """The next bytes, `count` at the most; none at the end."""
        ...


class BufferedReader:
    """A stream that is read in large pieces, and given out in small ones.

    Args:
        raw: The stream.
    """

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._data: bytes = b""
        self._at = 0

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end."""
        if self._at == len(self._data):
            self._data, self._at = self._raw.read(CHUNK_BYTES), 0
        chunk = self._data[self._at : self._at + count]
        self._at += len(chunk)
        return chunk

    def take(self, count: int) -> bytes:
        """The next `count` bytes, or all that are left."""
        end = self._at + count
        if end <= len(self._data):
            chunk = self._data[self._at : end]
            self._at = end
            return chunk
        held = [self._data[self._at :]]
        self._data, self._at = b"", 0
        left = count - len(held[0])
        while left and (chunk := self.read(left)):
            held.append(chunk)
            left -= len(chunk)
        return b"".join(held)


def pieces(stream: Readable, count: int) -> Iterator[bytes]:
    """The next `count` bytes, a piece at a time.

    Raises:
        Failure: The stream ends before.
    """
    while count:
        piece = stream.read(min(count, CHUNK_BYTES))
        if not piece:
            raise truncated()
        count -= len(piece)
        yield piece


def exactly(stream: Readable, count: int) -> bytes:
    """The next `count` bytes at once.

    Raises:
        Failure: The stream ends before.
    """
    return b"".join(pieces(stream, count))


def drain(stream: Readable) -> None:
    """Reads to the end: what follows counts in a checksum, and a stream's own check is there."""
    while stream.read(CHUNK_BYTES):
        pass


def parse_decimal(text: bytes) -> int:
    """A number as text.

    Raises:
        Failure: It is none, or larger than any size can be.
    """
    if not text.isdigit() or len(text) > MOST_DIGITS:
        raise damaged("a number can not be read")
    return int(text)


def truncated() -> Damaged:
    """The archive stops before its end."""
    return Damaged(
        "the archive ends in the middle: it is truncated where it comes from; check the source"
    )


def damaged(why: str) -> Damaged:
    """The archive contradicts itself."""
    return Damaged(
        f"the archive is damaged, {why}: check the source, and give its checksum if it has one"
    )
