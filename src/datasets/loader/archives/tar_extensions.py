"""What stands before a tar member's own header: long names, and the attributes of PAX."""

from __future__ import annotations

from collections.abc import Mapping

from ..base import byte_streams
from . import tar_header

# The names and attributes of one member; real ones take some hundreds of bytes.
MOST_BYTES = 2**20
NAMES = {tar_header.GNU_LONG_NAME: "path", tar_header.GNU_LONG_LINK: "linkpath"}
TYPES = {*NAMES, tar_header.PAX, tar_header.PAX_SOLARIS, tar_header.PAX_GLOBAL}
SPARSE = "GNU.sparse."
# What others say is not kept: an archive can have any number of them.
KEPT = {
    key.encode(): key
    for key in (
        "path",
        "linkpath",
        "size",
        *(SPARSE + key for key in ("name", "major", "realsize", "size", "map", "numblocks")),
    )
}
LINE_END = ord("\n")


class ExtensionHeaders:
    """The names and attributes that were read, and the members that they go with."""

    def __init__(self) -> None:
        self._everywhere: dict[str, str] = {}
        self._next: dict[str, str] = {}

    def add(self, kind: bytes, text: bytes) -> None:
        """Takes what stands before a member.

        Args:
            kind: The type in its header, one of TYPES.
            text: What follows that header.

        Raises:
            Failure: It can not be read.
        """
        if kind in NAMES:
            self._next[NAMES[kind]] = text.partition(b"\0")[0].decode(*tar_header.ENCODING)
        elif kind == tar_header.PAX_GLOBAL:
            self._everywhere.update(_records(text))
        else:
            self._next.update(_records(text))

    def of_member(self) -> Mapping[str, str]:
        """What goes with the member whose own header comes next."""
        if not self._next:
            return self._everywhere
        fields = {**self._everywhere, **self._next} if self._everywhere else self._next
        self._next = {}
        return fields


def check_size(size: int) -> None:
    """Refuses what would fill the memory.

    Raises:
        Failure: It is larger than names and attributes can be.
    """
    if size > MOST_BYTES:
        raise byte_streams.damaged(f"a name or attribute has {size} bytes")


def body_size(header: tar_header.TarHeader, fields: Mapping[str, str]) -> int:
    """The bytes of a member's body; the header itself has no room for more than 8 GiB."""
    size = fields.get("size")
    return byte_streams.parse_decimal(size.encode(errors="replace")) if size else header.size


def is_sparse(fields: Mapping[str, str]) -> bool:
    """Whether the member is a sparse file, as PAX has them."""
    return any(key.startswith(SPARSE) for key in fields)


def _records(text: bytes) -> dict[str, str]:
    """The records of a PAX header that count: `length key=value` and a line's end each."""
    records: dict[str, str] = {}
    at, end = 0, len(text.rstrip(b"\0"))
    while at < end:
        blank = text.find(b" ", at, at + byte_streams.MOST_DIGITS + 1)
        stop = at + byte_streams.parse_decimal(text[at : max(at, blank)])
        key, equals, value = text[blank + 1 : stop].partition(b"=")
        # The slice is empty, and has no sign in it, if the record would end before its key.
        if not equals or stop > end or text[stop - 1] != LINE_END:
            raise byte_streams.damaged("an attribute can not be read")
        if key in KEPT:
            records[KEPT[key]] = value[:-1].decode(*tar_header.ENCODING)
        at = stop
    return records
