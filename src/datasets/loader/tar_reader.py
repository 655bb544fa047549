"""Reads a tar archive as it streams by: ustar, GNU and PAX, with long names and sparse files.

Headers are taken one by one because tarfile keeps every member in memory, and reads an extension
header of whatever size it says.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator

from . import members, streams, tar_sparse

BLOCK_BYTES = 512
ENCODING = ("utf-8", "surrogateescape")
# The names and attributes of one member; real ones take some hundreds of bytes.
MOST_EXTENSION_BYTES = 2**20
NAMES = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
REFUSED = {
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a pipe",
    b"M": "a part of a file that began in another archive",
}
WITHOUT_BODY = (*REFUSED, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
GNU_DIRECTORY = b"D"
GNU_VOLUME_LABEL = b"V"


def read(stream: streams.Readable) -> Iterator[members.Member]:
    """The members of the archive, in its order; each is to be used before the next.

    Raises:
        Failure: The archive is cut off, damaged, or has what a data set must not have.
    """
    everywhere: dict[str, str] = {}
    extended: dict[str, str] = {}
    ended = False
    while block := stream.read(BLOCK_BYTES):
        block += streams.exactly(stream, BLOCK_BYTES - len(block))
        header = _header(block)
        # Zeros end an archive, but another archive may stand behind it, as `tar -A` makes them.
        ended = header is None
        if header is None:
            continue
        if header.type in NAMES:
            text = _extension(stream, header.size)
            extended[NAMES[header.type]] = text.partition(b"\0")[0].decode(*ENCODING)
        elif header.type == tarfile.XGLTYPE:
            everywhere.update(_pax(_extension(stream, header.size)))
        elif header.type in PAX:
            extended.update(_pax(_extension(stream, header.size)))
        else:
            yield from _member(stream, header, block, {**everywhere, **extended})
            extended = {}
    if not ended:
        raise streams.cut_off()


class _Body:
    """What follows a header, and is padded to whole blocks."""

    def __init__(self, stream: streams.Readable, size: int) -> None:
        self._stream = stream
        self._padding = -size % BLOCK_BYTES
        self.left = size

    def read(self, count: int) -> bytes:
        chunk = self._stream.read(min(count, self.left))
        if not chunk and self.left and count:
            raise streams.cut_off()
        self.left -= len(chunk)
        return chunk

    def skip(self) -> None:
        streams.drain(self)
        streams.exactly(self._stream, self._padding)


def is_header(block: bytes) -> bool:
    """Whether a tar archive can begin with this."""
    try:
        tarfile.TarInfo.frombuf(block, *ENCODING)
    except tarfile.TarError:
        return False
    return True


def _header(block: bytes) -> tarfile.TarInfo | None:
    """The header in a block; None where the block is of zeros."""
    if not any(block):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, *ENCODING)
    except tarfile.TarError:
        raise streams.damaged("there is no header where one should be") from None
    if header.size < 0:
        raise streams.damaged("a member has a negative size")
    return header


def _extension(stream: streams.Readable, size: int) -> bytes:
    if size > MOST_EXTENSION_BYTES:
        raise streams.damaged(f"a name or attribute has {size} bytes")
    return streams.exactly(stream, size + -size % BLOCK_BYTES)[:size]


def _pax(text: bytes) -> dict[str, str]:
    """The records of a PAX header: `length key=value` and a line's end each."""
    records: dict[str, str] = {}
    while text.strip(b"\0"):
        length_text, _, _ = text.partition(b" ")
        length = streams.decimal(length_text)
        record, text = text[:length], text[length:]
        key, equals, value = record[len(length_text) + 1 :].partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise streams.damaged("an attribute can not be read")
        records[key.decode(*ENCODING)] = value[:-1].decode(*ENCODING)
    return records


def _member(
    stream: streams.Readable, header: tarfile.TarInfo, block: bytes, extended: dict[str, str]
) -> Iterator[members.Member]:
    name = extended.get("GNU.sparse.name") or extended.get("path") or header.name
    if header.type in REFUSED:
        raise members.refused(name, REFUSED[header.type])
    # What follows an old sparse file's header belongs to the header, not to the body.
    sparse = tar_sparse.old_map(stream, block) if header.type == tarfile.GNUTYPE_SPARSE else None
    body = _Body(stream, 0 if header.type in WITHOUT_BODY else _size(header, extended))
    path = members.inside(name)
    if header.type in {tarfile.DIRTYPE, GNU_DIRECTORY}:
        yield members.Directory(path)
    elif header.type == tarfile.SYMTYPE:
        yield members.symbolic_link(path, extended.get("linkpath") or header.linkname)
    elif header.type == tarfile.LNKTYPE:
        yield members.HardLink(path, members.inside(extended.get("linkpath") or header.linkname))
    elif header.type != GNU_VOLUME_LABEL:
        sparse = sparse or tar_sparse.pax_map(body, extended)
        chunks: Iterable[bytes] = (
            tar_sparse.pieces(body, sparse) if sparse else streams.pieces(body, body.left)
        )
        yield members.File(path, bool(header.mode & 0o111), chunks)
    body.skip()


def _size(header: tarfile.TarInfo, extended: dict[str, str]) -> int:
    """The body's size; the header itself has no room for more than 8 GiB."""
    size = extended.get("size")
    return streams.decimal(size.encode(errors="replace")) if size else header.size
