"""Read archives as they stream by, and the archives in them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator

from ..base import byte_streams, failure, file_names, large_memory
from . import formats, members

# An archive in an archive in an archive; archives in that one stay files.
MOST_NESTED = 3


def read(
    stream: byte_streams.Readable,
    archive_format: str,
    *,
    count: Callable[[int], None] = lambda _: None,
    recursive: bool = False,
    inner: bool = False,
    checked: bool = False,
) -> Iterator[members.Member]:
    """Read the members of an archive, in its order.

    Args:
        stream: The archive.
        archive_format: Its format, as `formats.recognise` returns it.
        count: Called with the number of bytes that a decompressor returned.
        recursive: Whether archives in it are unpacked as well, each into a directory of its name.
        inner: Whether it is in an archive itself.
        checked: Whether a checksum decides that it is the right one, with all that is in it.

    Raises:
        Failure: It is cut off, damaged, or has what a data set must not have.
    """
    levels = MOST_NESTED - inner if recursive else 1
    return _Reader(count, checked=checked).read(stream, archive_format, levels)


def unpack_nested(
    outer: Iterable[members.Member],
    *,
    count: Callable[[int], None] = lambda _: None,
    inner: bool = False,
    checked: bool = False,
) -> Iterator[members.Member]:
    """Unpack the archives among members, as `read` does; the other members stay."""
    return _Reader(count, checked=checked).unpack_inner(outer, MOST_NESTED - inner)


def nested_directory(path: str) -> str:
    """Return the directory for an archive in another one: its path without its ending."""
    directory = file_names.ARCHIVE_NAME.sub("", path)
    # What is left of ".tar", "..tar" and "...tar" is no name.
    return path if directory.rpartition("/")[2] in {"", ".", ".."} else directory


class _Reader:
    """A reader of archives, and of those in them.

    Args:
        count: Called with the number of bytes that a decompressor returned.
        checked: Whether a checksum decides that the outermost one is the right one.
    """

    def __init__(self, count: Callable[[int], None], *, checked: bool) -> None:
        self._count = count
        self._checked = checked

    def read(
        self, stream: byte_streams.Readable, archive_format: str, levels: int
    ) -> Iterator[members.Member]:
        outer = formats.read_stream(archive_format, stream, self._count, checked=self._checked)
        return outer if levels == 1 else self.unpack_inner(outer, levels)

    def unpack_inner(
        self, outer: Iterable[members.Member], levels: int
    ) -> Iterator[members.Member]:
        for member in outer:
            if isinstance(member, members.File) and file_names.ARCHIVE_NAME.search(member.path):
                yield from self._read_inner(member, levels - 1)
            else:
                yield member

    def _read_inner(self, outer: members.File, levels: int) -> Iterator[members.Member]:
        """Read the members of an inner archive; yield the file itself if it is none."""
        source = _Inner(outer)
        with source.named(), large_memory.LARGE.scope():
            archive_format = formats.recognise_inner(formats.head_of(source.peek), outer.path)
        if archive_format == formats.FILE:
            whole = isinstance(outer.chunks, tuple)
            yield outer if whole else dataclasses.replace(outer, chunks=source.rest())
            return
        top = nested_directory(outer.path)
        with source.named(), large_memory.LARGE.scope():
            for member in self.read(source, archive_format, levels):
                path = f"{top}/{member.path}" if member.path else top
                if isinstance(member, members.HardLink):
                    yield members.HardLink(path, f"{top}/{member.target}")
                elif isinstance(member, members.File) and not isinstance(member.chunks, tuple):
                    yield dataclasses.replace(member, path=path, chunks=source.name(member.chunks))
                else:
                    yield dataclasses.replace(member, path=path)
            byte_streams.drain(source)


class _Inner:
    """A file in an archive, read as a stream.

    Args:
        outer: The file.
    """

    def __init__(self, outer: members.File) -> None:
        self._path = outer.path
        self._chunks = iter(outer.chunks)
        self._head = b""
        self._outer_error: byte_streams.Damaged | None = None

    def peek(self, count: int) -> bytes:
        """Return the first bytes, at most `count`, and keep them to be read."""
        head = bytearray(self._head)
        while len(head) < count and (chunk := self._next()):
            head += chunk
        self._head = bytes(head)
        return self._head[:count]

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end."""
        data = self._head or self._next()
        self._head = data[count:]
        return data[:count]

    def rest(self) -> Iterator[bytes]:
        """Yield the bytes that were not read."""
        while chunk := self.read(byte_streams.CHUNK_BYTES):
            yield chunk

    def _next(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except byte_streams.Damaged as error:
            self._outer_error = error
            raise

    @contextlib.contextmanager
    def named(self) -> Generator[None]:
        """Name this archive in a failure, unless the outer one is damaged."""
        try:
            yield
        except byte_streams.Damaged as error:
            if error is self._outer_error:
                raise
            raise byte_streams.Damaged(f"{failure.quote(self._path)}: {error}") from None

    def name(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the same chunks; name this archive in a failure if it is damaged."""
        with self.named():
            yield from chunks
