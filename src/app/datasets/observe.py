"""What Jobs and pods show of data sets, brought into the index each time that somebody looks."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.datasets import index, loader_jobs
from cluster.jobs import job_lifecycle, job_observe, logs
from datasets import answers, dataset, protocol

if TYPE_CHECKING:
    from cluster import client

OTHER_CONTAINER = re.compile(r"(?P<name>[\w-]+) ended with exit code \d+: (?P<said>.*)", re.DOTALL)
UNPUBLISHED = (
    "all pods have ended well, but none has published it: run create-dataset again, and it is"
)


@dataclasses.dataclass(frozen=True)
class Seen:
    """A data set as it is now.

    Attributes:
        record: What the index has.
        job: Its Job, with its pods; None where there is none.
        pods: How far each pod is.
    """

    record: index.Record
    job: job_observe.ObservedJob | None = None
    pods: Sequence[answers.Progress] = ()

    @property
    def progress(self) -> answers.Progress | None:
        """How far its pods are together."""
        return answers.combined(self.pods) if self.pods else None


def look(cluster: client.Cluster, name: str) -> Seen | None:
    """A data set as its Job and the index show it; the index is brought up to it.

    Args:
        cluster: The cluster.
        name: Its name.
    """
    job = job_observe.observe(cluster, loader_jobs.job_name(loader_jobs.LOAD, name))
    return _brought_up(cluster, index.find(cluster, name), job)


def look_at_all(cluster: client.Cluster) -> dict[str, Seen]:
    """All data sets as their Jobs and the index show them; the index is brought up to it."""
    known = index.read(cluster)
    states = {
        state.annotations.get(protocol.DATASET_ANNOTATION, ""): state
        for state in job_observe.observe_all(cluster, index.KIND)
    }
    seen = {
        name: _brought_up(cluster, known.get(name), states.get(name))
        for name in sorted({*known, *filter(None, states)})
    }
    return {name: each for name, each in seen.items() if each}


def note(cluster: client.Cluster) -> None:
    """Put the ends of Jobs into the index, before the Jobs go: one call where there is none."""
    states = job_observe.observe_all(cluster, index.KIND, without=protocol.NOTED_LABEL)
    known = index.read(cluster) if states else {}
    for state in states:
        name = state.annotations.get(protocol.DATASET_ANNOTATION, "")
        record = known.get(name)
        after = after_job(record, name, state)
        if after.ended and after != record:
            index.save(cluster, after)
        if state.finished:
            job_lifecycle.label(cluster, state.name, {protocol.NOTED_LABEL: "true"})


def progress(cluster: client.Cluster, job: job_observe.ObservedJob) -> list[answers.Progress]:
    """How far each pod of a Job that runs is, as far as its log tells.

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
    """What is known after a look at the Job.

    Args:
        record: What was known before.
        name: The data set's name.
        job: The Job.
        pods: How far its pods are.
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
            told=False,
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
    """Whether a pod has published it: others may still be ending.

    Args:
        job: Its Job.
    """
    return _result(job) is not None


def last_error(job: job_observe.ObservedJob) -> str:
    """The last error of a load, in the loader's words or in those of the user's own one.

    Args:
        job: Its Job.
    """
    said = [error for error in map(pod_error, job.pods) if error]
    if said:
        return said[0]
    return job.cause.sentence if job.phase == job_observe.FAILED and job.cause else ""


def pod_error(pod: job_observe.ObservedPod) -> str:
    """What a pod failed with, or the pod that it replaced; empty where neither has.

    Args:
        pod: The newest pod of an index.
    """
    if pod.phase == job_observe.SUCCEEDED:
        return ""
    message = pod.message if pod.phase == job_observe.FAILED else pod.before
    if not message:
        return answers.NO_LAST_WORDS if pod.phase == job_observe.FAILED else ""
    # The user's own loader says it in its own words.
    ended = OTHER_CONTAINER.fullmatch(message)
    if ended and ended["name"] == loader_jobs.OWN_LOADER:
        return message
    result = answers.outcome(ended["said"] if ended else message)
    return result.error if isinstance(result, answers.Failed) else ""


def _brought_up(
    cluster: client.Cluster, record: index.Record | None, job: job_observe.ObservedJob | None
) -> Seen | None:
    if job is None:
        return Seen(record) if record else None
    pods = progress(cluster, job)
    name = job.annotations.get(protocol.DATASET_ANNOTATION, "")
    after = after_job(record, name, job, pods)
    if after != record:
        index.save(cluster, after)
    return Seen(after, job, pods)


def _result(job: job_observe.ObservedJob) -> answers.Result | None:
    """What was published; a pod that came late says that it was there."""
    found = [
        answers.outcome(pod.message) for pod in job.pods if pod.phase == job_observe.SUCCEEDED
    ]
    results = [each for each in found if isinstance(each, answers.Result)]
    return min(results, key=lambda result: result.existing, default=None)
