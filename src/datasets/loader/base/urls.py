"""Which URLs are read, and how they are shown: without credentials, and without their query.

A query is never shown: it is where signed links keep what opens them.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import urllib.parse

WEB = ("https", "http")
S3, HUB = "s3", "hf"
USE = "use https://host/path, s3://bucket/key or hf://datasets/org/name"
# Of S3, for buckets that were made since 2018.
BUCKET = re.compile(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
HUB_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
# The revisions of the Hub that have slashes in them.
HUB_REFERENCE = re.compile(r"(refs/(?:convert/[\w-]+|pr/\d+))(?:/(.*))?")


@dataclasses.dataclass(frozen=True)
class Repository:
    """What an hf URL means.

    Attributes:
        candidates: The repository's id and the path in it; two where the first part of the path
            may be the second one of the id, since the oldest data sets have no organisation.
        revision: The branch, tag or commit; empty for the main branch.
    """

    candidates: tuple[tuple[str, str], ...]
    revision: str


def check(url: str) -> None:
    """Refuses a URL that can not be a source, or that carries credentials.

    Raises:
        ValueError: What is wrong with it, without repeating it.
    """
    if not re.fullmatch(r"[!-~]*", url):
        raise ValueError("has blanks or letters beyond ASCII: write them as %20 and the like")
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:
        raise ValueError(f"is not a URL: {USE}") from None
    if "@" in parts.netloc:
        raise ValueError(
            "has credentials in its URL, where all can read them: use a link that needs none, "
            "such as a signed one"
        )
    if parts.scheme == S3:
        bucket_and_key(url)
    elif parts.scheme == HUB:
        repository(url)
    elif parts.scheme not in WEB:
        raise ValueError(f"is not a URL of a kind that can be read: {USE}")
    elif not host:
        raise ValueError(f"names no host: {USE}")


def check_service(url: str) -> None:
    """Refuses a URL that is not one of a service: http(s), without credentials or a query.

    Raises:
        ValueError: What is wrong with it, without repeating it.
    """
    check(url)
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in WEB or parts.query or parts.fragment:
        raise ValueError("is not the URL of a service: use https://host")


def scheme(url: str) -> str:
    """Its scheme, in lower case."""
    return urllib.parse.urlsplit(url).scheme


def bucket_and_key(url: str) -> tuple[str, str]:
    """The bucket and the key that an s3 URL names.

    Raises:
        ValueError: It names none.
    """
    parts = _plain(url)
    bucket = parts.netloc
    if not BUCKET.fullmatch(bucket) or ADDRESS.fullmatch(bucket):
        raise ValueError(
            "names no bucket: use s3://bucket/key; a bucket has 3 to 63 lower-case letters, "
            "digits, dots and dashes"
        )
    return bucket, _unquoted(parts.path[1:])


def repository(url: str) -> Repository:
    """The repository, revision and path that an hf URL names.

    Raises:
        ValueError: It names none.
    """
    parts = _plain(url)
    if parts.netloc != "datasets":
        raise ValueError(
            "is not a data set of the Hub: use hf://datasets/org/name[@revision][/path]"
        )
    first, _, rest = parts.path[1:].partition("/")
    second, _, below = rest.partition("/")
    if "@" in first:
        name, _, revision = parts.path[1:].partition("@")
        found = _with_revision(name, revision)
    elif "@" in second:
        name, _, revision = rest.partition("@")
        found = _with_revision(f"{first}/{name}", revision)
    elif second:
        candidates = [(f"{first}/{second}", _unquoted(below)), (first, _unquoted(rest))]
        found = Repository(tuple(each for each in candidates if is_repository(each[0])), "")
    else:
        found = Repository(((first, ""),), "")
    candidates = tuple((name, path.strip("/")) for name, path in found.candidates)
    if not candidates or not all(is_repository(name) for name, _ in candidates):
        raise ValueError(
            "names no data set of the Hub: use hf://datasets/org/name[@revision][/path]"
        )
    for _, path in candidates:
        if path and any(part in {"", ".", ".."} for part in path.split("/")):
            raise ValueError("has a path that can not be one in a repository: leave out . and ..")
    return Repository(candidates, found.revision)


def _with_revision(name: str, text: str) -> Repository:
    reference = HUB_REFERENCE.fullmatch(text)
    if reference:
        revision, path = reference[1], reference[2] or ""
    else:
        revision, _, path = text.partition("/")
    revision = _unquoted(revision)
    if not revision or ".." in revision:
        raise ValueError("names no revision after its @: use a branch, a tag or a commit")
    return Repository(((name, _unquoted(path)),), revision)


def is_repository(name: str) -> bool:
    """Whether a repository of the Hub can have this id."""
    return name.count("/") < 2 and all(HUB_NAME.fullmatch(part) for part in name.split("/"))


def _plain(url: str) -> urllib.parse.SplitResult:
    parts = urllib.parse.urlsplit(url)
    if "?" in url or "#" in url:
        raise ValueError(
            "has a query or a fragment, which it can not have: write ? and # as %3F "
            "and %23 where they belong to a name"
        )
    return parts


def _unquoted(text: str) -> str:
    try:
        path = urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has a name that is not UTF-8: rename it at its origin") from None
    if "\0" in path:
        raise ValueError("has a name with a zero byte, which no file can have")
    return path


def redact(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urllib.parse.urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{netloc}{parts.path}" + ("?..." if parts.query else "")


def file_name(url: str) -> str:
    """The last part of the URL's path; empty where there is none."""
    return safe_name(urllib.parse.unquote(urllib.parse.urlsplit(url).path))


def safe_name(path: str) -> str:
    """The last part of a path as the name of one file; empty where it can not be one."""
    name = posixpath.basename(path.replace("\\", "/")).strip()
    return name if name.isprintable() and name not in {".", ".."} else ""
