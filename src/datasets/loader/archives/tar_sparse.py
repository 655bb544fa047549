"""Read sparse files in tar archives: their maps have the positions of the stored data.

Holes are returned as zeros. GNU tar's old format and PAX 1.0, which tar writes today, are
supported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from ..base import byte_streams
from . import members, tar_header

BLOCK_BYTES = 512
FIELD_BYTES = 12
MOST_EXTENTS = 100_000
ZEROS = bytes(byte_streams.CHUNK_BYTES)


@dataclasses.dataclass(frozen=True)
class SparseMap:
    """The map of a sparse file.

    Attributes:
        size: The file's size, with its holes.
        extents: Offset and length of the stored data, in order.
    """

    size: int
    extents: tuple[tuple[int, int], ...]


def pieces(body: byte_streams.Readable, sparse: SparseMap) -> Iterator[bytes]:
    """Yield the file's bytes, with zeros in its holes."""
    position = 0
    for offset, length in sparse.extents:
        if offset < position or offset + length > sparse.size:
            raise byte_streams.damaged("the parts of a sparse file overlap")
        yield from _zeros(offset - position)
        yield from byte_streams.read_pieces(body, length)
        position = offset + length
    yield from _zeros(sparse.size - position)


def old_map(stream: byte_streams.Readable, header: bytes) -> SparseMap:
    """Return the map in a GNU header, which continues in the blocks that follow it."""
    extents = _fields(header[386:482])
    more, size = header[482], _number(header[483:495])
    while more:
        block = byte_streams.read_exactly(stream, BLOCK_BYTES)
        extents += _fields(block[:504])
        more = block[504]
        _check_count(len(extents))
    return SparseMap(size, tuple(extents))


def pax_map(body: byte_streams.Readable, extended: Mapping[str, str]) -> SparseMap:
    """Return the map at the beginning of a sparse PAX member's body."""
    if extended.get("GNU.sparse.major") != "1":
        raise members.RefusedArchive(
            "the archive has a sparse file in an old format (PAX 0.x): make it again with a newer "
            "tar, or without --sparse"
        )
    numbers = _lines(body)
    count = next(numbers)
    _check_count(count)
    extents = tuple((next(numbers), next(numbers)) for _ in range(count))
    size = extended.get("GNU.sparse.realsize", "").encode(errors="replace")
    return SparseMap(byte_streams.parse_decimal(size), extents)


def _lines(body: byte_streams.Readable) -> Iterator[int]:
    """Yield decimal numbers, one a line, from as many blocks as needed."""
    rest = b""
    while True:
        *lines, rest = (rest + byte_streams.read_exactly(body, BLOCK_BYTES)).split(b"\n")
        yield from map(byte_streams.parse_decimal, lines)
        # Zeros, too: as long as no line ends, each block would be joined to all before it.
        if len(rest) > byte_streams.MOST_DIGITS:
            raise byte_streams.damaged("a number cannot be read")


def _fields(table: bytes) -> list[tuple[int, int]]:
    pairs = [
        (_number(table[at : at + FIELD_BYTES]), _number(table[at + FIELD_BYTES :][:FIELD_BYTES]))
        for at in range(0, len(table), 2 * FIELD_BYTES)
    ]
    return [(offset, length) for offset, length in pairs if offset or length]


def _number(field: bytes) -> int:
    """Return the number in a field, as `tar_header.number` does."""
    try:
        return tar_header.number(field)
    except ValueError:
        raise byte_streams.damaged("a number cannot be read") from None


def _check_count(count: int) -> None:
    if count > MOST_EXTENTS:
        raise members.RefusedArchive(
            f"the archive has a sparse file in more than {MOST_EXTENTS} parts: make it again "
            "without --sparse"
        )


def _zeros(count: int) -> Iterator[bytes]:
    while count:
        yield ZEROS[:count]
        count -= len(ZEROS[:count])
