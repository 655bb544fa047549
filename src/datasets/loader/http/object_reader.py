"""Readers of an object's bytes over one connection, which go on after a break.

A range is continued by a request for the rest of it. An object that its origin does not serve in
ranges is requested again from its beginning, and continued if the bytes that were read before are
the same.
"""

from __future__ import annotations

import abc
import contextlib
import hashlib
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ..base import failure
from . import http_client, origins

if TYPE_CHECKING:
    from . import remote_object

CHUNK_BYTES = 2**18
# The first bytes are always hashed: only then is it known whether ranges are served.
HASHED_BYTES = 4 * 2**20
# Origins with several backends may answer with another version the next time.
MOST_VERSIONS = 4
# The requests from the beginning that may end before any new byte.
MOST_IN_VAIN = 5


class NoRanges(Exception):  # noqa: N818 - not an error, a property of an origin
    """A range that its origin does not serve, of an object that it serves as a whole.

    Args:
        open_rest: Opens the object from a position to its end, without ranges.
        refused: The refusal of the range, if it was refused.
    """

    def __init__(
        self,
        open_rest: Callable[[int], WholeReader],
        refused: http_client.Refused | None = None,
    ) -> None:
        super().__init__()
        self.open_rest = open_rest
        self.refused = refused


class _Reader(abc.ABC):
    """A reader that goes on after a break.

    Attributes:
        position: The position of the next byte in the object.
    """

    def __init__(self, remote: remote_object.RemoteObject, start: int, end: int | None) -> None:
        self._remote = remote
        self._end = end
        self._backoff: origins.Backoff = remote.backoff()
        self._response: http_client.Response | None = None
        self.position = start

    def readinto(self, buffer: memoryview) -> int:
        """Read the next bytes into a buffer; return their number, 0 at the end.

        Raises:
            NoRanges: The origin does not serve the range.
            StartOver: It broke off and cannot be continued.
            Failure: It broke off for good.
        """
        while self._end is None or self.position < self._end:
            with self._resumed():
                if self._response is None:
                    self._response = self._request()
                room = len(buffer) if self._end is None else self._end - self.position
                count = self._response.readinto(buffer[:room])
                if count:
                    self._advance(buffer[:count])
                    return count
                if self._end is not None:
                    raise http_client.RetryLater(
                        f"breaks off after {self.position} of {self._end} bytes"
                    )
                self._end = self.position
        return 0

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end. See `readinto`."""
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def close(self) -> None:
        """Close the connection, or keep it for other requests if all was read."""
        if self._response:
            self._response.close()
        self._response = None

    @abc.abstractmethod
    def _request(self) -> http_client.Response:
        """Request the bytes from the position on."""

    def _advance(self, data: memoryview) -> None:
        self.position += len(data)
        self._remote.count_received(len(data))
        self._backoff = self._remote.backoff()

    @contextlib.contextmanager
    def _resumed(self) -> Generator[None]:
        """Let the loop continue after a break."""
        try:
            yield
        except http_client.RetryLater as trouble:
            self.close()
            self._wait(trouble)

    def _wait(self, trouble: http_client.RetryLater) -> None:
        self._backoff.wait(trouble)


class RangeReader(_Reader):
    """A reader of a range of an object; see `RemoteObject.open_range`."""

    def __init__(
        self, remote: remote_object.RemoteObject, start: int, end: int | None, *, patient: bool
    ) -> None:
        super().__init__(remote, start, end)
        self._start = start
        self._patient = patient

    def _request(self) -> http_client.Response:
        return self._remote.request_range(self.position, self._end)

    def _advance(self, data: memoryview) -> None:
        self._remote.count_range()
        super()._advance(data)

    def _wait(self, trouble: http_client.RetryLater) -> None:
        if self.position == self._start and not self._patient:
            raise trouble
        if self.position == self._start:
            self._remote.doubt_ranges()
        if self.position > self._start and not self._remote.validator:
            raise failure.StartOver(trouble.reason) from None
        super()._wait(trouble)


class WholeReader(_Reader):
    """A reader of an object to its end, with or without ranges.

    Args:
        remote: The object.
        start: The position of the first byte.
    """

    def __init__(self, remote: remote_object.RemoteObject, start: int = 0) -> None:
        super().__init__(remote, start, remote.size)
        # The hash of all bytes before `position`.
        self._digest: Any = None if start else _hasher()
        self._in_vain = 0

    def _advance(self, data: memoryview) -> None:
        self._remote.remember(self.position, data)
        if self._digest:
            self._digest.update(data)
            if self.position >= HASHED_BYTES and self._remote.has_ranges:
                self._digest = None
        self._in_vain = 0
        super()._advance(data)

    def _request(self) -> http_client.Response:
        if not self.position:
            response = self._remote.request_whole()
            with _closed_on_error(response):
                self._remote.check_beginning(response)
            return response
        if self._remote.has_ranges:
            with contextlib.suppress(NoRanges):
                return self._remote.request_range(self.position, None)
            self._remote.read_whole()
        return self._request_again()

    def _request_again(self) -> http_client.Response:
        """Request it from its beginning, and skip what was read before.

        Raises:
            StartOver: What was read before has changed, or may have.
        """
        for _ in range(MOST_VERSIONS):
            response = self._remote.request_whole()
            same = self._remote.is_same_version(response)
            if same or self._digest:
                with _closed_on_error(response):
                    self._skip(response, same=same)
                return response
            response.close()
        raise failure.StartOver("changed, or cannot be read in ranges")

    def _skip(self, response: http_client.Response, *, same: bool) -> None:
        self._in_vain += 1
        if self._in_vain > MOST_IN_VAIN:
            raise failure.Later(
                f"{self._remote.shown} breaks off after {self.position} bytes again and again, "
                "and cannot be read in ranges: check the source, then run create-dataset again"
            )
        digest = None if same else _hasher()
        left = self.position
        while left:
            chunk = response.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise http_client.RetryLater(f"breaks off after {self.position - left} bytes")
            left -= len(chunk)
            self._remote.count_received(0)
            if digest:
                digest.update(chunk)
        if digest:
            if digest.digest() != self._digest.digest():
                raise failure.StartOver("changed while it was read")
            self._remote.lose_version()


@contextlib.contextmanager
def _closed_on_error(response: http_client.Response) -> Generator[None]:
    try:
        yield
    except BaseException:
        response.close()
        raise


def _hasher() -> Any:
    return hashlib.blake2b()
