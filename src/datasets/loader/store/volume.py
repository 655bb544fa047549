"""The layout of data sets on the volume, and the one rename that publishes a data set.

    /datasets/<name>                        -> .versions/<name>/<version>, a relative link
    /datasets/.versions/<name>/<version>    the files
    /datasets/.versions/<name>/<version>.json    the record: source, parameters, result and time
    /datasets/.versions/<name>/<version>.files   the file list: path, bytes and sha256
    /datasets/.versions/<name>/.load-<fingerprint>-<version>     an unfinished load: see
                                                 load_directory
    /datasets/.versions/.lock               one byte of it is locked for each data set

A reader sees one version or the next, never half of one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import stat
import time
from collections.abc import Generator, Iterator
from typing import Any

from ..base import failure, tasks
from . import byte_locks, load_directory, versions

DATASETS, VERSIONS = "datasets", ".versions"
FILES = "files"
LOCK_WAIT_SECONDS = 120.0


def custom_loader_files(name: str, version: str) -> str:
    """Return the directory, from the volume's root, that a custom loader writes to."""
    return f"{DATASETS}/{VERSIONS}/{name}/{versions.CUSTOM_PREFIX}{version}/{FILES}"


class StoredDataSet:
    """One data set on the volume.

    Args:
        root: The mount point of the volume.
        name: The data set's name.
    """

    def __init__(self, root: pathlib.Path, name: str) -> None:
        self._name = name
        self._datasets = root / DATASETS
        self.link = self._datasets / name
        self._versions = self._datasets / VERSIONS
        self.home = self._versions / name
        self._prepared = False

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the data set's lock against all other processes; it ends with this process.

        Their earlier publications are visible then.

        Raises:
            Failure: Another process does not release it, or a file is in the place of a directory.
        """
        if not self._prepared:
            for directory in (self._datasets, self._versions):
                _make_directory(directory)
            self._prepared = True
        # One file for all data sets: a lock file of each would have to be removed, and a lock on a
        # removed file excludes no one.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._versions / ".lock", flags, 0o644)
        try:
            self._lock(descriptor)
            self.refresh()
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        digest = hashlib.sha256(self._name.encode()).digest()
        byte = int.from_bytes(digest[:7], "big")
        if not byte_locks.lock(descriptor, byte, LOCK_WAIT_SECONDS):
            raise failure.Later(
                f"another load of {self._name} is still running: wait for it, then try again"
            )

    # --- the published version

    def refresh(self) -> None:
        """Make the kernel read the directory of data sets from the volume again.

        It may cache a directory for a minute (acdirmax in nfs(5)), also that a name does not
        exist; its own change of the directory ends that.
        """
        with contextlib.suppress(OSError):
            os.utime(self._datasets)

    def current(self) -> versions.VersionRecord | None:
        """Return the published version; None if there is none.

        Raises:
            Failure: Something that the charm did not make has its path.
        """
        version = self._current_version()
        if not version:
            return None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            fields: dict[str, Any] = json.loads(self.record_of(version).read_text())
            result = tasks.Result.from_fields(fields.pop("result"))
            return versions.VersionRecord(**fields, result=result)
        # Its link is the charm's, but its record is lost: it can only be replaced.
        return versions.VersionRecord(version=version, fingerprint="", previous="", result=None)

    def _current_version(self) -> str:
        try:
            target = os.readlink(self.link)  # noqa: PTH115 - of 3.9, and as text
        except FileNotFoundError:
            return ""
        except OSError:
            raise self._foreign() from None
        head, _, version = target.rpartition("/")
        if head != f"{VERSIONS}/{self._name}" or not version:
            raise self._foreign()
        return version

    def _foreign(self) -> failure.Failure:
        return failure.Failure(
            f"/{DATASETS}/{self._name} is on the volume already and was not made by this charm: "
            "move it away, or choose another name"
        )

    def record_of(self, version: str) -> pathlib.Path:
        """Return the file of a version's record."""
        return self.home / f"{version}{versions.RECORD_SUFFIX}"

    def file_list_of(self, version: str) -> pathlib.Path:
        """Return the file of a version's file list."""
        return self.home / f"{version}{versions.FILE_LIST_SUFFIX}"

    # --- unfinished loads

    def unfinished_loads(self) -> Iterator[versions.UnfinishedLoad]:
        """Yield the unfinished loads that can be continued, the oldest first."""
        loads = map(versions.parse_load_name, self.home.glob(f"{versions.LOAD_PREFIX}*"))
        for each in sorted(loads, key=lambda each: each.version):
            if not load_directory.is_superseded(each.path):
                yield each

    def open_load(
        self, task: tasks.Task, current: versions.VersionRecord | None
    ) -> load_directory.LoadDirectory:
        """Return the unfinished load of a task, or a new one. The lock is held.

        Args:
            task: The task.
            current: The published version.
        """
        version = task.request
        if not self.make_home():
            # What is left of the loads of kept versions is trash.
            kept = current.kept if current else frozenset[str]()
            for each in self.unfinished_loads():
                if each.fingerprint == task.fingerprint and each.version not in kept:
                    # It may have been killed between the renames that publish it.
                    with contextlib.suppress(OSError):
                        (self.home / each.version).rename(each.path / load_directory.TREE)
                    return load_directory.LoadDirectory(each.path, each.version)
            version = self._unused(version)
        path = self.home / versions.load_name(task.fingerprint, version)
        # For the loader alone: the modes in it do not protect it.
        path.mkdir(mode=0o700)
        return load_directory.LoadDirectory(path, version)

    def make_home(self) -> bool:
        """Make the directory of the data set's versions; return False if it exists."""
        return _make_directory(self.home)

    def remove_home(self) -> None:
        """Remove the directory of the data set's versions, if it is empty."""
        with contextlib.suppress(failure.Failure, OSError), self.locked():
            self.home.rmdir()

    def _unused(self, version: str) -> str:
        """Return the name for a version, with a number if it is used already."""
        number, unused = 1, version
        while self._is_used(unused):
            number += 1
            unused = f"{version}-{number}"
        return unused

    def _is_used(self, version: str) -> bool:
        is_loading = any(self.home.glob(versions.load_name("*", version)))
        return is_loading or self.record_of(version).exists() or (self.home / version).exists()

    def custom_loader_directory(self, version: str) -> pathlib.Path:
        """Return the directory of a custom loader's files, which is known before it runs."""
        return self.home / f"{versions.CUSTOM_PREFIX}{version}"

    # --- publishing

    def publish(
        self, tree: pathlib.Path, file_list: pathlib.Path, task: tasks.Task, result: tasks.Result
    ) -> versions.PublishedVersion:
        """Publish a finished tree as the data set, by one rename. The lock is held.

        It can be killed anywhere, and called again.

        Args:
            tree: The directory of the files.
            file_list: The file list.
            task: The task.
            result: The result of the load.

        Returns:
            The published version, with the paths that are trash now.
        """
        version = result.version
        before = self.current()
        if before and before.version == version and before.result:
            # It was published by a pod that was killed before it could end the load.
            return self.keep_current(before, before.result, version)
        record = versions.VersionRecord(
            version=version,
            fingerprint=task.fingerprint,
            previous=before.version if before and before.version != version else "",
            result=result,
            request=task.request,
            source=task.redacted_sources,
            published=round(time.time(), 3),
        )
        draft = file_list.with_name("record")
        with load_directory.create_text(draft) as file:
            file.write(json.dumps(dataclasses.asdict(record), sort_keys=True) + "\n")
        with contextlib.suppress(FileNotFoundError):
            file_list.replace(self.file_list_of(version))
        draft.replace(self.record_of(version))
        with contextlib.suppress(FileNotFoundError):
            tree.rename(self.home / version)
        link_draft, target = file_list.with_name("link"), f"{VERSIONS}/{self._name}/{version}"
        try:
            link_draft.symlink_to(target)
        except FileExistsError:
            link_draft.unlink()
            link_draft.symlink_to(target)
        # The rename would replace a file that someone else has created meanwhile.
        self._current_version()
        link_draft.replace(self.link)
        return versions.PublishedVersion(result, versions.sweep(self.home, record))

    def keep_current(
        self, current: versions.VersionRecord, result: tasks.Result, version: str
    ) -> versions.PublishedVersion:
        """Return the published version, for a load that finds it done. The lock is held.

        Pods may be late: other unfinished loads of that name are kept.

        Args:
            current: The published version.
            result: Its result.
            version: The version that the load is, or would have become.
        """
        trash = versions.sweep(self.home, current, ended=version)
        return versions.PublishedVersion(result, trash)


def _make_directory(path: pathlib.Path) -> bool:
    """Make a directory; return False if it exists."""
    try:
        path.mkdir(mode=0o755)
        return True
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise failure.Failure(
                f"{failure.quote(path.name)} on the volume is not a directory: move it away, then "
                "try again"
            ) from None
        return False
