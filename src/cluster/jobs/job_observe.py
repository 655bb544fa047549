"""How far our Jobs are: read from the Job, the newest pod of each index, and warnings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from lightkube import operators
from lightkube.models import batch_v1 as batch_models
from lightkube.resources import batch_v1, core_v1

from cluster import client, objects, pods

KIND = "aws-efs/kind"
# The Job controller puts it on the pods of each Job.
JOB_NAME = "batch.kubernetes.io/job-name"

QUEUED, RUNNING, SUCCEEDED, FAILED = "queued", "running", "succeeded", "failed"

_JOB_UID = "batch.kubernetes.io/controller-uid"
_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclasses.dataclass(frozen=True)
class ObservedPod:
    """The newest pod of an index.

    Attributes:
        name: Its name.
        index: The index; 0 for the only one of a plain Job.
        phase: queued, running, succeeded or failed.
        ended: The end of the container that decided its own; None while it runs.
        cause: What keeps it from running.
        node: Where it is.
        before: The same of the pod that it replaced.
    """

    name: str
    index: int
    phase: str
    ended: pods.Termination | None = None
    cause: pods.Cause | None = None
    node: str = ""
    before: pods.Termination | None = None

    @property
    def message(self) -> str:
        """Return its termination message; empty while it runs."""
        return self.ended.message if self.ended else ""


@dataclasses.dataclass(frozen=True)
class ObservedJob:
    """How far a Job is.

    Attributes:
        name: Its name.
        phase: queued (no container runs yet), running, succeeded or failed.
        created: When it was made, in seconds since 1970.
        ended: When it was over, in seconds since 1970; 0 before.
        parallelism: How many pods it has at once.
        pods: The newest pod of each index, in the order of the indexes.
        failed: The indexes that are given up.
        cause: What keeps all of it from running, or made it fail before it could say anything.
        labels: Its labels.
        annotations: Its annotations.
    """

    name: str
    phase: str
    created: float = 0
    ended: float = 0
    parallelism: int = 1
    pods: tuple[ObservedPod, ...] = ()
    failed: frozenset[int] = frozenset()
    cause: pods.Cause | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def finished(self) -> bool:
        """Whether it is over, either way."""
        return self.phase in (SUCCEEDED, FAILED)

    @property
    def stuck(self) -> bool:
        """Whether it can not begin before the user has mended something."""
        return self.phase == QUEUED and self.cause is not None and self.cause.blocked

    @property
    def message(self) -> str:
        """The last words of the first pod that has any, a failed one's before all others'."""
        failed = [pod.message for pod in self.pods if pod.phase == FAILED and pod.message]
        return next(iter([*failed, *(pod.message for pod in self.pods if pod.message)]), "")

    @property
    def why(self) -> str:
        """The most telling thing there is to say of a Job that has not succeeded."""
        return self.message or (self.cause.sentence if self.cause else "")


def observe(cluster: client.Cluster, name: str) -> ObservedJob | None:
    """How far a Job is; None where there is none.

    Args:
        cluster: The cluster.
        name: Its name.
    """
    job = cluster.find(batch_v1.Job, name, cluster.namespace)
    if job is None or not cluster.owns(job):
        return None
    return _observe_jobs(cluster, [job], {JOB_NAME: name})[0]


def observe_all(cluster: client.Cluster, kind: str, *, without: str = "") -> list[ObservedJob]:
    """How far all Jobs of a kind are: one call where there is none, else two or three.

    Args:
        cluster: The cluster.
        kind: What they are for.
        without: A label that they do not have.
    """
    selector: dict[str, Any] = {without: operators.not_exists()} if without else {}
    found = cluster.ours(batch_v1.Job, {KIND: kind, **selector})
    return _observe_jobs(cluster, found, {**cluster.labels, KIND: kind}) if found else []


def observe_phases(cluster: client.Cluster, kind: str) -> list[ObservedJob]:
    """As `states`, but one call, and without pods, where all have succeeded.

    Args:
        cluster: The cluster.
        kind: What they are for.
    """
    found = cluster.ours(batch_v1.Job, {KIND: kind})
    if all(_phase(job, ()) == SUCCEEDED for job in found):
        return [_observed_job(job, [], [], cluster.namespace) for job in found]
    return _observe_jobs(cluster, found, {**cluster.labels, KIND: kind})


def _observe_jobs(
    cluster: client.Cluster, jobs: list[batch_v1.Job], selector: Mapping[str, str]
) -> list[ObservedJob]:
    namespace = cluster.namespace
    found: dict[str, list[core_v1.Pod]] = {}
    for pod in cluster.select(core_v1.Pod, selector, namespace=namespace):
        found.setdefault(objects.labels_of(pod).get(_JOB_UID, ""), []).append(pod)
    warnings: list[core_v1.Event] = []
    if any(not _end_phase(job) for job in jobs):
        fields = {"type": "Warning"}
        warnings = cluster.select(core_v1.Event, {}, namespace=namespace, fields=fields)
    application = cluster.owner.application
    return [
        _observed_job(job, found.get(objects.meta(job).uid or "", []), warnings, application)
        for job in jobs
    ]


def _observed_job(
    job: batch_v1.Job,
    found: list[core_v1.Pod],
    warnings: list[core_v1.Event],
    application: str,
) -> ObservedJob:
    newest = tuple(_newest_pods(found, warnings, application))
    phase = _phase(job, newest)
    cause = None
    if phase == QUEUED:
        cause = next((pod.cause for pod in newest if pod.cause), None)
        cause = cause or pods.find_refusal(job, warnings)
    if phase == FAILED:
        said = next((c.message for c in _conditions(job) if c.type == "Failed"), None)
        cause = pods.Cause(said or "it failed", blocked=True, stamp=objects.meta(job).uid or "")
    ended = [_seconds(c.lastTransitionTime) for c in _conditions(job) if _is_end(c)]
    return ObservedJob(
        name=objects.name(job),
        phase=phase,
        created=_seconds(objects.meta(job).creationTimestamp),
        ended=max(ended, default=0),
        parallelism=(job.spec and job.spec.completions) or 1,
        pods=newest,
        failed=_indexes(job.status and job.status.failedIndexes),
        cause=cause,
        labels=objects.labels_of(job),
        annotations=objects.annotations_of(job),
    )


def _newest_pods(
    found: list[core_v1.Pod], warnings: list[core_v1.Event], application: str
) -> Iterator[ObservedPod]:
    by_index: dict[int, list[core_v1.Pod]] = {}
    for pod in sorted(found, key=lambda pod: str(objects.meta(pod).creationTimestamp)):
        by_index.setdefault(int(objects.annotations_of(pod).get(_INDEX, "0")), []).append(pod)
    for index, every in sorted(by_index.items()):
        pod = every[-1]
        yield ObservedPod(
            name=objects.name(pod),
            index=index,
            phase=_pod_phase(pod),
            ended=pods.find_termination(pod),
            cause=pods.find_cause(pod, warnings, application),
            node=(pod.spec and pod.spec.nodeName) or "",
            before=pods.find_termination(every[-2]) if every[1:] else None,
        )


def _pod_phase(pod: core_v1.Pod) -> str:
    phase = pod.status.phase if pod.status else ""
    if phase in {"Succeeded", "Failed"}:
        return SUCCEEDED if phase == "Succeeded" else FAILED
    return RUNNING if pods.has_started(pod) else QUEUED


def _phase(job: batch_v1.Job, newest: tuple[ObservedPod, ...]) -> str:
    ended = _end_phase(job)
    if ended:
        return ended
    return RUNNING if any(pod.phase != QUEUED for pod in newest) else QUEUED


def _end_phase(job: batch_v1.Job) -> str:
    ends = {condition.type for condition in _conditions(job) if _is_end(condition)}
    return SUCCEEDED if "Complete" in ends else FAILED if "Failed" in ends else ""


def _is_end(condition: batch_models.JobCondition) -> bool:
    return condition.type in {"Complete", "Failed"} and condition.status == "True"


def _conditions(job: batch_v1.Job) -> list[batch_models.JobCondition]:
    return (job.status and job.status.conditions) or []


def _indexes(text: str | None) -> frozenset[int]:
    """The numbers in "0-2,5"."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _seconds(when: Any) -> float:
    return when.timestamp() if when else 0
