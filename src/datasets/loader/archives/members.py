"""What an archive is made of, whatever its format: members with names that stay inside it."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterable

from ..base import byte_streams, failure

REMEDY = "make the archive again without it, or take another source"


class RefusedArchive(byte_streams.Damaged):
    """An archive has what a data set must not have, or what can not be read here."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        path: Its path in the archive, without "." and "..", and without a slash at either end.
    """

    path: str


@dataclasses.dataclass(frozen=True)
class Directory(Member):
    """A directory."""


@dataclasses.dataclass(frozen=True)
class File(Member):
    """A file.

    Attributes:
        executable: Whether it may be executed.
        chunks: Its bytes. What is not in a tuple has to be read before the archive is asked for
            its next member.
        size: How many they are; None where that is not known before they have been read.
    """

    executable: bool
    chunks: Iterable[bytes]
    size: int | None = None


@dataclasses.dataclass(frozen=True)
class SymbolicLink(Member):
    """A symbolic link that leads to a place inside the archive.

    Attributes:
        target: What it leads to, from the directory that it is in. It climbs only at its start.
    """

    target: str


@dataclasses.dataclass(frozen=True)
class HardLink(Member):
    """Another name of a file.

    Attributes:
        target: The path of that file in the archive.
    """

    target: str


@dataclasses.dataclass(frozen=True)
class BecomesExecutable(Member):
    """An earlier file may be executed: some archives say that only at their end."""


@dataclasses.dataclass(frozen=True)
class BecomesLink(Member):
    """An earlier file holds what a symbolic link of its name leads to."""


def inside_path(name: str) -> str:
    """A name out of an archive as a path that stays inside; empty for the archive's root.

    Raises:
        Failure: It is absolute, climbs, or is no name.
    """
    if name.startswith("/"):
        raise RefusedArchive(f"the archive has the absolute path {failure.quote(name)}: {REMEDY}")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise RefusedArchive(
            f"the archive has the path {failure.quote(name)}, which leads out of it: {REMEDY}"
        )
    if "\0" in name:
        raise RefusedArchive(
            f"the archive has the impossible name {failure.quote(name)}: {REMEDY}"
        )
    return "/".join(parts)


def symbolic_link(path: str, target: str) -> SymbolicLink:
    """A symbolic link, once it is sure that it stays inside.

    All directories that it can be in are real ones (the tree makes links last, and never in or
    over one another), so a target that climbs only at its start ends where its text says. What it
    passes through on its way down may be links: of those, the same was made sure.

    Raises:
        Failure: It leads out of the archive.
    """
    # "a/../b" climbs in its middle, which a link "a" could abuse; "b" is what was meant.
    straight = posixpath.normpath(target)
    where = posixpath.normpath(posixpath.join(posixpath.dirname(path), straight))
    if not target or "\0" in target or target.startswith("/") or where.split("/")[0] == "..":
        raise RefusedArchive(
            f"the archive has the link {failure.quote(path)} to {failure.quote(target)}, which "
            f"leads out of it: {REMEDY}"
        )
    return SymbolicLink(path, straight)


def refused(name: str, what: str) -> failure.Failure:
    """A member that is neither file, directory nor link."""
    return RefusedArchive(
        f"the archive has {failure.quote(name)}, which is {what}: a data set has only files, "
        f"directories and links; {REMEDY}"
    )
