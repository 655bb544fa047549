"""URLs of objects in S3: s3://bucket/key."""

from __future__ import annotations

import re

from ..base import urls

# More than AWS's rule of today: older buckets, and those of other services, have such names, too.
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def bucket_and_key(url: str) -> tuple[str, str]:
    """Return the bucket and the key that an s3 URL names.

    Raises:
        ValueError: It names none.
    """
    parts = urls.split_plain(url)
    bucket = parts.netloc
    if not BUCKET.fullmatch(bucket) or ".." in bucket or ADDRESS.fullmatch(bucket):
        raise ValueError(
            "names no bucket: use s3://bucket/key; a bucket has letters, digits, dots, dashes and "
            "underscores, at least two"
        )
    return bucket, urls.unquote(parts.path[1:])


def check_listed(url: str) -> None:
    """Refuse a URL that cannot be in a source list: a prefix.

    Raises:
        ValueError: It is a prefix.
    """
    if not urls.file_name(url):
        raise ValueError("is a prefix: name it as a source of its own")
