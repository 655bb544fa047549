"""Compare the entries of a published version with its file list: all of them, in both directions.

Whoever owns the files may change them meanwhile: nothing is followed, and nothing is waited for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..access import directory_cache, open_directory, ownership, tree_walk
from ..base import name_set, tasks
from ..store import readback

# The parents of this many paths are remembered, as neighbours have the same ones.
MOST_PARENTS = 10_000
# What is listed of one directory in advance: the kernel keeps it for a few seconds only.
MOST_LISTED = 4096
NOT_LISTED, NOT_A_FILE = "is not in the file list", "is not a file"


class Comparison:
    """A comparison of a version with its file list.

    Args:
        root: The directory of the version.
        task: A task with the mode and the owner that it was published with; None if its record
            does not have them.
    """

    def __init__(self, root: open_directory.OpenDirectory, task: tasks.Task | None) -> None:
        self._directories = directory_cache.DirectoryCache(root)
        self._task = task
        self._names = name_set.NameSet()
        self._largest = 0

    def look_ahead(self, directory: str) -> None:
        """List a directory whose entries are compared next.

        The listing has the status of each: otherwise `lstat` takes a round trip for every file.
        """
        with contextlib.suppress(OSError):
            entries = self._directories.get(directory).entries()
            for _ in itertools.islice(entries, MOST_LISTED):
                pass

    def compare(self, fields: Mapping[str, Any]) -> str:
        """Compare an entry with its line of the list; return the difference, empty for none."""
        try:
            return self._compare(fields)
        except (FileNotFoundError, NotADirectoryError):
            return "is missing"
        except open_directory.NotRegularError:
            return NOT_A_FILE
        except OSError as error:
            return _unreadable(error)

    def _compare(self, fields: Mapping[str, Any]) -> str:
        directory, name = self._directories.locate(fields["path"])
        status = directory.lstat(name)
        if "directory" in fields:
            # Its mode and its owner are compared when all directories are read.
            return "" if stat.S_ISDIR(status.st_mode) else "is not a directory"
        if "link" in fields:
            if not stat.S_ISLNK(status.st_mode):
                return "is not a link"
            same = directory.readlink(name) == fields["link"]
            return self._compare_owner(status) if same else "has another target"
        # Only a file is opened: to open a device may have effects.
        if not stat.S_ISREG(status.st_mode):
            return NOT_A_FILE
        descriptor, status = directory.open_with_status(name)
        try:
            return self._compare_file(descriptor, status, fields)
        finally:
            os.close(descriptor)

    def _compare_file(
        self, descriptor: int, status: os.stat_result, fields: Mapping[str, Any]
    ) -> str:
        if "same" in fields:
            return self._compare_copies(descriptor, fields["same"])
        if status.st_size != fields["bytes"]:
            return f"has {status.st_size} bytes, not {fields['bytes']}"
        if readback.sha256(descriptor, fields["bytes"]) != (fields["bytes"], fields["sha256"]):
            return "has other content"
        if not self._task:
            return ""
        executable = fields.get("executable", False)
        mode = self._task.directory_mode if executable else self._task.file_mode
        return self._compare_access(status, mode)

    def _compare_copies(self, descriptor: int, other: str) -> str:
        """Compare another name of a file; whatever is wrong with that file is told of it alone."""
        try:
            directory, name = self._directories.locate(other)
            original = directory.open_file(name)
        except OSError:
            return ""
        try:
            if readback.are_one(descriptor, original):
                return ""
            # What is larger than all in the list need not be read, and might be endless.
            too_large = os.fstat(descriptor).st_size > self._largest
            if too_large or not readback.are_same(descriptor, original):
                return "has other content"
            mode = stat.S_IMODE(os.fstat(original).st_mode)
        finally:
            os.close(original)
        return self._compare_access(os.fstat(descriptor), mode)

    def _compare_access(self, status: os.stat_result, mode: int) -> str:
        if self._task and stat.S_IMODE(status.st_mode) != mode:
            return f"has the mode {stat.S_IMODE(status.st_mode):04o}, not {mode:04o}"
        return self._compare_owner(status)

    def _compare_owner(self, status: os.stat_result) -> str:
        if not self._task:
            return ""
        # A symbolic link stays the loader's own: its owner cannot change it.
        link = stat.S_ISLNK(status.st_mode)
        ids = (None if link else self._task.owner_ids) or ownership.ids()
        if (status.st_uid, status.st_gid) == ids:
            return ""
        return f"belongs to {status.st_uid}:{status.st_gid}, not to {ids[0]}:{ids[1]}"

    # --- what is not in the list

    def learn(self, listed: Iterable[Mapping[str, Any]]) -> None:
        """Learn the paths in the list, and the size of its largest file."""
        parents: set[str] = set()
        for fields in listed:
            path: str = fields["path"]
            self._largest = max(self._largest, fields.get("bytes", 0))
            self._names.add(path)
            parent = path.rpartition("/")[0]
            while parent and parent not in parents:
                if len(parents) > MOST_PARENTS:
                    parents.clear()
                parents.add(parent)
                self._names.add(parent)
                parent = parent.rpartition("/")[0]
        self._names.sort()

    def find_others(self, report: Callable[[str, str], None], tick: Callable[[], None]) -> None:
        """Compare the directories, and find the entries that are not in the list.

        Args:
            report: Called with the path of each that differs, and its difference.
            tick: Called now and then.
        """

        def enter(path: str) -> list[str]:
            try:
                return self._enter(path, report)
            except OSError as error:
                report(path, _unreadable(error))
                return []

        tree_walk.walk(enter, tick=tick)

    def _enter(self, path: str, report: Callable[[str, str], None]) -> list[str]:
        directory = self._directories.get(path)
        if self._task and (
            difference := self._compare_access(directory.status(), self._task.directory_mode)
        ):
            report(path or ".", difference)
        known: list[str] = []
        above = f"{path}/" if path else ""
        for name, is_directory in directory.entries():
            # An older list has no empty directories.
            if above + name not in self._names and (self._task or not is_directory):
                report(above + name, NOT_LISTED)
            elif is_directory:
                known.append(name)
        return known


def _unreadable(error: OSError) -> str:
    return f"cannot be read ({os.strerror(error.errno or 0)})"
