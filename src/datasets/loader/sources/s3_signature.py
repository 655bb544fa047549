"""Sign requests to S3: AWS's signature version 4, without the body.

See https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Callable, Mapping

from ... import protocol

Signer = Callable[[str, str], Mapping[str, str]]

ALGORITHM = "AWS4-HMAC-SHA256"
BODY = "UNSIGNED-PAYLOAD"
DEFAULT_REGION = "us-east-1"
DEFAULT_PORTS = {"http": 80, "https": 443}
# bucket.s3.eu-west-1.amazonaws.com, s3.dualstack.eu-west-1.amazonaws.com, s3.amazonaws.com
HOST = re.compile(r"(?:.+\.)?s3(?:\.dualstack)?(?:[.-]([a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?")


def signer(
    credentials: Mapping[str, str],
    region: str = "",
    now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.timezone.utc),
    *,
    requester_pays: bool = False,
) -> Signer:
    """Return the signer of requests to S3; it adds nothing if there is no key.

    Args:
        credentials: access-key, secret-key, and session-token for temporary keys.
        region: The region of a service other than AWS, whose hosts name it.
        now: Returns the time.
        requester_pays: Whether the key's account pays for requests that their owner does not.
    """
    if not has_key(credentials):
        return lambda _method, _url: {}

    def sign(method: str, url: str) -> Mapping[str, str]:
        return _headers(
            credentials,
            region_of(url) or region or DEFAULT_REGION,
            now(),
            method,
            url,
            more={"x-amz-request-payer": "requester"} if requester_pays else {},
        )

    return sign


def has_key(credentials: Mapping[str, str]) -> bool:
    """Tell whether there is a key to sign with."""
    return bool(credentials.get(protocol.ACCESS_KEY) and credentials.get(protocol.SECRET_KEY))


def region_of(url: str) -> str:
    """Return the region of an AWS host; empty for other hosts."""
    host = urllib.parse.urlsplit(url).hostname or ""
    match = HOST.fullmatch(host)
    return (match[1] or DEFAULT_REGION) if match else ""


def encode(text: str, *, safe: str = "") -> str:
    """Return text as S3 encodes it in URLs; the characters in `safe` stay as they are."""
    return urllib.parse.quote(text, safe=safe)


def _headers(
    credentials: Mapping[str, str],
    region: str,
    now: datetime.datetime,
    method: str,
    url: str,
    *,
    more: Mapping[str, str],
) -> dict[str, str]:
    parts = urllib.parse.urlsplit(url)
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {
        "host": _host(parts),
        "x-amz-content-sha256": BODY,
        "x-amz-date": moment,
        **more,
    }
    if credentials.get(protocol.SESSION_TOKEN):
        signed["x-amz-security-token"] = credentials[protocol.SESSION_TOKEN]
    names = ";".join(sorted(signed))
    request = "\n".join(
        (
            method,
            parts.path or "/",
            _query(parts.query),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            BODY,
        )
    )
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join((ALGORITHM, moment, scope, digest))
    key = f"AWS4{credentials[protocol.SECRET_KEY]}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    authorization = (
        f"{ALGORITHM} Credential={credentials[protocol.ACCESS_KEY]}/{scope}, "
        f"SignedHeaders={names}, Signature={_hmac(key, text).hex()}"
    )
    # The HTTP connection adds the host itself.
    return {
        **{name: signed[name] for name in signed if name != "host"},
        "Authorization": authorization,
    }


def _host(parts: urllib.parse.SplitResult) -> str:
    """Return the host as in the header Host: with its port unless it is the scheme's default."""
    if parts.port == DEFAULT_PORTS.get(parts.scheme):
        return parts.netloc.rpartition(":")[0]
    return parts.netloc


def _query(query: str) -> str:
    """Return the query in canonical order and encoding."""
    halves = [part.partition("=") for part in query.split("&") if part]
    pairs = [
        (encode(urllib.parse.unquote(name)), encode(urllib.parse.unquote(value)))
        for name, _, value in halves
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
