"""The versions and loads of one data set on the volume: their names, and which of them are litter.

A version is litter when neither the link leads to it nor it was there just before; a load, when
another version is published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from . import place, spec

LOAD_PREFIX, GIVEN_PREFIX, TRASH_PREFIX = ".load-", ".given-", ".trash-"
RECORD_SUFFIX, MANIFEST_SUFFIX = ".json", ".files"


@dataclasses.dataclass(frozen=True)
class Record:
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
    result: spec.Result | None
    request: str = ""
    source: str = ""
    published: float = 0


class Published(NamedTuple):
    """A data set that is there.

    Attributes:
        result: What it is.
        litter: What no reader and no load needs any more, for `removal`.
    """

    result: spec.Result
    litter: list[pathlib.Path]


class Unfinished(NamedTuple):
    """A load that is not finished.

    Attributes:
        path: Its directory.
        fingerprint: What it is made from.
        version: The version that it becomes.
    """

    path: pathlib.Path
    fingerprint: str
    version: str


def litter(home: pathlib.Path, current: Record | None) -> list[pathlib.Path]:
    """What is neither the published version nor the one before it. The slot is locked.

    Args:
        home: The directory of the data set's versions.
        current: What is published.
    """
    kept = {current.version, current.previous} if current else set[str]()
    found: list[pathlib.Path] = []
    for entry in home.iterdir() if home.exists() else ():
        name = entry.name
        for suffix in (RECORD_SUFFIX, MANIFEST_SUFFIX):
            name = name.removesuffix(suffix)
        if name not in kept:
            found.append(entry)
    return found


def is_others(entry: pathlib.Path, current: Record) -> bool:
    """Whether it is a load that has begun, is not the one that was published, and may go on."""
    begun = entry.name.startswith((LOAD_PREFIX, GIVEN_PREFIX))
    is_its = entry.name.endswith(f"-{current.version}")
    return begun and not is_its and not place.is_over(entry)


def as_trash(entries: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Renames what is litter; what can not be renamed is left to the next load of that name."""
    found: list[pathlib.Path] = []
    for entry in entries:
        with contextlib.suppress(OSError):
            found.append(to_trash(entry))
    return found


def to_trash(entry: pathlib.Path) -> pathlib.Path:
    """Renames what is to be removed, so that nobody takes it for something else."""
    if entry.name.startswith(TRASH_PREFIX):
        return entry
    trash = entry.with_name(f"{TRASH_PREFIX}{entry.name.lstrip('.')}-{os.urandom(4).hex()}")
    entry.rename(trash)
    return trash
