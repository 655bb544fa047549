"""Find objects in S3, a named one or all under a prefix, with S3's API."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Collection, Iterator, Mapping

from ..base import failure, tasks, urls
from ..http import http_client, remote_object
from . import (
    listing_pages,
    s3_list,
    s3_refusals,
    s3_service,
    s3_signature,
    s3_url,
    selection,
    source_object,
)
from .source_object import SourceObject

AUTH = "s3"
SCHEME = "s3://"


class S3Reader:
    """A reader of objects in S3.

    Args:
        client: The HTTP client; its signer's name is AUTH.
        service: The service.
        selected: The files that are selected.
        named: The buckets that the user has named, in which a source list may name objects if
            requests are signed.
    """

    def __init__(
        self,
        client: http_client.Client,
        service: s3_service.S3Service,
        selected: selection.Selection | None = None,
        named: Collection[str] = (),
    ) -> None:
        self._named = named
        self._selection = selected or selection.Selection()
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
            Failure: It is not one object's URL, its bucket cannot be located, or the user's key
                is not for it.
        """
        bucket, key = s3_url.bucket_and_key(url)
        # Whoever writes a list must not choose what the user's key reads.
        if self._service.signed and bucket not in self._named:
            raise failure.Failure(
                f"{urls.redact(url)} is in a bucket that neither source nor source-list nor base "
                f"names, and the key is for those only: give base=s3://{bucket}/, or leave "
                "credentials out if the bucket is public"
            )
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
            if listed.key == key and not self._is_marker(bucket, listed):
                self._check_archived(bucket, listed)
                return self._source_object(bucket, listed)
        return None

    def _is_marker(self, bucket: str, listed: s3_list.ListedObject) -> bool:
        """Tell whether an empty object only stands for the directory of its name."""
        if listed.size:
            return False
        try:
            return bool(self._page(bucket, {"prefix": f"{listed.key}/", "max-keys": "1"}).objects)
        except http_client.Refused as refused:
            raise self._explain(refused, bucket) from None

    def _probe(self, bucket: str, key: str) -> SourceObject | None:
        url = self._url(bucket, key)
        remote = remote_object.RemoteObject(self._client, url, auth=AUTH)
        try:
            remote.probe()
        except http_client.Refused as refused:
            if s3_refusals.code_of(refused) in {"", "AccessDenied", "NoSuchKey"}:
                return None
            raise self._explain(refused, bucket, key) from None
        remote.close()
        return SourceObject(url, size=remote.size, validator=remote.validator, auth=AUTH)

    def _expand_prefix(self, url: str, bucket: str, prefix: str) -> Iterator[SourceObject]:
        empty = True
        for listed in s3_list.without_markers(self._taken(bucket, prefix), bucket):
            empty = False
            yield self._object_under(bucket, listed, prefix)
        if empty and not self._selection.takes_all:
            return
        if empty:
            raise failure.Failure(
                f"{urls.redact(url)} names no object, and there is none below it: check the source"
            )

    def _taken(self, bucket: str, prefix: str) -> Iterator[s3_list.ListedObject]:
        for listed in self._list(bucket, prefix):
            # Consoles create keys with a slash at the end to show an empty directory.
            marker = listed.key.endswith("/") and not listed.size
            if not marker and self._selection.takes(listed.key[len(prefix) :]):
                yield listed

    def _list(self, bucket: str, prefix: str) -> Iterator[s3_list.ListedObject]:
        query = {"prefix": prefix}
        pages = listing_pages.ListingPages()
        while True:
            try:
                page = self._page(bucket, query)
            except http_client.Refused as refused:
                raise self._explain(refused, bucket) from None
            yield from page.objects
            if not page.more:
                return
            endless = not pages.add(len(page.objects))
            if endless or page.next in {"", query.get("continuation-token", "")}:
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
                self._record_region(bucket, s3_refusals.region_of(refused))
                # A redirect to the bucket's region loses the signature: it is sent again.
                final = refused.status == 403 and not self._service.signed
                if not final and self._bases.get(bucket, base) not in tried:
                    continue
                raise
            self._record_region(bucket, body.headers.get(s3_refusals.REGION_HEADER, ""))
            return s3_list.read(body.content, bucket)

    def _request(self, url: str) -> http_client.Body:
        return self._client.body(url, auth=AUTH, limit_bytes=s3_list.PAGE_BYTES)

    def _record_region(self, bucket: str, region: str) -> None:
        """Record the region of a bucket."""
        if s3_refusals.REGION.fullmatch(region) and not self._service.endpoint:
            self._bases[bucket] = self._service.base(bucket, region)

    def _explain(
        self, refused: http_client.Refused, bucket: str, key: str = ""
    ) -> failure.Failure:
        where = f"s3://{bucket}/{s3_signature.encode(key, safe='/')}"
        return s3_refusals.explain(refused, where, self._service)


def reader(client: http_client.Client, task: tasks.Task) -> S3Reader:
    """Return the reader of a task's s3 sources."""
    return S3Reader(
        client,
        s3_service.of_task(task),
        selection.of_task(task),
        {s3_url.bucket_and_key(url)[0] for url in task.named_urls if url.startswith(SCHEME)},
    )


def signer(task: tasks.Task) -> http_client.Signer:
    """Return the signer of requests to S3."""
    return s3_signature.signer(task.credentials, task.region, requester_pays=task.requester_pays)


def explainer(task: tasks.Task) -> http_client.Explainer:
    """Return the explanation of refused requests for objects."""
    service = s3_service.of_task(task)
    return lambda refused, _url: s3_refusals.explain(refused, refused.source, service)
