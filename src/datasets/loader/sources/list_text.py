"""Read the text of a source list: decompressed, decoded, and without a signature around it."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterable, Iterator

from ..base import byte_streams, failure

GZIP_MAGIC = b"\x1f\x8b"
# The marks of UTF-8 and of UTF-16, which PowerShell writes.
MARKS = (
    (codecs.BOM_UTF8, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SIGNED, SIGNATURE = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"
END_OF_SIGNATURE = "-----END PGP SIGNATURE-----"


def utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a list's bytes in UTF-8, without compression by gzip and without a mark.

    Raises:
        Failure: Its compressed data are damaged, or it is not the UTF-16 that it says.
    """
    head, rest = _head(iter(chunks), 2)
    if head.startswith(GZIP_MAGIC):
        head, rest = _head(_gunzipped(_chained(head, rest)), 3)
    else:
        head, rest = _head(_chained(head, rest), 3)
    for mark, encoding in MARKS:
        if head.startswith(mark):
            whole = _chained(head[len(mark) :], rest)
            return _recoded(whole, encoding) if encoding else whole
    return _chained(head, rest)


def without_signature(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the lines of a list, without the frame of a PGP signature, which is not verified.

    Raises:
        Failure: The frame is not complete, or has lines outside of it.
    """
    signed = headers = inside = begun = False
    for number, line in lines:
        text = line.rstrip(" \t")
        if text == SIGNED and not begun:
            signed = headers = True
        elif headers:
            headers = bool(text)
        elif text == SIGNATURE:
            inside = True
        elif inside:
            inside = text != END_OF_SIGNATURE
            signed = signed and inside
            begun = True
        elif signed:
            # A line that begins with a dash has another one before it (RFC 9580, 7.2).
            yield number, line.removeprefix("- ")
        else:
            yield number, line
        begun = begun or bool(text)
    if signed or inside:
        raise failure.Failure(
            "the list ends in the middle of its PGP signature: check that it is complete"
        )


def _head(chunks: Iterator[bytes], count: int) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes, at least so many if there are, and the chunks after them."""
    head = b""
    while len(head) < count and (chunk := next(chunks, b"")):
        head += chunk
    return head, chunks


def _chained(head: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks


def _recoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        raise failure.Failure(
            "the list begins like UTF-16, but is none: convert it to UTF-8"
        ) from None


def _gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield decompressed bytes; streams that follow one another are read as one."""
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    for chunk in chunks:
        data = chunk
        while data:
            if inflate.eof:
                inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                yield inflate.decompress(data, byte_streams.CHUNK_BYTES)
            except zlib.error:
                raise failure.Failure(
                    "the list is compressed by gzip, and its compressed data are damaged: check it"
                ) from None
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    while not inflate.eof:
        # What zlib still holds back.
        chunk = inflate.decompress(b"", byte_streams.CHUNK_BYTES)
        if not chunk and not inflate.eof:
            raise failure.Failure(
                "the list is compressed by gzip, and ends in the middle: check that it is complete"
            )
        yield chunk
