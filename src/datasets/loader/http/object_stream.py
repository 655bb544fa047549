"""An object's bytes in order, fetched over one connection or several.

Origins limit the rate of a connection, and the volume can write faster than that: each connection
takes the next unassigned piece. A limited number of pieces wait in memory until those before them
have been read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..base import buffer_pool, byte_streams
from . import object_reader, range_connections

if TYPE_CHECKING:
    from . import remote_object

MOST_CONNECTIONS = 32
# A piece of an archive waits in memory beside the files that were read from it.
PIECE_BYTES, PIECES_AHEAD = 2 * 2**20, 24
LEAST_BYTES = 4 * PIECE_BYTES


def share(pieces: int, connections: int) -> int:
    """Return some connections' share of the pieces in memory: other lanes have some, too."""
    return max(2, pieces * connections // MOST_CONNECTIONS)


class PieceSource(Protocol):
    """A source of the pieces of an object."""

    @property
    def paged(self) -> bool:
        """Return whether the last piece begins at a page of memory.

        All such pieces but the last one of the object are whole pages.
        """
        ...

    def next_piece(self) -> buffer_pool.Buffer | None:
        """Return the next bytes; None at the end.

        A piece of several connections is valid until it is released, a piece of one connection
        until the next call.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
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
    """Open a part of an object in ranges; with one connection if it is small.

    Args:
        source: The object.
        start: The position where the part begins.
        end: The position where it ends; None for the object's end.
        head: The bytes of it that were read before.
        most: The most connections at once.
        piece_bytes: The size of one request.
        ahead: The most pieces in memory.
    """
    end = source.size if end is None else end
    start += len(head)
    many = most > 1 and source.divisible and end is not None
    if many and end is not None and end - start >= LEAST_BYTES:
        several = range_connections.RangeConnections(
            source, (start, end), most=min(most, ahead), piece_bytes=piece_bytes, ahead=ahead
        )
        pieces = _SeveralConnections(several, start, to_end=end == source.size, paged=not head)
        return ObjectStream(pieces, head)
    return ObjectStream(_SingleConnection(source.open_range(start, end)), head)


def open_whole(source: remote_object.RemoteObject, start: int = 0) -> ObjectStream:
    """Open an object from a position to its end with one connection, with or without ranges."""
    return ObjectStream(_SingleConnection(source.open_rest(start)))


_NO_PIECE = buffer_pool.Buffer(memoryview(b""))


class ObjectStream:
    """A stream of an object's bytes; see `open_stream`.

    Args:
        pieces: The source of its pieces.
        head: The bytes that were read before.
    """

    def __init__(self, pieces: PieceSource, head: bytes = b"") -> None:
        self._pieces = pieces
        self._piece = buffer_pool.Buffer(memoryview(head))

    @property
    def paged(self) -> bool:
        """Return whether the last piece begins at a page of memory; see `PieceSource`."""
        return self._pieces.paged

    def next_piece(self) -> buffer_pool.Buffer | None:
        """Return the next bytes, as many as there are; None at the end."""
        piece, self._piece = self._piece, _NO_PIECE
        return piece if piece.data else self._pieces.next_piece()

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end.

        Raises:
            StartOver: It broke off and cannot be continued.
            Failure: It broke off for good.
        """
        if not self._piece.data:
            self._piece = self._pieces.next_piece() or _NO_PIECE
        data = self._piece.data
        chunk, left = bytes(data[:count]), data[count:]
        if left:
            self._piece = self._piece._replace(data=left)
        else:
            self._piece.release()
            self._piece = _NO_PIECE
        return chunk

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes, or all that are left, and keep them to be read."""
        head = bytearray()
        while len(head) < count and (piece := self.next_piece()):
            head += piece.data
            piece.release()
        self._piece = buffer_pool.Buffer(memoryview(head))
        return bytes(head[:count])

    def close(self) -> None:
        """Close the connections."""
        self._pieces.close()


class _SeveralConnections:
    """Several connections; one that reads the rest if the origin does not serve ranges."""

    def __init__(
        self,
        several: range_connections.RangeConnections,
        start: int,
        *,
        to_end: bool,
        paged: bool,
    ) -> None:
        self.paged = paged
        self._pieces: PieceSource | range_connections.RangeConnections = several
        self._position = start
        self._to_end = to_end

    def next_piece(self) -> buffer_pool.Buffer | None:
        try:
            piece = self._pieces.next_piece()
        except object_reader.NoRanges as trouble:
            if not self._to_end:
                raise
            self._pieces.close()
            self._pieces = _SingleConnection(trouble.open_rest(self._position))
            self.paged = False
            return self._pieces.next_piece()
        self._position += len(piece.data) if piece else 0
        return piece

    def close(self) -> None:
        self._pieces.close()


class _SingleConnection:
    """One connection, read in the reader's own thread."""

    paged = False

    def __init__(self, reader: range_connections.PieceReader) -> None:
        self._reader = reader
        self._buffer = memoryview(bytearray(object_reader.CHUNK_BYTES))
        self._bytes = byte_streams.FIRST_BYTES

    def next_piece(self) -> buffer_pool.Buffer | None:
        view = self._buffer[: self._bytes]
        self._bytes = object_reader.CHUNK_BYTES
        count = self._reader.readinto(view)
        return buffer_pool.Buffer(view[:count]) if count else None

    def close(self) -> None:
        self._reader.close()


class HashingReader:
    """A reader that hashes what it reads.

    Args:
        stream: The stream.
        digest: The hash.
    """

    def __init__(self, stream: byte_streams.Readable, digest: Any) -> None:
        self._stream = stream
        self._digest = digest

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end."""
        chunk = self._stream.read(count)
        self._digest.update(chunk)
        return chunk
