"""Verify a published data set: compare all of its entries with its file list."""

from __future__ import annotations

import contextlib
import dataclasses
import threading

from ... import protocol
from ..access import open_directory, ownership
from ..base import failure, report, tasks
from ..store import file_list, kept_versions, versions
from ..work import comparison, list_comparison

# The number of differences that the log names; all of them are counted.
MOST_NAMED = 1000


def run(task: tasks.Task, reporter: report.Report, _index: int) -> None:
    """Compare what is on the volume with the file list of the published version.

    Args:
        task: Names the data set.
        reporter: Reports the progress, and each difference.

    Raises:
        Failure: There is no such data set, or it differs from its publication.
    """
    stored = kept_versions.KeptVersions(task.root, task.name)
    current, home = stored.current(), stored.find_home()
    if current is None or home is None:
        raise failure.Failure(
            f"there is no data set {task.name} on the volume: run create-dataset"
        )
    listed = f"{current.version}{versions.FILE_LIST_SUFFIX}"
    try:
        compared = _comparison(home, current, task)
        listing = file_list.FileList(home, listed)
    except (FileNotFoundError, ownership.NotOwnError):
        raise failure.Failure(
            f"the file list of {task.name} is missing: run create-dataset with overwrite=true"
        ) from None
    differences = _Differences(reporter)
    files = size = 0

    def tick() -> None:
        reporter.write_progress(protocol.VERIFYING, lambda: {"files": files, "bytes": size})

    reporter.write_state(protocol.VERIFYING, files=0, bytes=0)
    with contextlib.closing(listing):
        compared.learn(listing.lines())
        with contextlib.closing(list_comparison.ListComparison(listing, compared)) as lines:
            for span in lines.run(tick):
                files += span.files
                size += span.bytes
                for path, difference in span.differences:
                    differences.add(path, difference)
                tick()
    compared.find_others(differences.add, tick)
    stored.note_verification(current.version, differences.count)
    if differences.count:
        raise failure.Failure(
            f"{differences.count} of {max(files, differences.count)} files of {task.name} are not "
            f"as they were published ({differences.summary}): run create-dataset with "
            "overwrite=true to load them again"
        )
    reporter.write_ended(protocol.VERIFIED, files=files, bytes=size)


def _comparison(
    home: open_directory.OpenDirectory, current: versions.VersionRecord, task: tasks.Task
) -> comparison.Comparison:
    try:
        root = home.open_directory(current.version)
    except (FileNotFoundError, NotADirectoryError):
        raise failure.Failure(
            f"the files of {task.name} are missing: run create-dataset with overwrite=true"
        ) from None
    published = None
    if current.mode:
        published = dataclasses.replace(task, mode=current.mode, owner=current.owner)
    return comparison.Comparison(root, published)


class _Differences:
    """The differences that were found, by any thread.

    Args:
        reporter: Reports each of them, up to MOST_NAMED.

    Attributes:
        count: Their number.
    """

    def __init__(self, reporter: report.Report) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self._first = self._first_other = ""
        self._others = self.count = 0

    def add(self, path: str, difference: str) -> None:
        with self._lock:
            self.count += 1
            if difference == comparison.NOT_LISTED:
                self._others += 1
                self._first_other = self._first_other or failure.quote(path)
            else:
                self._first = self._first or f"{failure.quote(path)} {difference}"
            if self.count <= MOST_NAMED:
                self._reporter.write_state(protocol.VERIFYING, wrong=path, reason=difference)

    @property
    def summary(self) -> str:
        """Describe one of them, or the entries that are not in the list."""
        return self._first or (
            f"{self._others} files are not in the file list, one is {self._first_other}"
        )
