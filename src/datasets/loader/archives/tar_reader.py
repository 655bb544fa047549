"""Read a tar archive as it streams by: ustar, GNU and PAX, with long names and sparse files.

Headers are parsed here because tarfile keeps every member in memory, and reads an extension header
of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..base import byte_streams
from . import members, tar_extensions, tar_header, tar_sparse

BLOCK_BYTES = tar_header.BLOCK_BYTES
# A smaller file is read whole, so that it can be written while the archive is read further.
SMALL_BYTES = 2**20
REFUSED = {
    tar_header.CHARACTER_DEVICE: "a character device",
    tar_header.BLOCK_DEVICE: "a block device",
    tar_header.PIPE: "a pipe",
    tar_header.GNU_CONTINUED: "a part of a file that began in another archive",
}
WITHOUT_BODY = {
    *REFUSED,
    tar_header.DIRECTORY,
    tar_header.SYMBOLIC_LINK,
    tar_header.HARD_LINK,
}
# All other types are files; POSIX has unknown types read as regular files, too.
NO_PLAIN_FILE = {
    *WITHOUT_BODY,
    tar_header.GNU_DIRECTORY,
    tar_header.GNU_SPARSE,
    tar_header.GNU_VOLUME_LABEL,
}
is_header = tar_header.is_header


def read(
    raw: byte_streams.Readable, _count: Callable[[int], None] = lambda _: None
) -> Iterator[members.Member]:
    """Read the members of an archive, in its order.

    A large file's content must be read before the next member is requested.

    Raises:
        Failure: The archive is cut off, damaged, or has what a data set must not have.
    """
    stream = byte_streams.BufferedReader(raw)
    names = tar_extensions.ExtensionHeaders()
    # Whether its end was read; and whether a member was, so that it may end there.
    ended = complete = False
    while block := stream.take(BLOCK_BYTES):
        if ended and not (len(block) == BLOCK_BYTES and (not any(block) or is_header(block))):
            if any(block):
                raise byte_streams.other_data()
            continue
        header = tar_header.parse(block)
        # Zeros end an archive, but another archive may follow, as `tar -A` writes them.
        ended = header is None
        if header is None:
            continue
        complete = header.type not in tar_extensions.TYPES
        if not complete:
            tar_extensions.check_size(header.size)
            names.add(header.type, _whole(stream, header.size))
            continue
        fields = names.take_fields()
        if header.type in NO_PLAIN_FILE or tar_extensions.is_sparse(fields):
            yield from _other(stream, header, block, fields)
        else:
            yield from _file(stream, header, fields)
    if not ended:
        raise byte_streams.no_end() if complete else byte_streams.truncated()


def _whole(stream: byte_streams.BufferedReader, size: int) -> bytes:
    """Return the body after a header, without the padding to whole blocks."""
    padded = size + -size % BLOCK_BYTES
    data = stream.take(padded)
    if len(data) < padded:
        raise byte_streams.truncated()
    return data[:size]


def _file(
    stream: byte_streams.BufferedReader, header: tar_header.TarHeader, fields: Mapping[str, str]
) -> Iterator[members.Member]:
    path = members.inside_path(fields.get("path") or header.name)
    executable = bool(header.mode & 0o111)
    size = tar_extensions.body_size(header, fields)
    if size <= SMALL_BYTES:
        chunks = (_whole(stream, size),) if size else ()
        yield members.File(path, executable, chunks, size)
        return
    body = _Body(stream, size)
    yield members.File(path, executable, byte_streams.read_pieces(body, size), size)
    body.skip()


def _other(
    stream: byte_streams.BufferedReader,
    header: tar_header.TarHeader,
    block: bytes,
    fields: Mapping[str, str],
) -> Iterator[members.Member]:
    name = fields.get(f"{tar_extensions.SPARSE}name") or fields.get("path") or header.name
    target = fields.get("linkpath") or header.target
    if header.type in REFUSED:
        raise members.refused(name, REFUSED[header.type])
    path = members.inside_path(name)
    # The blocks that follow an old sparse file's header belong to the header, not to the body.
    old = header.type == tar_header.GNU_SPARSE
    sparse = tar_sparse.old_map(stream, block) if old else None
    bodiless = header.type in WITHOUT_BODY
    body = _Body(stream, 0 if bodiless else tar_extensions.body_size(header, fields))
    if header.type in {tar_header.DIRECTORY, tar_header.GNU_DIRECTORY}:
        yield members.Directory(path)
    elif header.type == tar_header.SYMBOLIC_LINK:
        yield members.symbolic_link(path, target)
    elif header.type == tar_header.HARD_LINK:
        if not (linked := members.inside_path(target)):
            raise members.refused(name, members.DIRECTORY_LINK)
        yield members.HardLink(path, linked)
    elif header.type != tar_header.GNU_VOLUME_LABEL:
        sparse = sparse or tar_sparse.pax_map(body, fields)
        chunks: Iterable[bytes] = tar_sparse.pieces(body, sparse)
        if sparse.size <= SMALL_BYTES:
            chunks = (b"".join(chunks),)
        yield members.File(path, bool(header.mode & 0o111), chunks, sparse.size)
    body.skip()


class _Body:
    """The body of a member, which is padded to whole blocks.

    Attributes:
        left: The number of its bytes that were not read.
    """

    def __init__(self, stream: byte_streams.BufferedReader, size: int) -> None:
        self._stream = stream
        self._padding = -size % BLOCK_BYTES
        self.left = size

    def read(self, count: int) -> bytes:
        chunk = self._stream.read(min(count, self.left))
        if not chunk and self.left and count:
            raise byte_streams.truncated()
        self.left -= len(chunk)
        return chunk

    def skip(self) -> None:
        if self.left:
            byte_streams.drain(self)
        if self._padding:
            byte_streams.read_exactly(self._stream, self._padding)
