"""Save into the index what Jobs show of data sets, before the Jobs are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.datasets import index, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import protocol

if TYPE_CHECKING:
    from cluster import client


def save(cluster: client.Cluster, seen: observe.Seen) -> None:
    """Save a data set's record, if it differs from the saved one.

    Args:
        cluster: The cluster.
        seen: The data set as it was observed.
    """
    if seen.record != seen.saved:
        index.save(cluster, seen.record)


def save_ends(cluster: client.Cluster) -> None:
    """Save the ends of all loads; one call where there is no new one."""
    jobs = job_observe.observe_all(cluster, index.KIND, without=protocol.NOTED_LABEL)
    known = index.read(cluster) if jobs else {}
    for job in jobs:
        name = job.annotations.get(protocol.DATASET_ANNOTATION, "")
        record = known.get(name)
        after = observe.after_job(record, name, job)
        if after.ended and after != record:
            index.save(cluster, after)
        if job.finished:
            job_lifecycle.label(cluster, job.name, {protocol.NOTED_LABEL: "true"})
