"""Extension headers before a tar member's own header: long names, and PAX attributes."""

from __future__ import annotations

from collections.abc import Mapping

from ..base import byte_streams
from . import tar_header

# The names and attributes of one member; real ones take some hundreds of bytes.
MOST_BYTES = 2**20
NAMES = {tar_header.GNU_LONG_NAME: "path", tar_header.GNU_LONG_LINK: "linkpath"}
TYPES = {*NAMES, tar_header.PAX, tar_header.PAX_SOLARIS, tar_header.PAX_GLOBAL}
SPARSE = "GNU.sparse."
# Other attributes are not kept: an archive can have any number of them.
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
    """The names and attributes that were read, and the members that they apply to."""

    def __init__(self) -> None:
        self._global: dict[str, str] = {}
        self._next: dict[str, str] = {}

    def add(self, kind: bytes, text: bytes) -> None:
        """Add an extension header.

        Args:
            kind: Its type, one of TYPES.
            text: Its content.

        Raises:
            Failure: It cannot be parsed.
        """
        if kind in NAMES:
            self._next[NAMES[kind]] = text.partition(b"\0")[0].decode(*tar_header.ENCODING)
        elif kind == tar_header.PAX_GLOBAL:
            self._global.update(_records(text))
        else:
            self._next.update(_records(text))

    def take_fields(self) -> Mapping[str, str]:
        """Return the names and attributes of the member whose own header comes next."""
        if not self._next:
            return self._global
        fields = {**self._global, **self._next} if self._global else self._next
        self._next = {}
        return fields


def check_size(size: int) -> None:
    """Refuse an extension header that would fill the memory.

    Raises:
        Failure: It is larger than names and attributes can be.
    """
    if size > MOST_BYTES:
        raise byte_streams.damaged(f"a name or attribute has {size} bytes")


def body_size(header: tar_header.TarHeader, fields: Mapping[str, str]) -> int:
    """Return the size of a member's body; its own header has no room for more than 8 GiB."""
    size = fields.get("size")
    return byte_streams.parse_decimal(size.encode(errors="replace")) if size else header.size


def is_sparse(fields: Mapping[str, str]) -> bool:
    """Tell whether the member is a sparse file in a format of PAX."""
    return any(key.startswith(SPARSE) for key in fields)


def _records(text: bytes) -> dict[str, str]:
    """Return the known records of a PAX header: each is `length key=value` and a line end."""
    records: dict[str, str] = {}
    at, end = 0, len(text.rstrip(b"\0"))
    while at < end:
        blank = text.find(b" ", at, at + byte_streams.MOST_DIGITS + 1)
        stop = at + byte_streams.parse_decimal(text[at : max(at, blank)])
        key, equals, value = text[blank + 1 : stop].partition(b"=")
        # The slice is empty, without an equals sign, if the record would end before its key.
        if not equals or stop > end or text[stop - 1] != LINE_END:
            raise byte_streams.damaged("an attribute cannot be read")
        if key in KEPT:
            records[KEPT[key]] = value[:-1].decode(*tar_header.ENCODING)
        at = stop
    return records
