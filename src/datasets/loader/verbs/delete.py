"""Delete a data set: its name first, so that no reader finds half of it, then its files."""

from __future__ import annotations

from ... import protocol
from ..base import failure, report, tasks
from ..store import versions, volume
from ..tree import removal


def run(task: tasks.Task, reporter: report.Report, _index: int) -> None:
    """Delete a data set with all of its versions and unfinished loads.

    Args:
        task: Names the data set.
        reporter: Reports the progress.

    Raises:
        Failure: Something else has its path, and nothing is deleted; or some files could not be
            removed.
    """
    stored = volume.StoredDataSet(task.root, task.name)
    with stored.locked():
        trash = stored.unpublish()
    reporter.write_state(protocol.DELETING, files=0)
    files = removal.remove(
        trash, lambda count: reporter.write_progress(protocol.DELETING, lambda: {"files": count})
    )
    left = [name for name, _ in trash.directory.entries()]
    stored.remove_home()
    if any(name.startswith(versions.TRASH_PREFIX) for name in left):
        raise failure.Later(
            f"the data set {task.name} is deleted, but some of its files could not be removed: "
            "run delete-dataset again; if that does not help, look at who owns them"
        )
    reporter.write_ended(protocol.DELETED, files=files)
