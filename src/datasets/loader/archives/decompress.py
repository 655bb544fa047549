"""Read a compressed stream through its decompressor, a chunk at a time."""

from __future__ import annotations

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable
from typing import Any

from ..base import byte_streams, large_memory
from . import members

# xz -9 takes 65 MiB; a file can ask for gigabytes.
MOST_XZ_BYTES = 68 * 2**20
# Powers of two: zstd --ultra asks for 128 MiB, and inside of an archive it may have less.
ZSTD_WINDOWS = range(27, 9, -1)
# What a decompressor takes beside its window.
BESIDE_WINDOW_BYTES = 2 * 2**20

# The first bytes of gzip, bzip2, xz and zstd: another stream may follow one of them.
GZIP, BZIP2, XZ, ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
# The magic of zstd's frames that are to be skipped; pzstd writes one in front of each other one.
SKIPPED_FRAMES = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
KINDS = ((GZIP,), (BZIP2,), (XZ,), (ZSTD, *SKIPPED_FRAMES))
MAGIC_BYTES = 6
ERRORS = (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError)
# Parts of the messages of lzma and zstd.
MEMORY_MESSAGES = ("emory usage limit", "too much memory")


class Inflater:
    """A zlib decompressor with the interface of those of bz2 and lzma."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)
        self._full = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decompress the data that are left from before, then `data`."""
        chunk = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        # zlib may have taken all of its input and still hold back output that had no room.
        self._full = len(chunk) == max_length
        return chunk

    @property
    def eof(self) -> bool:
        """Return whether the compressed data have ended."""
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        """Return whether it needs more data to continue."""
        return not self._inflate.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        """Return the data after the end."""
        return self._inflate.unused_data


def zstd_decompressor() -> Any:
    """Return Python's own decompressor of zstd, available since 3.14.

    Raises:
        RefusedArchive: This Python is older.
    """
    try:
        library: Any = importlib.import_module("compression.zstd")
    except ImportError:
        raise members.RefusedArchive(
            "the archive is compressed with zstd, which the Python of this image cannot read: "
            "juju config aws-efs loader-image=python:3.14-slim, or offer it as tar.gz, or store "
            "it as it is with unpack=false"
        ) from None
    left = large_memory.LARGE.left() - BESIDE_WINDOW_BYTES
    window = next((each for each in ZSTD_WINDOWS if 2**each <= left), ZSTD_WINDOWS[-1])
    large_memory.LARGE.take(2**window + BESIDE_WINDOW_BYTES)
    options = {library.DecompressionParameter.window_log_max: window}
    return library.ZstdDecompressor(options=options)


def gzip_decompressor() -> Any:
    """Return a decompressor of gzip."""
    return Inflater(16 + zlib.MAX_WBITS)


def zlib_decompressor() -> Any:
    """Return a decompressor of zlib, which HTTP calls deflate."""
    return Inflater(zlib.MAX_WBITS)


def bz2_decompressor() -> Any:
    """Return a decompressor of bzip2."""
    return bz2.BZ2Decompressor()


def xz_decompressor() -> Any:
    """Return a decompressor of xz, with bounded memory."""
    return _lzma(lzma.FORMAT_XZ)


def lzma_decompressor() -> Any:
    """Return a decompressor of lzma, the predecessor of xz, with bounded memory."""
    return _lzma(lzma.FORMAT_ALONE)


def _lzma(container: int) -> Any:
    limit = max(1, min(MOST_XZ_BYTES, large_memory.LARGE.left()))
    large_memory.LARGE.take(limit)
    return lzma.LZMADecompressor(container, memlimit=limit)


class DecompressedStream:
    """A decompressed stream; compressed streams that follow one another are read as one.

    Args:
        raw: The compressed stream.
        decompressor: Makes a decompressor.
        count: Called with the number of decompressed bytes, each time there are some.

    Attributes:
        has_other_data: Whether it was read to its end, and other data follow.
    """

    def __init__(
        self,
        raw: byte_streams.Readable,
        decompressor: Callable[[], Any],
        count: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._raw = raw
        self._new = decompressor
        self._decompressor = self._new()
        self._count = count
        self._ahead = b""
        self._magic = b""
        self.has_other_data = False

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end.

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
                data = b"" if self.has_other_data else self._following()
                if not data:
                    return b""
                if not _may_follow(self._magic, data):
                    self.has_other_data = True
                    return b""
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                data = self._raw.read(byte_streams.CHUNK_BYTES)
                if not data:
                    raise byte_streams.truncated()
                self._magic += data[: MAGIC_BYTES - len(self._magic)]
            if chunk := step(self._decompressor, data):
                return chunk

    def _following(self) -> bytes:
        """Return the data after an ended stream, without the zeros that some tools pad with."""
        data = self._decompressor.unused_data.lstrip(b"\0")
        while not data and (chunk := self._raw.read(byte_streams.CHUNK_BYTES)):
            data = chunk.lstrip(b"\0")
        while 0 < len(data) < MAGIC_BYTES and (chunk := self._raw.read(byte_streams.CHUNK_BYTES)):
            data += chunk
        return data


def _may_follow(magic: bytes, data: bytes) -> bool:
    """Tell whether data that follow an ended stream are another one of its kind."""
    return any(magic.startswith(kind) and data.startswith(kind) for kind in KINDS)


def step(decompressor: Any, data: bytes) -> bytes:
    """Return the output of a decompressor for its next input, at most a chunk.

    Raises:
        Failure: The data are damaged, or take too much memory.
    """
    try:
        return decompressor.decompress(data, byte_streams.CHUNK_BYTES)
    except MemoryError:
        raise _too_much_memory() from None
    except Exception as error:
        # zstd's own error class is in a module that older versions of Python lack.
        if not isinstance(error, ERRORS) and type(error).__name__ != "ZstdError":
            raise
        if any(text in str(error) for text in MEMORY_MESSAGES):
            raise _too_much_memory() from None
        raise byte_streams.damaged("its compressed data do not fit together") from None


def _too_much_memory() -> byte_streams.Damaged:
    return byte_streams.Damaged(
        "the archive takes too much memory to decompress: compress it again with xz -9 at most, "
        "or zstd without --long"
    )
