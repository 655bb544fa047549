"""Check that a source object is still the version that an earlier attempt began with."""

from __future__ import annotations

from ..base import failure
from ..http import remote_object
from ..store import journal
from . import item_run, plan

# No validator: an entity tag has quotation marks, a date has letters.
UNKNOWN = "-"


def check(run: item_run.ItemRun, source: remote_object.RemoteObject) -> None:
    """Request an object's version; record it in the journal, or compare it with the record.

    Args:
        run: The item.
        source: Its source object.

    Raises:
        StartOver: An earlier attempt began with another version.
        Failure: The object cannot be read.
    """
    source.probe()
    completed = run.attempt.completed
    recorded = completed.versions.get(run.number)
    if recorded is None or (run.item.kind == plan.FILE and not completed.has_begun(run.number)):
        run.record(journal.VERSION, 0, "", text=source.validator)
        if run.item.kind == plan.SOURCE:
            # Before its first file is on the volume, as another version may have other files.
            run.attempt.journal.flush()
    elif recorded != source.validator:
        raise failure.StartOver("has changed since an earlier attempt")


def forget(run: item_run.ItemRun) -> None:
    """Record that an object goes on with bytes of an unknown version: it is not resumed later."""
    run.record(journal.VERSION, 0, "", text=UNKNOWN)
    run.attempt.journal.flush()


def check_resumable(source: remote_object.RemoteObject) -> None:
    """Refuse to resume an object whose version is unknown.

    Raises:
        StartOver: The origin has no version for it.
    """
    if not source.validator:
        raise failure.StartOver("cannot be resumed, as its origin gives no version")
