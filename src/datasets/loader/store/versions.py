"""The versions and loads of one data set on the volume: their names, and which ones are trash.

A version is trash unless it is the published one or the one before; a load, when another version
is published.
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
    """The record of a published version.

    Attributes:
        version: Its directory's name.
        fingerprint: The fingerprint of its parameters.
        previous: The version that it replaced, empty for none; it is kept for its readers.
        result: The result of its load; None if the record is lost.
        request: The request that made it.
        source: Its sources, without what may be secret.
        published: The time of its publication, in seconds since 1970.
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
        """Return the versions that may be read: it, and the one before it."""
        return frozenset({self.version, self.previous} - {""})


class PublishedVersion(NamedTuple):
    """A published version of a data set.

    Attributes:
        result: The result of its load.
        trash: The paths that no reader and no load needs any more, to be removed.
    """

    result: tasks.Result
    trash: list[pathlib.Path]


class UnfinishedLoad(NamedTuple):
    """A load that is not finished.

    Attributes:
        path: Its directory.
        fingerprint: The fingerprint of its parameters.
        version: The version that it will become.
    """

    path: pathlib.Path
    fingerprint: str
    version: str


def load_name(fingerprint: str, version: str) -> str:
    """Return the name of a load's directory."""
    return f"{LOAD_PREFIX}{fingerprint}-{version}"


def parse_load_name(path: pathlib.Path) -> UnfinishedLoad:
    """Return the unfinished load in a directory, by the directory's name."""
    fingerprint, _, version = path.name[len(LOAD_PREFIX) :].partition("-")
    return UnfinishedLoad(path, fingerprint, version)


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
    home: pathlib.Path, current: VersionRecord, *, ended: str | None = None
) -> list[pathlib.Path]:
    """Rename what no reader and no load needs to trash, and return it. The lock is held.

    What cannot be renamed is left to the next load of that name.

    Args:
        home: The directory of the data set's versions.
        current: The published version.
        ended: The version whose load has ended, if other loads may continue; None to end them all.
    """
    trash: list[pathlib.Path] = []
    with contextlib.suppress(OSError):
        entries = [(entry, *_parse(entry)) for entry in home.iterdir()]
        active: set[str] = set()
        if ended is not None:
            active = {version for _, is_load, version in entries if is_load}
            active -= current.kept | {ended}
        for entry, is_load, version in entries:
            if version not in active and (is_load or version not in current.kept):
                with contextlib.suppress(OSError):
                    trash.append(to_trash(entry))
    return trash


def _parse(entry: pathlib.Path) -> tuple[bool, str]:
    """Return whether an entry is a load, and its version, which is empty for trash."""
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
    """Rename an entry that is to be removed, so that it is not taken for anything else."""
    if entry.name.startswith(TRASH_PREFIX):
        return entry
    trash = entry.with_name(f"{TRASH_PREFIX}{entry.name.lstrip('.')}-{os.urandom(4).hex()}")
    entry.rename(trash)
    return trash
