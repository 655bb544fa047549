"""Undo the compression that an origin applies to a response although it was asked not to."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from ..archives import decompress
from ..base import buffer_pool, byte_streams, failure, limiter, urls
from ..http import object_stream, remote_object

MAGICS = {"gzip": b"\x1f\x8b\x08", "x-gzip": b"\x1f\x8b\x08"}
DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": decompress.gzip_decompressor,
    "x-gzip": decompress.gzip_decompressor,
    "deflate": decompress.zlib_decompressor,
}
# Files that are compressed themselves: some origins call that a coding of the response.
COMPRESSED_NAME = re.compile(r"\.(t?gz|taz|svgz)$", re.IGNORECASE)


def decode(
    opened: object_stream.ObjectStream,
    source: remote_object.RemoteObject,
    limits: limiter.Limiter,
) -> object_stream.ObjectStream:
    """Return an object's content without the codings of its response.

    Args:
        opened: The object from its beginning.
        source: The object, which was probed.
        limits: Counts what is received and unpacked.

    Raises:
        Failure: A coding is unknown.
    """
    for coding in reversed(source.codings):
        if coding not in DECOMPRESSORS:
            raise failure.Failure(
                f"{urls.redact(source.url)} sends its data compressed by "
                f"{failure.quote(coding)}, which cannot be read here: have its origin send them "
                "as they are (Content-Encoding: identity)"
            )
        head = opened.peek(byte_streams.FIRST_BYTES)
        # Some origins announce a coding that they do not apply.
        if not head.startswith(MAGICS.get(coding, b"")):
            continue
        if COMPRESSED_NAME.search(source.name) and not _is_twice(head):
            continue
        opened = object_stream.ObjectStream(_DecodedPieces(opened, DECOMPRESSORS[coding], limits))
    return opened


def _is_twice(head: bytes) -> bool:
    """Tell whether data that begin like this are compressed by gzip twice."""
    try:
        stream = decompress.DecompressedStream(io.BytesIO(head), decompress.gzip_decompressor)
        return stream.read(3) == MAGICS["gzip"]
    except failure.Failure:
        return False


class _DecodedPieces:
    """The pieces of an object's content, decompressed.

    Args:
        opened: The object.
        decompressor: Makes a decompressor.
        limits: Counts what is received and unpacked.
    """

    paged = False

    def __init__(
        self,
        opened: object_stream.ObjectStream,
        decompressor: Callable[[], Any],
        limits: limiter.Limiter,
    ) -> None:
        self._opened = opened
        self._limits = limits
        self._stream = decompress.DecompressedStream(self, decompressor, limits.add_unpacked)

    def read(self, count: int) -> bytes:
        """Return the next bytes as they are received."""
        data = self._opened.read(count)
        self._limits.add_received(len(data))
        return data

    def next_piece(self) -> buffer_pool.Buffer | None:
        """Return the next decompressed bytes; None at the end."""
        data = self._stream.read(byte_streams.CHUNK_BYTES)
        if self._stream.has_other_data:
            raise byte_streams.other_data()
        # Their reader will count them as received, which they were not.
        self._limits.add_received(-len(data))
        return buffer_pool.Buffer(memoryview(data)) if data else None

    def close(self) -> None:
        """Close the object."""
        self._opened.close()
