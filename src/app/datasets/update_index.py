"""Update the index from the Jobs of data sets, and remove the Secrets that they need no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.datasets import index, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import protocol

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
    """Save the results of all loads, and tidy up; one API call where there is nothing new."""
    cluster = known.cluster
    jobs = job_observe.observe_all(cluster, index.KIND, without=protocol.NOTED_LABEL)
    records: Mapping[str, index.DatasetRecord] = known.read().records if jobs else {}
    for job in jobs:
        if observe.is_of(known, job):
            name = job.annotations[protocol.DATASET_ANNOTATION]
            record = records.get(name)
            after = observe.after_job(record, name, job)
            if after.ended and after != record:
                known.save(after)
        _tidy(cluster, job)


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
