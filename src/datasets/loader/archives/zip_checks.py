"""Compare what a zip archive says twice: in a header and in its list, at its end and behind it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..base import byte_streams, failure
from . import zip_headers

DESCRIPTOR_SIGNATURE = b"PK\7\10"
# The signatures that can follow a member.
FOLLOWING = (
    zip_headers.LOCAL_SIGNATURE,
    zip_headers.ENTRY_SIGNATURE,
    *zip_headers.END_SIGNATURES,
)
# The flags that say how the content is stored.
FLAGS = zip_headers.ENCRYPTED | zip_headers.DESCRIBED
MOST_16, MOST_32 = 0xFFFF, 0xFFFFFFFF


class EndRecord(NamedTuple):
    """The numbers in the records at the end of an archive.

    Attributes:
        members: The number of members, modulo 2**16 if there is no zip64 record.
        length: The length of the central directory in bytes.
        offset: Its position.
    """

    members: int
    length: int
    offset: int


def parse_end(record: bytes, record64: bytes = b"") -> EndRecord:
    """Return the numbers in the end record, and in that of zip64, if there is one.

    Raises:
        Failure: It is one part of several, or the records contradict themselves.
    """
    _, disk, first_disk, here, *numbers, _ = zip_headers.END.unpack(record)
    found = EndRecord(*numbers)
    if disk not in {0, MOST_16}:
        raise zip_headers.split_archive()
    if record64:
        *_, disk, first_disk, here, members, length, offset = zip_headers.END64.unpack(record64)
        if disk:
            raise zip_headers.split_archive()
        narrow, found = found, EndRecord(members, length, offset)
        for small, large, most in zip(narrow, found, (MOST_16, MOST_32, MOST_32)):  # noqa: B905 - of 3.9
            if small not in {most, large & most}:
                raise _contradiction()
    if here != found.members or first_disk != disk:
        raise _contradiction()
    return found


def check_local(local: zip_headers.ZipEntry, listed: zip_headers.ZipEntry) -> None:
    """Refuse a member whose own header says something else than the central directory.

    Raises:
        Failure: They contradict each other.
    """
    described = is_described(local)
    numbers = zip(  # noqa: B905 - of 3.9
        (local.check, local.packed, local.size), (listed.check, listed.packed, listed.size)
    )
    # Numbers that a descriptor has are zero in the header before it, or repeated there.
    same = all(
        mine == other or (described and mine in {0, zip_headers.IN_EXTRA})
        for mine, other in numbers
    )
    flags = (local.flags ^ listed.flags) & FLAGS
    if not same or flags or (local.name, local.method) != (listed.name, listed.method):
        raise byte_streams.damaged(
            f"{failure.quote(listed.name)} is not what the list says: its own header differs"
        )


def is_described(entry: zip_headers.ZipEntry) -> bool:
    """Tell whether its sizes and CRC are in a data descriptor after the content."""
    return bool(entry.flags & zip_headers.DESCRIBED)


def check_descriptor(stream: zip_headers.ZipStream, entry: zip_headers.ZipEntry) -> None:
    """Refuse a member whose data descriptor says something else than the central directory.

    Args:
        stream: The archive from the end of the content on.
        entry: The member, as listed.

    Raises:
        Failure: They contradict each other.
    """
    # Some archives announce a descriptor that they do not have.
    following = stream.read_exactly(4)
    stream.unread(4)
    actual = (entry.check, entry.packed, entry.size)
    if following not in FOLLOWING and read_descriptor(stream, actual) != actual:
        raise byte_streams.damaged(f"{failure.quote(entry.name)} is not what the list says")


def read_descriptor(
    stream: zip_headers.ZipStream, actual: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Return the data descriptor: with or without a signature, in 32 or in 64 bits.

    Args:
        stream: The archive from the end of the content on.
        actual: The CRC, the compressed size and the size of the content.
    """
    data = stream.read_exactly(4)
    if data == DESCRIPTOR_SIGNATURE:
        data = stream.read_exactly(4)
    short = data + stream.read_exactly(8)
    check, packed, size = struct.unpack("<3L", short)
    if (check, packed, size) == actual:
        # The 64-bit descriptor of an empty file begins like this, too.
        following = stream.read_exactly(4)
        stream.unread(4)
        if following in FOLLOWING:
            return check, packed, size
    check, packed, size = struct.unpack("<LQQ", short + stream.read_exactly(8))
    return check, packed, size


def _contradiction() -> byte_streams.Damaged:
    return byte_streams.damaged("the records at its end do not fit together")
