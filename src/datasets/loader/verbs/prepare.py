"""Prepare an empty directory for a custom loader.

The custom loader is the next container of the pod, and has no other part of the volume than this
directory.
"""

from __future__ import annotations

from ..access import open_directory
from ..base import report, tasks
from ..store import volume


def run(task: tasks.Task, _reporter: report.Report, _index: int) -> open_directory.Entries:
    """Make the directory, empty: files of an earlier attempt may be incomplete.

    Returns:
        The files of an earlier attempt, to be removed.
    """
    stored = volume.StoredDataSet(task.root, task.name)
    with stored.locked():
        return stored.prepare_custom_loader(task.request)
