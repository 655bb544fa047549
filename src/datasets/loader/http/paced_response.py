"""A response whose origin has to keep a minimum pace, for its head and for its body.

A timeout of the socket alone limits only the time between two bytes: one byte in a while, or
headers without end, would keep a load for ever.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

# The least bytes in each second that is spent in waiting for a body.
LEAST_BYTES_PER_SECOND = 1024
# A head may take this many times the socket's timeout, and this many bytes with all that precedes
# it (`100 Continue`).
HEAD_TIMEOUTS, MOST_HEAD_BYTES = 2, 2**20
# The bytes that may arrive for one byte of a body: chunks have their own sizes and extensions.
MOST_OVERHEAD = 16


class PacedResponse(http.client.HTTPResponse):
    """A response of http.client that raises TimeoutError if it arrives too slowly."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._paced = _PacedSocket(self.fp.detach(), sock.gettimeout())
        self.fp = io.BufferedReader(self._paced)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._paced.end_head()

    def read(self, amt: int | None = None) -> bytes:
        """Return the next bytes."""
        self._paced.expect(amt or 0)
        return super().read(amt)

    def readinto(self, b: Any) -> int:
        """Read the next bytes into a buffer."""
        self._paced.expect(len(b))
        return super().readinto(b)


class _PacedSocket(io.RawIOBase):
    """The socket of a response, which counts what arrives and how long that takes."""

    def __init__(self, raw: Any, timeout_seconds: float | None) -> None:
        self._raw = raw
        self._timeout_seconds = timeout_seconds or float("inf")
        self._head_ends: float | None = time.monotonic() + HEAD_TIMEOUTS * self._timeout_seconds
        self._left = MOST_HEAD_BYTES
        self._waited_seconds = 0.0
        self._arrived = 0

    def end_head(self) -> None:
        """Measure the body from now on."""
        self._head_ends = None

    def expect(self, count: int) -> None:
        """Allow the bytes that a body of so many bytes may take."""
        self._left = MOST_HEAD_BYTES + MOST_OVERHEAD * count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        began = time.monotonic()
        count = self._raw.readinto(buffer)
        now = time.monotonic()
        self._waited_seconds += now - began
        self._arrived += count or 0
        self._left -= count or 0
        if count and (self._left < 0 or self._is_slow(now)):
            raise TimeoutError("too slow")
        return count

    def _is_slow(self, now: float) -> bool:
        if self._head_ends is not None:
            return now > self._head_ends
        if self._waited_seconds < self._timeout_seconds:
            return False
        slow = self._arrived < LEAST_BYTES_PER_SECOND * self._waited_seconds
        self._waited_seconds, self._arrived = 0.0, 0
        return slow

    def close(self) -> None:
        self._raw.close()
        super().close()
