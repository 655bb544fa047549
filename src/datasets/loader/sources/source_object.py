"""An object of a data set: its URL at an origin, and its path in the data set."""

from __future__ import annotations

import dataclasses
import re

from ..base import failure, file_names


@dataclasses.dataclass(frozen=True)
class SourceObject:
    """One object to fetch.

    Attributes:
        url: Its URL: http or https, or one that is opened without a request.
        path: Its path in the data set, or the directory that it is unpacked in. With a slash at
            the end it is the directory of a file that keeps its name, or of an unpacked archive.
            Empty for the data set's root.
        size: Its bytes; None if no list has them.
        validator: The entity tag or date of its version, for If-Range; empty if no list has one.
        checksum: `algorithm:digest` of it, or empty.
        auth: The name of the signer of its requests, or empty.
        listed: Whether it is from a prefix or a repository, whose objects are loaded as they are,
            and was not named itself.
        source: The number of the task's source that has this URL; -1 for others.
        in_list: Whether a source list names it.
        executable: Whether a file stays executable, where its source tells that.
    """

    url: str
    path: str = ""
    size: int | None = None
    validator: str = ""
    checksum: str = ""
    auth: str = ""
    listed: bool = False
    source: int = -1
    in_list: bool = False
    executable: bool = False


UNNAMED = "data"
# What may be secret where a path is another URL by mistake: a password, a query, a fragment.
SECRETS = re.compile(r"(?<=//).*@|(?<=[?#]).*", re.DOTALL)


def file_path(path: str, name: str) -> str:
    """Return the path in the data set of an object that stays a file.

    Args:
        path: The object's path.
        name: The file's name at its origin.
    """
    return path + name if path.endswith("/") or not path else path


def directory(path: str) -> str:
    """Return the directory that an archive of this path is unpacked in; empty for the root."""
    return path.rstrip("/")


def path_problem(path: str) -> str:
    """Return the reason why a path cannot be in a data set; empty if it can."""
    if path.startswith("/"):
        return "it is absolute"
    if file_names.is_too_long(path):
        return f"it is longer than {file_names.LONGEST_PATH} bytes, or too deep"
    if "\0" in path:
        return "it has a zero byte"
    parts = path.split("/")
    if "" in parts:
        return "a part of it is empty"
    if "." in parts or ".." in parts:
        return "it has . or .. in it"
    return ""


def check_path(path: str, owner: str) -> str:
    """Check and return a path that the user chose, which may end with a slash.

    Args:
        path: The path.
        owner: The source or line that has it, as the beginning of a sentence.

    Raises:
        Failure: It cannot be in a data set.
    """
    reason = path_problem(path.removesuffix("/")) if path else ""
    if reason:
        shown = failure.quote(SECRETS.sub("", path))
        raise failure.Failure(
            f"{owner} has the path {shown}, which cannot be in a data set "
            f"({reason}): use one such as train/images"
        )
    return path
