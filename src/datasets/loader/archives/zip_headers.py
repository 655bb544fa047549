"""Parse the headers of zip archives, and decompress their members.

Headers are parsed here because zipfile keeps all of them in memory.
"""

from __future__ import annotations

import bz2
import dataclasses
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..base import byte_streams, failure
from . import decompress, members, zip_names

END = struct.Struct("<4s4H2LH")
LOCAL_SIGNATURE, ENTRY_SIGNATURE, END_SIGNATURE = b"PK\3\4", b"PK\1\2", b"PK\5\6"
END64_SIGNATURE, LOCATOR_SIGNATURE = b"PK\6\6", b"PK\6\7"
# The signatures after the central directory; an archive without members begins with one.
END_SIGNATURES = (END_SIGNATURE, END64_SIGNATURE)
LONGEST_COMMENT = 2**16
LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
ENTRY = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
EXTRA = struct.Struct("<2H")
ENCRYPTED, DESCRIBED = 0x1, 0x8
# The value of a 32-bit field whose number is in the extra field instead.
IN_EXTRA = 0xFFFFFFFF
SIZES_EXTRA, NAME_EXTRA = 0x0001, 0x7075
# In the other half of the attributes, which are those of DOS.
DOS_DIRECTORY = 0x10
LONGEST_TARGET = 4096
REFUSED = {
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
KINDS = {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
METHODS: dict[int, Callable[[], Any]] = {
    0: lambda: None,
    8: lambda: decompress.Inflater(-zlib.MAX_WBITS),
    12: bz2.BZ2Decompressor,
    93: decompress.zstd_decompressor,
}


class ZipStream:
    """A stream that is read in large pieces, returns small ones, and can take bytes back.

    Args:
        raw: The stream.
    """

    def __init__(self, raw: byte_streams.Readable) -> None:
        self._raw = raw
        self._data = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        """Return the number of bytes that were returned."""
        return self._before + self._at

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end."""
        if self._at == len(self._data):
            self._fill(1)
        chunk = self._data[self._at : self._at + count]
        self._at += len(chunk)
        return chunk

    def read_exactly(self, count: int) -> bytes:
        """Return exactly the next `count` bytes, which are at most some kilobytes.

        Raises:
            Failure: The stream ends earlier.
        """
        if self._at + count > len(self._data):
            self._fill(count)
        chunk = self.read(count)
        if len(chunk) < count:
            raise byte_streams.truncated()
        return chunk

    def unread(self, count: int) -> None:
        """Take back the last `count` bytes of those that were returned last."""
        self._at -= count

    def _fill(self, count: int) -> None:
        self._before += self._at
        self._data, self._at = self._data[self._at :], 0
        while len(self._data) < count and (chunk := self._raw.read(byte_streams.CHUNK_BYTES)):
            self._data += chunk


@dataclasses.dataclass(frozen=True)
class ZipEntry:
    """A header of a member.

    Attributes:
        name: Its name.
        mode: Its Unix permissions and kind; 0 if the header has none.
        flags: The header's flags.
        method: The compression method.
        check: Its CRC-32.
        packed: Its compressed size in bytes.
        size: Its size in bytes.
        offset: The position of its local header in the archive.
        windows: Whether it was made on Windows, as far as the header tells.
        dos_directory: Whether its DOS attributes say that it is a directory.
    """

    name: str
    mode: int
    flags: int
    method: int
    check: int
    packed: int
    size: int
    offset: int
    windows: bool
    dos_directory: bool = False


def read_listed(stream: ZipStream, signature: bytes = b"") -> ZipEntry:
    """Return the next entry of the central directory.

    Args:
        stream: The archive from the entry on.
        signature: The entry's signature, if it was read already.

    Raises:
        Failure: There is no further entry.
    """
    head = signature + stream.read_exactly(ENTRY.size - len(signature))
    fields = ENTRY.unpack(head)
    mark, made_by, _, flags, method, _, _, check, packed, size = fields[:10]
    name_length, extra_length, comment_length, _, _, attributes, offset = fields[10:]
    if mark != ENTRY_SIGNATURE:
        raise byte_streams.damaged("its list of files is shorter than it says")
    raw_name = stream.read_exactly(name_length)
    extras = _extras(stream.read_exactly(extra_length))
    stream.read_exactly(comment_length)
    size, packed, offset = _wide(extras, size, packed, offset)
    windows = made_by >> 8 not in zip_names.UNIX
    return ZipEntry(
        name=zip_names.decode(raw_name, flags, extras.get(NAME_EXTRA, b""), windows=windows),
        mode=0 if windows else attributes >> 16,
        flags=flags,
        method=method,
        check=check,
        packed=packed,
        size=size,
        offset=offset,
        windows=windows,
        dos_directory=bool(attributes & DOS_DIRECTORY),
    )


def read_local(stream: ZipStream, offset: int, *, windows: bool) -> ZipEntry:
    """Return the local header of a member, whose signature was read already.

    Args:
        stream: The archive from the signature's end on.
        offset: The header's position.
        windows: Whether the member was made on Windows: only the central directory tells.
    """
    fields = LOCAL.unpack(LOCAL_SIGNATURE + stream.read_exactly(LOCAL.size - 4))
    _, _, flags, method, _, _, check, packed, size, name_length, extra_length = fields
    raw_name = stream.read_exactly(name_length)
    extras = _extras(stream.read_exactly(extra_length))
    size, packed = _wide(extras, size, packed)
    name = zip_names.decode(raw_name, flags, extras.get(NAME_EXTRA, b""), windows=windows)
    return ZipEntry(name, 0, flags, method, check, packed, size, offset, windows)


def _wide(extras: dict[int, bytes], *fields: int) -> tuple[int, ...]:
    """Return numbers, from the extra field if the header has no room: they have its order."""
    wide = iter(struct.iter_unpack("<Q", _whole(extras.get(SIZES_EXTRA, b""))))
    return tuple(next(wide, (IN_EXTRA,))[0] if each == IN_EXTRA else each for each in fields)


def _extras(text: bytes) -> dict[int, bytes]:
    """Return the extra fields by identifier."""
    fields: dict[int, bytes] = {}
    at = 0
    while at + EXTRA.size <= len(text):
        identifier, length = EXTRA.unpack_from(text, at)
        at += EXTRA.size
        fields[identifier] = text[at : at + length]
        at += length
    return fields


def _whole(field: bytes) -> bytes:
    """Return a field cut to whole numbers of 8 bytes (the disk's number follows them)."""
    return field[: len(field) // 8 * 8]


def check_kind(entry: ZipEntry) -> None:
    """Refuse a member that is neither file, directory nor link, or two of them at once."""
    kind = stat.S_IFMT(entry.mode)
    if kind not in KINDS:
        raise members.refused(entry.name, REFUSED.get(kind, "of an unknown kind"))
    slash = entry.name.endswith("/")
    if (slash and entry.size) or (kind == stat.S_IFDIR and not (slash or entry.dos_directory)):
        raise byte_streams.damaged(
            f"{failure.quote(entry.name)} is a directory by one of its attributes and a file by "
            "another"
        )
    # All systems give a link x, if they give it permissions at all.
    if kind == stat.S_IFLNK and stat.S_IMODE(entry.mode) and not entry.mode & 0o111:
        raise byte_streams.damaged(
            f"{failure.quote(entry.name)} is a link with the permissions of a file"
        )


def is_directory(entry: ZipEntry) -> bool:
    """Tell whether a member is a directory."""
    return entry.name.endswith("/") or stat.S_IFMT(entry.mode) == stat.S_IFDIR


def is_link(entry: ZipEntry) -> bool:
    """Tell whether a member's content is the target of a symbolic link."""
    return stat.S_IFMT(entry.mode) == stat.S_IFLNK


def check_link(entry: ZipEntry) -> None:
    """Refuse a link whose target is longer than a path can be."""
    if entry.size > LONGEST_TARGET:
        raise byte_streams.damaged(
            f"the link {failure.quote(entry.name)} has no path as its target"
        )


def check_readable(entry: ZipEntry) -> None:
    """Refuse a member that cannot be unpacked."""
    if entry.flags & ENCRYPTED:
        raise members.RefusedArchive(
            f"the archive has {failure.quote(entry.name)} encrypted: make it again without a "
            "password"
        )
    if entry.method not in METHODS:
        raise members.RefusedArchive(
            f"the archive has {failure.quote(entry.name)} compressed by the method "
            f"{entry.method}, which this loader does not know: make it again with deflate"
        )


def split_archive() -> failure.Failure:
    """Return the failure of an archive that is one part of several."""
    return members.RefusedArchive(
        "the archive is split in several parts, of which this is one: join them with zip -s 0 "
        "--out, or make it again in one part"
    )


def decompressed(packed: Iterable[bytes], decompressor: Any) -> Iterator[bytes]:
    """Yield a member's content, in chunks that are not empty.

    Args:
        packed: Its compressed data.
        decompressor: Its decompressor; None for stored data.

    Raises:
        Failure: The data are damaged.
    """
    if decompressor is None:
        yield from packed
        return
    for data in packed:
        if decompressor.eof:
            return
        left = data
        while True:
            if chunk := decompress.step(decompressor, left):
                yield chunk
            if decompressor.eof or decompressor.needs_input:
                break
            left = b""
