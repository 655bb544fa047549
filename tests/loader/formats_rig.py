"""Make good and bad archives byte by byte, and read them without a loader."""

from __future__ import annotations

import dataclasses
import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from datasets.loader.archives import members
from datasets.loader.base import byte_streams, failure

SMALL = 2**20


def noise(size: int) -> bytes:
    """Return incompressible bytes, the same each time: names of tests contain them."""
    return random.Random(size).randbytes(size)


class Trickle:
    """A stream whose reads return random amounts, up to `most`."""

    def __init__(self, content: bytes, most: int | None = None) -> None:
        self._content = content
        self._at = 0
        self._most = most
        self._random = random.Random(len(content))
        self.closed = 0

    def read(self, count: int) -> bytes:
        if self._most is not None:
            count = self._random.randint(1, self._most) if count > self._most else count
        chunk = self._content[self._at : self._at + count]
        self._at += len(chunk)
        return chunk

    def close(self) -> None:
        self.closed += 1


class RandomAccess:
    """An archive that can be read from any position, as from an origin with ranges."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.opened: list[tuple[int, Trickle]] = []

    def stream(self, offset: int) -> Trickle:
        assert 0 <= offset < self.size
        self.opened.append((offset, Trickle(self.content[offset:])))
        return self.opened[-1][1]

    def read_at(self, offset: int, count: int) -> bytes:
        assert 0 <= offset < self.size and count > 0
        return self.content[offset : offset + count]


class Unseekable(io.RawIOBase):
    """A file to write into without seeking, like a pipe."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += data
        return len(data)


def flat(found: Iterable[members.Member]) -> list[tuple[Any, ...]]:
    """Return members as plain values, each read before the next; small ones must be whole."""
    return [_flat(member) for member in found]


def _flat(member: members.Member) -> tuple[Any, ...]:
    if not isinstance(member, members.File):
        return (type(member).__name__, *dataclasses.astuple(member))
    if member.size is not None and member.size <= SMALL:
        assert isinstance(member.chunks, tuple)
        assert len(member.chunks) <= 1
    content = b"".join(member.chunks)
    assert member.size in {None, len(content)}
    return ("File", member.path, member.executable, content)


def files(found: Iterable[members.Member]) -> dict[str, bytes]:
    """Return the files by their paths."""
    return {each[1]: each[3] for each in flat(found) if each[0] == "File"}


def refused(found: Iterable[members.Member]) -> str:
    """Read members until a failure, which must come; return its text."""
    with pytest.raises(failure.Failure) as caught:
        flat(found)
    assert isinstance(caught.value, byte_streams.Damaged), "the archive is at fault"
    assert ": " in str(caught.value), "an error is a problem, then its remedy"
    return str(caught.value)


def peak_of(function: Callable[[], object]) -> int:
    """Return the most bytes of memory that a call takes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def header(
    name: bytes,
    size: int = 0,
    *,
    kind: bytes = b"0",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    mode: bytes = b"0000644\0",
    size_field: bytes = b"",
    target: bytes = b"",
    signed: bool = False,
    rest: bytes = b"",
) -> bytes:
    """Return a header of a tar archive; `rest` is GNU's content of the prefix field."""
    field = size_field or b"%011o\0" % size
    block = bytearray(name.ljust(100, b"\0") + mode + b"0000000\0" * 2 + field + b"0" * 11 + b"\0")
    block += b" " * 8 + kind + target.ljust(100, b"\0") + magic.ljust(8, b"\0")
    block = block.ljust(345, b"\0") + (rest or prefix).ljust(167, b"\0")
    assert len(block) == 512
    total = sum(byte - 256 * (signed and byte > 127) for byte in block)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def member(name: bytes, content: bytes = b"", **fields: Any) -> bytes:
    """Return a member of a tar archive: its header and its content, in whole blocks."""
    return header(name, len(content), **fields) + padded(content)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(*records: tuple[str, str | bytes], kind: bytes = b"x") -> bytes:
    """Return the PAX attributes of a tar archive's next member."""
    text = b"".join(record(key.encode(), _bytes(value)) for key, value in records)
    return member(b"attributes", text, kind=kind)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while length != len(b"%d" % length) + len(rest):
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


