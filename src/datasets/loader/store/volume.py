"""The layout of data sets on the volume, and the one rename that publishes a data set.

    /datasets/<name>                        -> .versions/<name>/<version>, a relative link
    /datasets/.versions/<name>/<version>    the files
    /datasets/.versions/<name>/<version>.json    the record: source, parameters, result and time
    /datasets/.versions/<name>/<version>.files   the file list: see file_list
    /datasets/.versions/<name>/<version>.verified    its last verification: see kept_versions
    /datasets/.versions/<name>/.load-<fingerprint>-<version>     an unfinished load: see
                                                 load_directory
    /datasets/.versions/<name>/.custom-<version>/files     what a custom loader writes
    /datasets/.versions/.lock               one byte of it is locked for each data set

A reader sees one version or the next, never half of one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
import time
from collections.abc import Iterator
from typing import Any

from ..access import open_directory, ownership, tree_walk
from ..base import failure, tasks
from . import directories, file_list, load_directory, versions

DATASETS, VERSIONS = directories.DATASETS, directories.VERSIONS
FILES, RECORD, LINK = "files", "record", "link"
# All may read it.
RECORD_MODE = 0o644
# The user of a custom loader's image is unknown.
OPEN_MODE = 0o777


def custom_loader_files(name: str, version: str) -> str:
    """Return the directory, from the volume's root, that a custom loader writes to."""
    return f"{DATASETS}/{VERSIONS}/{name}/{versions.CUSTOM_PREFIX}{version}/{FILES}"


def names(mount_point: str) -> list[str]:
    """Return the names of the data sets that have been begun or published on a volume.

    Raises:
        NotOwnError: Somebody else has made the directory of data sets.
    """
    common = directories.CommonDirectories.find(open_directory.open_root(mount_point))
    return sorted(common.versions.subdirectories()) if common else []


