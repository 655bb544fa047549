"""Deletes a data set: its name first, so that nobody finds half of it, then its files."""

from __future__ import annotations

import os
import pathlib

from ... import protocol
from ..base import failure, report, tasks
from ..store import versions, volume
from ..tree import removal


def delete(task: tasks.Task, told: report.Report) -> None:
    """Deletes a data set with all of its versions, and what loads of it have not finished.

    Args:
        task: Names the data set.
        told: Is told how far it is.

    Raises:
        Failure: Something that is not ours stands in its place, and nothing was deleted; or some
            of it could not be removed.
    """
    stored = volume.StoredDataSet(pathlib.Path(task.root), task.name)
    with stored.locked():
        if stored.current():
            stored.link.unlink()
        entries = list(stored.home.iterdir()) if stored.home.exists() else []
        trash = [versions.to_trash(each) for each in entries]
    told.state(protocol.DELETING, files=0)
    files = removal.remove(
        trash, lambda count: told.progress(protocol.DELETING, lambda: {"files": count})
    )
    stored.remove_home()
    if any(os.path.lexists(path) for path in trash):
        raise failure.Later(
            f"the data set {task.name} is not there any more, but some of its files could not be "
            "removed: run delete-dataset again; if that does not help, look at who owns them"
        )
    told.ended(protocol.DELETED, files=files)
