"""One HTTP request, and what its failure means: come again, or tell the user.

It speaks http and https and nothing else, through the environment's proxies, and verifies
certificates. No text of an exception is passed on: those can carry URLs.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Mapping
from typing import Any

from . import failure, urls

USER_AGENT = "aws-efs-loader/1"
WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504, 507, 509}
LONGEST_RETRY_AFTER = 30.0
# The first that fits counts. socket.timeout and ssl.SSLError are OSErrors of their own in 3.9.
TROUBLES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((socket.gaierror,), "can not be reached: the host {host} does not resolve"),
    ((socket.timeout, TimeoutError), "did not answer in time"),
    ((ssl.SSLError,), "can not be reached: TLS failed"),
    ((ConnectionRefusedError,), "can not be reached: the connection was refused"),
    ((ConnectionError, http.client.HTTPException), "broke the connection off"),
)


class ComeAgain(Exception):  # noqa: N818 - not an error, an order
    """It may work later.

    Args:
        reason: What happened, as the end of a sentence about the source.
        wait_seconds: How long the origin asked to be left alone.
    """

    def __init__(self, reason: str, *, wait_seconds: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_seconds = wait_seconds


def request(url: str, headers: Mapping[str, str], timeout: float) -> Any:
    """Asks for a URL and returns the response, with nothing of its body read.

    Raises:
        ComeAgain: The origin or the way to it is in trouble.
        Failure: The origin will not serve this.
    """
    with translated(url):
        message = urllib.request.Request(  # noqa: S310 - the opener knows http(s) only
            url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        )
        return _opener().open(message, timeout=timeout)


@contextlib.contextmanager
def translated(url: str) -> Generator[None]:
    """Turns what the network raises into ComeAgain or Failure."""
    host = urllib.parse.urlsplit(url).hostname
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(error.code, error.headers, url) from None
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise failure.Failure(
                f"the certificate of {host} does not verify ({reason.verify_message}): check the "
                "source, or use an image that trusts its authority"
            ) from None
        raise ComeAgain(_trouble(reason, host)) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as far as they are as safe as the source itself."""

    def redirect_request(  # noqa: PLR0917 - urllib's own signature
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            urls.check(newurl)
        except ValueError as error:
            fp.close()
            raise failure.Failure(
                f"{urls.shown(req.full_url)} redirects to a place that {error}: use the link to "
                "the file itself"
            ) from None
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            fp.close()
            raise failure.Failure(
                f"{urls.shown(req.full_url)} redirects from https to {urls.shown(newurl)}, which "
                "is not safe: if that will do, give that one as the source, with a checksum"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # build_opener() would add file: and ftp: too.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener


def _refusal(status: int, headers: Any, url: str) -> Exception:
    source = urls.shown(url)
    if status in WORTH_ANOTHER_TRY:
        after = headers.get("Retry-After", "")
        return ComeAgain(
            f"answers {status} ({http.client.responses.get(status, 'unknown')})",
            wait_seconds=min(float(after), LONGEST_RETRY_AFTER) if after.isdecimal() else 0,
        )
    if status in {401, 403}:
        return failure.Failure(
            f"{source} answers {status}: it wants credentials, or a signed link has expired; use "
            "a link that can be read without a login"
        )
    if status in {404, 410}:
        return failure.Failure(f"{source} answers {status}: nothing is there; check the source")
    if status == 407:
        return failure.Failure(
            f"the proxy wants credentials for {source}: check the model's proxy settings"
        )
    if status in http.client.responses and 300 <= status < 400:
        return failure.Failure(
            f"{source} redirects in a circle, or to something that is not http(s): use the link "
            "to the file itself"
        )
    return failure.Failure(f"{source} answers {status}: check the source")


def _trouble(reason: Any, host: str | None) -> str:
    if str(reason).startswith("Tunnel connection failed"):
        return "can not be reached: the proxy refused"
    for kinds, text in TROUBLES:
        if isinstance(reason, kinds):
            return text.format(host=host)
    detail = reason.strerror if isinstance(reason, OSError) else None
    return f"can not be reached: {detail or 'the network failed'}"
