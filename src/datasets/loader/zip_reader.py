"""Reads a zip archive, whose list of members is at its end: so it needs a file, not a stream.

The list is read entry by entry because zipfile keeps all of it in memory.
"""

from __future__ import annotations

import bz2
import dataclasses
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from . import decompress, failure, members, streams

END = struct.Struct("<4s4H2LH")
END_SIGNATURE = b"PK\5\6"
LONGEST_COMMENT = 2**16
LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
EXTRA = struct.Struct("<2H")
ENCRYPTED, UTF8 = 0x1, 0x800
# What stands in the 32 bits of a number that is in the extra field instead.
IN_EXTRA = 0xFFFFFFFF
SIZES_EXTRA, NAME_EXTRA = 0x0001, 0x7075
# The systems whose archives carry a file's mode: Unix and macOS.
UNIX = (3, 19)
LONGEST_TARGET = 4096
REFUSED = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
METHODS: dict[int, Callable[[], Any]] = {
    0: lambda: None,
    8: lambda: decompress.Inflate(-zlib.MAX_WBITS),
    12: bz2.BZ2Decompressor,
}


@dataclasses.dataclass(frozen=True)
class _Entry:
    name: str
    mode: int
    flags: int
    method: int
    check: int
    packed: int
    size: int
    offset: int


def read(archive: BinaryIO) -> Iterator[members.Member]:
    """The members of the archive, in its list's order; each is to be used before the next.

    Raises:
        Failure: The archive is cut off, damaged, or has what a data set must not have.
    """
    count, start, base = _end(archive)
    for _ in range(count):
        archive.seek(start)
        entry, length = _entry(archive, base)
        start += length
        yield _member(archive, entry)


def _end(archive: BinaryIO) -> tuple[int, int, int]:
    """The number of entries, where their list begins, and where the archive does in its file."""
    size = archive.seek(0, 2)
    tail_start = max(0, size - END.size - LONGEST_COMMENT)
    archive.seek(tail_start)
    tail = archive.read()
    at = tail.rfind(END_SIGNATURE)
    if at < 0 or len(tail) - at < END.size:
        raise streams.cut_off()
    _, _, _, _, count, length, offset, _ = END.unpack_from(tail, at)
    end = tail_start + at
    if at >= LOCATOR.size and tail[at - LOCATOR.size :].startswith(b"PK\6\7"):
        _, _, where, _ = LOCATOR.unpack_from(tail, at - LOCATOR.size)
        # It stands right before its locator, if nothing was put before the archive.
        end = min(where, end)
        count, length, offset = _end64(archive, where)
    base = end - length - offset
    if base < 0:
        raise streams.damaged("its list of files is not where it should be")
    return count, base + offset, base


def _end64(archive: BinaryIO, where: int) -> tuple[int, int, int]:
    archive.seek(where)
    fields = END64.unpack(streams.exactly(archive, END64.size))
    if fields[0] != b"PK\6\6":
        raise streams.damaged("its list of files is not where it should be")
    return fields[7], fields[8], fields[9]


def _entry(archive: BinaryIO, base: int) -> tuple[_Entry, int]:
    fields = ENTRY.unpack(streams.exactly(archive, ENTRY.size))
    signature, made_by, _, flags, method, _, _, check, packed, size = fields[:10]
    name_length, extra_length, comment_length, _, _, attributes, offset = fields[10:]
    if signature != b"PK\1\2":
        raise streams.damaged("its list of files is shorter than it says")
    raw_name = streams.exactly(archive, name_length)
    extras = _extras(streams.exactly(archive, extra_length))
    wide = iter(struct.iter_unpack("<Q", _whole(extras.get(SIZES_EXTRA, b""))))
    size, packed, offset = (
        next(wide, (IN_EXTRA,))[0] if field == IN_EXTRA else field
        for field in (size, packed, offset)
    )
    entry = _Entry(
        name=_name(raw_name, flags, extras.get(NAME_EXTRA, b"")),
        mode=attributes >> 16 if made_by >> 8 in UNIX else 0,
        flags=flags,
        method=method,
        check=check,
        packed=packed,
        size=size,
        offset=base + offset,
    )
    return entry, ENTRY.size + name_length + extra_length + comment_length


def _extras(text: bytes) -> dict[int, bytes]:
    """The extra fields: identifier and length, then the field."""
    fields: dict[int, bytes] = {}
    while len(text) >= EXTRA.size:
        identifier, length = EXTRA.unpack_from(text)
        fields[identifier] = text[EXTRA.size : EXTRA.size + length]
        text = text[EXTRA.size + length :]
    return fields


def _whole(field: bytes) -> bytes:
    """The field without what is no whole number of 8 bytes (the disk's number stands there)."""
    return field[: len(field) // 8 * 8]


def _name(raw: bytes, flags: int, extra: bytes) -> str:
    # Info-ZIP puts the UTF-8 name there, with a check that it goes with the other one.
    if len(extra) > 5 and extra[1:5] == struct.pack("<L", zlib.crc32(raw)):
        raw, flags = extra[5:], UTF8
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("utf-8", "surrogateescape") if flags & UTF8 else raw.decode("cp437")


def _member(archive: BinaryIO, entry: _Entry) -> members.Member:
    path = members.inside(entry.name)
    kind = stat.S_IFMT(entry.mode)
    if kind in REFUSED:
        raise members.refused(entry.name, REFUSED[kind])
    if entry.name.endswith("/") or kind == stat.S_IFDIR:
        return members.Directory(path)
    if entry.flags & ENCRYPTED:
        raise failure.Failure(
            f"the archive has {failure.shown(entry.name)} encrypted: make it again without a "
            "password"
        )
    if entry.method not in METHODS:
        raise failure.Failure(
            f"the archive has {failure.shown(entry.name)} compressed by the method "
            f"{entry.method}, which this loader does not know: make it again with deflate"
        )
    chunks = _chunks(archive, entry)
    if kind == stat.S_IFLNK:
        if entry.size > LONGEST_TARGET:
            raise streams.damaged(f"the link {failure.shown(entry.name)} is no path")
        target = b"".join(chunks).decode("utf-8", "surrogateescape")
        return members.symbolic_link(path, target)
    return members.File(path, bool(entry.mode & 0o111), chunks)


def _chunks(archive: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    """What the member holds, compared with its size and its check."""
    archive.seek(entry.offset)
    header = LOCAL.unpack(streams.exactly(archive, LOCAL.size))
    if header[0] != b"PK\3\4":
        raise streams.damaged(f"{failure.shown(entry.name)} is not where the list says")
    streams.exactly(archive, header[9] + header[10])
    size, check = 0, 0
    for chunk in _unpacked(streams.pieces(archive, entry.packed), METHODS[entry.method]()):
        size += len(chunk)
        check = zlib.crc32(chunk, check)
        if size > entry.size:
            break
        yield chunk
    if (size, check) != (entry.size, entry.check):
        raise streams.damaged(f"{failure.shown(entry.name)} is not what the list says")


def _unpacked(packed: Iterator[bytes], decompressor: Any) -> Iterator[bytes]:
    if decompressor is None:
        yield from packed
        return
    try:
        for chunk in packed:
            yield decompressor.decompress(chunk, streams.CHUNK_BYTES)
            while not decompressor.eof and not decompressor.needs_input:
                yield decompressor.decompress(b"", streams.CHUNK_BYTES)
    except decompress.ERRORS:
        raise streams.damaged("its compressed data do not fit together") from None
