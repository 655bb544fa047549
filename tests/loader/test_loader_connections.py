"""The number of connections that fetch an object, and the pieces that one is refused."""

from __future__ import annotations

import concurrent.futures
import mmap
import os
import pathlib
import random
import threading
import time

import pytest

from datasets.loader.base import buffer_pool
from datasets.loader.http import object_stream, range_connections, responses
from datasets.loader.tree import large_file

PAGE = mmap.PAGESIZE


class Part:
    """The response to one request."""

    def __init__(self, source: Source, start: int, end: int | None, *, patient: bool) -> None:
        self._source = source
        self._patient = patient
        self._left = memoryview(source.content)[start:end]
        self._begun = False

    def readinto(self, buffer: memoryview) -> int:
        if not self._begun:
            self._source.begin(patient=self._patient)
            self._begun = True
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def close(self) -> None:
        if self._begun:
            self._source.end()


class Source:
    """An object that is served to any number of connections at once."""

    divisible = True

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size: int | None = len(content)

    def open_range(self, start: int, end: int | None, *, patient: bool = True) -> Part:
        return Part(self, start, end, patient=patient)

    def begin(self, *, patient: bool) -> None:
        """Begin a request."""

    def end(self) -> None:
        """End a request."""


class ForMany(Source):
    """An object that is not served before this number of connections has requested it."""

    def __init__(self, content: bytes, count: int) -> None:
        super().__init__(content)
        self._all_here = threading.Barrier(count)
        self._were_here = threading.Event()

    def begin(self, *, patient: bool) -> None:
        if not self._were_here.is_set():
            self._all_here.wait(30)
            self._were_here.set()


class ForFew(Source):
    """An object that is served to a number at once, and refused to others after a while."""

    def __init__(self, content: bytes, most: int, after_seconds: float) -> None:
        super().__init__(content)
        self._after_seconds = after_seconds
        self._room = threading.Semaphore(most)

    def begin(self, *, patient: bool) -> None:
        if not self._room.acquire(blocking=patient):
            time.sleep(self._after_seconds)
            raise responses.RetryLater("answers 503")
        time.sleep(0.001)

    def end(self) -> None:
        self._room.release()


def whole(data: object_stream.ObjectStream) -> bytes:
    """Return all bytes of a stream."""
    pieces: list[bytes] = []
    while piece := data.next_piece():
        pieces.append(bytes(piece.data))
        piece.release()
    return b"".join(pieces)


def content_of(pieces: int) -> bytes:
    page = random.Random(6).randbytes(PAGE)
    return b"".join(bytes([number % 251]) + page[1:] for number in range(16 * pieces)) + b"end"


def test_slow_connections_become_more_of_them() -> None:
    content, most = content_of(200), object_stream.MOST_CONNECTIONS
    source = ForMany(content, most)
    data = object_stream.open_stream(source, most=most, piece_bytes=16 * PAGE, ahead=most)
    assert whole(data) == content


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("after_seconds", [0, 0.1])
def test_what_one_was_refused_the_others_fetch_at_once(
    monkeypatch: pytest.MonkeyPatch, most: int, after_seconds: float
) -> None:
    # No connection is added during this test.
    monkeypatch.setattr(range_connections, "PAUSE_SECONDS", 3600)
    content = content_of(200)
    data = object_stream.open_stream(ForFew(content, most, after_seconds), piece_bytes=16 * PAGE)
    found: list[bytes] = []
    # The test must not wait for a thread that hangs.
    reader = threading.Thread(target=lambda: found.append(whole(data)), daemon=True)
    reader.start()
    reader.join(30)
    assert found
    assert found[0] == content


@pytest.mark.parametrize("most", [2, 3, 5])
def test_a_file_is_filled_by_a_lane_that_has_little_memory(
    tmp_path: pathlib.Path, most: int
) -> None:
    content = content_of(200)
    data = object_stream.open_stream(Source(content), most=most, piece_bytes=16 * PAGE, ahead=2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        file = large_file.LargeFile(
            lambda: os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o644),
            "file",
            start=0,
            digests={},
            pool=pool,
            buffers=buffer_pool.BufferPool(),
        )
        while piece := data.next_piece():
            file.write_block(piece)
        file.close()
    assert (tmp_path / "file").read_bytes() == content
