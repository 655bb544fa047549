"""Bring the index up to the volume, which a pod looks at: the volume is the truth."""

from __future__ import annotations

import dataclasses
import time

import problems
from app.datasets import index, loader_jobs, maintenance_jobs, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers

# What an older one has seen may have changed meanwhile.
FRESH_SECONDS = 600
MOST_LINES = 1_000_000
UNFINISHED = (
    "its load is not finished, and no pod works on it: create-dataset with the same parameters "
    "goes on, delete-dataset removes it"
)
NEVER_BEGUN = "its load never began: run create-dataset again"


def needed(seen: observe.Seen | None) -> bool:
    """Return whether only the volume can tell the state of a data set.

    Args:
        seen: The data set by its Job and the index.
    """
    if seen is None:
        return True
    return seen.job is None and not seen.record.ended and seen.record.state != index.DELETING


def take(loader: loader_jobs.Loader, wait_seconds: float) -> None:
    """Look at the volume, and bring the index to what is there.

    Args:
        loader: Where the loader runs.
        wait_seconds: How long to wait for it.

    Raises:
        problems.Waiting: It takes longer; it goes on, and the next call takes what it has found.
        problems.Blocked: It can not be done.
    """
    listed = {each.name: each for each in _listed(loader, wait_seconds)}
    seen = observe.look_at_all(loader.cluster)
    for name in sorted({*listed, *seen}):
        before = seen.get(name)
        record = before.record if before else None
        working = before is not None and before.job is not None
        after = after_inventory(record, listed.get(name), working=working)
        if after is None:
            index.forget(loader.cluster, name)
        elif before is None or after != before.saved:
            index.save(loader.cluster, after)


def after_inventory(
    record: index.Record | None, found: answers.Listed | None, *, working: bool
) -> index.Record | None:
    """Return the record of a data set after an inventory; None where it is gone.

    Args:
        record: The record before.
        found: The data set in the inventory.
        working: Whether its Job tells its state.
    """
    if found is None:
        return _absent(record, working=working) if record else None
    record = record or index.Record(found.name, source=found.source, fingerprint=found.fingerprint)
    before, record = record, _content(record, found)
    if working or before.state == index.DELETING:
        return record
    if not found.whole:
        failed = before.state == index.FAILED
        error = before.error if failed else UNFINISHED
        return dataclasses.replace(record, state=index.FAILED, error=error)
    same = before.fingerprint == found.fingerprint
    # The version before another one that could not be loaded is still there.
    if before.state == index.FAILED and not same:
        return record
    kept = same and before.state == index.PUBLISHED and before.version == found.version
    return dataclasses.replace(
        record,
        state=index.PUBLISHED,
        source=found.source or record.source,
        fingerprint=found.fingerprint,
        error=before.error if kept else "",
    )


def _absent(record: index.Record, *, working: bool) -> index.Record | None:
    gone = _content(record, answers.Listed(record.name, whole=False))
    if working:
        return gone
    if record.state in {index.PUBLISHED, index.DELETING}:
        return None
    error = record.error if record.state == index.FAILED else NEVER_BEGUN
    return dataclasses.replace(gone, state=index.FAILED, error=error)


def _content(record: index.Record, found: answers.Listed) -> index.Record:
    """Return the record with the published version as the inventory has it."""
    if found.whole and found.version == record.version:
        return record
    return dataclasses.replace(
        record,
        version=found.version if found.whole else "",
        published=found.published if found.whole else 0,
        files=found.files,
        bytes=found.bytes,
        checksum=found.checksum,
        seconds=0,
        verified=0,
    )


def _listed(loader: loader_jobs.Loader, wait_seconds: float) -> list[answers.Listed]:
    cluster = loader.cluster
    state = maintenance_jobs.go(loader, loader_jobs.INVENTORY, "", wait_seconds, anew=_is_old)
    if not state.finished:
        raise problems.Waiting("the volume is still being looked at: run it again")
    if state.phase == job_observe.FAILED:
        raise problems.Blocked(f"the volume can not be looked at: {maintenance_jobs.why(state)}")
    pod = state.pods[-1].name if state.pods else ""
    log = cluster.log(pod, loader_jobs.CONTAINER, tail_lines=MOST_LINES) if pod else ""
    job_lifecycle.remove(cluster, state.name)
    found = answers.listed(log)
    if found is None:
        raise problems.Waiting("what is on the volume could not be read: run it again")
    return found


def _is_old(state: job_observe.ObservedJob) -> bool:
    return state.finished and time.time() - state.created > FRESH_SECONDS
