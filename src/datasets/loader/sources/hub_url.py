"""URLs of data sets of the Hugging Face Hub: hf://datasets/org/name[@revision][/path]."""

from __future__ import annotations

import dataclasses
import re

from ..base import urls

HUB_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
# The revisions that contain slashes.
HUB_REFERENCE = re.compile(r"(refs/(?:convert/[\w-]+|pr/\d+))(?:/(.*))?")


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository of the Hub, as an hf URL names it.

    Attributes:
        candidates: The repository's id and the path in it; two if the first part of the path may
            belong to the id, since the oldest data sets have no organisation.
        revision: The branch, tag or commit; empty for the main branch.
    """

    candidates: tuple[tuple[str, str], ...]
    revision: str


def repository(url: str) -> Repository:
    """Return the repository, revision and path that an hf URL names.

    Raises:
        ValueError: It names none.
    """
    parts = urls.split_plain(url)
    if parts.netloc != "datasets":
        raise ValueError(
            "is not a data set of the Hub: use hf://datasets/org/name[@revision][/path]"
        )
    first, _, rest = parts.path[1:].partition("/")
    second, _, below = rest.partition("/")
    if "@" in first:
        name, _, revision = parts.path[1:].partition("@")
        parsed = _with_revision(name, revision)
    elif "@" in second:
        name, _, revision = rest.partition("@")
        parsed = _with_revision(f"{first}/{name}", revision)
    elif second:
        candidates = [(f"{first}/{second}", urls.unquote(below)), (first, urls.unquote(rest))]
        parsed = Repository(tuple(each for each in candidates if is_repository(each[0])), "")
    else:
        parsed = Repository(((first, ""),), "")
    candidates = tuple((name, path.strip("/")) for name, path in parsed.candidates)
    if not candidates or not all(is_repository(name) for name, _ in candidates):
        raise ValueError(
            "names no data set of the Hub: use hf://datasets/org/name[@revision][/path]"
        )
    for _, path in candidates:
        if path and any(part in {"", ".", ".."} for part in path.split("/")):
            raise ValueError("has a path that cannot be in a repository: leave out . and ..")
    return Repository(candidates, parsed.revision)


def _with_revision(name: str, text: str) -> Repository:
    reference = HUB_REFERENCE.fullmatch(text)
    if reference:
        revision, path = reference[1], reference[2] or ""
    else:
        revision, _, path = text.partition("/")
    revision = urls.unquote(revision)
    if not revision or ".." in revision:
        raise ValueError("names no revision after its @: use a branch, a tag or a commit")
    return Repository(((name, urls.unquote(path)),), revision)


def is_repository(name: str) -> bool:
    """Tell whether a repository of the Hub can have this id."""
    return name.count("/") < 2 and all(HUB_NAME.fullmatch(part) for part in name.split("/"))


def check_listed(_url: str) -> None:
    """Refuse any URL of the Hub in a source list.

    Raises:
        ValueError: Always.
    """
    raise ValueError("is on the Hub: name it as a source of its own")
