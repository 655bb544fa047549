"""Report the data sets that are on the volume, whatever the index remembers."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

from ... import protocol
from ..base import failure, report, tasks
from ..store import volume


def run(task: tasks.Task, reporter: report.Report, _index: int) -> list[pathlib.Path]:
    """Report one line for each data set that is published, or whose load is not finished."""
    root = pathlib.Path(task.root)
    versions = root / volume.DATASETS / volume.VERSIONS
    count = 0
    names = sorted(path.name for path in versions.iterdir()) if versions.is_dir() else []
    for name in names:
        fields = _fields(root, name) if tasks.NAME.fullmatch(name) else None
        if fields:
            count += 1
            reporter.write_state(protocol.LISTED, name=name, **fields)
    reporter.write_ended(protocol.INVENTORIED, count=count)
    return []


def _fields(root: pathlib.Path, name: str) -> dict[str, Any] | None:
    stored = volume.StoredDataSet(root, name)
    current = None
    # Anything else at a data set's path is not a data set.
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
