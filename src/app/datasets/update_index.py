"""Update the index from the Jobs of data sets, and remove the Secrets that they need no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.datasets import index, last_words, loader_jobs, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import protocol, version_answers

if TYPE_CHECKING:
    from cluster import client


def save(known: index.Index, observed: observe.ObservedDataset) -> None:
    """Save a data set's record, if it differs from the saved one, and tidy up after its Job.

    Args:
        known: The index.
        observed: The data set as observed.
    """
    if observed.record != observed.saved:
        known.save(observed.record)
    if observed.job and protocol.NOTED_LABEL not in observed.job.labels:
        _tidy(known.cluster, observed.job)


def save_results(known: index.Index) -> None:
    """Save the results of loads, rollbacks and deletions; one API call if nothing is new."""
    cluster = known.cluster
    kinds = (index.KIND, loader_jobs.DELETE, loader_jobs.ROLLBACK)
    jobs = job_observe.observe_all(cluster, *kinds, without=protocol.NOTED_LABEL)
    records: Mapping[str, index.DatasetRecord] = known.read().records if jobs else {}
    for job in jobs:
        if observe.is_of(known, job):
            name = job.annotations[protocol.DATASET_ANNOTATION]
            record = records.get(name)
            after = observe.after_job(record, name, last_words.redact(cluster, job))
            if after.ended and after != record:
                known.save(after)
        if observe.is_rollback_of(known, job):
            save_rollback(known, job)
        elif observe.is_deletion_of(known, job):
            _save_deletion(known, job, records)
        else:
            _tidy(cluster, job)


def finish_deletion(known: index.Index, name: str, job: job_observe.ObservedJob) -> None:
    """Delete the record of a data set that is deleted; the Job's label tells that there was one.

    Args:
        known: The index.
        name: The data set.
        job: The Job that deleted it.
    """
    job_lifecycle.label(known.cluster, job.name, {protocol.NOTED_LABEL: "true"})
    known.delete(name)


def save_rollback(known: index.Index, job: job_observe.ObservedJob) -> None:
    """Save the version that a rollback has published, once.

    Args:
        known: The index.
        job: The Job of the rollback.
    """
    cluster, name = known.cluster, job.annotations[protocol.DATASET_ANNOTATION]
    job_lifecycle.end_sidecars(cluster, job)
    if not job.finished or protocol.NOTED_LABEL in job.labels:
        return
    record = known.find(name) or index.DatasetRecord(name)
    if job.phase == job_observe.SUCCEEDED and record.state != index.DELETING:
        told = version_answers.read_rolled_back(job.message)
        after = _after_rollback(record, told) if told else None
        if after and index.is_valid(after):
            known.save(after)
        else:
            # The volume tells it.
            known.delete(name)
        # What they tell is of the version that was replaced.
        for kind in (loader_jobs.LOAD, loader_jobs.VERIFY):
            job_lifecycle.remove(cluster, loader_jobs.job_name(kind, name))
    job_lifecycle.label(cluster, job.name, {protocol.NOTED_LABEL: "true"})


def _after_rollback(
    record: index.DatasetRecord, told: version_answers.RolledBack
) -> index.DatasetRecord:
    published = told.published
    return dataclasses.replace(
        record,
        state=index.PUBLISHED,
        source=published.source,
        fingerprint=told.fingerprint,
        error="",
        # The publication of what was replaced is not reported any more.
        answered=record.request,
        version=published.version,
        published=published.published,
        files=published.files,
        bytes=published.bytes,
        seconds=0,
        checksum=told.checksum,
        verified=0 if published.differences else published.verified,
    )


def _save_deletion(
    known: index.Index,
    job: job_observe.ObservedJob,
    records: Mapping[str, index.DatasetRecord],
) -> None:
    """Finish what an interrupted delete-dataset has left, and keep the error of a failed one."""
    job_lifecycle.end_sidecars(known.cluster, job)
    name = job.annotations[protocol.DATASET_ANNOTATION]
    record = records.get(name)
    if record is None or record.state != index.DELETING:
        return
    if job.phase == job_observe.SUCCEEDED:
        finish_deletion(known, name, job)
    elif job.phase == job_observe.FAILED:
        error = observe.last_error(job) or "the deletion failed"
        after = dataclasses.replace(record, error=f"{error}; run delete-dataset again")
        if after != record:
            known.save(after)


def _tidy(cluster: client.Cluster, job: job_observe.ObservedJob) -> None:
    """Remove a load's Secret when the load has ended; the label tells that all of this is done.

    The Secret of a Job that a killed hook left suspended is removed, too: it is not known whether
    anybody will start it, and then the Secret is made again.
    """
    job_lifecycle.end_sidecars(cluster, job)
    if job.finished or job.suspended:
        job_lifecycle.remove_secret(cluster, job)
    if job.finished:
        job_lifecycle.label(cluster, job.name, {protocol.NOTED_LABEL: "true"})
