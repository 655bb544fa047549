"""Parse a page of a list of objects in S3: the response of ListObjectsV2."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterable, Iterator

from ..base import failure
from . import xml_reader

# A page lists 1,000 objects; a key has at most 1,024 bytes, three times as many when encoded.
PAGE_BYTES = 8 * 2**20
# Storage classes whose objects have to be restored before they can be read.
ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}


@dataclasses.dataclass(frozen=True)
class ListedObject:
    """An object in a list.

    Attributes:
        key: Its key.
        size: Its bytes.
        tag: Its entity tag; empty if it cannot be compared.
        archived: Whether it has to be restored before it can be read, or has been restored.
    """

    key: str
    size: int
    tag: str
    archived: bool


@dataclasses.dataclass(frozen=True)
class ListPage:
    """A page of a list.

    Attributes:
        objects: The objects on it.
        more: Whether there are further pages.
        next: The token of the next page.
    """

    objects: list[ListedObject]
    more: bool
    next: str


def read(content: bytes, bucket: str) -> ListPage:
    """Parse a page.

    Args:
        content: The XML.
        bucket: The bucket's name.

    Raises:
        Failure: It is not a page of a list.
    """
    try:
        (root,) = xml_reader.elements([content], ["ListBucketResult"], PAGE_BYTES)
        url = root.value("EncodingType") == "url"
        objects = [_object(each, url=url) for each in root.all("Contents")]
    except ValueError:
        raise not_a_list(bucket) from None
    more = root.value("IsTruncated") == "true"
    return ListPage(objects, more, root.value("NextContinuationToken"))


def without_markers(objects: Iterable[ListedObject], bucket: str) -> Iterator[ListedObject]:
    """Yield objects in the order of their keys, without empty ones that stand for directories.

    Some tools write an empty object `a` for the directory of `a/b`.

    Raises:
        Failure: An object that is not empty has the name of a directory.
    """
    # The objects whose directory may follow: other keys, such as a-b, are between a and a/b.
    held: list[ListedObject] = []
    for listed in objects:
        kept: list[ListedObject] = []
        for each in held:
            if not listed.key.startswith(f"{each.key}/"):
                if listed.key.encode() < f"{each.key}/".encode():
                    kept.append(each)
                else:
                    yield each
            elif each.size:
                raise failure.Failure(
                    f"the bucket {bucket} has {failure.quote(each.key)} and, in a directory of "
                    f"that name, {failure.quote(listed.key)}: no file system can have both, so "
                    "leave one of them out with exclude="
                )
        held = [*kept, listed]
    yield from held


def _object(element: xml_reader.Element, *, url: bool) -> ListedObject:
    key = "".join(each.text for each in element.all("Key"))
    tag = element.value("ETag")
    return ListedObject(
        key=urllib.parse.unquote_plus(key, errors="strict") if url else key,
        size=max(0, int(element.value("Size"))),
        tag=tag if tag.startswith('"') else "",
        archived=element.value("StorageClass") in ARCHIVED,
    )


def not_a_list(bucket: str) -> failure.Failure:
    """Return the failure of a service that does not list objects as S3 does."""
    return failure.Failure(
        f"the service that answers for s3://{bucket} does not list it as S3 does (ListObjectsV2): "
        "check endpoint="
    )
