"""The directories that all data sets and one of them have on the volume, and its lock.

They belong to the loader, and nobody else can write in them: what they contain is believed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Generator
from typing import NamedTuple

from ..access import open_directory, ownership
from ..base import failure
from . import byte_locks

DATASETS, VERSIONS, LOCK = "datasets", ".versions", ".lock"
LOCK_WAIT_SECONDS = 120.0
# All may read them.
MODE = 0o755


class CommonDirectories(NamedTuple):
    """The directories of all data sets.

    Attributes:
        datasets: The directory of their names.
        versions: The directory of their versions.
    """

    datasets: open_directory.OpenDirectory
    versions: open_directory.OpenDirectory

    @classmethod
    def find(cls, root: open_directory.OpenDirectory) -> CommonDirectories | None:
        """Return those of a volume; None if there are none.

        Raises:
            NotOwnError: Somebody else has made one of them.
        """
        datasets = ownership.find_own(root, DATASETS, MODE)
        versions = datasets and ownership.find_own(datasets, VERSIONS, MODE)
        return cls(datasets, versions) if datasets and versions else None

    @classmethod
    def make(cls, root: open_directory.OpenDirectory) -> CommonDirectories:
        """Return those of a volume, and make them if needed.

        Raises:
            NotOwnError: Somebody else has made one of them.
        """
        datasets, _ = ownership.make_own(root, DATASETS, MODE)
        versions, _ = ownership.make_own(datasets, VERSIONS, MODE)
        return cls(datasets, versions)


class DataSetDirectories:
    """The directories of one data set.

    Args:
        mount_point: The mount point of the volume.
        name: The data set's name.
    """

    def __init__(self, mount_point: str, name: str) -> None:
        self._name = name
        self._root = open_directory.open_root(mount_point)
        self._common: CommonDirectories | None = None

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the data set's lock against all other processes; it ends with this process.

        Their earlier publications are visible then.

        Raises:
            Failure: Another process does not release it, or something that is not the loader's
                own is in the place of a directory.
        """
        # One file for all data sets: a lock file of each would have to be removed, and a lock on a
        # removed file excludes no one.
        descriptor = ownership.open_lock(self._make_common().versions, LOCK)
        try:
            self._lock(descriptor)
            self.refresh()
            yield
        finally:
            os.close(descriptor)

    def refresh(self) -> None:
        """Make the kernel read the directory of data sets from the volume again.

        It may cache a directory for a minute (acdirmax in nfs(5)), also that a name does not
        exist; its own change of the directory ends that.
        """
        with contextlib.suppress(OSError):
            self._make_common().datasets.touch()

    def find_home(self) -> open_directory.OpenDirectory | None:
        """Return the directory of the data set's versions; None if there is none."""
        common = self._find_common()
        return common and ownership.find_own(common.versions, self._name, MODE)

    def make_home(self) -> tuple[open_directory.OpenDirectory, bool]:
        """Return the directory of the data set's versions, and whether it was made."""
        return ownership.make_own(self._make_common().versions, self._name, MODE)

    def remove_home(self) -> None:
        """Remove the directory of the data set's versions, if it is empty."""
        with contextlib.suppress(failure.Failure, OSError), self.locked():
            self._make_common().versions.remove_directory(self._name)

    def _find_common(self) -> CommonDirectories | None:
        self._common = self._common or CommonDirectories.find(self._root)
        return self._common

    def _make_common(self) -> CommonDirectories:
        self._common = self._common or CommonDirectories.make(self._root)
        return self._common

    def _lock(self, descriptor: int) -> None:
        digest = hashlib.sha256(self._name.encode()).digest()
        byte = int.from_bytes(digest[:7], "big")
        if not byte_locks.lock(descriptor, byte, LOCK_WAIT_SECONDS):
            raise failure.Later(
                f"another load of {self._name} is still running: wait for it, then try again"
            )
