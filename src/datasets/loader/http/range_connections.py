"""Fetch an object's pieces over several connections at once, and return them in order.

The number of connections adapts: one more while the reader has to wait for pieces, one less when
the origin refuses one.
"""

from __future__ import annotations

import functools
import heapq
import threading
import time
from typing import Protocol

from ..base import buffer_pool
from . import object_reader, responses

# The number of connections at first, and the reader's total wait after which one is added.
FIRST, WAIT_SECONDS = 8, 0.005
# After a refusal none is added for this long; twice as long each time.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0


class PieceReader(Protocol):
    """A reader of a range of an object, from its beginning to its end."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read the next bytes into a buffer; return their number, 0 at the end."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class DivisibleObject(Protocol):
    """An object that can be read from any position."""

    size: int | None

    @property
    def divisible(self) -> bool:
        """Return whether it has ranges that surely belong to one version of it."""
        ...

    def open_range(self, start: int, end: int | None, *, patient: bool = True) -> PieceReader:
        """Open a range of it; raise RetryLater if it cannot begin and `patient` is false."""
        ...


class RangeConnections:
    """Connections that fetch an object, one thread each.

    Args:
        source: The object.
        span: The positions where the part to fetch begins and ends.
        most: The most connections.
        piece_bytes: The size of one request.
        ahead: The most pieces in memory.
    """

    def __init__(
        self,
        source: DivisibleObject,
        span: tuple[int, int],
        *,
        most: int,
        piece_bytes: int,
        ahead: int,
    ) -> None:
        self._source = source
        self._start, self._end = start, end = span
        self._piece_bytes = piece_bytes
        self._count = -(-(end - start) // piece_bytes)
        self._ahead, self._in_memory = ahead, 0
        self._returned = self._assigned = 0
        self._abandoned: list[int] = []
        self._fetched: dict[int, memoryview] = {}
        self._free: list[memoryview] = []
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._alive, self._most = 0, min(most, self._count)
        self._waited_seconds = 0.0
        self._pause_seconds, self._next_at = PAUSE_SECONDS, 0.0
        with self._changed:
            for _ in range(min(FIRST, self._most)):
                self._connect()

    def next_piece(self) -> buffer_pool.Buffer | None:
        """Return the next piece; None at the end.

        Raises:
            NoRanges: The origin does not serve ranges of it.
            StartOver: The object has changed.
            Failure: It cannot be fetched.
        """
        if self._returned == self._count:
            return None
        with self._changed:
            while self._returned not in self._fetched:
                if self._error:
                    raise self._error
                self._wait()
            piece = self._fetched.pop(self._returned)
            self._returned += 1
            return buffer_pool.Buffer(piece, functools.partial(self._release, piece))

    def close(self) -> None:
        """Close the connections."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait for a piece; add a connection if the waits have become long."""
        began = time.monotonic()
        self._changed.wait(WAIT_SECONDS)
        now = time.monotonic()
        self._waited_seconds += now - began
        if self._waited_seconds >= WAIT_SECONDS and self._alive < self._most:
            self._waited_seconds = 0.0
            if now >= self._next_at and not self._is_over():
                self._connect()

    def _connect(self) -> None:
        self._alive += 1
        threading.Thread(target=self._run, daemon=True).start()

    def _release(self, piece: memoryview) -> None:
        with self._changed:
            self._free.append(memoryview(piece.obj))
            self._in_memory -= 1
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (assigned := self._assign()) is not None:
                number, memory = assigned
                try:
                    piece = self._fetch(number, memory, patient=False)
                except responses.RetryLater as trouble:
                    if self._abandon(number, memory, trouble.wait_seconds):
                        return
                    piece = self._fetch(number, memory, patient=True)
                except object_reader.NoRanges as trouble:
                    # Some origins refuse all connections but one or a few.
                    if not trouble.refused:
                        raise
                    if self._abandon(number, memory):
                        return
                    piece = self._fetch(number, memory, patient=True)
                with self._changed:
                    self._fetched[number] = piece
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - the reader raises it
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _assign(self) -> tuple[int, memoryview] | None:
        """Return the next unassigned piece and memory for it; None if no piece is left."""
        with self._changed:
            while self._in_memory >= self._memory_limit() and not self._is_over():
                self._changed.wait()
            if self._is_over():
                self._alive -= 1
                return None
            self._in_memory += 1
            if self._abandoned:
                number = heapq.heappop(self._abandoned)
            else:
                number, self._assigned = self._assigned, self._assigned + 1
            return number, self._free.pop() if self._free else buffer_pool.allocate(
                self._piece_bytes
            )

    def _memory_limit(self) -> int:
        """Return the most pieces in memory: touching more memory than needed takes time."""
        # The reader may wait for an abandoned piece while the fetched ones wait for the reader.
        return self._ahead if self._abandoned else min(self._ahead, 2 * self._alive)

    def _is_over(self) -> bool:
        nothing_left = self._assigned == self._count and not self._abandoned
        return self._closed or self._error is not None or nothing_left

    def _abandon(self, number: int, memory: memoryview, wait_seconds: float = 0) -> bool:
        """Leave a piece to the other connections, if there are any; return whether there are."""
        with self._changed:
            if self._alive == 1:
                return False
            self._alive -= 1
            heapq.heappush(self._abandoned, number)
            self._free.append(memory)
            self._in_memory -= 1
            now = time.monotonic()
            # Connections that are refused during a pause began before it.
            if now >= self._next_at:
                self._next_at = now + max(self._pause_seconds, wait_seconds)
                self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)
            self._changed.notify_all()
            return True

    def _fetch(self, number: int, memory: memoryview, *, patient: bool) -> memoryview:
        start = self._start + number * self._piece_bytes
        end = min(start + self._piece_bytes, self._end)
        view = memory[: end - start]
        reader = self._source.open_range(start, end, patient=patient)
        try:
            filled = 0
            while filled < len(view) and not self._closed:
                filled += reader.readinto(view[filled : filled + object_reader.CHUNK_BYTES])
        finally:
            reader.close()
        return view
