"""Find objects in S3, a named one or all under a prefix, with S3's API."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Iterator, Mapping

from ..base import failure, tasks, urls
from ..http import http_client, remote_object
from . import s3_list, s3_service, s3_signature, s3_url, source_object, xml_reader
from .source_object import SourceObject

AUTH = "s3"
REGION = re.compile(r"[a-z0-9-]{1,32}")
REGION_HEADER = "x-amz-bucket-region"
REASONS = {
    "SignatureDoesNotMatch": "the secret-key does not belong to the access-key: check the secret "
    "that credentials= names",
    "InvalidAccessKeyId": "the service does not know the access-key: check the secret that "
    "credentials= names, and endpoint=",
    "ExpiredToken": "the credentials have expired: put new ones into the secret, then run "
    "create-dataset again",
    "InvalidToken": "the session-token is invalid: check the secret that credentials= names",
    "NoSuchBucket": "there is no such bucket: check the source, and endpoint= if it is not AWS's",
    "RequestTimeTooSkewed": "the clock of the pod's node is wrong: set it right, then run "
    "create-dataset again",
    "InvalidObjectState": "the object is archived: restore it in S3, or copy it to another "
    "storage class",
}


class S3Reader:
    """A reader of objects in S3.

    Args:
        client: The HTTP client; its signer's name is AUTH.
        service: The service.
    """

    def __init__(self, client: http_client.Client, service: s3_service.S3Service) -> None:
        self._client = client
        self._service = service
        self._bases: dict[str, str] = {}
        self._restored = False

    def expand(self, url: str) -> Iterator[SourceObject]:
        """Yield the object of an s3 URL or, if there is none, the objects under it as a prefix.

        Raises:
            Failure: There is nothing, or it cannot be read.
        """
        bucket, key = s3_url.bucket_and_key(url)
        if key and not key.endswith("/"):
            entry = self._object(bucket, key)
            if entry:
                yield entry
                return
            key += "/"
        yield from self._expand_prefix(url, bucket, key)

    def locate(self, url: str) -> SourceObject:
        """Return the object of an s3 URL, without a request for it.

        Raises:
            Failure: It is not one object's URL, or its bucket cannot be located.
        """
        bucket, key = s3_url.bucket_and_key(url)
        if not key or key.endswith("/"):
            raise failure.Failure(
                f"{urls.redact(url)} is not one object: name its key, or give it as a source"
            )
        if bucket not in self._bases and not (self._service.endpoint or self._service.region):
            self._find_region(bucket, key)
        return SourceObject(self._url(bucket, key), auth=AUTH)

    def _find_region(self, bucket: str, key: str) -> None:
        """Learn the region of a bucket, even if its objects may not be listed."""
        try:
            self._page(bucket, {"prefix": key, "max-keys": "1"})
        except http_client.Refused as refused:
            if refused.status != 403:
                raise self._explain(refused, bucket) from None

    def _object(self, bucket: str, key: str) -> SourceObject | None:
        try:
            page = self._page(bucket, {"prefix": key, "max-keys": "1"})
        except http_client.Refused as refused:
            # The permission to list objects is not needed to read one.
            entry = self._probe(bucket, key) if refused.status == 403 else None
            if entry:
                return entry
            raise self._explain(refused, bucket) from None
        for listed in page.objects:
            if listed.key == key:
                self._check_archived(bucket, listed)
                return self._source_object(bucket, listed)
        return None

    def _probe(self, bucket: str, key: str) -> SourceObject | None:
        url = self._url(bucket, key)
        remote = remote_object.RemoteObject(self._client, url, auth=AUTH)
        try:
            remote.probe()
        except http_client.Refused as refused:
            if _code(refused) in {"", "AccessDenied", "NoSuchKey"}:
                return None
            raise self._explain(refused, bucket, key) from None
        remote.close()
        return SourceObject(url, size=remote.size, validator=remote.validator, auth=AUTH)

    def _expand_prefix(self, url: str, bucket: str, prefix: str) -> Iterator[SourceObject]:
        empty = True
        for listed in self._list(bucket, prefix):
            # Consoles create such keys to show an empty directory.
            if not listed.key.endswith("/") or listed.size:
                empty = False
                yield self._object_under(bucket, listed, prefix)
        if empty:
            raise failure.Failure(
                f"{urls.redact(url)} names no object, and there is none below it: check the source"
            )

    def _list(self, bucket: str, prefix: str) -> Iterator[s3_list.ListedObject]:
        query = {"prefix": prefix}
        while True:
            try:
                page = self._page(bucket, query)
            except http_client.Refused as refused:
                raise self._explain(refused, bucket) from None
            yield from page.objects
            if not page.more:
                return
            if page.next in {"", query.get("continuation-token", "")}:
                raise s3_list.not_a_list(bucket)
            query["continuation-token"] = page.next

    def _object_under(
        self, bucket: str, listed: s3_list.ListedObject, prefix: str
    ) -> SourceObject:
        if not listed.key.startswith(prefix):
            raise s3_list.not_a_list(bucket)
        path = listed.key[len(prefix) :]
        reason = source_object.path_problem(path)
        if reason:
            raise failure.Failure(
                f"the bucket {bucket} has the key {failure.quote(listed.key)}, which cannot be in "
                f"a data set ({reason}): rename it, or give others one by one as sources"
            )
        self._check_archived(bucket, listed)
        return dataclasses.replace(self._source_object(bucket, listed), path=path, listed=True)

    def _source_object(self, bucket: str, listed: s3_list.ListedObject) -> SourceObject:
        return SourceObject(
            self._url(bucket, listed.key), size=listed.size, validator=listed.tag, auth=AUTH
        )

    def _check_archived(self, bucket: str, listed: s3_list.ListedObject) -> None:
        """Refuse an archived object; a list does not tell whether it has been restored.

        Only the first one is probed: they are restored together.
        """
        if listed.archived and not self._restored and not self._probe(bucket, listed.key):
            raise failure.Failure(
                f"the object {failure.quote(listed.key)} in s3://{bucket} is archived and cannot "
                f"be read: {self._service.advice}"
            )
        self._restored = self._restored or listed.archived

    def _url(self, bucket: str, key: str) -> str:
        base = self._bases.get(bucket) or self._service.base(bucket, self._service.region)
        return f"{base}/{s3_signature.encode(key, safe='/')}"

    def _page(self, bucket: str, query: Mapping[str, str]) -> s3_list.ListPage:
        """Return one page of a list, from the bucket's region.

        Raises:
            Refused: S3 refuses the request.
        """
        tried: set[str] = set()
        whole = {"list-type": "2", "encoding-type": "url", **query}
        text = urllib.parse.urlencode(sorted(whole.items()), quote_via=urllib.parse.quote, safe="")
        while True:
            base = self._bases.get(bucket) or self._service.base(bucket, self._service.region)
            tried.add(base)
            try:
                body = self._request(f"{base}/?{text}")
            except http_client.Refused as refused:
                self._record_region(bucket, _region(refused))
                # A redirect to the bucket's region loses the signature: it is sent again.
                final = refused.status == 403 and not self._service.signed
                if not final and self._bases.get(bucket, base) not in tried:
                    continue
                raise
            self._record_region(bucket, body.headers.get(REGION_HEADER, ""))
            return s3_list.read(body.content, bucket)

    def _request(self, url: str) -> http_client.Body:
        return self._client.body(url, auth=AUTH, limit_bytes=s3_list.PAGE_BYTES)

    def _record_region(self, bucket: str, region: str) -> None:
        """Record the region of a bucket."""
        if REGION.fullmatch(region) and not self._service.endpoint:
            self._bases[bucket] = self._service.base(bucket, region)

    def _explain(
        self, refused: http_client.Refused, bucket: str, key: str = ""
    ) -> failure.Failure:
        code, region = _code(refused), _region(refused)
        where = f"s3://{bucket}/{s3_signature.encode(key, safe='/')}"
        if code in {"AuthorizationHeaderMalformed", "PermanentRedirect"} and region:
            return failure.Failure(
                f"{where} is in the region {failure.quote(region)}: set region= to it, and "
                "endpoint= to the endpoint of that region"
            )
        if code in REASONS:
            return failure.Failure(f"{where} cannot be read ({code}): {REASONS[code]}")
        if refused.status in {401, 403}:
            return failure.Failure(
                f"{where} answers {code or refused.status}: {self._service.advice}"
            )
        return failure.Failure(
            f"{where} answers {code or refused.status}: check the source, and "
            "endpoint= if it is not AWS's"
        )


def reader(client: http_client.Client, task: tasks.Task) -> S3Reader:
    """Return the reader of a task's s3 sources."""
    return S3Reader(client, s3_service.of_task(task))


def signer(task: tasks.Task) -> http_client.Signer:
    """Return the signer of requests to S3."""
    return s3_signature.signer(task.credentials, task.region)


def advice(task: tasks.Task) -> str:
    """Return the advice to the user for a refused request."""
    return s3_service.of_task(task).advice


def _code(refused: http_client.Refused) -> str:
    """Return S3's error code; empty if there is none."""
    code = _element_text(refused, "Code")
    return code if re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else ""


def _region(refused: http_client.Refused) -> str:
    region = refused.headers.get(REGION_HEADER, "") or _element_text(refused, "Region")
    return region if REGION.fullmatch(region) else ""


def _element_text(refused: http_client.Refused, name: str) -> str:
    try:
        return next((each.text for each in xml_reader.elements([refused.content], [name])), "")
    except xml_reader.Malformed:
        return ""
