"""An object's pieces in their order, fetched by several connections at once.

There are no more connections than it takes, and than the origin takes: one more while the reader
has to wait for pieces, one less where the origin refuses one of them.
"""

from __future__ import annotations

import functools
import heapq
import threading
import time
from typing import Protocol

from ..base import buffer_pool
from . import remote_object, responses

# How many are begun with; and how long the reader waits, all in all, until there is one more.
FIRST, WAIT_SECONDS = 8, 0.005
# After one was refused there is no further one for so long; each time twice as long.
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0


class PieceReader(Protocol):
    """A part of an object that is read from its beginning to its end."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Reads the next bytes into a buffer; how many there were, 0 at the end."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class DivisibleObject(Protocol):
    """What can be read from anywhere in it."""

    size: int | None

    @property
    def divisible(self) -> bool:
        """Whether parts of it can be read that surely belong together."""
        ...

    def open_range(self, start: int, end: int | None, *, patient: bool = True) -> PieceReader:
        """A part of it; who is not patient wants to know where it can not be begun with."""
        ...


class RangeConnections:
    """Connections that fetch an object, each in a thread of its own.

    Args:
        source: The object.
        span: Where the part of it begins and ends.
        most: How many there may be.
        piece_bytes: How much one request asks for.
        ahead: How many pieces there may be in memory.
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
        self._ahead, self._taken = ahead, 0
        self._given = self._asked = 0
        self._again: list[int] = []
        self._there: dict[int, memoryview] = {}
        self._spare: list[memoryview] = []
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._alive, self._most = 0, min(most, self._count)
        self._waited_seconds = 0.0
        self._pause_seconds, self._next_at = PAUSE_SECONDS, 0.0
        with self._changed:
            for _ in range(min(FIRST, self._most)):
                self._connect()

    def piece(self) -> buffer_pool.Buffer | None:
        """The next piece; None at the end.

        Raises:
            StartOver: The object is another one now.
            Failure: It can not be had.
        """
        if self._given == self._count:
            return None
        with self._changed:
            while self._given not in self._there:
                if self._error:
                    raise self._error
                self._wait()
            piece = self._there.pop(self._given)
            self._given += 1
            return buffer_pool.Buffer(piece, functools.partial(self._give_back, piece))

    def close(self) -> None:
        """Ends them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self) -> None:
        """Waits for them; where that takes long there is one more."""
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

    def _give_back(self, piece: memoryview) -> None:
        with self._changed:
            self._spare.append(memoryview(piece.obj))
            self._taken -= 1
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (taken := self._take()) is not None:
                number, memory = taken
                try:
                    piece = self._fetch(number, memory, patient=False)
                except responses.RetryLater as trouble:
                    if self._leave(number, memory, trouble):
                        return
                    piece = self._fetch(number, memory, patient=True)
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
            while self._taken >= self._room() and not self._is_over():
                self._changed.wait()
            if self._is_over():
                self._alive -= 1
                return None
            self._taken += 1
            if self._again:
                number = heapq.heappop(self._again)
            else:
                number, self._asked = self._asked, self._asked + 1
            return number, self._spare.pop() if self._spare else buffer_pool.allocate(
                self._piece_bytes
            )

    def _room(self) -> int:
        """How many pieces there may be: to touch more memory than is needed takes its time."""
        # The reader may wait for one that was left, and those that are there for the reader.
        return self._ahead if self._again else min(self._ahead, 2 * self._alive)

    def _is_over(self) -> bool:
        nothing_left = self._asked == self._count and not self._again
        return self._closed or self._error is not None or nothing_left

    def _leave(self, number: int, memory: memoryview, trouble: responses.RetryLater) -> bool:
        """Leaves a piece to the others, if there are any; returns whether there are."""
        with self._changed:
            if self._alive == 1:
                return False
            self._alive -= 1
            heapq.heappush(self._again, number)
            self._spare.append(memory)
            self._taken -= 1
            now = time.monotonic()
            # Those that are refused in a pause were begun before it.
            if now >= self._next_at:
                self._next_at = now + max(self._pause_seconds, trouble.wait_seconds)
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
                filled += reader.readinto(view[filled : filled + remote_object.CHUNK_BYTES])
        finally:
            reader.close()
        return view
