"""The versions and loads of one data set on the volume: their names, and which ones are trash.

A version is trash unless it is the published one or the one before; a load, when another version
is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from typing import NamedTuple

from ..access import open_directory
from ..base import failure, tasks

LOAD_PREFIX, CUSTOM_PREFIX, TRASH_PREFIX = ".load-", ".custom-", ".trash-"
RECORD_SUFFIX, FILE_LIST_SUFFIX, VERIFICATION_SUFFIX = ".json", ".files", ".verified"
# A request, and a number if the request has several versions.
VERSION = re.compile(r"[a-z0-9][-a-z0-9]{0,70}")


@dataclasses.dataclass(frozen=True)
class VersionRecord:
    """The record of a published version.

    Attributes:
        version: Its directory's name.
        fingerprint: The fingerprint of its parameters.
        previous: The version that it replaced last, empty for none; it is kept for its readers.
        result: The result of its load; None if the record is lost.
        request: The request that made it.
        source: Its sources, without what may be secret.
        published: The time of its publication, in seconds since 1970.
        mode: The permissions of its files in octal digits; empty in records of older loaders.
        owner: `uid:gid` of its files and directories; empty for the loader's own.
        rollback: The request of the rollback that published it last; empty for none.
    """

    version: str
    fingerprint: str
    previous: str
    result: tasks.Result | None
    request: str = ""
    source: str = ""
    published: float = 0
    mode: str = ""
    owner: str = ""
    rollback: str = ""

    @property
    def kept(self) -> frozenset[str]:
        """Return the versions that may be read: it, and the one before it."""
        return frozenset({self.version, self.previous} - {""})


class PublishedVersion(NamedTuple):
    """A published version of a data set.

    Attributes:
        result: The result of its load.
        trash: The entries that no reader and no load needs any more, to be removed; None for none.
    """

    result: tasks.Result
    trash: open_directory.Entries | None


class UnfinishedLoad(NamedTuple):
    """A load that is not finished.

    Attributes:
        name: The name of its directory.
        fingerprint: The fingerprint of its parameters.
        version: The version that it will become.
    """

    name: str
    fingerprint: str
    version: str


def load_name(fingerprint: str, version: str) -> str:
    """Return the name of a load's directory."""
    return f"{LOAD_PREFIX}{fingerprint}-{version}"


def parse_load_name(name: str) -> UnfinishedLoad:
    """Return the unfinished load in a directory, by the directory's name."""
    fingerprint, _, version = name[len(LOAD_PREFIX) :].partition("-")
    return UnfinishedLoad(name, fingerprint, version)


def satisfies(current: VersionRecord, task: tasks.Task) -> bool:
    """Tell whether a published version is the one that the task would load.

    A version of the task's own request is: a request is carried out only once.

    Raises:
        Failure: It was made with other parameters, and must not be replaced.
    """
    if current.result and current.request == task.request:
        return True
    if task.overwrite:
        return False
    if not current.result or current.fingerprint != task.fingerprint:
        raise failure.Failure(
            f"the data set {task.name} already exists, with other parameters: choose another "
            "name, or replace it with overwrite=true"
        )
    return True


def sweep(
    home: open_directory.OpenDirectory, current: VersionRecord, *, ended: str | None = None
) -> open_directory.Entries:
    """Rename what no reader and no load needs to trash, and return it. The lock is held.

    What cannot be renamed is left to the next load of that name.

    Args:
        home: The directory of the data set's versions.
        current: The published version.
        ended: The version whose load has ended, if other loads may continue; None to end them all.
    """
    trash: list[str] = []
    with contextlib.suppress(OSError):
        entries = [(name, *_parse(name)) for name, _ in home.entries()]
        active: set[str] = set()
        if ended is not None:
            active = {version for _, is_load, version in entries if is_load}
            active -= current.kept | {ended}
        for name, is_load, version in entries:
            if version not in active and (is_load or version not in current.kept):
                with contextlib.suppress(OSError):
                    trash.append(to_trash(home, name))
    return open_directory.Entries(home, trash)


def _parse(name: str) -> tuple[bool, str]:
    """Return whether an entry is a load, and its version, which is empty for trash."""
    if name.startswith(LOAD_PREFIX):
        return True, parse_load_name(name).version
    if name.startswith(CUSTOM_PREFIX):
        return True, name[len(CUSTOM_PREFIX) :]
    if name.startswith(TRASH_PREFIX):
        return False, ""
    for suffix in (RECORD_SUFFIX, FILE_LIST_SUFFIX, VERIFICATION_SUFFIX):
        name = name.removesuffix(suffix)
    return False, name


def to_trash(home: open_directory.OpenDirectory, name: str) -> str:
    """Rename an entry that is to be removed, so that it is not taken for anything else."""
    if name.startswith(TRASH_PREFIX):
        return name
    trash = f"{TRASH_PREFIX}{name.lstrip('.')}-{os.urandom(4).hex()}"
    home.rename(name, home, trash)
    return trash
