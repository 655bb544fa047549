"""Read files of the volume back, with several reads at once."""

from __future__ import annotations

import collections
import concurrent.futures
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from ..base import failure, tasks
from ..http import object_stream

READERS, PIECE_BYTES = 8, 4 * 2**20
# The files that are read at once, and those whose results wait for earlier ones.
FILES_AT_ONCE, FILES_AHEAD = 64, 256
CHUNK_BYTES = 2**20

Argument = TypeVar("Argument")
Outcome = TypeVar("Outcome")


class _LocalFile:
    """A file of the volume, with the interface of an object at an origin."""

    divisible = True

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._bytes = os.fstat(descriptor).st_size
        self.size: int | None = self._bytes

    def open_range(self, start: int, end: int | None, *, patient: bool = True) -> _Span:
        _ = patient
        return _Span(self._descriptor, start, self._bytes if end is None else end)


class _Span:
    """A range of a file."""

    def __init__(self, descriptor: int, start: int, end: int) -> None:
        self._descriptor = descriptor
        self._position = start
        self._end = end

    def readinto(self, buffer: memoryview) -> int:
        room = buffer[: self._end - self._position]
        count = os.preadv(self._descriptor, [room], self._position) if room else 0
        if room and not count:
            raise failure.Failure("a file became shorter while it was read: read it again")
        self._position += count
        return count

    def close(self) -> None:
        """Do nothing: the file is open for all ranges."""


def digests(
    descriptor: int, algorithms: Collection[str], tick: Callable[[], None]
) -> dict[str, str]:
    """Return the digests of a file's content in hex, by the names of the algorithms.

    Args:
        descriptor: The file, open for reading.
        algorithms: The names of the algorithms.
        tick: Called now and then.

    Raises:
        OSError: It cannot be read.
    """
    hashes = {name: tasks.hasher(name) for name in algorithms}
    data = object_stream.open_stream(
        _LocalFile(descriptor), most=READERS, piece_bytes=PIECE_BYTES, ahead=2 * READERS
    )
    try:
        while piece := data.next_piece():
            for digest in hashes.values():
                digest.update(piece.data)
            piece.release()
            tick()
    finally:
        data.close()
    return {name: digest.hexdigest() for name, digest in hashes.items()}


def sha256(descriptor: int, most: int) -> tuple[int, str]:
    """Return the number of bytes that were read of a file, and their checksum in hex.

    Whoever owns it may make it longer all the time.

    Args:
        descriptor: The file, open for reading.
        most: The most bytes that it should have; of a longer one, one byte more is read.

    Raises:
        OSError: It cannot be read.
    """
    digest = tasks.hasher("sha256")
    size = 0
    while chunk := os.read(descriptor, min(CHUNK_BYTES, most + 1 - size)):
        tasks.update(digest, chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def are_one(one: int, other: int) -> bool:
    """Tell whether two open files are one file with two names."""
    status, others = os.fstat(one), os.fstat(other)
    return (status.st_dev, status.st_ino) == (others.st_dev, others.st_ino)


def are_same(one: int, other: int) -> bool:
    """Tell whether two open files are one, or copies: EFS allows 177 hard links to a file.

    Raises:
        OSError: One of them cannot be read.
    """
    if are_one(one, other):
        return True
    size = os.fstat(one).st_size
    if os.fstat(other).st_size != size:
        return False
    return sha256(one, size) == sha256(other, size)


def map_concurrently(
    function: Callable[[Argument], Outcome],
    items: Iterable[Argument],
    *,
    at_once: int = FILES_AT_ONCE,
    ahead: int = FILES_AHEAD,
) -> Iterator[Outcome]:
    """Yield a function's result for each item, in order, while many run at once.

    Args:
        function: The function.
        items: The items.
        at_once: The most calls at once.
        ahead: The most calls whose results wait for earlier ones.
    """
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        waiting: collections.deque[concurrent.futures.Future[Outcome]] = collections.deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
