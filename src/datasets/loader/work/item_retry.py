"""Try an item again when its source object changed while it was read."""

from __future__ import annotations

from collections.abc import Callable

from ..base import failure, urls
from . import item_run, plan

MOST_ATTEMPTS = 5


def load(run: item_run.ItemRun, url: str, fetch: Callable[[], None]) -> None:
    """Load an item, again from its beginning while its source object changes.

    Args:
        run: The item.
        url: The URL of its source object, for the message.
        fetch: Loads the item once.

    Raises:
        StartOver: The source object changed, and other items or files depend on it: the whole
            load has to start over.
        Failure: The item cannot be loaded, or its source object changed each time.
    """
    reason = ""
    for _ in range(MOST_ATTEMPTS):
        change = _try(run, fetch)
        if change is None:
            return
        reason = change.reason or "changed"
    raise failure.Failure(
        f"{urls.redact(url)} {reason}, {MOST_ATTEMPTS} times: check the source, or try again later"
    )


def _try(run: item_run.ItemRun, fetch: Callable[[], None]) -> failure.StartOver | None:
    """Load an item; return the change of its source object that ended the attempt, if any."""
    try:
        fetch()
    except failure.StartOver as change:
        if not _is_independent(run):
            raise
        return change
    return None


def _is_independent(run: item_run.ItemRun) -> bool:
    """Tell whether the item is a whole object without a listed version, and nothing is written."""
    completed = run.attempt.completed
    has_files = run.has_written or completed.has_begun(run.number)
    if run.item.kind == plan.SOURCE:
        # An archive's first files may be on the volume without a record.
        has_files = has_files or run.number in completed.versions
    whole = run.item.kind in {plan.FILE, plan.SOURCE}
    return whole and not run.item.validator and not has_files
