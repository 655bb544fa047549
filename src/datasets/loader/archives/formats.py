"""Tells what a source is, from its first bytes and its name, before anything is written."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from ..base import byte_streams, failure, file_names
from . import decompress, tar_reader

# bzip2 gives nothing out before a whole block has come in, which may have 900 kB.
HEAD_BYTES = 2**20
FILE, TAR, ZIP = "file", "tar", "zip"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAGIC = {b"\x1f\x8b\x08": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz", ZSTD_MAGIC: "zst"}
ZIP_MAGIC = (b"PK\3\4", b"PK\5\6")
UNREADABLE = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
}
# Formats such as .npz, .docx and .pt are zip archives too, but are meant to stay as they are; an
# ending that is no word, as in "v1.0", is none.
OTHER_ENDING = re.compile(r"\.(?!(?:gz|bz2|xz|zst)$)[a-z]\w{0,7}$", re.IGNORECASE)
PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<(?:!--.*?--|\?xml.*?\?)>\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
PAGE_NAME = re.compile(r"\.x?html?$", re.IGNORECASE)


def head_of(peek: Callable[[int], bytes]) -> bytes:
    """The first bytes of a source, as many as it takes to recognise it.

    Args:
        peek: Tells so many of its first bytes, or all that there are.
    """
    head = peek(byte_streams.FIRST_BYTES)
    slow = head.startswith(tuple(magic for magic, kind in MAGIC.items() if kind != "gz"))
    return peek(HEAD_BYTES) if slow else head


def recognise(head: bytes, name: str, *, unpack: str) -> str:
    """What the source is.

    Args:
        head: What `head_of` tells of it.
        name: What it is called.
        unpack: `true`, `false` or `recursive`: whether an archive is wanted unpacked.

    Returns:
        `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz`, `tar.zst`; or `file`, for what is kept so.

    Raises:
        Failure: It is not what its name says, or can not be read here.
    """
    if not head:
        raise failure.Failure("the source is empty: check that it is the right one")
    if PAGE.match(head[:4096]) and not PAGE_NAME.search(name):
        raise failure.Failure(
            "the source is a web page (HTML), not the data: use the link to the file itself, and "
            "one that needs no login"
        )
    if unpack == "false" or (
        OTHER_ENDING.search(name) and not file_names.ARCHIVE_NAME.search(name)
    ):
        return FILE
    named = bool(file_names.ARCHIVE_NAME.search(name))
    archive_format = _archive(head, named=named)
    if archive_format == FILE and named:
        raise _not_an_archive(head, name)
    return archive_format


def recognise_inner(head: bytes, name: str) -> str:
    """What a file in an archive is; one that only has the name of an archive is a file.

    Args:
        head: What `head_of` tells of it.
        name: What it is called.

    Returns:
        As `recognise`.

    Raises:
        Failure: It is compressed, and damaged; or this Python can not decompress it.
    """
    return _archive(head, named=True) if file_names.ARCHIVE_NAME.search(name) else FILE


def _archive(head: bytes, *, named: bool) -> str:
    if head.startswith(ZIP_MAGIC):
        return ZIP
    if _begins_tar(head, named=named):
        return TAR
    for magic, kind in MAGIC.items():
        if head.startswith(magic) and _begins_tar(_unpacked(head, kind, named=named), named=named):
            return f"{TAR}.{kind}"
    return FILE


def _begins_tar(data: bytes, *, named: bool) -> bool:
    block = data[: tar_reader.BLOCK_BYTES]
    # A tar archive without members is of zeros, as other files may be.
    return tar_reader.is_header(block) or (named and block == bytes(tar_reader.BLOCK_BYTES))


def _unpacked(head: bytes, kind: str, *, named: bool) -> bytes:
    try:
        stream = decompress.DecompressedStream(io.BytesIO(head), kind)
        return byte_streams.BufferedReader(stream).take(tar_reader.BLOCK_BYTES)
    except failure.Failure:
        # A file that is compressed and no archive stays as it is, whatever it is compressed with.
        if named:
            raise
        return b""


def _not_an_archive(head: bytes, name: str) -> failure.Failure:
    for magic, what in UNREADABLE.items():
        if head.startswith(magic):
            return failure.Failure(
                f"{failure.quote(name)} is {what}, which this loader can not read: offer it as "
                "tar.gz, tar.bz2, tar.xz or zip, or store it as it is with unpack=false"
            )
    return failure.Failure(
        f"{failure.quote(name)} is not the archive that its name says, or is cut off: check the "
        "source, or store it as it is with unpack=false"
    )
