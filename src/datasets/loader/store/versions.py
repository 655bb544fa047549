"""The versions and loads of one data set on the volume: their names, and which of them are litter.

A version is litter when neither the link leads to it nor it was there just before; a load, when
another version is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from typing import NamedTuple

from ..base import failure, tasks

LOAD_PREFIX, CUSTOM_PREFIX, TRASH_PREFIX = ".load-", ".custom-", ".trash-"
RECORD_SUFFIX, FILE_LIST_SUFFIX = ".json", ".files"


@dataclasses.dataclass(frozen=True)
class VersionRecord:
    """What is known of a published version.

    Attributes:
        version: Its directory's name.
        fingerprint: What it was made from.
        previous: The version that it replaced, empty for none; it stays for its readers.
        result: What the load brought; None where that is lost.
        request: The request that made it.
        source: Where it came from, without what may be secret.
        published: When, in seconds since 1970.
    """

    version: str
    fingerprint: str
    previous: str
    result: tasks.Result | None
    request: str = ""
    source: str = ""
    published: float = 0

    @property
    def kept(self) -> frozenset[str]:
        """The versions that are read: it, and the one before it."""
        return frozenset({self.version, self.previous} - {""})


class PublishedVersion(NamedTuple):
    """A data set that is there.

    Attributes:
        result: What it is.
        trash: What no reader and no load needs any more, for `removal`.
    """

    result: tasks.Result
    trash: list[pathlib.Path]


class UnfinishedLoad(NamedTuple):
    """A load that is not finished.

    Attributes:
        path: Its directory.
        fingerprint: What it is made from.
        version: The version that it becomes.
    """

    path: pathlib.Path
    fingerprint: str
    version: str


def load_name(fingerprint: str, version: str) -> str:
    """What the directory of a load is called."""
    return f"{LOAD_PREFIX}{fingerprint}-{version}"


def parse_load_name(path: pathlib.Path) -> UnfinishedLoad:
    """What the name of a load's directory says."""
    fingerprint, _, version = path.name[len(LOAD_PREFIX) :].partition("-")
    return UnfinishedLoad(path, fingerprint, version)


def satisfies(current: VersionRecord, task: tasks.Task) -> bool:
    """Return whether a published version is what the task would load.

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
            f"the data set {task.name} is there already, made with other parameters: choose "
            "another name, or replace it with overwrite=true"
        )
    return True


def sweep(
    home: pathlib.Path, current: VersionRecord, *, ended: str | None = None
) -> list[pathlib.Path]:
    """Renames what no reader and no load needs, and returns it. The slot is locked.

    What can not be renamed is left to the next load of that name.

    Args:
        home: The directory of the data set's versions.
        current: What is published.
        ended: The version whose load has ended, where others may go on; None to end them all.
    """
    found: list[pathlib.Path] = []
    with contextlib.suppress(OSError):
        entries = [(entry, *_parsed(entry)) for entry in home.iterdir()]
        going_on: set[str] = set()
        if ended is not None:
            going_on = {version for _, begun, version in entries if begun} - current.kept - {ended}
        for entry, begun, version in entries:
            if version not in going_on and (begun or version not in current.kept):
                with contextlib.suppress(OSError):
                    found.append(to_trash(entry))
    return found


def _parsed(entry: pathlib.Path) -> tuple[bool, str]:
    """Whether it is a load, and its version; none where it is litter already."""
    name = entry.name
    if name.startswith(LOAD_PREFIX):
        return True, parse_load_name(entry).version
    if name.startswith(CUSTOM_PREFIX):
        return True, name[len(CUSTOM_PREFIX) :]
    if name.startswith(TRASH_PREFIX):
        return False, ""
    for suffix in (RECORD_SUFFIX, FILE_LIST_SUFFIX):
        name = name.removesuffix(suffix)
    return False, name


def to_trash(entry: pathlib.Path) -> pathlib.Path:
    """Renames what is to be removed, so that nobody takes it for something else."""
    if entry.name.startswith(TRASH_PREFIX):
        return entry
    trash = entry.with_name(f"{TRASH_PREFIX}{entry.name.lstrip('.')}-{os.urandom(4).hex()}")
    entry.rename(trash)
    return trash
