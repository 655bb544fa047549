"""Members of archives, whatever the format, with names that stay inside the archive."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterable

from ..base import byte_streams, failure, file_names

REMEDY = "make the archive again without it, or take another source"
DIRECTORY_LINK = "a hard link to a directory"


class RefusedArchive(byte_streams.Damaged):
    """An archive with something that a data set must not have, or that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A member of an archive.

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
        executable: Whether it is executable.
        chunks: Its bytes. If they are not a tuple, they must be read before the next member is
            requested.
        size: The number of bytes; None if it is not known before they have been read.
    """

    executable: bool
    chunks: Iterable[bytes]
    size: int | None = None


@dataclasses.dataclass(frozen=True)
class SymbolicLink(Member):
    """A symbolic link to a path inside the archive.

    Attributes:
        target: Its target, relative to its directory. It contains ".." only at its start.
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
    """A note that an earlier file is executable: some archives tell that only at their end."""


@dataclasses.dataclass(frozen=True)
class BecomesLink(Member):
    """A note that an earlier file is a symbolic link, whose target is its content."""


def inside_path(name: str) -> str:
    """Return a name in an archive as a path that stays inside; empty for the archive's root.

    Raises:
        Failure: It is absolute, contains "..", or is not a name.
    """
    if name.startswith("/"):
        raise RefusedArchive(f"the archive has the absolute path {failure.quote(name)}: {REMEDY}")
    if file_names.is_too_long(name):
        raise too_long(name)
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise RefusedArchive(
            f"the archive has the path {failure.quote(name)}, which leads out of it: {REMEDY}"
        )
    if "\0" in name:
        raise RefusedArchive(f"the archive has the invalid name {failure.quote(name)}: {REMEDY}")
    return "/".join(parts)


def symbolic_link(path: str, target: str) -> SymbolicLink:
    """Return a symbolic link that is checked to stay inside.

    All directories that it can be in are real ones (the tree creates links last, and never in or
    over one another), so a target with ".." only at its start ends where its text says. Its
    further parts may be links, for which the same is checked.

    Raises:
        Failure: It leads out of the archive.
    """
    if len(target) > file_names.LONGEST_TARGET:
        raise too_long(target)
    # "a/../b" has ".." in its middle, which a link "a" could abuse: it is normalized to "b".
    normalized = posixpath.normpath(target)
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), normalized))
    if not target or "\0" in target or target.startswith("/") or end.split("/")[0] == "..":
        raise RefusedArchive(
            f"the archive has the link {failure.quote(path)} to {failure.quote(target)}, which "
            f"leads out of it: {REMEDY}"
        )
    return SymbolicLink(path, normalized)


def too_long(path: str) -> failure.Failure:
    """Return the failure of a path that no data set can have."""
    return RefusedArchive(
        f"the archive has the path {failure.quote(path)}: it may have {file_names.LONGEST_PATH} "
        f"bytes and {file_names.MOST_DIRECTORIES} directories; make the archive again with "
        "shorter ones"
    )


def stripped(member: Member, count: int) -> Member | None:
    """Return a member without the first parts of its path, as tar does.

    The target of a symbolic link stays as it is.

    Args:
        member: The member.
        count: The number of parts.

    Returns:
        None if nothing is left of its path.

    Raises:
        Failure: It is a link to what is left out, or to what is outside then.
    """
    if not count:
        return member
    path = _without_parts(member.path, count)
    if not path:
        return None
    if isinstance(member, SymbolicLink):
        return symbolic_link(path, member.target)
    if isinstance(member, HardLink):
        target = _without_parts(member.target, count)
        if not target:
            raise RefusedArchive(
                f"the archive has the hard link {failure.quote(member.path)} to "
                f"{failure.quote(member.target)}, of which strip-components={count} leaves "
                "nothing: use a smaller number"
            )
        return HardLink(path, target)
    return dataclasses.replace(member, path=path)


def _without_parts(path: str, count: int) -> str:
    return "/".join(path.split("/")[count:])


def refused(name: str, what: str) -> failure.Failure:
    """Return the failure of a member that is neither file, directory nor link."""
    return RefusedArchive(
        f"the archive has {failure.quote(name)}, which is {what}: a data set has only files, "
        f"directories and links; {REMEDY}"
    )
