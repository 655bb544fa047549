"""The versions of a data set that readers may have: the published one, and the one before it.

A verification is noted beside its version, as JSON: its time in seconds since 1970, and the number
of entries that were not as they were published.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any, NamedTuple

from ..access import open_directory, ownership
from ..base import failure
from . import versions, volume


class Verification(NamedTuple):
    """The last verification of a version.

    Attributes:
        verified: Its time, in seconds since 1970.
        differences: The number of entries that were not as they were published.
    """

    verified: float
    differences: int


class KeptVersion(NamedTuple):
    """A version that readers may have.

    Attributes:
        record: Its record; its result is None if the record is lost.
        is_published: Whether it is the published one.
        verification: Its last verification since its publication; None for none.
    """

    record: versions.VersionRecord
    is_published: bool
    verification: Verification | None


class KeptVersions(volume.StoredDataSet):
    """The versions of one data set that readers may have."""

    def find(self) -> list[KeptVersion]:
        """Return those whose files are there, the published one first. The lock is held.

        Raises:
            Failure: Something that the charm did not make has the data set's path.
        """
        current, home = self.current(), self.find_home()
        if current is None or home is None:
            return []
        before = read_previous(home, current)
        return [
            KeptVersion(each, each is current, _read_verification(home, each.version))
            for each in (current, before)
            if each and _has_files(home, each.version)
        ]

    def note_verification(self, version: str, differences: int) -> None:
        """Note a verification that has ended now, if its version is still kept.

        A verification is none the worse for a note that cannot be written.

        Args:
            version: The version.
            differences: The number of entries that were not as they were published.
        """
        with contextlib.suppress(failure.Failure, OSError), self.locked():
            current, home = self.current(), self.find_home()
            if current and home and version in current.kept:
                note = Verification(round(time.time(), 3), differences)
                name = f"{version}{versions.VERIFICATION_SUFFIX}"
                write_whole(home, name, note._asdict())


def read_previous(
    home: open_directory.OpenDirectory, current: versions.VersionRecord
) -> versions.VersionRecord | None:
    """Return the record of the other version that is kept; None if there is none.

    Args:
        home: The directory of the data set's versions.
        current: The published version.
    """
    known = versions.VERSION.fullmatch(current.previous)
    return volume.read_record(home, current.previous) if known else None


def write_whole(home: open_directory.OpenDirectory, name: str, fields: dict[str, Any]) -> None:
    """Write a file of one JSON object: readers see all of it, or what was there before."""
    begun = f"{versions.TRASH_PREFIX}{os.urandom(8).hex()}"
    with os.fdopen(home.create_file(begun, volume.RECORD_MODE), "w", encoding="ascii") as file:
        file.write(json.dumps(fields, sort_keys=True) + "\n")
    home.rename(begun, home, name)


def _read_verification(home: open_directory.OpenDirectory, version: str) -> Verification | None:
    """Return the note of a verification; None for none, or if others could have written it."""
    with contextlib.suppress(OSError, ValueError, TypeError, ownership.NotOwnError):
        text = ownership.read_own(home, f"{version}{versions.VERIFICATION_SUFFIX}")
        return Verification(**json.loads(text))
    return None


def _has_files(home: open_directory.OpenDirectory, version: str) -> bool:
    try:
        home.open_directory(version)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
