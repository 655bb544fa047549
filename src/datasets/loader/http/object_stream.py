"""An object's bytes in their order.

Origins cap a connection, and a file system far away takes more than one connection gives: each of
several fetches the next piece that nobody fetches; pieces wait, a bounded number of them, until
those before them have been read.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..base import buffer_pool, byte_streams
from . import range_connections, remote_object

MOST_CONNECTIONS = 32
# A piece of an archive waits in memory beside the files that were read from it.
PIECE_BYTES, PIECES_AHEAD = 2 * 2**20, 24
LEAST_BYTES = 4 * PIECE_BYTES


def share(pieces: int, lines: int) -> int:
    """Some connections' share of the pieces in memory: other lanes have connections, too."""
    return max(2, pieces * lines // MOST_CONNECTIONS)


class Pieces(Protocol):
    """What gives out an object piece by piece."""

    def piece(self) -> buffer_pool.Buffer | None:
        """The next bytes; None at the end.

        What several connections bring stays until it is done with, what one brings until the next
        call.
        """
        ...

    def close(self) -> None:
        """Ends its connections."""
        ...


def open_stream(
    source: range_connections.DivisibleObject,
    start: int = 0,
    end: int | None = None,
    *,
    head: bytes = b"",
    most: int = MOST_CONNECTIONS,
    piece_bytes: int = PIECE_BYTES,
    ahead: int = PIECES_AHEAD,
) -> ObjectStream:
    """Opens a part of an object; by one connection where it can not be divided.

    Args:
        source: The object.
        start: Where the part begins.
        end: Where it ends; None for the object's end.
        head: What was read of it before.
        most: How many connections may be used at once.
        piece_bytes: How much one request asks for.
        ahead: How many pieces there may be in memory.
    """
    end = source.size if end is None else end
    start += len(head)
    many = most > 1 and source.divisible and end is not None
    if many and end is not None and end - start >= LEAST_BYTES:
        several = range_connections.RangeConnections(
            source, (start, end), most=min(most, ahead), piece_bytes=piece_bytes, ahead=ahead
        )
        return ObjectStream(several, head, paged=not head)
    return ObjectStream(_SingleConnection(source.open_range(start, end)), head)


_NO_PIECE = buffer_pool.Buffer(memoryview(b""))


class ObjectStream:
    """A stream of bytes; see `open_stream`.

    Args:
        pieces: What gives them out.
        head: What was read of them before.
        paged: Whether pieces begin where pages of memory do, and all but the last are whole pages.
    """

    def __init__(self, pieces: Pieces, head: bytes = b"", *, paged: bool = False) -> None:
        self.paged = paged
        self._pieces = pieces
        self._piece = buffer_pool.Buffer(memoryview(head))

    def next_piece(self) -> buffer_pool.Buffer | None:
        """The next bytes, as many as have come; None at the end."""
        piece, self._piece = self._piece, _NO_PIECE
        return piece if piece.data else self._pieces.piece()

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end.

        Raises:
            StartOver: It broke off and can not be gone on with.
            Failure: It broke off for good.
        """
        if not self._piece.data:
            self._piece = self._pieces.piece() or _NO_PIECE
        data = self._piece.data
        chunk, left = bytes(data[:count]), data[count:]
        if left:
            self._piece = self._piece._replace(data=left)
        else:
            self._piece.release()
            self._piece = _NO_PIECE
        return chunk

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or all that are left; they stay to be read."""
        head = bytearray()
        while len(head) < count and (piece := self.next_piece()):
            head += piece.data
            piece.release()
        self._piece = buffer_pool.Buffer(memoryview(head))
        return bytes(head[:count])

    def close(self) -> None:
        """Ends its connections."""
        self._pieces.close()


class _SingleConnection:
    """One connection, read in the reader's own thread."""

    def __init__(self, reader: range_connections.PieceReader) -> None:
        self._reader = reader
        self._buffer = memoryview(bytearray(remote_object.CHUNK_BYTES))
        self._bytes = byte_streams.FIRST_BYTES

    def piece(self) -> buffer_pool.Buffer | None:
        view = self._buffer[: self._bytes]
        self._bytes = remote_object.CHUNK_BYTES
        count = self._reader.readinto(view)
        return buffer_pool.Buffer(view[:count]) if count else None

    def close(self) -> None:
        self._reader.close()


class HashingReader:
    """A stream that is hashed as it is read.

    Args:
        stream: The stream.
        digest: The hash.
    """

    def __init__(self, stream: byte_streams.Readable, digest: Any) -> None:
        self._stream = stream
        self._digest = digest

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end."""
        chunk = self._stream.read(count)
        self._digest.update(chunk)
        return chunk
