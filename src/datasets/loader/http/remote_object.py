"""One object at an origin, in the version that was seen first, readable from any position.

It never continues with another version of the object, but raises StartOver.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import threading
from collections.abc import Callable, Generator
from email import message as email_message

from ..base import failure, urls
from . import http_client, responses

CHUNK_BYTES = 2**18


class RemoteObject:
    """An object at an origin.

    Args:
        client: The HTTP client.
        url: Its URL.
        auth: The name of the signer of its requests.
        size: Its bytes, if a list has them.
        validator: Its entity tag or its date, if a list has one.
        opening_seconds: The longest time that the origin may refuse to begin.
        patience_seconds: The longest time without data once it has begun.
        on_received: Called with the number of bytes each time some arrive.

    Attributes:
        size: Its bytes; None if the origin does not tell.
        name: The file's name; empty if it has none.
        ranges: Whether the origin serves ranges of it.
        validator: The entity tag or date of this version; empty if there is none.
    """

    def __init__(
        self,
        client: http_client.Client,
        url: str,
        *,
        auth: str = "",
        size: int | None = None,
        validator: str = "",
        opening_seconds: float = 25,
        patience_seconds: float = 300,
        on_received: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.url = url
        self.size = size
        self.validator = validator
        self.ranges = False
        self.name = urls.file_name(url)
        self._client = client
        self._auth = auth
        self._opening_seconds = opening_seconds
        self._patience_seconds = patience_seconds
        self._on_received = on_received
        self._begun = False
        self._first: http_client.Response | None = None
        self._lock = threading.Lock()

    def probe(self) -> None:
        """Request it, and learn its properties from the head of the response.

        Raises:
            StartOver: It differs from the list's entry.
            Failure: It cannot be fetched.
        """
        backoff = self.backoff()
        while True:
            try:
                response = self._client.request(self.url, auth=self._auth)
                break
            except http_client.RetryLater as trouble:
                backoff.wait(trouble)
        size, validator = _length(response), validator_of(response.headers)
        if self._is_other(size, validator):
            response.close()
            raise failure.StartOver("has changed since it was listed")
        self.size = self.size if size is None else size
        self.validator = validator or self.validator
        self.ranges = response.headers.get("Accept-Ranges", "").strip().lower() == "bytes"
        self.name = _attachment(response.headers) or self.name or urls.file_name(response.url)
        self._first = response

    def _is_other(self, size: int | None, validator: str) -> bool:
        if self.size is not None and size is not None and size != self.size:
            return True
        return bool(self.validator and validator and validator != self.validator)

    @property
    def divisible(self) -> bool:
        """Return whether it has ranges that surely belong to one version of it."""
        return self.ranges and bool(self.validator) and self.size is not None

    def backoff(self) -> responses.Backoff:
        """Return the retries that the origin is allowed from now on."""
        seconds = self._patience_seconds if self._begun else self._opening_seconds
        return responses.Backoff(self.url, seconds)

    def open_range(
        self, start: int = 0, end: int | None = None, *, patient: bool = True
    ) -> RangeReader:
        """Return a reader of its bytes over one connection, which resumes after a break.

        Args:
            start: The position of the first byte.
            end: The position after the last byte; None for the object's end.
            patient: Whether to retry if the origin is in trouble before the first byte; otherwise
                RetryLater is raised.
        """
        return RangeReader(self, start, self.size if end is None else end, patient=patient)

    def close(self) -> None:
        """Close the response that `probe` got, if nothing has read it."""
        first, self._first = self._first, None
        if first:
            first.close()

    def request(self, start: int, end: int | None) -> http_client.Response:
        """Request a range of it.

        Raises:
            RetryLater: The origin or the network is in trouble.
            StartOver: The origin does not serve this range of this version.
        """
        if start == 0:
            with self._lock:
                first, self._first = self._first, None
            if first:
                return first
        headers: dict[str, str] = {}
        whole = start == 0 and (end is None or end == self.size)
        if not whole:
            last = "" if end is None or end == self.size else str(end - 1)
            headers["Range"] = f"bytes={start}-{last}"
            if self.validator:
                headers["If-Range"] = self.validator
        response = self._client.request(self.url, headers, auth=self._auth)
        same = self._is_whole(response) if whole else self._is_part(response, start)
        if not same:
            response.close()
            raise failure.StartOver("changed, or cannot be read in ranges")
        return response

    def _is_whole(self, response: http_client.Response) -> bool:
        return response.status == http.client.OK and not self._is_other(
            _length(response), validator_of(response.headers)
        )

    def _is_part(self, response: http_client.Response, start: int) -> bool:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        return (
            response.status == http.client.PARTIAL_CONTENT
            and span is not None
            and int(span[1]) == start
            and (self.size is None or span[2] in {str(self.size), "*"})
            and validator_of(response.headers) in {self.validator, ""}
        )

    def count_received(self, count: int) -> None:
        """Count received bytes.

        Raises:
            Failure: The load has ended.
        """
        self._client.check()
        self._begun = True
        self._on_received(count)


class RangeReader:
    """A reader of a range of an object that resumes after a break; see `open_range`.

    Attributes:
        position: The position of the next byte in the object.
    """

    def __init__(
        self, remote: RemoteObject, start: int, end: int | None, *, patient: bool
    ) -> None:
        self._remote = remote
        self._start = start
        self._end = end
        self._patient = patient
        self._backoff = remote.backoff()
        self._response: http_client.Response | None = None
        self.position = start

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end.

        Raises:
            StartOver: It broke off and cannot be continued.
            Failure: It broke off for good.
        """
        while not self._ended():
            with self._resumed():
                chunk = self._open().read(self._limit(count))
                if self._advance(len(chunk)):
                    return chunk
        return b""

    def readinto(self, buffer: memoryview) -> int:
        """Read the next bytes into a buffer; return their number, 0 at the end."""
        while not self._ended():
            with self._resumed():
                count = self._open().readinto(buffer[: self._limit(len(buffer))])
                if self._advance(count):
                    return count
        return 0

    def close(self) -> None:
        """Close the connection, or keep it for other requests if all was read."""
        if self._response:
            self._response.close()
        self._response = None

    def _ended(self) -> bool:
        return self._end is not None and self.position >= self._end

    def _limit(self, count: int) -> int:
        return count if self._end is None else min(count, self._end - self.position)

    def _open(self) -> http_client.Response:
        if self._response is None:
            self._response = self._remote.request(self.position, self._end)
        return self._response

    def _advance(self, count: int) -> bool:
        """Record received bytes; return whether there were any.

        Raises:
            RetryLater: The stream ended too early.
        """
        if count:
            self.position += count
            self._remote.count_received(count)
            self._backoff = self._remote.backoff()
        elif self._end is None:
            self._end = self.position
        else:
            raise http_client.RetryLater(f"breaks off after {self.position} of {self._end} bytes")
        return bool(count)

    @contextlib.contextmanager
    def _resumed(self) -> Generator[None]:
        """Let the loop continue after a break, if the validator can detect another version."""
        try:
            yield
        except http_client.RetryLater as trouble:
            self.close()
            if self.position == self._start and not self._patient:
                raise
            if self.position > self._start and not self._remote.validator:
                raise failure.StartOver(trouble.reason) from None
            self._backoff.wait(trouble)


def validator_of(headers: email_message.Message) -> str:
    """Return the entity tag or date of an object's version; empty if there is none."""
    # If-Range allows no weak entity tag (RFC 9110, 13.1.5).
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _length(response: http_client.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _attachment(headers: email_message.Message) -> str:
    return urls.safe_name(headers.get_filename("")) if "Content-Disposition" in headers else ""
