"""Update the index from the Jobs of data sets, before the Jobs are removed."""

from __future__ import annotations

from collections.abc import Mapping

from app.datasets import index, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import protocol


def save(known: index.Index, observed: observe.ObservedDataset) -> None:
    """Save a data set's record, if it differs from the saved one.

    Args:
        known: The index.
        observed: The data set as observed.
    """
    if observed.record != observed.saved:
        known.save(observed.record)


def save_results(known: index.Index) -> None:
    """Save the results of all loads; one API call where there is no new one."""
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
        if job.finished:
            job_lifecycle.label(cluster, job.name, {protocol.NOTED_LABEL: "true"})
