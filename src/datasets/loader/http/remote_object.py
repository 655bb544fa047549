"""One object at an origin, in the version that was seen first, readable from any position.

It never continues with another version of the object, but raises StartOver.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable
from email import message as email_message

from ..base import failure, file_names, urls
from . import (
    header_names,
    http_client,
    object_reader,
    object_requests,
    origins,
    responses,
)

CHUNK_BYTES = object_reader.CHUNK_BYTES
# The first bytes, which are compared with those of a range.
BEGINNING_BYTES = 64
# An origin that is in trouble so often may be so for each request of a range.
MOST_RANGE_TROUBLES = 3


class RemoteObject:
    """An object at an origin.

    Args:
        client: The HTTP client.
        url: Its URL.
        auth: The name of the signer of its requests.
        size: Its bytes, if a list has them.
        validator: Its entity tag or its date, if a list has one.
        on_received: Called with the number of bytes each time some arrive.
        on_version_lost: Called when it goes on with bytes that may be of another version.

    Attributes:
        size: Its bytes; None if the origin does not tell.
        name: The file's name; empty if it has none.
        ranges: Whether the origin serves ranges of it, as far as is known.
        validator: The entity tag or date of this version; empty if there is none.
        media_type: The type of its content; empty if the origin does not tell.
        codings: The codings that were applied to its content, in their order.
    """

    def __init__(
        self,
        client: http_client.Client,
        url: str,
        *,
        auth: str = "",
        size: int | None = None,
        validator: str = "",
        on_received: Callable[[int], None] = lambda _: None,
        on_version_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self.size = size
        self.validator = validator
        self.ranges = False
        self.media_type = ""
        self.codings: tuple[str, ...] = ()
        self.name = urls.file_name(url)
        self._client = client
        self._requests = object_requests.ObjectRequests(client, url, auth)
        self._stored = bool(auth)
        self._on_received = on_received
        self._on_version_lost = on_version_lost
        self._ranges_tried = self._ranges_served = False
        self._range_troubles = 0
        self._beginning = b""
        self._first: http_client.Response | None = None
        self._lock = threading.Lock()

    def probe(self) -> None:
        """Request it, and learn its properties from the head of the response.

        Raises:
            StartOver: It differs from the list's entry.
            Failure: It cannot be fetched.
        """
        response = self.backoff().retried(self._requests.send)
        size, validator = (
            responses.content_length(response.headers),
            validator_of(response.headers),
        )
        if self._is_other(size, validator):
            response.close()
            # The entity tags of some services differ from those in their lists.
            self.read_whole()
            raise failure.StartOver("has changed since it was listed")
        self.size = self.size if size is None else size
        self.validator = validator or self.validator
        accepted = response.headers.get("Accept-Ranges", "").strip().lower() == "bytes"
        self.ranges = accepted and not self._client.origins.reads_whole(self.url)
        self.name = file_names.best(
            header_names.attachment(response.headers),
            urls.file_name(response.url),
            urls.file_name(self.url),
        )
        self.media_type = header_names.media_type(response.headers)
        # Buckets and Hubs send objects as they are stored: a coding is a property of the file.
        self.codings = () if self._stored else header_names.codings(response.headers)
        self._first = response

    def assume_ranges(self) -> None:
        """Take it for granted, without a request, that the origin serves ranges of it."""
        self.ranges = self._ranges_tried = self._ranges_served = True

    def confirm_ranges(self) -> bool:
        """Return whether it has ranges of one version; try that once, if it seems so.

        The response of `probe` stays open meanwhile: a link may be good for one request only.
        """
        # While another object has the host to itself, it waits with no response open.
        busy = self._client.origins.open_responses.left_seconds(self.url) > 0
        if self.divisible and not self._ranges_tried and not busy:
            self._ranges_tried = True
            try:
                if not self._try_range():
                    self.read_whole()
            except object_reader.NoRanges:
                self.read_whole()
            except http_client.RetryLater:
                # An origin that serves few connections at once may serve ranges all the same.
                pass
        return self.divisible

    def await_ranges(self) -> bool:
        """Return whether it surely has ranges: wait for one if the origin was in trouble.

        The response of `probe` is closed then: the origin may serve few connections at once.
        """
        if self.divisible and not self._ranges_served:
            self.close()
            try:
                with contextlib.closing(self.open_range(0, 1)) as data:
                    data.read(1)
            except (object_reader.NoRanges, failure.Later):
                self.read_whole()
        return self.divisible

    def _try_range(self) -> bool:
        """Request a few bytes that were read before; tell whether they are the same."""
        end = len(self._beginning) or (self.size or 1)
        start = min(1, end - 1) if self._beginning else end - 1
        found = b""
        with contextlib.closing(self.request_range(start, end)) as response:
            while len(found) <= end - start and (chunk := response.read(end - start + 1)):
                found += chunk
        self._ranges_served = bool(found)
        # Some origins send other bytes than they say.
        return not found or found == (self._beginning[start:] or found[:1])

    def remember(self, position: int, data: memoryview) -> None:
        """Keep its first bytes, to compare a range with them."""
        if position == len(self._beginning) < BEGINNING_BYTES:
            self._beginning += data[: BEGINNING_BYTES - position]

    def count_range(self) -> None:
        """Record that bytes of a range have come."""
        self._ranges_served = True

    def doubt_ranges(self) -> None:
        """Record that the only connection was in trouble before the first byte of a range.

        Raises:
            NoRanges: It was so again and again, and no range has ever come: all of it may.
        """
        self._range_troubles += 1
        if not self._ranges_served and self._range_troubles >= MOST_RANGE_TROUBLES:
            raise object_reader.NoRanges(self._open_without_ranges)

    def _is_other(self, size: int | None, validator: str) -> bool:
        if self.size is not None and size is not None and size != self.size:
            return True
        return bool(self.validator and validator and validator != self.validator)

    @property
    def has_ranges(self) -> bool:
        """Return whether it has ranges that surely belong to one version of it."""
        return self.ranges and bool(self.validator)

    @property
    def divisible(self) -> bool:
        """Return whether it has such ranges, and their number is known: an empty one has none."""
        return self.has_ranges and bool(self.size) and not self.codings

    @property
    def lasting_validator(self) -> str:
        """Return the validator of this version; empty if its origin has another one each time."""
        return "" if self._client.origins.reads_whole(self.url) else self.validator

    @property
    def shown(self) -> str:
        """Return its URL without what may be secret in it."""
        return urls.redact(self.url)

    def backoff(self) -> origins.Backoff:
        """Return the retries that the origin is allowed from now on."""
        return self._client.backoff(self.url)

    def open_range(
        self, start: int, end: int | None, *, patient: bool = True
    ) -> object_reader.RangeReader:
        """Return a reader of a range of it over one connection; it may raise NoRanges.

        Args:
            start: The position of the first byte.
            end: The position after the last byte; None for the object's end.
            patient: Whether to retry if the origin is in trouble before the first byte; otherwise
                RetryLater is raised.
        """
        return object_reader.RangeReader(
            self, start, self.size if end is None else end, patient=patient
        )

    def open_rest(self, start: int = 0) -> object_reader.WholeReader:
        """Return a reader of all bytes from a position on, also where ranges are not served."""
        return object_reader.WholeReader(self, start)

    def close(self) -> None:
        """Close the response that `probe` got, if nothing has read it."""
        first, self._first = self._first, None
        if first:
            first.close()

    def request_whole(self) -> http_client.Response:
        """Request all of it; the version of the response may be another one.

        Raises:
            RetryLater: The origin or the network is in trouble.
            StartOver: It has another size now.
        """
        with self._lock:
            first, self._first = self._first, None
        if first:
            return first
        response = self._requests.send()
        size = responses.content_length(response.headers)
        if self._is_other(size, ""):
            response.close()
            raise failure.StartOver("changed while it was read")
        return response

    def request_range(self, start: int, end: int | None) -> http_client.Response:
        """Request a range of this version of it.

        Raises:
            RetryLater: The origin or the network is in trouble.
            NoRanges: The origin does not serve this range of this version.
        """
        last = "" if end is None or end == self.size else str(end - 1)
        headers = {"Range": f"bytes={start}-{last}"}
        if self.validator:
            headers["If-Range"] = self.validator
        try:
            response = self._requests.send(headers)
        except http_client.Refused as refused:
            raise object_reader.NoRanges(self._open_without_ranges, refused) from None
        if not self._is_part(response, start, end):
            response.close()
            raise object_reader.NoRanges(self._open_without_ranges)
        return response

    def _is_part(self, response: http_client.Response, start: int, end: int | None) -> bool:
        span = responses.content_range(response.headers)
        return (
            response.status == http.client.PARTIAL_CONTENT
            and span is not None
            and span.start == start
            # It may have fewer bytes than were asked for.
            and (end is None or span.end <= end)
            and (self.size is None or span.size in {self.size, None})
            and validator_of(response.headers) in {self.validator, ""}
        )

    def is_same_version(self, response: http_client.Response) -> bool:
        """Tell whether a response surely has this version of it."""
        return bool(self.validator) and validator_of(response.headers) == self.validator

    def check_beginning(self, response: http_client.Response) -> None:
        """Check the version of a response from which it is read from its beginning.

        Raises:
            StartOver: It is another one, and there may be ranges of the one before.
        """
        if self._is_other(None, validator_of(response.headers)):
            if self.has_ranges:
                self.read_whole()
                raise failure.StartOver("changed while it was read")
            self.lose_version()

    def read_whole(self) -> None:
        """Use no ranges of it any more."""
        self.ranges = False
        self._client.origins.read_whole(self.url)

    def _open_without_ranges(self, position: int) -> object_reader.WholeReader:
        self.read_whole()
        return self.open_rest(position)

    def without_ranges(self, trouble: object_reader.NoRanges) -> failure.StartOver:
        """Return the instruction to start over without ranges, if it can be read as a whole.

        Raises:
            Failure: It is refused as a whole, too, or the origin stays in trouble.
        """
        self.read_whole()
        if trouble.refused:
            self.backoff().retried(self.request_whole).close()
        return failure.StartOver("changed, or cannot be read in ranges")

    def lose_version(self) -> None:
        """Record that the version is not known any more: what follows may be of another one."""
        if self.validator:
            self._on_version_lost()

    def count_received(self, count: int) -> None:
        """Count received bytes.

        Raises:
            Failure: The load has ended.
        """
        self._client.check()
        self._client.origins.received(count)
        self._on_received(count)


def validator_of(headers: email_message.Message) -> str:
    """Return the entity tag or date of an object's version; empty if there is none."""
    # If-Range allows no weak entity tag (RFC 9110, 13.1.5).
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")
