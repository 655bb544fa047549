"""Opens archives that stream by, and the archives in them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator

from . import decompress, failure, formats, members, streams, tar_reader, zip_stream

# An archive in an archive in an archive; what is in that stays a file.
MOST_NESTED = 3


def read(
    stream: streams.Readable,
    form: str,
    *,
    count: Callable[[int], None] = lambda _: None,
    recursive: bool = False,
) -> Iterator[members.Member]:
    """The members of an archive, in its order.

    Args:
        stream: The archive.
        form: What it is, as `formats.recognise` says it.
        count: Is told how many bytes came out of a decompressor, each time some do.
        recursive: Whether archives in it are unpacked, too: each into a directory of its name.

    Raises:
        Failure: It is cut off, damaged, or has what a data set must not have.
    """
    return _read(stream, form, count, MOST_NESTED if recursive else 1)


def inside(
    found: Iterable[members.Member], *, count: Callable[[int], None] = lambda _: None
) -> Iterator[members.Member]:
    """The same members, with archives among them unpacked, each into a directory of its name."""
    return _inside(found, count, MOST_NESTED)


def directory_of(path: str) -> str:
    """The directory that an archive in another one is unpacked into: its path, less its ending."""
    directory = formats.ARCHIVE_NAME.sub("", path)
    return directory if directory.rpartition("/")[2] else path


def _read(
    stream: streams.Readable, form: str, count: Callable[[int], None], levels: int
) -> Iterator[members.Member]:
    if form == formats.ZIP:
        found = zip_stream.read(stream, count)
    elif form == formats.TAR:
        found = tar_reader.read(stream)
    else:
        kind = form.rpartition(".")[2]
        found = tar_reader.read(decompress.Decompressed(stream, kind, count))
    return found if levels == 1 else _inside(found, count, levels)


def _inside(
    found: Iterable[members.Member], count: Callable[[int], None], levels: int
) -> Iterator[members.Member]:
    for member in found:
        if isinstance(member, members.File) and formats.ARCHIVE_NAME.search(member.path):
            yield from _nested(member, count, levels - 1)
        else:
            yield member


def _nested(
    outer: members.File, count: Callable[[int], None], levels: int
) -> Iterator[members.Member]:
    """The members of an archive in an archive; itself, where it only has the name of one."""
    source = _Chunks(outer.chunks)
    head = source.peek(formats.HEAD_BYTES)
    try:
        form = formats.recognise(head, outer.path, unpack="true")
    except failure.Failure:
        form = formats.FILE
    if form == formats.FILE:
        whole = isinstance(outer.chunks, tuple)
        yield outer if whole else dataclasses.replace(outer, chunks=source.rest())
        return
    top = directory_of(outer.path)
    with _named(outer.path):
        for member in _read(source, form, count, levels):
            path = f"{top}/{member.path}" if member.path else top
            if isinstance(member, members.HardLink):
                yield members.HardLink(path, f"{top}/{member.target}")
            else:
                yield dataclasses.replace(member, path=path)
        streams.drain(source)


class _Chunks:
    """A file's chunks as a stream."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._head = b""

    def peek(self, count: int) -> bytes:
        held = bytearray(self._head)
        while len(held) < count and (chunk := next(self._chunks, b"")):
            held += chunk
        self._head = bytes(held)
        return self._head[:count]

    def read(self, count: int) -> bytes:
        data = self._head or next(self._chunks, b"")
        self._head = data[count:]
        return data[:count]

    def rest(self) -> Iterator[bytes]:
        if self._head:
            yield self._head
        yield from self._chunks


@contextlib.contextmanager
def _named(path: str) -> Generator[None]:
    """Names the inner archive that is damaged, or has what it must not have."""
    try:
        yield
    except streams.Damaged as error:
        raise streams.Damaged(f"{failure.shown(path)}: {error}") from None
