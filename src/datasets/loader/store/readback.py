"""Read files of the volume back, with several reads at once."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import pathlib
import stat
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

    def __init__(self, path: pathlib.Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.bytes = os.fstat(self.descriptor).st_size
        self.size: int | None = self.bytes

    def open_range(self, start: int, end: int | None, *, patient: bool = True) -> _Span:
        _ = patient
        return _Span(self.descriptor, start, self.bytes if end is None else end)


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
    path: pathlib.Path, algorithms: Collection[str], tick: Callable[[], None]
) -> dict[str, str]:
    """Return the digests of a file's content in hex, by the names of the algorithms.

    Args:
        path: The file; a link is not followed.
        algorithms: The names of the algorithms.
        tick: Called now and then.

    Raises:
        OSError: It cannot be read.
    """
    local = _LocalFile(path)
    hashes = {name: tasks.hasher(name) for name in algorithms}
    try:
        data = object_stream.open_stream(
            local, most=READERS, piece_bytes=PIECE_BYTES, ahead=2 * READERS
        )
        try:
            while piece := data.next_piece():
                for digest in hashes.values():
                    digest.update(piece.data)
                piece.release()
                tick()
        finally:
            data.close()
    finally:
        os.close(local.descriptor)
    return {name: digest.hexdigest() for name, digest in hashes.items()}


def sha256(path: pathlib.Path) -> tuple[int, str]:
    """Return the size of a file, and the checksum of its content in hex.

    Raises:
        OSError: It cannot be read, or is a link.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    digest = tasks.hasher("sha256")
    size = 0
    try:
        while chunk := os.read(descriptor, CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()


def are_same(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Tell whether two paths are one file, or copies: EFS allows 177 hard links to a file.

    Raises:
        OSError: One of them does not exist, or cannot be read.
    """
    status, others = one.lstat(), other.lstat()
    if os.path.samestat(status, others):
        return True
    plain = stat.S_ISREG(status.st_mode) and stat.S_ISREG(others.st_mode)
    return plain and sha256(one) == sha256(other)


def map_concurrently(
    function: Callable[[Argument], Outcome], items: Iterable[Argument]
) -> Iterator[Outcome]:
    """Yield a function's result for each item, in order, while many run at once."""
    with concurrent.futures.ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        waiting: collections.deque[concurrent.futures.Future[Outcome]] = collections.deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > FILES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
