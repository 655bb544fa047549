"""S3 on loopback: moto's buckets, with the real S3's keys, signatures, regions and refusals.

It is read-only over HTTP: tests add objects directly. It knows nothing of its clients.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import hmac
import re
import secrets
import urllib.parse
import xml.sax.saxutils
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import werkzeug.test
from moto.moto_server import werkzeug_app
from moto.s3.models import s3_backends

import identity
from sandbox.base import faulty_http_server

if TYPE_CHECKING:
    from moto.s3.models import S3Backend

REGION = "us-east-1"
MAX_SKEW = datetime.timedelta(minutes=15)
# AWS's host names contain the bucket and region; any other host is a custom endpoint.
HOST = re.compile(r"(?:(.+)\.)?s3(?:\.([a-z0-9-]+))?\.amazonaws\.com")
CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/s3/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]+)"
)
# moto accepts any signed request without checking the signature.
MOTO_HEADERS = {
    "Host": "localhost",
    "Authorization": f"AWS4-HMAC-SHA256 Credential=x/20240101/{REGION}/s3/aws4_request",
}
FORWARDED_HEADERS = (
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
)


@dataclasses.dataclass
class _Bucket:
    """The properties of a bucket that moto lacks."""

    region: str
    public: bool
    listable: bool
    fresh: bool
    requester_pays: bool = False


class _Refused(Exception):  # noqa: N818 - an answer of S3, not a failure of the sandbox
    """An error response of S3."""

    def __init__(self, status: int, code: str, message: str, **extra: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.extra = status, code, message, extra


class Buckets:
    """The buckets of one account: `with s3_server.Buckets.start() as s3`.

    Attributes:
        url: The endpoint's URL, without a trailing slash.
        credentials: The key for private buckets.
        expired: The expired session tokens.
        refusals: The status, code and message of objects that are refused, by bucket and key.
        requests: The requests so far.
    """

    def __init__(self) -> None:
        self.credentials = identity.AwsCredentials("sandbox-access-key", "sandbox-secret-key")
        self.expired: set[str] = set()
        self.refusals: dict[tuple[str, str], tuple[int, str, str]] = {}
        self.requests: list[faulty_http_server.Request] = []
        self._account = f"{secrets.randbelow(10**12):012d}"
        self._backend: S3Backend = s3_backends[self._account]["aws"]
        self._buckets: dict[str, _Bucket] = {}
        self._server = faulty_http_server.FaultyServer(self._answer)
        self.url = self._server.url
        self.port = self._server.port

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Generator[Buckets]:
        """Serve the buckets until the end of the block."""
        started = cls()
        try:
            yield started
        finally:
            started._close()

    def _close(self) -> None:
        self._server.close()
        self._backend.reset()
        del s3_backends[self._account]

    def make(
        self,
        name: str,
        *,
        region: str = REGION,
        public: bool = False,
        listable: bool = True,
        fresh: bool = False,
        requester_pays: bool = False,
    ) -> None:
        """Create a bucket.

        Args:
            name: The bucket's name.
            region: The bucket's region.
            public: Whether anybody may read it.
            listable: Whether its readers may also list it.
            fresh: Whether it is so new that the global endpoint still redirects to its region.
            requester_pays: Whether only who accepts to pay may read it.
        """
        self._backend.create_bucket(name, region)
        self._buckets[name] = _Bucket(region, public, listable, fresh, requester_pays)

    def put(self, bucket: str, objects: Mapping[str, bytes], *, storage: str = "STANDARD") -> None:
        """Add objects to a bucket.

        Args:
            bucket: The bucket's name.
            objects: The objects' contents by key.
            storage: Their storage class.
        """
        for key, content in objects.items():
            self._backend.put_object(bucket, key, content, storage=storage)

    def _answer(self, request: faulty_http_server.Request) -> faulty_http_server.Reply:
        self.requests.append(request)
        name, region, key = _named(request)
        bucket = self._buckets.get(name)
        try:
            if bucket is None:
                raise _Refused(404, "NoSuchBucket", "The specified bucket does not exist")
            if bucket.fresh and request.headers.get("host", "") == f"{name}.s3.amazonaws.com":
                return _redirect(request, name, bucket.region)
            self._authorize(request, bucket, region, listing=not key)
            if refusal := self.refusals.get((name, key)):
                raise _Refused(*refusal)
            reply = self._moto(request, name, key)
        except _Refused as refused:
            reply = _error(refused)
        if bucket is None:
            return reply
        return dataclasses.replace(
            reply, headers={**reply.headers, "x-amz-bucket-region": bucket.region}
        )

    def _authorize(
        self, request: faulty_http_server.Request, bucket: _Bucket, region: str, *, listing: bool
    ) -> None:
        signed = CREDENTIAL.fullmatch(request.headers.get("authorization", ""))
        if signed is None and region not in {"", bucket.region}:
            raise _Refused(301, "PermanentRedirect", "The bucket is elsewhere")
        if signed is not None:
            self._check_signature(request, bucket, signed)
        paid = request.headers.get("x-amz-request-payer") == "requester"
        if bucket.requester_pays and not paid:
            raise _Refused(403, "AccessDenied", "Access Denied")
        if (listing and not bucket.listable) or (signed is None and not bucket.public):
            raise _Refused(403, "AccessDenied", "Access Denied")

    def _check_signature(
        self, request: faulty_http_server.Request, bucket: _Bucket, signed: re.Match[str]
    ) -> None:
        access_key, region, names, signature = signed.groups()
        key = self.credentials
        if access_key != key.access_key:
            raise _Refused(
                403,
                "InvalidAccessKeyId",
                "The key does not exist in our records",
                AWSAccessKeyId=access_key,
            )
        if region != bucket.region:
            raise _Refused(
                400,
                "AuthorizationHeaderMalformed",
                f"the region '{region}' is wrong; expecting '{bucket.region}'",
                Region=bucket.region,
            )
        then = datetime.datetime.strptime(
            request.headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z"
        )
        if abs(datetime.datetime.now(datetime.timezone.utc) - then) > MAX_SKEW:
            raise _Refused(403, "RequestTimeTooSkewed", "The difference is too large")
        token = request.headers.get("x-amz-security-token", "")
        if token in self.expired:
            raise _Refused(400, "ExpiredToken", "The provided token has expired.")
        unsigned = {name for name in request.headers if name.startswith("x-amz-")}
        right = hmac.compare_digest(_signature(request, names, region, key), signature)
        if not right or token != key.session_token or unsigned - set(names.split(";")):
            raise _Refused(
                403,
                "SignatureDoesNotMatch",
                "The signature does not match",
                AWSAccessKeyId=access_key,
            )

    def _moto(
        self, request: faulty_http_server.Request, name: str, key: str
    ) -> faulty_http_server.Reply:
        headers = {
            each: request.headers[each] for each in FORWARDED_HEADERS if each in request.headers
        }
        condition = request.headers.get("if-range", "")
        if condition and key:
            stored: Any = self._backend.get_object(name, urllib.parse.unquote(key))
            if stored is None or stored.etag != condition:
                headers.pop("range", None)
        reply = _client().open(
            path=f"/{name}/{key}",
            method=request.method,
            query_string=request.query,
            headers={**headers, **MOTO_HEADERS, "x-moto-account-id": self._account},
        )
        kept = {each: value for each, value in reply.headers.items() if _is_forwarded(each)}
        return faulty_http_server.Reply(reply.status_code, reply.get_data(), kept)


def _named(request: faulty_http_server.Request) -> tuple[str, str, str]:
    """Return a request's bucket, the region of its host name, and the key, still encoded."""
    host = request.headers.get("host", "").partition(":")[0]
    match = HOST.fullmatch(host)
    region = (match[2] or "") if match else ""
    if match and match[1]:
        return match[1], region, request.path[1:]
    bucket, _, key = request.path[1:].partition("/")
    # The global endpoint redirects to the bucket's region only if the host names the bucket.
    return bucket, region or (REGION if match else ""), key


