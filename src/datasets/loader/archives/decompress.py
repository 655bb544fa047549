"""A compressed stream read through its decompressor, a chunk at a time."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from ..base import byte_streams
from . import members

# xz -9 takes 65 MiB; a file can ask for gigabytes.
MOST_XZ_MEMORY_BYTES = 128 * 2**20
# As a power of two; zstd --ultra asks for 128 MiB.
MOST_ZSTD_WINDOW = 27

ERRORS = (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError)
# What lzma and zstd say.
TOO_HUNGRY = ("emory usage limit", "too much memory")


class Inflater:
    """zlib's decompressor, with the face of bz2's and lzma's."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)
        self._full = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decompresses what is left from before, then `data`."""
        chunk = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        # zlib may have taken all of its input and still hold back output that had no room.
        self._full = len(chunk) == max_length
        return chunk

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed data was seen."""
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing can come before more data go in."""
        return not self._inflate.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        """What came after the end."""
        return self._inflate.unused_data


def zstd_decompressor() -> Any:
    """Python's own decompressor, which it has from 3.14 on.

    Raises:
        Failure: It is an older one.
    """
    try:
        library: Any = importlib.import_module("compression.zstd")
    except ImportError:
        raise members.RefusedArchive(
            "the archive is compressed with zstd, which the Python of this image can not read: "
            "juju config aws-efs loader-image=python:3.14-slim, or offer it as tar.gz, or store "
            "it as it is with unpack=false"
        ) from None
    options = {library.DecompressionParameter.window_log_max: MOST_ZSTD_WINDOW}
    return library.ZstdDecompressor(options=options)


DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gz": lambda: Inflater(16 + zlib.MAX_WBITS),
    "bz2": bz2.BZ2Decompressor,
    "zst": zstd_decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_XZ_MEMORY_BYTES),
}


class DecompressedStream:
    """Reads what a gz, bz2, xz or zst stream holds; streams that follow one another are one.

    Args:
        raw: The compressed stream.
        kind: `gz`, `bz2`, `xz` or `zst`.
        count: Is told how many bytes came out, each time some do.
    """

    def __init__(
        self, raw: byte_streams.Readable, kind: str, count: Callable[[int], None] = lambda _: None
    ) -> None:
        self._raw = raw
        self._new = DECOMPRESSORS[kind]
        self._decompressor = self._new()
        self._count = count
        self._ahead = b""

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end.

        Raises:
            Failure: The stream is damaged or cut off.
        """
        if not self._ahead:
            self._ahead = self._next()
            self._count(len(self._ahead))
        chunk, self._ahead = self._ahead[:count], self._ahead[count:]
        return chunk

    def _next(self) -> bytes:
        while True:
            data = b""
            if self._decompressor.eof:
                data = self._following()
                if not data:
                    return b""
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                data = self._raw.read(byte_streams.CHUNK_BYTES)
                if not data:
                    raise byte_streams.truncated()
            if chunk := step(self._decompressor, data):
                return chunk

    def _following(self) -> bytes:
        """What follows a stream that ended, less the zeros that some tools pad with."""
        data = self._decompressor.unused_data.lstrip(b"\0")
        while not data and (chunk := self._raw.read(byte_streams.CHUNK_BYTES)):
            data = chunk.lstrip(b"\0")
        return data


def step(decompressor: Any, data: bytes) -> bytes:
    """What a decompressor gives for its next input, a chunk at the most.

    Raises:
        Failure: The data are damaged, or take too much memory.
    """
    try:
        return decompressor.decompress(data, byte_streams.CHUNK_BYTES)
    except MemoryError:
        raise _too_hungry() from None
    except Exception as error:
        # zstd's own error is in a module that older Pythons lack.
        if not isinstance(error, ERRORS) and type(error).__name__ != "ZstdError":
            raise
        if any(text in str(error) for text in TOO_HUNGRY):
            raise _too_hungry() from None
        raise byte_streams.damaged("its compressed data do not fit together") from None


def _too_hungry() -> byte_streams.Damaged:
    return byte_streams.Damaged(
        "the archive takes too much memory to decompress: compress it again with xz -9 at most, "
        "or zstd without --long"
    )
