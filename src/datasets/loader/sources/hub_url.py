"""URLs of repositories of the Hugging Face Hub, as the Hub's own tools write them.

hf://datasets/org/name[@revision][/path] is a data set, hf://spaces/org/name a space, and
hf://org/name a model.
"""

from __future__ import annotations

import dataclasses
import re

from ..base import urls

FORMS = "hf://datasets/org/name, hf://spaces/org/name or, for a model, hf://org/name"
DATASETS, SPACES, MODELS = "datasets", "spaces", "models"
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
        kind: DATASETS, SPACES or MODELS.
    """

    candidates: tuple[tuple[str, str], ...]
    revision: str
    kind: str = DATASETS

    @property
    def prefix(self) -> str:
        """Return the beginning of the paths of its files at the Hub."""
        return "" if self.kind == MODELS else f"/{self.kind}"


def repository(url: str) -> Repository:
    """Return the repository, revision and path that an hf URL names.

    Raises:
        ValueError: It names none.
    """
    parts = urls.split_plain(url)
    if parts.netloc == MODELS:
        raise ValueError("names a model with models/ before it: use hf://org/name")
    kind = parts.netloc if parts.netloc in {DATASETS, SPACES} else MODELS
    whole = parts.path[1:] if kind != MODELS else f"{parts.netloc}{parts.path}"
    first, _, rest = whole.partition("/")
    second, _, below = rest.partition("/")
    if "@" in first:
        name, _, revision = whole.partition("@")
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
        raise ValueError(f"names no repository of the Hub: use {FORMS}")
    for _, path in candidates:
        if path and any(part in {"", ".", ".."} for part in path.split("/")):
            raise ValueError("has a path that cannot be in a repository: leave out . and ..")
    return Repository(candidates, parsed.revision, kind)


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