def _is_forwarded(header: str) -> bool:
    return header.lower() not in {"content-length", "connection", "server", "date"}


@functools.cache
def _client() -> werkzeug.test.Client:
    return werkzeug.test.Client(werkzeug_app.create_backend_app("s3"), use_cookies=False)


def _signature(
    request: faulty_http_server.Request, names: str, region: str, key: identity.AwsCredentials
) -> str:
    """Return the signature of the request made with this key."""
    url = f"http://{request.headers['host']}{request.path}"
    again = botocore.awsrequest.AWSRequest(
        method=request.method,
        url=f"{url}?{request.query}" if request.query else url,
        headers={name: request.headers.get(name, "") for name in names.split(";")},
        data=request.body,
    )
    again.context["timestamp"] = request.headers.get("x-amz-date", "")
    auth = botocore.auth.S3SigV4Auth(
        botocore.credentials.Credentials(key.access_key, key.secret_key), "s3", region
    )
    return auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)


def _redirect(
    request: faulty_http_server.Request, name: str, region: str
) -> faulty_http_server.Reply:
    """Return the global endpoint's redirect to a new bucket in another region."""
    url = f"https://{name}.s3.{region}.amazonaws.com{request.path}"
    location = f"{url}?{request.query}" if request.query else url
    refused = _Refused(307, "TemporaryRedirect", "Please re-send this request elsewhere")
    return dataclasses.replace(_error(refused), headers={"Location": location})


def _error(refused: _Refused) -> faulty_http_server.Reply:
    extra = "".join(
        f"<{name}>{xml.sax.saxutils.escape(value)}</{name}>"
        for name, value in refused.extra.items()
    )
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{refused.code}</Code>'
        f"<Message>{xml.sax.saxutils.escape(refused.message)}</Message>{extra}"
        "<RequestId>0123456789ABCDEF</RequestId></Error>"
    )
    return faulty_http_server.Reply(
        refused.status, body.encode(), {"Content-Type": "application/xml"}
    )
