"""An object's bytes in their order, fetched by many connections at once.

Origins cap a connection, and a file system far away takes more than one connection gives. Each
connection fetches the next piece that nobody fetches; pieces wait, a bounded number of them, until
those before them have been read.
"""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, Protocol

from . import blocks, remote, streams

# Some are begun with; while the reader has to wait for them there are more, up to CONNECTIONS.
CONNECTIONS, FIRST_CONNECTIONS, PATIENCE_SECONDS = 32, 8, 0.005
# A piece of an archive waits in memory beside the files that were read from it.
PIECE_BYTES, PIECES_AHEAD = 2 * 2**20, 24
LEAST_BYTES = 4 * PIECE_BYTES


def share(pieces: int, connections: int) -> int:
    """Some connections' share of the pieces in memory: other lanes have connections, too."""
    return max(2, pieces * connections // CONNECTIONS)


class Line(Protocol):
    """A part of an object that is read from its beginning to its end."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads the next bytes into a buffer; how many there were, 0 at the end."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class Object(Protocol):
    """What can be read from anywhere in it."""

    size: int | None

    @property
    def divisible(self) -> bool:
        """Whether parts of it can be read that surely belong together."""
        ...

    def line(self, start: int, end: int | None, /) -> Line:
        """A part of it."""
        ...


class Pieces(Protocol):
    """What gives out an object piece by piece."""

    def piece(self) -> blocks.Block | None:
        """The next bytes; None at the end."""
        ...

    def close(self) -> None:
        """Ends its connections."""
        ...


def open_stream(
    source: Object,
    start: int = 0,
    end: int | None = None,
    *,
    head: bytes = b"",
    connections: int = CONNECTIONS,
    piece_bytes: int = PIECE_BYTES,
    ahead: int = PIECES_AHEAD,
) -> Stream:
    """Opens a part of an object; by one connection where it can not be divided.

    Args:
        source: The object.
        start: Where the part begins.
        end: Where it ends; None for the object's end.
        head: What was read of it before.
        connections: How many connections may be used at once.
        piece_bytes: How much one request asks for.
        ahead: How many pieces there may be in memory.
    """
    end = source.size if end is None else end
    start += len(head)
    many = connections > 1 and source.divisible and end is not None
    if many and end is not None and end - start >= LEAST_BYTES:
        many_pieces = _Many(
            source,
            (start, end),
            connections=min(connections, ahead),
            piece_bytes=piece_bytes,
            ahead=ahead,
        )
        return Stream(many_pieces, head, paged=not head)
    return Stream(_One(source.line(start, end)), head)


_NO_PIECE = blocks.Block(memoryview(b""))


class Stream:
    """A stream of bytes; see `open_stream`.

    Args:
        pieces: What gives them out.
        head: What was read of them before.
        paged: Whether pieces begin where pages of memory do, and all but the last are whole pages.
    """

    def __init__(self, pieces: Pieces, head: bytes = b"", *, paged: bool = False) -> None:
        self.paged = paged
        self._pieces = pieces
        self._piece = blocks.Block(memoryview(head))

    def next_piece(self) -> blocks.Block | None:
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
            self._piece.done()
            self._piece = _NO_PIECE
        return chunk

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or all that are left; they stay to be read."""
        head = bytearray()
        while len(head) < count and (piece := self.next_piece()):
            head += piece.data
            piece.done()
        self._piece = blocks.Block(memoryview(head))
        return bytes(head[:count])

    def close(self) -> None:
        """Ends its connections."""
        self._pieces.close()


class _One:
    """One connection, read in the reader's own thread."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._buffers = (bytearray(remote.CHUNK_BYTES), bytearray(remote.CHUNK_BYTES))
        self._turn = 0
        self._bytes = streams.FIRST_BYTES

    def piece(self) -> blocks.Block | None:
        self._turn = 1 - self._turn
        view = memoryview(self._buffers[self._turn])[: self._bytes]
        self._bytes = remote.CHUNK_BYTES
        count = self._line.readinto(view)
        return blocks.Block(view[:count]) if count else None

    def close(self) -> None:
        self._line.close()


class _Many:
    """Several connections, each in a thread of its own."""

    def __init__(
        self,
        source: Object,
        span: tuple[int, int],
        *,
        connections: int,
        piece_bytes: int,
        ahead: int,
    ) -> None:
        self._source = source
        self._start, self._end = start, end = span
        self._piece_bytes = piece_bytes
        self._count = -(-(end - start) // piece_bytes)
        self._free = ahead
        self._given = self._asked = 0
        self._there: dict[int, memoryview] = {}
        self._spare: list[memoryview] = []
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._waited_seconds = 0.0
        self._connections, self._most = 0, min(connections, self._count)
        for _ in range(min(FIRST_CONNECTIONS, self._most)):
            self._connect()

    def piece(self) -> blocks.Block | None:
        if self._given == self._count:
            return None
        with self._changed:
            while self._given not in self._there:
                if self._error:
                    raise self._error
                self._wait()
            piece = self._there.pop(self._given)
            self._given += 1
            return blocks.Block(piece, functools.partial(self._give_back, piece))

    def _wait(self) -> None:
        """Waits for a connection; where they are too slow there is one more of them."""
        began = time.monotonic()
        self._changed.wait(PATIENCE_SECONDS)
        self._waited_seconds += time.monotonic() - began
        if self._waited_seconds >= PATIENCE_SECONDS and self._connections < self._most:
            self._waited_seconds = 0.0
            self._connect()

    def _connect(self) -> None:
        self._connections += 1
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _give_back(self, piece: memoryview) -> None:
        with self._changed:
            self._spare.append(memoryview(piece.obj))
            self._free += 1
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                number, buffer = taken
                piece = self._fetch(number, buffer)
                if piece is None:
                    return
                with self._changed:
                    self._there[number] = piece
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _take(self) -> tuple[int, memoryview] | None:
        """The next piece to fetch, and room for it; None where there is none any more."""
        with self._changed:
            while not self._free and not self._is_over():
                self._changed.wait()
            if self._is_over():
                return None
            self._free -= 1
            number, self._asked = self._asked, self._asked + 1
            buffer = self._spare.pop() if self._spare else blocks.room(self._piece_bytes)
            return number, buffer

    def _is_over(self) -> bool:
        return self._closed or self._error is not None or self._asked == self._count

    def _fetch(self, number: int, buffer: memoryview) -> memoryview | None:
        start = self._start + number * self._piece_bytes
        end = min(start + self._piece_bytes, self._end)
        view = buffer[: end - start]
        line = self._source.line(start, end)
        try:
            filled = 0
            while filled < len(view):
                if self._closed:
                    return None
                filled += line.readinto(view[filled : filled + remote.CHUNK_BYTES])
        finally:
            line.close()
        return view


class Hashed:
    """A stream that is hashed as it is read.

    Args:
        stream: The stream.
        digest: The hash.
    """

    def __init__(self, stream: streams.Readable, digest: Any) -> None:
        self._stream = stream
        self._digest = digest

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end."""
        chunk = self._stream.read(count)
        self._digest.update(chunk)
        return chunk
