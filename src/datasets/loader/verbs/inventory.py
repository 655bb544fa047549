"""Tells what data sets are on the volume: the volume is the truth, whatever others remember."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

from ... import protocol
from ..base import failure, report, tasks
from ..store import volume


def tell(root: pathlib.Path, told: report.Report) -> None:
    """Writes one line for each data set that is published, or whose load is not finished.

    Args:
        root: Where the volume is mounted.
        told: Where the lines go.
    """
    versions = root / volume.DATASETS / volume.VERSIONS
    count = 0
    names = sorted(path.name for path in versions.iterdir()) if versions.is_dir() else []
    for name in names:
        fields = _fields(root, name) if tasks.NAME.fullmatch(name) else None
        if fields:
            count += 1
            told.state(protocol.LISTED, name=name, **fields)
    told.ended(protocol.INVENTORIED, count=count)


def _fields(root: pathlib.Path, name: str) -> dict[str, Any] | None:
    stored = volume.StoredDataSet(root, name)
    current = None
    # What stands in a data set's place and is not ours is none.
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
