"""Opens archives that stream by, and the archives in them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator

from ..base import byte_streams, failure, file_names
from . import decompress, formats, members, tar_reader

# An archive in an archive in an archive; what is in that stays a file.
MOST_NESTED = 3


def read(
    stream: byte_streams.Readable,
    archive_format: str,
    *,
    count: Callable[[int], None] = lambda _: None,
    recursive: bool = False,
    inner: bool = False,
) -> Iterator[members.Member]:
    """The members of an archive, in its order.

    Args:
        stream: The archive.
        archive_format: What it is, as `formats.recognise` says it.
        count: Is told how many bytes came out of a decompressor, each time some do.
        recursive: Whether archives in it are unpacked, too: each into a directory of its name.
        inner: Whether it is in an archive itself.

    Raises:
        Failure: It is cut off, damaged, or has what a data set must not have.
    """
    return _read(stream, archive_format, count, MOST_NESTED - inner if recursive else 1)


def unpack_nested(
    found: Iterable[members.Member],
    *,
    count: Callable[[int], None] = lambda _: None,
    inner: bool = False,
) -> Iterator[members.Member]:
    """The same members, with archives among them unpacked, as `read` does it."""
    return _inside(found, count, MOST_NESTED - inner)


def nested_directory(path: str) -> str:
    """The directory that an archive in another one is unpacked into: its path, less its ending."""
    directory = file_names.ARCHIVE_NAME.sub("", path)
    return directory if directory.rpartition("/")[2] else path


def _read(
    stream: byte_streams.Readable, archive_format: str, count: Callable[[int], None], levels: int
) -> Iterator[members.Member]:
    if archive_format == formats.ZIP:
        from . import zip_stream_reader

        found = zip_stream_reader.read(stream, count)
    elif archive_format == formats.TAR:
        found = tar_reader.read(stream)
    else:
        kind = archive_format.rpartition(".")[2]
        found = tar_reader.read(decompress.DecompressedStream(stream, kind, count))
    return found if levels == 1 else _inside(found, count, levels)


def _inside(
    found: Iterable[members.Member], count: Callable[[int], None], levels: int
) -> Iterator[members.Member]:
    for member in found:
        if isinstance(member, members.File) and file_names.ARCHIVE_NAME.search(member.path):
            yield from _nested(member, count, levels - 1)
        else:
            yield member


def _nested(
    outer: members.File, count: Callable[[int], None], levels: int
) -> Iterator[members.Member]:
    """The members of an archive in an archive; itself, where it only has the name of one."""
    source = _Inner(outer)
    with source.named():
        archive_format = formats.recognise_inner(formats.head_of(source.peek), outer.path)
    if archive_format == formats.FILE:
        whole = isinstance(outer.chunks, tuple)
        yield outer if whole else dataclasses.replace(outer, chunks=source.rest())
        return
    top = nested_directory(outer.path)
    with source.named():
        for member in _read(source, archive_format, count, levels):
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
        self._trouble: byte_streams.Damaged | None = None

    def peek(self, count: int) -> bytes:
        """The first bytes, `count` at the most; they will be read again."""
        held = bytearray(self._head)
        while len(held) < count and (chunk := self._next()):
            held += chunk
        self._head = bytes(held)
        return self._head[:count]

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end."""
        data = self._head or self._next()
        self._head = data[count:]
        return data[:count]

    def rest(self) -> Iterator[bytes]:
        """All that was not read."""
        while chunk := self.read(byte_streams.CHUNK_BYTES):
            yield chunk

    def _next(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except byte_streams.Damaged as error:
            self._trouble = error
            raise

    @contextlib.contextmanager
    def named(self) -> Generator[None]:
        """Names this archive where it is the one that is damaged, and not the one it is in."""
        try:
            yield
        except byte_streams.Damaged as error:
            if error is self._trouble:
                raise
            raise byte_streams.Damaged(f"{failure.quote(self._path)}: {error}") from None

    def name(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, with this archive named where it is damaged."""
        with self.named():
            yield from chunks
