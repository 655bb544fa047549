"""Deletes a data set: its name first, so that nobody finds half of it, then its files."""

from __future__ import annotations

import pathlib

from . import removal, report, spec, volume


def delete(task: spec.Spec, told: report.Report) -> None:
    """Deletes a data set with all of its versions, and what loads of it have not finished.

    Args:
        task: Names the data set.
        told: Is told how far it is.

    Raises:
        Failure: Something that is not ours stands in its place; nothing was deleted.
    """
    slot = volume.Slot(pathlib.Path(task.root), task.name)
    with slot.locked():
        if slot.current():
            slot.link.unlink()
        trash = slot.litter()
    told.state("deleting", files=0)
    files = removal.remove(
        trash, lambda count: told.progress("deleting", lambda: {"files": count})
    )
    slot.remove_home()
    told.ended("deleted", files=files)