END = bytes(1024)


@dataclasses.dataclass
class Packed:
    """A member of a zip archive, good or bad."""

    name: bytes
    content: bytes = b""
    method: int = 8
    flags: int = 0
    mode: int = 0
    dos: int = 0
    made_by: int = 3
    extra: bytes = b""
    local_extra: bytes = b""
    descriptor: str = ""
    listed: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    raw: bytes | None = None

    def packed(self) -> bytes:
        if self.raw is not None:
            return self.raw
        if self.method != 8:
            return self.content
        deflate = zlib.compressobj(9, wbits=-15)
        return deflate.compress(self.content) + deflate.flush()

    def local(self) -> bytes:
        data, check = self.packed(), zlib.crc32(self.content)
        sizes = (check, len(data), len(self.content))
        shown = (0, 0, 0) if self.descriptor else sizes
        flags = self.flags | (8 if self.descriptor else 0)
        lengths = len(self.name), len(self.local_extra)
        head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, self.method, 0, 0, *shown, *lengths)
        return head + self.name + self.local_extra + data + self._descriptor(sizes)

    def _descriptor(self, sizes: tuple[int, int, int]) -> bytes:
        if not self.descriptor:
            return b""
        mark = b"PK\7\10" if "signed" in self.descriptor else b""
        return mark + struct.pack("<LQQ" if "64" in self.descriptor else "<3L", *sizes)

    def entry(self, offset: int) -> bytes:
        fields = {
            "name": self.name,
            "check": zlib.crc32(self.content),
            "packed": len(self.packed()),
            "size": len(self.content),
            "offset": offset,
            **self.listed,
        }
        flags = self.flags | (8 if self.descriptor else 0)
        numbers = (self.made_by << 8 | 20, 20, flags, self.method, 0, 0)
        sizes = (fields["check"], fields["packed"], fields["size"])
        lengths = (len(fields["name"]), len(self.extra), 0, 0, 0)
        last = (self.mode << 16 | self.dos, fields["offset"])
        head = struct.pack("<4s6H3L5H2L", b"PK\1\2", *numbers, *sizes, *lengths, *last)
        return head + fields["name"] + self.extra


def zipped(
    *packed: Packed,
    order: Iterable[int] | None = None,
    comment: bytes = b"",
    wide: bool = False,
    front: bytes = b"",
    listing: bytes | None = None,
    end: dict[str, int] | None = None,
) -> bytes:
    """Return a zip archive; `wide` gives it the records of large ones."""
    content, offsets = bytearray(), list[int]()
    for each in packed:
        offsets.append(len(content))
        content += each.local()
    chosen = range(len(packed)) if order is None else order
    found = [packed[number].entry(offsets[number]) for number in chosen]
    entries = b"".join(found) if listing is None else listing
    start = len(content)
    fields = {"disk": 0, "count": len(found), "length": len(entries), "offset": start}
    fields.update(end or {})
    count, length, offset = fields["count"], fields["length"], fields["offset"]
    tail = b""
    if wide:
        sizes = (count, count, length, offset)
        tail = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *sizes)
        tail += struct.pack("<4sLQL", b"PK\6\7", 0, start + len(entries), 1)
        count, length, offset = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    numbers = (fields["disk"], 0, count, count, length, offset, len(comment))
    tail += struct.pack("<4s4H2LH", b"PK\5\6", *numbers) + comment
    return front + bytes(content) + entries + tail


def wide(*numbers: int) -> bytes:
    """Return the extra field for numbers that have no room in a header."""
    return struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def cuts(content: bytes, until: int | None = None, step: int = 1) -> Iterator[bytes]:
    """Yield an archive truncated at each position."""
    return (content[:at] for at in range(0, len(content) if until is None else until, step))
