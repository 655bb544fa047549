"""Classify refusals and network errors: retry later, or fail with a message for the user."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.parse
from email import message as email_message
from typing import Any, NamedTuple

from ..base import failure, urls
from . import header_names, rate_limits

# All others, as 202 (the data are being prepared, or a browser is asked for), bring no data.
DATA_STATUSES = {200, 203, 206}
RETRIED_STATUSES = {202, 408, 425, 429, 500, 502, 503, 504, 507, 509}
# Some origins limit requests by these, and tell in the headers until when.
LIMITING_STATUSES = {400, 403, 416}
# The first match counts. socket.timeout and ssl.SSLError are OSErrors of their own in 3.9.
TROUBLES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((socket.gaierror,), "cannot be reached: the host {host} does not resolve"),
    ((socket.timeout, TimeoutError), "did not answer in time"),
    ((ssl.SSLError,), "cannot be reached: TLS failed"),
    ((ConnectionRefusedError,), "cannot be reached: the connection was refused"),
    ((ConnectionError, http.client.HTTPException), "broke the connection off"),
)
LOGIN = (
    "it requires credentials, or a signed link has expired; use a link that needs no login or is "
    "signed anew, or give credentials=secret:<id> with a header or token for its host"
)
CONTENT_RANGE = re.compile(r"bytes[ =](\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.IGNORECASE)
# The error codes of S3, which answers 400, for credentials that have expired.
EXPIRED = (b"<Code>ExpiredToken<", b"<Code>TokenRefreshRequired<", b"<Code>RequestExpired<")


class ContentRange(NamedTuple):
    """The bytes of an object that a response has.

    Attributes:
        start: The position of the first one.
        end: The position after the last one.
        size: The bytes of the object; None if it is not known.
    """

    start: int
    end: int
    size: int | None


class RetryLater(Exception):  # noqa: N818 - not an error, an instruction
    """A failure that may not last.

    Args:
        reason: What happened, as the end of a sentence about the source.
        wait_seconds: The wait that the origin asked for.
        soon: Whether it may be over soon.
    """

    def __init__(self, reason: str, *, wait_seconds: float = 0, soon: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_seconds = wait_seconds
        self.soon = soon


class Refused(failure.Failure):
    """A refusal of an origin.

    Args:
        sentence: The text for the user.
        source: What was requested, without what may be secret.
        status: The response's status.
        headers: Its headers.
        content: The beginning of its body.
    """

    def __init__(
        self,
        sentence: str,
        source: str,
        status: int,
        headers: email_message.Message,
        content: bytes,
    ) -> None:
        super().__init__(sentence)
        self.source = source
        self.status = status
        self.headers = headers
        self.content = content
        # Another attempt may have other credentials.
        self.resumable = status in {401, 403} or any(each in content for each in EXPIRED)

    def explained(self, sentence: str) -> Refused:
        """Return the same refusal with another text for the user."""
        return Refused(sentence, self.source, self.status, self.headers, self.content)

    def explained_by(self, advice: str) -> Refused:
        """Return it with an advice, if the origin refuses the credentials."""
        if self.status not in {401, 403}:
            return self
        return self.explained(f"{self.source} answers {self.status}: {advice}")


def content_range(headers: email_message.Message) -> ContentRange | None:
    """Return the range that a response has; None if it does not tell, or contradicts itself."""
    found = CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not found:
        return None
    start, end = int(found[1]), int(found[2]) + 1
    size = None if found[3] == "*" else int(found[3])
    length = content_length(headers)
    if end <= start or length not in {None, end - start} or (size is not None and end > size):
        return None
    return ContentRange(start, end, size)


def content_length(headers: email_message.Message) -> int | None:
    """Return the number of bytes of a response; None if it does not tell."""
    length = headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,19}", length) else None


def is_whole(status: int, headers: email_message.Message) -> bool:
    """Tell whether a response has all of an object, of which no range was asked for."""
    if status != http.client.PARTIAL_CONTENT or "Content-Range" not in headers:
        return True
    span = content_range(headers)
    return span is not None and (span.start, span.end) == (0, span.size)


def redirect_target(url: str, location: str, shown: str) -> str:
    """Return the target of a redirect, if it is as safe as the source.

    Args:
        url: The URL that redirects.
        location: The header that it has.
        shown: The URL, without what may be secret.

    Raises:
        Failure: It is not.
    """
    target = urllib.parse.urljoin(url, header_names.location(location))
    target = urllib.parse.urldefrag(target).url
    try:
        urls.check_web(target)
    except ValueError as error:
        raise failure.Failure(
            f"{shown} redirects to a URL that {error}: use the link to the file itself"
        ) from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise failure.Failure(
            f"{shown} redirects from https to http on {urls.host_of(target)}, which is not safe: "
            "if you accept that, use the link there as the source, with a checksum"
        )
    return target


def too_many_redirects(shown: str) -> failure.Failure:
    """Return the failure of too many redirects."""
    return failure.Failure(
        f"{shown} redirects in a circle, or to something that is not http(s): use the "
        "link to the file itself"
    )


def refusal(status: int, headers: email_message.Message, content: bytes, source: str) -> Exception:
    """Return the error for a response that refuses a request.

    Args:
        status: Its status.
        headers: Its headers.
        content: The beginning of its body.
        source: What was requested, without what may be secret.
    """
    seconds = rate_limits.refused_seconds(headers) if status in LIMITING_STATUSES else 0
    if status in RETRIED_STATUSES or seconds:
        return RetryLater(
            f"answers {status} ({http.client.responses.get(status, 'unknown')})",
            wait_seconds=seconds or rate_limits.asked_seconds(headers),
        )
    if status == 403 and b"<Code>InvalidObjectState<" in content:
        sentence = f"{source} is archived: restore it in its bucket first, then run it again"
    elif status in {401, 403}:
        sentence = f"{source} answers {status}: {LOGIN}"
    elif status in {404, 410}:
        sentence = f"{source} answers {status}: nothing is there; check the source"
    elif status == 407:
        sentence = f"the proxy requires credentials for {source}: check the model's proxy settings"
    elif 300 <= status < 400:
        sentence = str(too_many_redirects(source))
    else:
        sentence = f"{source} answers {status}: check the source"
    return Refused(sentence, source, status, headers, content)


def network_error(error: Any, host: str | None) -> Exception:
    """Return the error for a network error."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return failure.Failure(
            f"the certificate of {host} cannot be verified ({error.verify_message}): check the "
            "source, or use an image that trusts its authority"
        )
    if "Tunnel connection failed" in str(error):
        return RetryLater("cannot be reached: the proxy refused")
    for kinds, text in TROUBLES:
        if isinstance(error, kinds):
            return RetryLater(text.format(host=host))
    detail = error.strerror if isinstance(error, OSError) else None
    return RetryLater(f"cannot be reached: {detail or 'the network failed'}")
