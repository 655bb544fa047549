"""Decode the names of members of zip archives, also those that Windows programs write."""

from __future__ import annotations

import struct
import zlib

UTF8 = 0x800
# The systems, as archives number them, that have slashes and permissions: Unix and macOS. All
# others are taken for Windows, which has numbers of its own for FAT, HPFS, NTFS and VFAT.
UNIX = (3, 19)


def decode(raw: bytes, flags: int, extra: bytes, *, windows: bool) -> str:
    """Return a member's name, with slashes.

    Args:
        raw: The name in the header.
        flags: The header's flags.
        extra: The extra field of Info-ZIP with the name in UTF-8, if there is one.
        windows: Whether the archive was made on Windows.
    """
    # It begins with a version, and a checksum of the name that it belongs to.
    if len(extra) > 5 and extra[1:5] == struct.pack("<L", zlib.crc32(raw)):
        raw, flags = extra[5:], UTF8
    try:
        name, is_utf8 = raw.decode(), True
    except UnicodeDecodeError:
        is_utf8 = bool(flags & UTF8)
        name = raw.decode("utf-8", "surrogateescape") if is_utf8 else raw.decode("cp437")
    # In the old encodings of East Asia a backslash can be the second byte of a letter.
    if windows and (is_utf8 or "/" not in name):
        name = name.replace("\\", "/")
    return name
