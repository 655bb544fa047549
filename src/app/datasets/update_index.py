"""Update the index from the Jobs of data sets, before the Jobs are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.datasets import index, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import protocol

if TYPE_CHECKING:
    from cluster import client


def save(cluster: client.Cluster, observed: observe.ObservedDataset) -> None:
    """Save a data set's record, if it differs from the saved one.

    Args:
        cluster: The cluster.
        observed: The data set as observed.
    """
    if observed.record != observed.saved:
        index.save(cluster, observed.record)


def save_results(cluster: client.Cluster) -> None:
    """Save the results of all loads; one API call where there is no new one."""
    jobs = job_observe.observe_all(cluster, index.KIND, without=protocol.NOTED_LABEL)
    records = index.read(cluster) if jobs else {}
    for job in jobs:
        name = job.annotations.get(protocol.DATASET_ANNOTATION, "")
        record = records.get(name)
        after = observe.after_job(record, name, job)
        if after.ended and after != record:
            index.save(cluster, after)
        if job.finished:
            job_lifecycle.label(cluster, job.name, {protocol.NOTED_LABEL: "true"})
