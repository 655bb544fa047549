"""One object that belongs to a data set: where it is, and where it goes."""

from __future__ import annotations

import dataclasses

from ..base import failure


@dataclasses.dataclass(frozen=True)
class SourceObject:
    """One object to fetch.

    Attributes:
        url: Its URL: http or https.
        path: Where it goes in the data set, or the directory that it is unpacked in. One that ends
            with a slash is the directory that it goes into under its own name, or is unpacked in.
            Empty for the data set's root.
        size: Its bytes; None where no list says it.
        validator: What tells this version of it from others, as If-Range takes it; empty where no
            list says it.
        checksum: `algorithm:digest` of it, or empty.
        auth: The name of what signs requests for it, or empty.
        listed: Whether it came out of a prefix or a repository, which is taken as it is, and was
            not named itself.
        source: The number of the task's source whose own URL this is; -1 for others.
    """

    url: str
    path: str = ""
    size: int | None = None
    validator: str = ""
    checksum: str = ""
    auth: str = ""
    listed: bool = False
    source: int = -1


UNNAMED = "data"


def file_path(path: str, name: str) -> str:
    """Where an entry goes that stays a file.

    Args:
        path: The entry's path.
        name: What the file is called at its origin.
    """
    return path + name if path.endswith("/") or not path else path


def directory(path: str) -> str:
    """Where an entry with this path goes that is unpacked; empty for the data set's root."""
    return path.rstrip("/")


def path_problem(path: str) -> str:
    """Why a path can not stand in a tree of files; empty where it can."""
    if path.startswith("/"):
        return "it is absolute"
    if "\0" in path:
        return "it has a zero byte"
    parts = path.split("/")
    if "" in parts:
        return "a part of it is empty"
    if "." in parts or ".." in parts:
        return "it has . or .. in it"
    return ""


def check_path(path: str, said_by: str) -> str:
    """A path that the user has chosen, which may end with a slash.

    Args:
        path: The path.
        said_by: What has it, as the beginning of a sentence.

    Raises:
        Failure: It can not stand in a data set.
    """
    reason = path_problem(path.removesuffix("/")) if path else ""
    if reason:
        raise failure.Failure(
            f"{said_by} has the path {failure.quote(path)}, which can not stand in a data set "
            f"({reason}): use one such as train/images"
        )
    return path
