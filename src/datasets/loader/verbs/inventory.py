"""Report the data sets that are on the volume, whatever the index remembers."""

from __future__ import annotations

import contextlib
from typing import Any

from ... import protocol
from ..base import failure, report, tasks
from ..store import volume


def run(task: tasks.Task, reporter: report.Report, _index: int) -> None:
    """Report one line for each data set that is published, or whose load is not finished.

    Raises:
        Failure: Somebody else has made the directory of data sets.
    """
    count = 0
    for name in volume.names(task.root):
        fields = _fields(task.root, name) if tasks.NAME.fullmatch(name) else None
        if fields:
            count += 1
            reporter.write_state(protocol.LISTED, name=name, **fields)
    reporter.write_ended(protocol.INVENTORIED, count=count)


def _fields(root: str, name: str) -> dict[str, Any] | None:
    # Anything else at the paths of a data set is not a data set.
    with contextlib.suppress(failure.Failure):
        return _describe(volume.StoredDataSet(root, name))
    return None


def _describe(stored: volume.StoredDataSet) -> dict[str, Any] | None:
    current = None
    with contextlib.suppress(failure.Failure):
        current = stored.current()
    if current:
        result = current.result
        return {
            "dataset": protocol.PUBLISHED,
            "files": result.files if result else None,
            "bytes": result.bytes if result else None,
            "checksum": result.checksum if result else "",
            "published": current.published,
            "source": current.source,
            "fingerprint": current.fingerprint,
            "version": current.version,
            "previous": current.previous,
        }
    for each in stored.unfinished_loads():
        return {
            "dataset": protocol.UNFINISHED,
            "fingerprint": each.fingerprint,
            "version": each.version,
        }
    return None
