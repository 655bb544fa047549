"""Observe data sets by their Jobs, pods and index records. Read only."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from app.datasets import index, last_words, loader_jobs
from cluster import pods
from cluster.jobs import job_lifecycle, job_observe, logs, pod_observe
from datasets import answers, protocol, request_ids
from datasets.loader.base import tasks

if TYPE_CHECKING:
    from cluster import client

# What a message asks the user to do, and what a load that goes on does by itself.
_RETRY = re.compile(r"[:;,] (then )?(try again|run create-dataset again)$")
MALFORMED = "its pod has reported a malformed result: run create-dataset again"
_AT_WORK = (index.PREPARING, index.TRANSFERRING, index.VERIFYING)
UNPUBLISHED = "all pods have succeeded, but none has published it: run create-dataset again"


@dataclasses.dataclass(frozen=True)
class PodsProgress:
    """What the pods of a Job tell of their progress.

    Attributes:
        known: The progress of each pod that tells it.
        unread: The indexes of the running pods whose logs cannot be read now.
    """

    known: Sequence[answers.Progress] = ()
    unread: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class ObservedDataset:
    """The current state of a data set.

    Attributes:
        record: Its record, updated from its Job.
        job: Its Job, with its pods; None where there is none.
        pods: The progress of each pod.
        saved: Its record in the index; None where there is none.
        unread: The indexes of the running pods whose logs cannot be read now.
        deletion: The Job that deletes it; None where there is none.
    """

    record: index.DatasetRecord
    job: job_observe.ObservedJob | None = None
    pods: Sequence[answers.Progress] = ()
    saved: index.DatasetRecord | None = None
    unread: tuple[int, ...] = ()
    deletion: job_observe.ObservedJob | None = None

    @property
    def progress(self) -> answers.Progress | None:
        """Return the progress of its pods together."""
        return answers.combine(self.pods) if self.pods else None


@dataclasses.dataclass(frozen=True)
class ObservedDatasets:
    """All data sets.

    Attributes:
        there: The data sets by name.
        others: The reasons why other records of the index are not believed, by name.
    """

    there: Mapping[str, ObservedDataset]
    others: Mapping[str, str]

    @property
    def doubtful(self) -> frozenset[str]:
        """Return the data sets whose records must be made again from the volume."""
        return frozenset(name for name in self.others if tasks.NAME.fullmatch(name))


def observe(known: index.Index, name: str) -> ObservedDataset | None:
    """Observe a data set by its Jobs and its index record; None where it has neither.

    Args:
        known: The index.
        name: Its name.
    """
    cluster = known.cluster
    job = job_observe.observe(cluster, loader_jobs.job_name(loader_jobs.LOAD, name))
    observed = _combine(cluster, known.find(name), job if job and is_of(known, job) else None)
    if observed is None or observed.record.state != index.DELETING:
        return observed
    deletion = job_observe.observe(cluster, loader_jobs.job_name(loader_jobs.DELETE, name))
    there = deletion is not None and is_deletion_of(known, deletion)
    return dataclasses.replace(observed, deletion=deletion if there else None)


def observe_all(known: index.Index) -> ObservedDatasets:
    """Observe all data sets by their Jobs and index records.

    Args:
        known: The index.
    """
    contents = known.read()
    found = job_observe.observe_all(known.cluster, index.KIND, loader_jobs.DELETE)
    loads, deletions = (
        {job.annotations[protocol.DATASET_ANNOTATION]: job for job in found if belongs(known, job)}
        for belongs in (is_of, is_deletion_of)
    )
    there: dict[str, ObservedDataset] = {}
    for name in sorted({*contents.records, *loads}):
        each = _combine(known.cluster, contents.records.get(name), loads.get(name))
        if each:
            deleting = each.record.state == index.DELETING
            deletion = deletions.get(name) if deleting else None
            there[name] = dataclasses.replace(each, deletion=deletion)
    return ObservedDatasets(there, contents.others)


def is_of(known: index.Index, job: job_observe.ObservedJob) -> bool:
    """Return whether a Job loads a data set of the index's file system.

    Args:
        known: The index.
        job: The Job.
    """
    return _is_of(known, job, loader_jobs.LOAD)


def is_deletion_of(known: index.Index, job: job_observe.ObservedJob) -> bool:
    """Return whether a Job deletes a data set of the index's file system.

    Args:
        known: The index.
        job: The Job.
    """
    return _is_of(known, job, loader_jobs.DELETE)


def is_rollback_of(known: index.Index, job: job_observe.ObservedJob) -> bool:
    """Return whether a Job rolls back a data set of the index's file system.

    Args:
        known: The index.
        job: The Job.
    """
    return _is_of(known, job, loader_jobs.ROLLBACK)


def _is_of(known: index.Index, job: job_observe.ObservedJob, kind: str) -> bool:
    name = job.annotations.get(protocol.DATASET_ANNOTATION, "")
    return (
        job.file_system == known.file_system
        and bool(tasks.NAME.fullmatch(name))
        and job.name == loader_jobs.job_name(kind, name)
    )


def read_progress(cluster: client.Cluster, job: job_observe.ObservedJob) -> PodsProgress:
    """Return the progress of each pod of a running Job, from its log.

    Args:
        cluster: The cluster.
        job: The Job.
    """
    if job.finished or job.phase == job_observe.QUEUED:
        return PodsProgress()
    pods: list[answers.Progress] = []
    logged = logs.read_ends(cluster, job, loader_jobs.CONTAINER)
    for pod in job.pods:
        final = answers.read_outcome(pod.message) if pod.phase == job_observe.SUCCEEDED else None
        if isinstance(final, answers.Progress):
            pods.append(dataclasses.replace(final, index=pod.index))
        elif progress := answers.read_progress(logged.get(pod.index) or ""):
            pods.append(progress)
    unread = tuple(index for index, text in logged.items() if text is None)
    return PodsProgress(pods, unread)


def after_job(
    record: index.DatasetRecord | None,
    name: str,
    job: job_observe.ObservedJob,
    pods: Sequence[answers.Progress] = (),
) -> index.DatasetRecord:
    """Return the record of a data set, updated from its Job.

    Args:
        record: The earlier record.
        name: The data set's name.
        job: The Job.
        pods: The progress of its pods.
    """
    request = job.annotations.get(protocol.REQUEST_ANNOTATION, "")
    if record is None or record.request != request:
        record = dataclasses.replace(
            record or index.DatasetRecord(name),
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
            published = known or request_ids.time_of(result.version)
        after = dataclasses.replace(
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
        if index.is_valid(after):
            return after
        return dataclasses.replace(record, state=index.FAILED, error=MALFORMED)
    if job.finished:
        return dataclasses.replace(
            record, state=index.FAILED, error=last_error(job) or UNPUBLISHED
        )
    if job.phase == job_observe.QUEUED:
        cause = job.cause.sentence if job.cause else ""
        return dataclasses.replace(record, state=index.QUEUED, error=cause)
    # A pod whose log cannot be read now has not gone back to an earlier state.
    state = record.state if record.state in _AT_WORK else index.PREPARING
    if pods:
        state = answers.combine(pods).state
    return dataclasses.replace(record, state=state, error=last_error(job))


def is_published(job: job_observe.ObservedJob) -> bool:
    """Return whether a pod has published the data set; other pods may still be running.

    Args:
        job: Its Job.
    """
    return _result(job) is not None


def last_error(job: job_observe.ObservedJob) -> str:
    """Return the last error of a load, from the loader or a custom loader.

    Args:
        job: Its Job.
    """
    errors = [error for error in map(pod_error, job.pods) if error]
    if errors:
        return errors[0] if job.finished else without_retry(errors[0])
    return job.cause.sentence if job.phase == job_observe.FAILED and job.cause else ""


def pod_error(pod: pod_observe.ObservedPod) -> str:
    """Return the error of a pod, or of the pod that it replaced; empty where neither failed.

    Args:
        pod: The newest pod of an index.
    """
    if pod.phase == job_observe.SUCCEEDED:
        return ""
    failed = pod.phase == job_observe.FAILED
    termination = pod.termination if failed else pod.previous_termination
    if termination is None:
        return f"{_LOST}: run create-dataset again" if failed else ""
    # A custom loader writes messages in a format of its own.
    if termination.container == loader_jobs.CUSTOM_LOADER:
        return f"{termination.container} ended with {_describe_users(termination)}"
    result = answers.read_outcome(termination.message)
    if not isinstance(result, answers.Failed):
        return ""
    return result.error or f"{_describe(termination)}: run create-dataset again"


def without_retry(error: str) -> str:
    """Return an error of a pod that is tried again by itself: without the call to do that.

    Args:
        error: The error.
    """
    return _RETRY.sub("", error)


_LOST = "the loader's pod is lost, and with it its last words"


def _describe_users(termination: pods.Termination) -> str:
    """Return how a custom loader ended; its message may be just the end of its log."""
    limit = f"OOMKilled, its memory is limited to {job_lifecycle.MEMORY_GIB} GiB"
    reason = limit if termination.reason == "OOMKilled" else ""
    words = [termination.pod_reason, reason, termination.message]
    said = ": ".join(filter(None, words)) or termination.reason
    return f"exit code {termination.exit_code}: {said}"


def _describe(termination: pods.Termination) -> str:
    """Return how a container ended that could write no message, in Kubernetes' words."""
    if termination.pod_reason:
        return f"Kubernetes ended the loader's pod ({termination.pod_reason})"
    if not termination.container:
        return _LOST
    code = f"exit code {termination.exit_code}"
    if termination.reason == "OOMKilled":
        return f"the loader ran out of memory (OOMKilled, {code})"
    reason = f"{termination.reason}, {code}" if termination.reason else code
    known = (loader_jobs.CONTAINER, loader_jobs.PREPARE)
    if termination.container in known:
        return f"the loader ended without a message ({reason})"
    said = f": {termination.message}" if termination.message else ""
    return f"container {termination.container}, which is not the charm's, failed ({reason}{said})"


def _combine(
    cluster: client.Cluster,
    record: index.DatasetRecord | None,
    job: job_observe.ObservedJob | None,
) -> ObservedDataset | None:
    if job is None:
        return ObservedDataset(record, saved=record) if record else None
    job = last_words.redact(cluster, job)
    told = read_progress(cluster, job)
    name = job.annotations.get(protocol.DATASET_ANNOTATION, "")
    after = after_job(record, name, job, told.known)
    return ObservedDataset(after, job, told.known, saved=record, unread=told.unread)


def _result(job: job_observe.ObservedJob) -> answers.Result | None:
    """Return the result of a load; that of the pod that published it before those of others."""
    outcomes = [
        answers.read_outcome(pod.message) for pod in job.pods if pod.phase == job_observe.SUCCEEDED
    ]
    results = [each for each in outcomes if isinstance(each, answers.Result)]
    return min(results, key=lambda result: result.existing, default=None)
