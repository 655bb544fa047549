"""Observe data sets by their Jobs, pods and records; nothing is written here."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.datasets import index, loader_jobs
from cluster.jobs import job_observe, logs
from datasets import answers, dataset, protocol

if TYPE_CHECKING:
    from cluster import client

UNPUBLISHED = (
    "all pods have ended well, but none has published it: run create-dataset again, and it is"
)


@dataclasses.dataclass(frozen=True)
class Seen:
    """A data set as it is now.

    Attributes:
        record: Its record, brought up to its Job.
        job: Its Job, with its pods; None where there is none.
        pods: The progress of each pod.
        saved: Its record as the index has it; None where it has none.
    """

    record: index.Record
    job: job_observe.ObservedJob | None = None
    pods: Sequence[answers.Progress] = ()
    saved: index.Record | None = None

    @property
    def progress(self) -> answers.Progress | None:
        """Return the progress of its pods together."""
        return answers.combined(self.pods) if self.pods else None


def look(cluster: client.Cluster, name: str) -> Seen | None:
    """Return a data set as its Job and the index show it.

    Args:
        cluster: The cluster.
        name: Its name.
    """
    job = job_observe.observe(cluster, loader_jobs.job_name(loader_jobs.LOAD, name))
    return _combine(cluster, index.find(cluster, name), job)


def look_at_all(cluster: client.Cluster) -> dict[str, Seen]:
    """Return all data sets as their Jobs and the index show them."""
    known = index.read(cluster)
    states = {
        state.annotations.get(protocol.DATASET_ANNOTATION, ""): state
        for state in job_observe.observe_all(cluster, index.KIND)
    }
    seen = {
        name: _combine(cluster, known.get(name), states.get(name))
        for name in sorted({*known, *filter(None, states)})
    }
    return {name: each for name, each in seen.items() if each}


def progress(cluster: client.Cluster, job: job_observe.ObservedJob) -> list[answers.Progress]:
    """Return the progress of each pod of a running Job, from its log.

    Args:
        cluster: The cluster.
        job: The Job.
    """
    if job.finished or job.phase == job_observe.QUEUED:
        return []
    found: list[answers.Progress] = []
    written = logs.read_ends(cluster, job, loader_jobs.CONTAINER)
    for pod in job.pods:
        ended = answers.outcome(pod.message) if pod.phase == job_observe.SUCCEEDED else None
        if isinstance(ended, answers.Progress):
            found.append(dataclasses.replace(ended, index=pod.index))
        elif pod.index in written:
            line = answers.progress(written[pod.index])
            found += [line] if line else []
    return found


def after_job(
    record: index.Record | None,
    name: str,
    job: job_observe.ObservedJob,
    pods: Sequence[answers.Progress] = (),
) -> index.Record:
    """Return the record of a data set after its Job was observed.

    Args:
        record: The record before.
        name: The data set's name.
        job: The Job.
        pods: The progress of its pods.
    """
    request = job.annotations.get(protocol.REQUEST_ANNOTATION, "")
    if record is None or record.request != request:
        record = dataclasses.replace(
            record or index.Record(name),
            state=index.QUEUED,
            source=job.annotations.get(protocol.SOURCE_ANNOTATION, ""),
            fingerprint=job.annotations.get(protocol.FINGERPRINT_ANNOTATION, ""),
            request=request,
            created=job.created,
            parallelism=job.parallelism,
            error="",
        )
    if record.ended or record.state == index.DELETING:
        return record
    result = _result(job)
    if result:
        published = job.ended or time.time()
        if result.existing:
            known = record.published if record.version == result.version else 0
            published = known or dataset.requested_at(result.version)
        return dataclasses.replace(
            record,
            state=index.PUBLISHED,
            error="",
            version=result.version,
            published=published,
            files=result.files,
            bytes=result.bytes,
            seconds=result.seconds,
            checksum=result.checksum,
            verified=0,
        )
    if job.finished:
        return dataclasses.replace(
            record, state=index.FAILED, error=last_error(job) or UNPUBLISHED
        )
    if job.phase == job_observe.QUEUED:
        cause = job.cause.sentence if job.cause else ""
        return dataclasses.replace(record, state=index.QUEUED, error=cause)
    state = answers.combined(pods).state if pods else index.PREPARING
    return dataclasses.replace(record, state=state, error=last_error(job))


def is_published(job: job_observe.ObservedJob) -> bool:
    """Return whether a pod has published it: others may still be ending.

    Args:
        job: Its Job.
    """
    return _result(job) is not None


def last_error(job: job_observe.ObservedJob) -> str:
    """Return the last error of a load, in the words of the loader or of the user's own one.

    Args:
        job: Its Job.
    """
    said = [error for error in map(pod_error, job.pods) if error]
    if said:
        return said[0]
    return job.cause.sentence if job.phase == job_observe.FAILED and job.cause else ""


def pod_error(pod: job_observe.ObservedPod) -> str:
    """Return the error of a pod, or of the pod that it replaced; empty where neither failed.

    Args:
        pod: The newest pod of an index.
    """
    if pod.phase == job_observe.SUCCEEDED:
        return ""
    failed = pod.phase == job_observe.FAILED
    ended = pod.ended if failed else pod.before
    # The user's own loader has words of its own.
    if ended and ended.container == loader_jobs.OWN_LOADER:
        message = ended.message or ended.reason
        return f"{ended.container} ended with exit code {ended.exit_code}: {message}"
    if not ended or not ended.message:
        return answers.NO_LAST_WORDS if failed else ""
    result = answers.outcome(ended.message)
    return result.error if isinstance(result, answers.Failed) else ""


def _combine(
    cluster: client.Cluster, record: index.Record | None, job: job_observe.ObservedJob | None
) -> Seen | None:
    if job is None:
        return Seen(record, saved=record) if record else None
    pods = progress(cluster, job)
    name = job.annotations.get(protocol.DATASET_ANNOTATION, "")
    return Seen(after_job(record, name, job, pods), job, pods, saved=record)


def _result(job: job_observe.ObservedJob) -> answers.Result | None:
    """Return the result of a load: a late pod only tells that it was there already."""
    found = [
        answers.outcome(pod.message) for pod in job.pods if pod.phase == job_observe.SUCCEEDED
    ]
    results = [each for each in found if isinstance(each, answers.Result)]
    return min(results, key=lambda result: result.existing, default=None)
