"""Find the members of a tar archive by its headers alone: their bodies are not fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..base import byte_streams
from . import members, tar_extensions, tar_header, tar_reader

# Many small members are read at once; where large ones follow each other, single headers.
WINDOW_BYTES, HEADERS_BYTES = 2**16, 2**12


class NotPlain(Exception):  # noqa: N818 - not an error: it is read in its order instead
    """An archive with members that can only be read in its order."""


class IndexedMember(NamedTuple):
    """A file or a directory in the archive.

    Attributes:
        path: Its path.
        offset: The position of its content, in bytes.
        size: Its size in bytes.
        executable: Whether it is executable.
        directory: Whether it is a directory.
    """

    path: str
    offset: int
    size: int
    executable: bool = False
    directory: bool = False


def scan(read_at: Callable[[int, int], bytes], size: int) -> Iterator[IndexedMember]:
    """Yield the files and directories of an archive, with their positions.

    Args:
        read_at: Reads a number of bytes from an offset on: `read_at(offset, count)`.
        size: The archive's size in bytes.

    Raises:
        NotPlain: It has links, sparse files, or other things that are not plain, or does not end
            as it should.
        Failure: It is cut off or damaged.
    """
    window = _Window(read_at, size)
    names = tar_extensions.ExtensionHeaders()
    at = 0
    ended = False
    while at < size:
        header = _header(window.read(at, min(tar_reader.BLOCK_BYTES, size - at)), ended=ended)
        at += tar_reader.BLOCK_BYTES
        ended = header is None
        if header is None:
            continue
        length = 0 if header.type in tar_reader.WITHOUT_BODY else header.size
        if header.type in tar_extensions.TYPES:
            tar_extensions.check_size(length)
            names.add(header.type, window.read(at, length))
        else:
            fields = names.take_fields()
            if tar_extensions.is_sparse(fields):
                raise NotPlain
            path = members.inside_path(fields.get("path") or header.name)
            if header.type in tar_header.REGULAR:
                length = tar_extensions.body_size(header, fields)
                yield IndexedMember(path, at, length, executable=bool(header.mode & 0o111))
            elif header.type != tar_header.DIRECTORY:
                raise NotPlain
            elif path:
                yield IndexedMember(path, at, 0, directory=True)
        if at + length > size:
            raise byte_streams.truncated()
        at += length + -length % tar_reader.BLOCK_BYTES
    if not ended:
        raise NotPlain


def _header(block: bytes, *, ended: bool) -> tar_header.TarHeader | None:
    if ended and not any(block):
        return None
    if ended and not tar_header.is_header(block):
        # Its reader tells whether other data may follow its end.
        raise NotPlain
    return tar_header.parse(block)


class _Window:
    """The part of the archive that was read last."""

    def __init__(self, read_at: Callable[[int, int], bytes], size: int) -> None:
        self._read_at = read_at
        self._size = size
        self._start = 0
        self._data = b""

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from an offset on."""
        if not self._start <= offset <= offset + count <= self._start + len(self._data):
            if offset + count > self._size:
                raise byte_streams.truncated()
            far = offset > self._start + len(self._data) + WINDOW_BYTES
            size = max(HEADERS_BYTES if far else WINDOW_BYTES, count)
            size = min(size, self._size - offset)
            self._start, self._data = offset, self._read_at(offset, size)
        at = offset - self._start
        data = self._data[at : at + count]
        if len(data) < count:
            raise byte_streams.truncated()
        return data