class StoredDataSet(directories.DataSetDirectories):
    """One data set on the volume."""

    # --- the published version

    def refresh(self) -> None:
        """Make the kernel read the directory of data sets from the volume again.

        It may cache a directory for a minute (acdirmax in nfs(5)), also that a name does not
        exist; its own change of the directory ends that.
        """
        with contextlib.suppress(OSError):
            self._make_common().datasets.touch()

    def current(self) -> versions.VersionRecord | None:
        """Return the published version; None if there is none.

        Raises:
            Failure: Something that the charm did not make has its path.
        """
        common = self._find_common()
        version = self._current_version(common.datasets) if common else ""
        if not version:
            return None
        home = self.find_home()
        # Its link is the charm's, but its record may be lost: it can only be replaced then.
        lost = versions.VersionRecord(version, fingerprint="", previous="", result=None)
        return (home and read_record(home, version)) or lost

    def _current_version(self, datasets: open_directory.OpenDirectory) -> str:
        try:
            status = datasets.lstat(self._name)
        except FileNotFoundError:
            return ""
        if status.st_uid == os.geteuid():
            if stat.S_ISDIR(status.st_mode):
                # The kubelet makes it for a pod that wants the data set before it exists.
                if datasets.open_directory(self._name).is_empty():
                    return ""
            elif stat.S_ISLNK(status.st_mode):
                head, _, version = datasets.readlink(self._name).rpartition("/")
                if head == f"{VERSIONS}/{self._name}" and versions.VERSION.fullmatch(version):
                    return version
        raise failure.Failure(
            f"/{DATASETS}/{self._name} is on the volume already and was not made by this charm: "
            "move it away, or choose another name"
        )

    def _make_room(self) -> None:
        """Remove the empty directory that the kubelet may have made in the data set's place."""
        datasets = self._make_common().datasets
        if not self._current_version(datasets):
            with contextlib.suppress(FileNotFoundError):
                datasets.remove_directory(self._name)

    # --- unfinished loads

    def unfinished_loads(self) -> Iterator[versions.UnfinishedLoad]:
        """Yield the unfinished loads that can be continued, the oldest first."""
        home = self.find_home()
        found = [name for name, _ in home.entries()] if home else []
        loads = [
            versions.parse_load_name(name)
            for name in found
            if name.startswith(versions.LOAD_PREFIX)
        ]
        for each in sorted(loads, key=lambda each: each.version):
            if home and not load_directory.is_superseded(home, each.name):
                yield each

    def _loads_of(
        self, task: tasks.Task, current: versions.VersionRecord | None
    ) -> Iterator[versions.UnfinishedLoad]:
        """Yield the unfinished loads that the task continues."""
        # What is left of the loads of kept versions is trash.
        kept = current.kept if current else frozenset[str]()
        for each in self.unfinished_loads():
            if each.fingerprint == task.fingerprint and each.version not in kept:
                yield each

    def open_load(
        self, task: tasks.Task, current: versions.VersionRecord | None
    ) -> load_directory.LoadDirectory:
        """Return the unfinished load of a task, or a new one. The lock is held.

        Args:
            task: The task.
            current: The published version.
        """
        self._make_room()
        version = task.request
        home, made = self.make_home()
        if not made:
            for each in self._loads_of(task, current):
                # One that others could write in is left alone, and removed in the end.
                with contextlib.suppress(ownership.NotOwnError):
                    return load_directory.LoadDirectory(home, each.name, each.version)
            version = _unused(home, version)
        name = versions.load_name(task.fingerprint, version)
        home.make_directory(name, ownership.PRIVATE_DIRECTORY)
        return load_directory.LoadDirectory(home, name, version)

    # --- custom loaders

    def prepare_custom_loader(self, version: str) -> open_directory.Entries:
        """Make the directory of a custom loader, empty; return what was in its place as trash.

        The lock is held. Nobody but the custom loader gets to its files.
        """
        home, _ = self.make_home()
        name = f"{versions.CUSTOM_PREFIX}{version}"
        trash = [versions.to_trash(home, name)] if home.has(name) else []
        home.make_directory(name, ownership.PRIVATE_DIRECTORY)
        work = ownership.open_own(home, name, private=True)
        work.make_directory(FILES, ownership.PRIVATE_DIRECTORY)
        work.open_directory(FILES).set_access(OPEN_MODE)
        return open_directory.Entries(home, trash)

    def find_custom_loader(self, version: str) -> open_directory.OpenDirectory | None:
        """Return the directory that was prepared for a custom loader; None if it is gone."""
        home = self.find_home()
        try:
            name = f"{versions.CUSTOM_PREFIX}{version}"
            return home and ownership.open_own(home, name, private=True)
        except FileNotFoundError:
            return None

    def is_prepared(self, work: open_directory.OpenDirectory, version: str) -> bool:
        """Tell whether a custom loader's directory was not prepared again meanwhile."""
        home = self.find_home()
        return bool(home) and work.is_entry(home, f"{versions.CUSTOM_PREFIX}{version}")

    # --- publishing

    def publish(
        self,
        work: open_directory.OpenDirectory,
        tree: str,
        task: tasks.Task,
        result: tasks.Result,
    ) -> versions.PublishedVersion:
        """Publish a finished tree as the data set, by one rename. The lock is held.

        It can be killed anywhere, and called again.

        Args:
            work: The directory of the load, with the tree and the file list.
            tree: The name of the tree in it.
            task: The task.
            result: The result of the load.

        Returns:
            The published version, with the entries that are trash now.
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
            mode=task.mode,
            owner=task.owner,
        )
        home, _ = self.make_home()
        with os.fdopen(work.create_anew(RECORD, RECORD_MODE), "w", encoding="ascii") as file:
            file.write(json.dumps(record_fields(record), sort_keys=True) + "\n")
        with contextlib.suppress(FileNotFoundError):
            work.rename(file_list.NAME, home, f"{version}{versions.FILE_LIST_SUFFIX}")
        work.rename(RECORD, home, f"{version}{versions.RECORD_SUFFIX}")
        if work.has(tree):
            if home.has(version):
                versions.to_trash(home, version)
            work.rename(tree, home, version)
        self._open_to_readers(home.open_directory(version), task)
        self._link(work, self._target(version))
        return versions.PublishedVersion(result, versions.sweep(home, record))

    def finish(
        self, task: tasks.Task, current: versions.VersionRecord | None
    ) -> versions.PublishedVersion | None:
        """Finish a publication of the task that was killed. The lock is held.

        Args:
            task: The task.
            current: The published version.

        Returns:
            The published version; None if no publication was begun.
        """
        home = self.find_home()
        if home is None:
            return None
        for each in self._loads_of(task, current):
            work = ownership.open_own(home, each.name, private=True)
            record = read_record(home, each.version)
            # The files are moved when all else is written, and to where nobody else can write.
            if record and record.result and not work.has(load_directory.TREE):
                return self.publish(work, load_directory.TREE, task, record.result)
        return None

    @staticmethod
    def _open_to_readers(tree: open_directory.OpenDirectory, task: tasks.Task) -> None:
        """Give the directories of a tree the mode and the owner that readers see."""
        # Its own comes last: once it has them, its owner may have moved others' directories in.
        if not ownership.is_own(tree.status(), private=True):
            return
        if task.owner_ids or task.loading_mode != task.directory_mode:
            tree_walk.set_directory_access(tree, task.directory_mode, task.owner_ids)
        else:
            tree.set_access(task.directory_mode)

    def _target(self, version: str) -> str:
        """Return what the link of a published version leads to."""
        return f"{VERSIONS}/{self._name}/{version}"

    def _link(self, work: open_directory.OpenDirectory, target: str, name: str = LINK) -> None:
        try:
            work.symlink(target, name)
        except FileExistsError:
            work.unlink(name)
            work.symlink(target, name)
        # The rename would replace a file that someone else has created meanwhile.
        self._make_room()
        work.rename(name, self._make_common().datasets, self._name)

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
        home, _ = self.make_home()
        return versions.PublishedVersion(result, versions.sweep(home, current, ended=version))

    def unpublish(self) -> open_directory.Entries:
        """Remove the data set's name; return all of its versions and loads as trash.

        The lock is held.
        """
        if self.current():
            self._make_common().datasets.unlink(self._name)
        home, _ = self.make_home()
        found = [name for name, _ in home.entries()]
        return open_directory.Entries(home, [versions.to_trash(home, name) for name in found])


def record_fields(record: versions.VersionRecord) -> dict[str, Any]:
    """Return the fields of a record's file: those that earlier loaders can read, if possible."""
    fields = dataclasses.asdict(record)
    if not record.rollback:
        del fields["rollback"]
    return fields


def read_record(home: open_directory.OpenDirectory, version: str) -> versions.VersionRecord | None:
    """Return the record of a version; None if it is lost, or others could have written it."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, ownership.NotOwnError):
        text = ownership.read_own(home, f"{version}{versions.RECORD_SUFFIX}")
        fields: dict[str, Any] = json.loads(text)
        result = tasks.Result.from_fields(fields.pop("result"))
        names = {field.name for field in dataclasses.fields(versions.VersionRecord)}
        # A later loader may have written more.
        known = {key: value for key, value in fields.items() if key in names}
        record = versions.VersionRecord(**known, result=result)
        return record if record.version == version else None
    return None


def _unused(home: open_directory.OpenDirectory, version: str) -> str:
    """Return the name for a version, with a number if it is used already."""
    used: set[str] = set()
    for name, _ in home.entries():
        is_load = name.startswith(versions.LOAD_PREFIX)
        used.add(versions.parse_load_name(name).version if is_load else name)
    number, unused = 1, version
    while {unused, f"{unused}{versions.RECORD_SUFFIX}"} & used:
        number += 1
        unused = f"{version}-{number}"
    return unused
