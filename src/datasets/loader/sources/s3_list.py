"""Reads a page of a list of S3's: the answer of its action ListObjectsV2."""

from __future__ import annotations

import dataclasses
import urllib.parse

from ..base import failure
from . import xml_reader

# Of 1,000 objects: a key has 1,024 bytes at the most, and three times as many when encoded.
PAGE_BYTES = 8 * 2**20
# Classes that an object has to be restored from before it can be read.
ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}


@dataclasses.dataclass(frozen=True)
class ListedObject:
    """An object as a list tells of it.

    Attributes:
        key: Its key.
        size: Its bytes.
        tag: Its entity tag; empty where it can not be compared.
        archived: Whether it has to be restored before it can be read, or has had to be.
    """

    key: str
    size: int
    tag: str
    archived: bool


@dataclasses.dataclass(frozen=True)
class ListPage:
    """A page of a list.

    Attributes:
        objects: What it tells of.
        more: Whether there are further pages...
        next: ...and the token of the next one.
    """

    objects: list[ListedObject]
    more: bool
    next: str


def read(content: bytes, bucket: str) -> ListPage:
    """Reads a page.

    Args:
        content: The XML.
        bucket: The bucket's name.

    Raises:
        Failure: It is none.
    """
    try:
        (root,) = xml_reader.elements([content], ["ListBucketResult"], PAGE_BYTES)
        url = root.value("EncodingType") == "url"
        found = [_object(each, url=url) for each in root.all("Contents")]
    except ValueError:
        raise no_list(bucket) from None
    more = root.value("IsTruncated") == "true"
    return ListPage(found, more, root.value("NextContinuationToken"))


def _object(element: xml_reader.Element, *, url: bool) -> ListedObject:
    key = "".join(each.text for each in element.all("Key"))
    tag = element.value("ETag")
    return ListedObject(
        key=urllib.parse.unquote_plus(key, errors="strict") if url else key,
        size=int(element.value("Size")),
        tag=tag if tag.startswith('"') else "",
        archived=element.value("StorageClass") in ARCHIVED,
    )


def no_list(bucket: str) -> failure.Failure:
    """What answers is no page of a list."""
    return failure.Failure(
        f"what answers for s3://{bucket} does not list it as S3 does (ListObjectsV2): check "
        "endpoint="
    )
