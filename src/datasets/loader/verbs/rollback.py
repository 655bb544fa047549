"""Publish the version before the published one again, or a certain one."""

from __future__ import annotations

from ... import protocol
from ..base import report, tasks
from ..store import kept_versions
from . import list_versions

# A termination message has 4,096 bytes, and a character may take 12 of them.
MOST_SOURCE = 250


def run(task: tasks.Task, reporter: report.Report, _index: int) -> None:
    """Publish another version, and report it in the termination message.

    Args:
        task: Names the data set, and maybe the version.
        reporter: Reports the published version.

    Raises:
        Failure: There is no such version; nothing was changed.
    """
    stored = kept_versions.KeptVersions(task.root, task.name)
    # A lock is not made for a data set that was never begun.
    if stored.find_home() is None:
        raise kept_versions.unpublished()
    with stored.locked():
        record = stored.roll_back(task.version, task.request)
        verification = stored.find()[0].verification
    result, source = record.result, list_versions.source_of(record)
    reporter.write_ended(
        protocol.ROLLED_BACK,
        version=record.version,
        replaced=record.previous if record.rollback == task.request else "",
        published=record.published,
        files=result.files if result else None,
        bytes=result.bytes if result else None,
        verified=verification.verified if verification else 0,
        differences=verification.differences if verification else 0,
        checksum=result.checksum if result else "",
        fingerprint=record.fingerprint,
        source=source if len(source) <= MOST_SOURCE else source[:MOST_SOURCE] + "...",
    )
