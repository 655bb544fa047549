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
        published, *_ = stored.find()
    fields = list_versions.fields_of(published)
    if len(fields["source"]) > MOST_SOURCE:
        fields["source"] = f"{fields['source'][:MOST_SOURCE]}..."
    reporter.write_ended(
        protocol.ROLLED_BACK,
        **fields,
        replaced=record.previous if record.rollback == task.request else "",
        checksum=record.result.checksum if record.result else "",
        fingerprint=record.fingerprint,
    )
