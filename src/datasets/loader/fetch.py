"""A source as one stream of bytes: hashed as it comes, resumed after a break, bounded in time.

It does not know what the bytes are.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Mapping
from email import message as email_message
from typing import Any

from . import failure, http_client, spec, urls

CHUNK_BYTES = 2**18
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 15.0


class StartOver(Exception):  # noqa: N818 - not an error, an order
    """What was read so far can not be gone on with; all of it has to be read again.

    Args:
        reason: What happened, as the end of a sentence about the source.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Source:
    """A stream over HTTP.

    Args:
        task: What is to be loaded.

    Attributes:
        received: The bytes that have come so far.
        size: The bytes that will have come in the end; None where the origin does not say.
        name: What the file is called, empty where it has no name.
    """

    def __init__(self, task: spec.Spec) -> None:
        self._task = task
        self._hash = spec.hasher(task.algorithm)
        self._ahead = bytearray()
        self._ended = False
        self._last_news = time.monotonic()
        self._waits = 0
        self.received = 0
        self.size: int | None = None
        self._response = self._request({}, None)
        self._validator = _validator(self._response.headers)
        self.size = _length(self._response)
        self.name = _attachment(self._response.headers) or urls.file_name(task.source)

    def close(self) -> None:
        """Ends the connection."""
        self._response.close()

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or all that are left; they stay to be read."""
        while len(self._ahead) < count and (chunk := self._receive(CHUNK_BYTES)):
            self._ahead += chunk
        return bytes(self._ahead[:count])

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end.

        Raises:
            StartOver: It broke off and can not be gone on with.
            Failure: It broke off for good.
        """
        if not self._ahead:
            chunk = self._receive(CHUNK_BYTES)
            if len(chunk) <= count:
                return chunk
            self._ahead += chunk
        chunk = bytes(self._ahead[:count])
        del self._ahead[:count]
        return chunk

    def check(self) -> str:
        """Compares what came with the checksum that was given, once all is read.

        Returns:
            The checksum of what came.

        Raises:
            Failure: They differ.
        """
        actual = f"{self._task.algorithm}:{self._hash.hexdigest()}"
        if self._task.checksum and actual != self._task.checksum:
            raise failure.Failure(
                f"what came from {urls.shown(self._task.source)} has the checksum {actual}, not "
                f"{self._task.checksum}: check which of the two is wrong"
            )
        return actual

    def _receive(self, count: int) -> bytes:
        while not self._ended:
            try:
                with http_client.translated(self._task.source):
                    chunk = self._response.read(count)
            except http_client.ComeAgain as trouble:
                self._resume(trouble)
                continue
            self._news(chunk)
            if chunk:
                return chunk
            if not self._ended:
                self._resume(
                    http_client.ComeAgain(f"breaks off after {self.received} of {self.size} bytes")
                )
        return b""

    def _news(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.received += len(chunk)
        self._ended = not chunk if self.size is None else self.received >= self.size
        if chunk:
            self._last_news = time.monotonic()
            self._waits = 0

    def _resume(self, trouble: http_client.ComeAgain) -> None:
        """Goes on where the stream broke off, if the origin vouches that it is still the same."""
        self._response.close()
        if self.received == 0 or not self._validator:
            self._wait(trouble)
            raise StartOver(trouble.reason)
        headers = {"Range": f"bytes={self.received}-", "If-Range": self._validator}
        self._response = self._request(headers, trouble)
        if not self._goes_on():
            self._response.close()
            raise StartOver(f"{trouble.reason}, and can not be gone on with")

    def _goes_on(self) -> bool:
        span = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", self._response.headers.get("Content-Range", "")
        )
        return (
            self._response.status == http.client.PARTIAL_CONTENT
            and span is not None
            and int(span[1]) == self.received
            and (self.size is None or span[2] in {str(self.size), "*"})
            and _validator(self._response.headers) in {self._validator, ""}
        )

    def _request(self, headers: Mapping[str, str], trouble: http_client.ComeAgain | None) -> Any:
        """Asks until there is an answer, at growing intervals; at once if there was no trouble."""
        while True:
            if trouble:
                self._wait(trouble)
            try:
                return http_client.request(self._task.source, headers, self._task.timeout_seconds)
            except http_client.ComeAgain as again:
                trouble = again

    def _wait(self, trouble: http_client.ComeAgain) -> None:
        wait = min(FIRST_WAIT_SECONDS * 2**self._waits, LONGEST_WAIT_SECONDS)
        wait = max(wait, trouble.wait_seconds)
        patience = self._task.patience_seconds if self.received else self._task.opening_seconds
        if time.monotonic() + wait - self._last_news > patience:
            raise failure.Failure(
                f"{urls.shown(self._task.source)} {trouble.reason}, even after {patience:g} "
                "seconds: check the source and the model's proxy settings, then run "
                "create-dataset again"
            )
        self._waits += 1
        time.sleep(wait)


def _validator(headers: email_message.Message) -> str:
    # If-Range takes no weak entity tag (RFC 9110, 13.1.5).
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _length(response: Any) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _attachment(headers: email_message.Message) -> str:
    return urls.safe_name(headers.get_filename("")) if "Content-Disposition" in headers else ""
