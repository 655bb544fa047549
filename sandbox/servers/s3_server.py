"""S3 on loopback: moto's buckets, with the keys, signatures, regions and refusals of the real one.

It is for who reads: a test puts objects there itself. It knows nothing of who reads from it.
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
MOST_SKEW = datetime.timedelta(minutes=15)
# The host tells the bucket and the region, as AWS's do; any other host is an endpoint of its own.
HOST = re.compile(r"(?:(.+)\.)?s3(?:\.([a-z0-9-]+))?\.amazonaws\.com")
CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d+/([^/]+)/s3/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]+)"
)
# For moto, which asks for no more where a request is signed at all.
LET_IN = {
    "Host": "localhost",
    "Authorization": f"AWS4-HMAC-SHA256 Credential=x/20240101/{REGION}/s3/aws4_request",
}
SENT_ON = ("range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


@dataclasses.dataclass
class _Bucket:
    """What moto does not keep of a bucket."""

    region: str
    public: bool
    listable: bool
    fresh: bool


class _Refused(Exception):  # noqa: N818 - S3's answer, no bug of ours
    """S3 answers with an error."""

    def __init__(self, status: int, code: str, message: str, **extra: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.extra = status, code, message, extra


class Buckets:
    """The buckets of one account, until the end of `with buckets.Buckets.start() as s3`.

    Attributes:
        url: Where they are served: the endpoint, without a slash at its end.
        credentials: The key that opens private buckets.
        expired: Session tokens whose time is over.
        requests: What came so far.
    """

    def __init__(self) -> None:
        self.credentials = identity.AwsCredentials("sandbox-access-key", "sandbox-secret-key")
        self.expired: set[str] = set()
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
        """Serves buckets until the end of the block."""
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
    ) -> None:
        """Makes a bucket.

        Args:
            name: Its name.
            region: Its region.
            public: Whether all may read it.
            listable: Whether those who may read it may list it, too.
            fresh: Whether it was made so lately that the host of no region redirects to it.
        """
        self._backend.create_bucket(name, region)
        self._buckets[name] = _Bucket(region, public, listable, fresh)

    def put(self, bucket: str, objects: Mapping[str, bytes], *, storage: str = "STANDARD") -> None:
        """Puts objects into a bucket.

        Args:
            bucket: Its name.
            objects: What they hold, by their keys.
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
            self._let_in(request, bucket, region, listing=not key)
            reply = self._moto(request, name, key)
        except _Refused as refused:
            reply = _error(refused)
        if bucket is None:
            return reply
        return dataclasses.replace(
            reply, headers={**reply.headers, "x-amz-bucket-region": bucket.region}
        )

    def _let_in(
        self, request: faulty_http_server.Request, bucket: _Bucket, region: str, *, listing: bool
    ) -> None:
        signed = CREDENTIAL.fullmatch(request.headers.get("authorization", ""))
        if signed is None and region not in {"", bucket.region}:
            raise _Refused(301, "PermanentRedirect", "The bucket is elsewhere")
        if signed is not None:
            self._check_signature(request, bucket, signed)
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
        if abs(datetime.datetime.now(datetime.timezone.utc) - then) > MOST_SKEW:
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
        headers = {each: request.headers[each] for each in SENT_ON if each in request.headers}
        condition = request.headers.get("if-range", "")
        if condition and key:
            found: Any = self._backend.get_object(name, urllib.parse.unquote(key))
            if found is None or found.etag != condition:
                headers.pop("range", None)
        reply = _client().open(
            path=f"/{name}/{key}",
            method=request.method,
            query_string=request.query,
            headers={**headers, **LET_IN, "x-moto-account-id": self._account},
        )
        kept = {each: value for each, value in reply.headers.items() if _is_kept(each)}
        return faulty_http_server.Reply(reply.status_code, reply.get_data(), kept)


def _named(request: faulty_http_server.Request) -> tuple[str, str, str]:
    """The bucket, the host's region, and the key, encoded as it came."""
    host = request.headers.get("host", "").partition(":")[0]
    found = HOST.fullmatch(host)
    region = (found[2] or "") if found else ""
    if found and found[1]:
        return found[1], region, request.path[1:]
    bucket, _, key = request.path[1:].partition("/")
    # The host of no region leads to the bucket's own only where the bucket's name is in it.
    return bucket, region or (REGION if found else ""), key


def _is_kept(header: str) -> bool:
    return header.lower() not in {"content-length", "connection", "server", "date"}


@functools.cache
def _client() -> werkzeug.test.Client:
    return werkzeug.test.Client(werkzeug_app.create_backend_app("s3"), use_cookies=False)


def _signature(
    request: faulty_http_server.Request, names: str, region: str, key: identity.AwsCredentials
) -> str:
    """The signature that this key's secret makes over the request."""
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
    """What the host of no region answers while it has not heard of a bucket elsewhere."""
    place = f"https://{name}.s3.{region}.amazonaws.com{request.path}"
    location = f"{place}?{request.query}" if request.query else place
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
