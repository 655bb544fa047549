"""Update the index from an inventory of the volume, which is authoritative."""

from __future__ import annotations

import dataclasses
import time

import problems
from app.datasets import index, loader_jobs, maintenance_jobs, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers

# The volume may have changed since an older inventory.
FRESH_SECONDS = 600
UNFINISHED = (
    "its load is unfinished, and no pod works on it: continue it by create-dataset with the same "
    "parameters, or remove it by delete-dataset"
)
NOT_DELETED = "its deletion was interrupted before it began: run delete-dataset again"
NEVER_BEGUN = "its load never began: run create-dataset again"


def is_needed_by_any(observed: observe.ObservedDatasets) -> bool:
    """Return whether the state of any data set, or of all, is known only from the volume.

    Args:
        observed: All data sets by their Jobs and the index.
    """
    known = observed.there
    return not known or bool(observed.doubtful) or any(map(is_needed, known.values()))


def is_needed(observed: observe.ObservedDataset | None) -> bool:
    """Return whether the state of a data set is known only from the volume.

    Args:
        observed: The data set by its Job and the index.
    """
    if observed is None:
        return True
    record = observed.record
    if record.state == index.DELETING:
        return observed.deletion is None
    return observed.job is None and not record.ended


def refresh(loader: loader_jobs.Loader, wait_seconds: float) -> None:
    """Run an inventory of the volume, and update the index from it.

    Args:
        loader: The loader's cluster, image and proxies.
        wait_seconds: The time to wait for the inventory.

    Raises:
        problems.Waiting: The inventory takes longer; the next call uses its result.
        problems.Blocked: The inventory failed.
    """
    inventory = {entry.name: entry for entry in _run_inventory(loader, wait_seconds)}
    known = loader.index
    observed = observe.observe_all(known)
    for name in sorted({*inventory, *observed.there, *observed.doubtful}):
        before = observed.there.get(name)
        record = before.record if before else None
        has_job = before is not None and bool(before.job or before.deletion)
        after = after_inventory(record, inventory.get(name), has_job=has_job)
        if after is None:
            known.delete(name)
        elif (before is None or after != before.saved) and index.is_valid(after):
            known.save(after)


def after_inventory(
    record: index.DatasetRecord | None, entry: answers.InventoryEntry | None, *, has_job: bool
) -> index.DatasetRecord | None:
    """Return the record of a data set, updated from an inventory; None where it is gone.

    Args:
        record: The earlier record.
        entry: The data set in the inventory.
        has_job: Whether it has a Job, which determines its state.
    """
    if entry is None:
        return _without_entry(record, has_job=has_job) if record else None
    record = record or index.DatasetRecord(
        entry.name, source=entry.source, fingerprint=entry.fingerprint
    )
    before, record = record, _with_content(record, entry)
    if has_job:
        return record
    if not entry.is_published:
        failed = before.state == index.FAILED
        error = before.error if failed else UNFINISHED
        return dataclasses.replace(record, state=index.FAILED, error=error)
    same = before.fingerprint == entry.fingerprint
    # The load of a new version failed, and the earlier version is still published.
    if before.state == index.FAILED and not same:
        return record
    kept = same and before.state == index.PUBLISHED and before.version == entry.version
    return dataclasses.replace(
        record,
        state=index.PUBLISHED,
        source=entry.source or record.source,
        fingerprint=entry.fingerprint,
        error=_published_error(before, kept=kept),
    )


def _published_error(before: index.DatasetRecord, *, kept: bool) -> str:
    if before.state == index.DELETING:
        return NOT_DELETED
    return before.error if kept else ""


def _without_entry(record: index.DatasetRecord, *, has_job: bool) -> index.DatasetRecord | None:
    gone = _with_content(record, answers.InventoryEntry(record.name, is_published=False))
    if has_job:
        return gone
    if record.state in {index.PUBLISHED, index.DELETING}:
        return None
    error = record.error if record.state == index.FAILED else NEVER_BEGUN
    return dataclasses.replace(gone, state=index.FAILED, error=error)


def _with_content(
    record: index.DatasetRecord, entry: answers.InventoryEntry
) -> index.DatasetRecord:
    """Return the record with the published version of the inventory."""
    if entry.is_published and entry.version == record.version:
        return record
    return dataclasses.replace(
        record,
        version=entry.version if entry.is_published else "",
        published=entry.published if entry.is_published else 0,
        files=entry.files,
        bytes=entry.bytes,
        checksum=entry.checksum,
        seconds=0,
        verified=0,
    )


def _run_inventory(
    loader: loader_jobs.Loader, wait_seconds: float
) -> list[answers.InventoryEntry]:
    cluster = loader.cluster
    job = maintenance_jobs.run(
        loader, loader_jobs.INVENTORY, "", wait_seconds, is_obsolete=_is_old
    )
    if not job.finished:
        raise problems.Waiting("the inventory of the volume is not finished yet: run it again")
    if job.phase == job_observe.FAILED:
        error = maintenance_jobs.read_error(job)
        raise problems.Blocked(f"the inventory of the volume failed: {error}")
    log = maintenance_jobs.read_log(loader, job)
    job_lifecycle.remove(cluster, job.name)
    entries = answers.read_inventory(log)
    if entries is None:
        raise problems.Waiting("the inventory of the volume is incomplete: run it again")
    return entries


def _is_old(job: job_observe.ObservedJob) -> bool:
    return job.finished and time.time() - job.created > FRESH_SECONDS
