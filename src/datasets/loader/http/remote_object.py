"""One object at an origin, as it was when it was looked at first; read from anywhere in it.

It never goes on with another version of the object: `StartOver` says that there is one.
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
        client: What asks for it.
        url: Its URL.
        auth: The name of what signs requests for it.
        size: Its bytes, where a list has said it.
        validator: Its entity tag or its date, where a list has said it.
        opening_seconds: How long the origin may refuse to begin.
        patience_seconds: How long it may bring nothing once it has begun.
        on_received: Called with the number of bytes each time some arrive.

    Attributes:
        size: The bytes that it has; None where the origin does not say.
        name: What the file is called, empty where it has no name.
        ranges: Whether the origin says that parts of it can be asked for.
        validator: What tells this version of it from others; empty where nothing does.
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
        """Asks for it, and learns what it is from the head of the answer.

        Raises:
            StartOver: It is not what the list said.
            Failure: It is not to be had.
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
        """Whether parts of it can be read that surely belong together."""
        return self.ranges and bool(self.validator) and self.size is not None

    def backoff(self) -> responses.Backoff:
        """How long the origin is given from now on."""
        seconds = self._patience_seconds if self._begun else self._opening_seconds
        return responses.Backoff(self.url, seconds)

    def open_range(
        self, start: int = 0, end: int | None = None, *, patient: bool = True
    ) -> RangeReader:
        """Its bytes over one connection, gone on with after a break.

        Args:
            start: Where they begin.
            end: Where they end; None for the object's end.
            patient: Whether an origin that is in trouble before the first byte is asked again;
                RetryLater is raised otherwise.
        """
        return RangeReader(self, start, self.size if end is None else end, patient=patient)

    def close(self) -> None:
        """Ends the answer that `probe` got, if nobody reads it."""
        first, self._first = self._first, None
        if first:
            first.close()

    def request(self, start: int, end: int | None) -> http_client.Response:
        """Asks for a part of it.

        Raises:
            RetryLater: The origin or the way to it is in trouble.
            StartOver: The origin does not give this part of this version.
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
            raise failure.StartOver("changed, or can not be read in parts")
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
        """Counts bytes that came.

        Raises:
            Failure: Nobody wants them any more.
        """
        self._client.check()
        self._begun = True
        self._on_received(count)


class RangeReader:
    """A part of an object over one connection, gone on with after a break; see `open_range`.

    Attributes:
        position: Where in the object the next byte is.
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
        """The next bytes, `count` at the most; none at the end.

        Raises:
            StartOver: It broke off and can not be gone on with.
            Failure: It broke off for good.
        """
        while not self._ended():
            with self._resumed():
                chunk = self._open().read(self._limit(count))
                if self._news(len(chunk)):
                    return chunk
        return b""

    def readinto(self, buffer: memoryview) -> int:
        """As `read`, into a buffer; how many bytes came."""
        while not self._ended():
            with self._resumed():
                count = self._open().readinto(buffer[: self._limit(len(buffer))])
                if self._news(count):
                    return count
        return 0

    def close(self) -> None:
        """Ends the connection, or keeps it for others if all was read."""
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

    def _news(self, count: int) -> bool:
        """Takes note of what came; False where the stream ended too early and has to go on."""
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
        """Lets the loop go on after a break, if the origin vouches that it is still the same."""
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
    """What tells this version of an object from others; empty where nothing does."""
    # If-Range takes no weak entity tag (RFC 9110, 13.1.5).
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _length(response: http_client.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _attachment(headers: email_message.Message) -> str:
    return urls.safe_name(headers.get_filename("")) if "Content-Disposition" in headers else ""
