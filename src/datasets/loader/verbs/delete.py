"""Delete a data set: its name first, so that no reader finds half of it, then its files."""

from __future__ import annotations

import os
import pathlib

from ... import protocol
from ..base import failure, report, tasks
from ..store import versions, volume
from ..tree import removal


def run(task: tasks.Task, reporter: report.Report, _index: int) -> list[pathlib.Path]:
    """Delete a data set with all of its versions and unfinished loads.

    Args:
        task: Names the data set.
        reporter: Reports the progress.

    Raises:
        Failure: Something else has its path, and nothing is deleted; or some files could not be
            removed.
    """
    stored = volume.StoredDataSet(pathlib.Path(task.root), task.name)
    with stored.locked():
        if stored.current():
            stored.link.unlink()
        entries = list(stored.home.iterdir()) if stored.home.exists() else []
        trash = [versions.to_trash(each) for each in entries]
    reporter.write_state(protocol.DELETING, files=0)
    files = removal.remove(
        trash, lambda count: reporter.write_progress(protocol.DELETING, lambda: {"files": count})
    )
    stored.remove_home()
    if any(os.path.lexists(path) for path in trash):
        raise failure.Later(
            f"the data set {task.name} is deleted, but some of its files could not be removed: "
            "run delete-dataset again; if that does not help, look at who owns them"
        )
    reporter.write_ended(protocol.DELETED, files=files)
    return []
