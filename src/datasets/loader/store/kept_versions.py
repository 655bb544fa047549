"""The versions of a data set that readers may have: the published one, and that before it.

A rollback publishes the other one again: each is then the one that the other has replaced.

A verification is noted beside its version, as JSON: its time in seconds since 1970, and the number
of entries that were not as they were published.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from typing import Any, NamedTuple

from ..access import open_directory, ownership
from ..base import failure
from . import versions, volume

_BEGUN_PREFIX = f"{versions.TRASH_PREFIX}begun-"


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

    # --- rollback

    def roll_back(self, version: str, request: str) -> versions.VersionRecord:
        """Publish the version before the published one again, by one rename. The lock is held.

        It can be killed anywhere, and called again. Both versions are kept, for their readers.

        Args:
            version: The version to publish; empty for the one before.
            request: The request of the rollback, which is carried out only once.

        Returns:
            The record of the published version.

        Raises:
            Failure: There is no such version, or something that the charm did not make has the
                data set's path; nothing was changed.
        """
        current, home = self.current(), self.find_home()
        if current is None or home is None:
            raise unpublished()
        _remove_begun(home)
        done = request == current.rollback or version == current.version
        chosen = current if done else _choose(read_previous(home, current), current, version)
        if not _has_files(home, chosen.version):
            raise failure.Failure(
                f"the files of version {chosen.version} are missing: run create-dataset with "
                "overwrite=true"
            )
        if done:
            return current
        # First of all it keeps the version that it replaces: a load may remove what nothing keeps.
        record = dataclasses.replace(chosen, previous=current.version, rollback=request)
        name = f"{record.version}{versions.RECORD_SUFFIX}"
        write_whole(home, name, volume.record_fields(record))
        self._link(home, self._target(record.version), _begun_name())
        return record


def unpublished() -> failure.Failure:
    """Return the failure for a data set that has no published version."""
    return failure.Failure(
        "no version of it is published: run list-datasets to see all data sets, or create-dataset "
        "to load it"
    )


def _choose(
    other: versions.VersionRecord | None, current: versions.VersionRecord, version: str
) -> versions.VersionRecord:
    """Return the version to publish.

    Args:
        other: The version that is kept beside the published one.
        current: The published version.
        version: The version that is asked for; empty for the one before.

    Raises:
        Failure: It is not kept.
    """
    if other and other.version == version:
        return other
    if version:
        raise failure.Failure(
            f"version {version} is not on the volume: run list-versions to see which ones are"
        )
    if other is None:
        raise failure.Failure(
            "no other version is on the volume: it has one to go back to once create-dataset with "
            "overwrite=true has replaced the published one"
        )
    if (other.published, other.version) > (current.published, current.version):
        # Asked for once more, a rollback does not undo itself.
        raise failure.Failure(
            f"no version before {current.version} is on the volume: set version={other.version} "
            "for the newer one"
        )
    return other


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
    """Write a file of one JSON object: readers see all of it, or what was there before.

    The lock is held.
    """
    begun = _begun_name()
    with os.fdopen(home.create_file(begun, volume.RECORD_MODE), "w", encoding="ascii") as file:
        file.write(json.dumps(fields, sort_keys=True) + "\n")
    home.rename(begun, home, name)


def _begun_name() -> str:
    """Return a name for what is not complete: trash, if it never gets its own name."""
    return f"{_BEGUN_PREFIX}{os.urandom(8).hex()}"


def _remove_begun(home: open_directory.OpenDirectory) -> None:
    """Remove what others had begun that were killed. The lock is held."""
    for name, _ in home.entries():
        if name.startswith(_BEGUN_PREFIX):
            # A load may remove it at the same time.
            with contextlib.suppress(FileNotFoundError):
                home.unlink(name)


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
