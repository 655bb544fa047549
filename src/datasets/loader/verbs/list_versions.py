"""Report the versions of a data set that are on the volume, whatever the index remembers."""

from __future__ import annotations

from typing import Any

from ... import protocol
from ..base import failure, report, tasks
from ..store import kept_versions, versions
from . import custom_loader

CUSTOM = "a custom loader"


def run(task: tasks.Task, reporter: report.Report, _index: int) -> None:
    """Report one line for each version that readers may have, the published one first.

    Args:
        task: Names the data set.
        reporter: Reports them.

    Raises:
        Failure: No version is published, or the files of all of them are missing.
    """
    stored = kept_versions.KeptVersions(task.root, task.name)
    # A lock is not made for a data set that was never begun.
    if stored.find_home() is None:
        raise kept_versions.unpublished()
    with stored.locked():
        found = stored.find()
        if not found and not stored.current():
            raise kept_versions.unpublished()
    if not found:
        raise failure.Failure(
            "the files of its versions are missing: run create-dataset with overwrite=true"
        )
    for each in found:
        reporter.write_state(protocol.LISTED, **fields_of(each))
    reporter.write_ended(protocol.INVENTORIED, count=len(found))


def fields_of(kept: kept_versions.KeptVersion) -> dict[str, Any]:
    """Return what is told of a version, without what may be secret."""
    record, verification = kept.record, kept.verification
    result = record.result
    return {
        "version": record.version,
        "dataset": protocol.PUBLISHED if kept.is_published else protocol.KEPT,
        "published": record.published,
        "files": result.files if result else None,
        "bytes": result.bytes if result else None,
        "source": _source(record),
        "verified": verification.verified if verification else 0,
        "differences": verification.differences if verification else 0,
    }


def _source(record: versions.VersionRecord) -> str:
    custom = record.result and record.result.archive_format == custom_loader.FORMAT
    return record.source or (CUSTOM if custom else "")
