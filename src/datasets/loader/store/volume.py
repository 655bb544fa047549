"""Where data sets live on the volume, and the one rename that publishes one.

    /datasets/<name>                        -> .versions/<name>/<version>, a relative link
    /datasets/.versions/<name>/<version>    the files
    /datasets/.versions/<name>/<version>.json    the record: what it was made from, and when
    /datasets/.versions/<name>/<version>.files   the list of files: path, bytes and sha256
    /datasets/.versions/<name>/.load-<fingerprint>-<version>     a load that is not finished: see
                                                 place; the first of a version's two names is
                                                 what it is made from
    /datasets/.versions/.lock               one byte of it is locked for each data set

A reader sees one version or the next, never half of one. What of it is trash tells `versions`.
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
    """The directory, from the volume's root, that a loader of the user's own fills."""
    return f"{DATASETS}/{VERSIONS}/{name}/{versions.CUSTOM_PREFIX}{version}/{FILES}"


class StoredDataSet:
    """The place of one data set on the volume.

    Args:
        root: Where the volume is mounted.
        name: The data set's name.
    """

    def __init__(self, root: pathlib.Path, name: str) -> None:
        self._name = name
        self._datasets = root / DATASETS
        self.link = self._datasets / name
        self._versions = self._datasets / VERSIONS
        self.home = self._versions / name
        self._looked = False

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Keeps all other processes away; the lock goes with the process that holds it.

        What those before it have published is seen.

        Raises:
            Failure: Another one does not end, or a file stands where a directory is needed.
        """
        if not self._looked:
            for directory in (self._datasets, self._versions):
                _make_directory(directory)
            self._looked = True
        # One file for all: a lock file of each data set would have to be removed, and a lock on
        # a removed file keeps nobody away.
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
        where = int.from_bytes(digest[:7], "big")
        if not byte_locks.lock(descriptor, where, LOCK_WAIT_SECONDS):
            raise failure.Later(
                f"another load of {self._name} is still running: wait for it, then try again"
            )

    # --- what is published

    def refresh(self) -> None:
        """Has the system ask the volume again what is published.

        A node may trust what it knows of a directory for a minute (acdirmax in nfs(5)), also that
        something is not there; what it changes there itself makes it look again.
        """
        with contextlib.suppress(OSError):
            os.utime(self._datasets)

    def current(self) -> versions.VersionRecord | None:
        """The version that is published; None where there is none.

        Raises:
            Failure: Something that is not ours stands in its place.
        """
        version = self._current_version()
        if not version:
            return None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            fields: dict[str, Any] = json.loads(self.record_of(version).read_text())
            result = tasks.Result.from_fields(fields.pop("result"))
            return versions.VersionRecord(**fields, result=result)
        # It is ours by its link, but what it was made from is lost: it can only be replaced.
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
        """The file that a version's record is in."""
        return self.home / f"{version}{versions.RECORD_SUFFIX}"

    def file_list_of(self, version: str) -> pathlib.Path:
        """The file that a version's list of files is in."""
        return self.home / f"{version}{versions.FILE_LIST_SUFFIX}"

    # --- what is not finished

    def unfinished_loads(self) -> Iterator[versions.UnfinishedLoad]:
        """The loads that are not finished and can be gone on with, the oldest first."""
        found = map(versions.parse_load_name, self.home.glob(f"{versions.LOAD_PREFIX}*"))
        for each in sorted(found, key=lambda each: each.version):
            if not load_directory.is_superseded(each.path):
                yield each

    def open_load(
        self, task: tasks.Task, current: versions.VersionRecord | None
    ) -> load_directory.LoadDirectory:
        """The unfinished load of what a task asks for, or a new one. The slot is locked.

        Args:
            task: The task.
            current: What is published.
        """
        version = task.request
        if not self.make_home():
            # What is left of those that made them is trash.
            kept = current.kept if current else frozenset[str]()
            for each in self.unfinished_loads():
                if each.fingerprint == task.fingerprint and each.version not in kept:
                    # It may have been cut off between the renames that publish it.
                    with contextlib.suppress(OSError):
                        (self.home / each.version).rename(each.path / load_directory.TREE)
                    return load_directory.LoadDirectory(each.path, each.version)
            version = self._unused(version)
        path = self.home / versions.load_name(task.fingerprint, version)
        # For the loader alone: what is in it keeps no mode of its own.
        path.mkdir(mode=0o700)
        return load_directory.LoadDirectory(path, version)

    def make_home(self) -> bool:
        """Makes the directory of the data set's versions; False where it is there."""
        return _make_directory(self.home)

    def remove_home(self) -> None:
        """Removes it, if nothing is in it, nor is about to be."""
        with contextlib.suppress(failure.Failure, OSError), self.locked():
            self.home.rmdir()

    def _unused(self, version: str) -> str:
        """A version's name that nothing has, like this one."""
        number, found = 1, version
        while self._is_used(found):
            number += 1
            found = f"{version}-{number}"
        return found

    def _is_used(self, version: str) -> bool:
        begun = any(self.home.glob(versions.load_name("*", version)))
        return begun or self.record_of(version).exists() or (self.home / version).exists()

    def custom_loader_directory(self, version: str) -> pathlib.Path:
        """Where a loader of the user's own leaves its files: known before it runs."""
        return self.home / f"{versions.CUSTOM_PREFIX}{version}"

    # --- publishing

    def publish(
        self, tree: pathlib.Path, file_list: pathlib.Path, task: tasks.Task, result: tasks.Result
    ) -> versions.PublishedVersion:
        """Makes a finished tree the data set, by one rename. The slot is locked.

        It can be cut off anywhere, and called again.

        Args:
            tree: The directory that holds the files.
            file_list: The list of them.
            task: What was asked for.
            result: What was brought.

        Returns:
            What is published, and what is trash now.
        """
        version = result.version
        before = self.current()
        if before and before.version == version and before.result:
            # By a pod that was killed before its load had ended.
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
        # The rename would put it over a file of somebody else's that came meanwhile.
        self._current_version()
        link_draft.replace(self.link)
        return versions.PublishedVersion(result, versions.sweep(self.home, record))

    def keep_current(
        self, current: versions.VersionRecord, result: tasks.Result, version: str
    ) -> versions.PublishedVersion:
        """What a load ends with that finds the data set there. The slot is locked.

        Pods may come late: what other loads of that name have begun is left alone.

        Args:
            current: What is published.
            result: What it brought.
            version: The version that the load would have become, or is.
        """
        trash = versions.sweep(self.home, current, ended=version)
        return versions.PublishedVersion(result, trash)


def _make_directory(path: pathlib.Path) -> bool:
    """Makes a directory; False where it is there."""
    try:
        path.mkdir(mode=0o755)
        return True
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise failure.Failure(
                f"{failure.quote(path.name)} is on the volume, but is no directory: move it away, "
                "then try again"
            ) from None
        return False
