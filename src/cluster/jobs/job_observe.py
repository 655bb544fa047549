"""Observe our Jobs: from the Job itself, the newest pod of each index, and warning events."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lightkube import operators
from lightkube.models import batch_v1 as batch_models
from lightkube.resources import batch_v1, core_v1

from cluster import client, objects, ownership, pods
from cluster.jobs import pod_observe, pod_options

KIND = "aws-efs/kind"
# The label that the Job controller puts on a Job's pods.
JOB_NAME = "batch.kubernetes.io/job-name"
# The annotation of a Job whose inputs are there.
STARTED = "aws-efs/started"

QUEUED, RUNNING = pod_observe.QUEUED, pod_observe.RUNNING
SUCCEEDED, FAILED = pod_observe.SUCCEEDED, pod_observe.FAILED

# Our Jobs have at most 64 indexes; a user can scale them.
_MOST_INDEXES = 1000
_MOST_CHARACTERS = 4096
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_QUEUE = f"{pod_options.QUEUES}queue-name"


@dataclasses.dataclass(frozen=True)
class ObservedJob:
    """A Job and its pods, as observed.

    Attributes:
        name: Its name.
        phase: queued (no container runs yet), running, succeeded or failed.
        created: Its time of creation, in seconds since 1970.
        ended: The time at which it ended, in seconds since 1970; 0 before.
        parallelism: The number of its pods.
        pods: The newest pod of each index, in the order of the indexes.
        failed: The indexes that failed for good.
        completed: The indexes that have succeeded, also of pods that are gone.
        cause: The cause that keeps all of it from running, or made it fail.
        labels: Its labels.
        annotations: Its annotations.
        uid: Its uid.
        suspended: Whether it was created, but not started: its inputs may be missing.
    """

    name: str
    phase: str
    created: float = 0
    ended: float = 0
    parallelism: int = 1
    pods: tuple[pod_observe.ObservedPod, ...] = ()
    failed: frozenset[int] = frozenset()
    completed: frozenset[int] = frozenset()
    cause: pods.Cause | None = None
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    uid: str = ""
    suspended: bool = False

    @property
    def file_system(self) -> str:
        """Return the file system that its pods mount."""
        return self.annotations.get(ownership.FILE_SYSTEM, "")

    @property
    def finished(self) -> bool:
        """Tell whether it has ended, either way."""
        return self.phase in (SUCCEEDED, FAILED)

    @property
    def stuck(self) -> bool:
        """Tell whether it cannot start before the user has fixed something."""
        return self.phase == QUEUED and self.cause is not None and self.cause.blocked

    @property
    def message(self) -> str:
        """Return the termination message of the first pod that has one; failed pods come first."""
        failed = [pod.message for pod in self.pods if pod.phase == FAILED and pod.message]
        return next(iter([*failed, *(pod.message for pod in self.pods if pod.message)]), "")

    @property
    def reason(self) -> str:
        """Return the reason why it has not succeeded: a pod's message, else the cause."""
        return self.message or (self.cause.sentence if self.cause else "")


def observe(cluster: client.Cluster, name: str) -> ObservedJob | None:
    """Observe a Job; return None where there is none.

    Args:
        cluster: The cluster.
        name: Its name.
    """
    job = cluster.find_own(batch_v1.Job, name)
    return _observe_jobs(cluster, [job], {JOB_NAME: name})[0] if job else None


def observe_all(cluster: client.Cluster, *kinds: str, without: str = "") -> list[ObservedJob]:
    """Observe all our Jobs of some kinds: one call if there are none, else two or three.

    Args:
        cluster: The cluster.
        kinds: Their kinds; none for all.
        without: A label that they must not have.
    """
    selector: dict[str, Any] = {without: operators.not_exists()} if without else {}
    of_kind: dict[str, Any] = {KIND: operators.in_(kinds) if kinds else operators.exists()}
    jobs = list_own(cluster, {**of_kind, **selector})
    return _observe_jobs(cluster, jobs, of_kind) if jobs else []


def list_own(
    cluster: client.Cluster, selector: Mapping[str, Any] | None = None
) -> list[batch_v1.Job]:
    """Return our Jobs: those in our namespace with our marks, and with their kind in their name.

    Args:
        cluster: The cluster.
        selector: Further labels.
    """
    return [job for job in cluster.own(batch_v1.Job, selector) if _has_our_name(job)]


def _has_our_name(job: batch_v1.Job) -> bool:
    kind, name = objects.labels_of(job).get(KIND, ""), objects.name(job)
    return bool(kind) and (name == kind or name.startswith(f"{kind}-"))


def _observe_jobs(
    cluster: client.Cluster, jobs: list[batch_v1.Job], selector: Mapping[str, Any]
) -> list[ObservedJob]:
    namespace = cluster.namespace
    job_pods: dict[str, list[core_v1.Pod]] = {}
    for pod in cluster.select(core_v1.Pod, selector, namespace=namespace):
        job_pods.setdefault(objects.job_uid(pod), []).append(pod)
    warnings: list[core_v1.Event] = []
    if not all(map(has_ended, jobs)):
        fields = {"type": "Warning"}
        warnings = cluster.select(core_v1.Event, {}, namespace=namespace, fields=fields)
    application = cluster.owner.application
    return [
        _observed_job(job, job_pods.get(objects.meta(job).uid or "", []), warnings, application)
        for job in jobs
    ]


def _observed_job(
    job: batch_v1.Job,
    job_pods: list[core_v1.Pod],
    warnings: list[core_v1.Event],
    application: str,
) -> ObservedJob:
    newest = tuple(pod_observe.newest(job, job_pods, warnings, application))
    phase = _phase(job, newest)
    cause = None
    if phase == QUEUED:
        cause = next((pod.cause for pod in newest if pod.cause), None)
        cause = cause or _hold(job) or pods.find_refusal(job, warnings, application)
    if phase == FAILED:
        failed = next((c for c in _conditions(job) if c.type == "Failed"), None)
        cause = pods.Cause(
            (failed and failed.message)
            or f"the Job failed: kubectl describe job {objects.name(job)}",
            blocked=True,
        )
        if failed and failed.reason == "DeadlineExceeded":
            cause = pods.Cause(
                "the Job was stopped at its deadline: run it again, with a longer deadline=",
                blocked=True,
            )
    ended = [objects.seconds(c.lastTransitionTime) for c in _conditions(job) if _is_end(c)]
    return ObservedJob(
        name=objects.name(job),
        phase=phase,
        created=objects.seconds(objects.meta(job).creationTimestamp),
        ended=max(ended, default=0),
        parallelism=_completions(job),
        pods=newest,
        failed=_indexes(job, job.status and job.status.failedIndexes),
        completed=_indexes(job, job.status and job.status.completedIndexes),
        cause=cause,
        labels=objects.labels_of(job),
        annotations=objects.annotations_of(job),
        uid=objects.meta(job).uid or "",
        suspended=is_suspended(job) and not is_started(job),
    )


def has_ended(job: batch_v1.Job) -> bool:
    """Return whether a Job has ended, either way.

    Args:
        job: The Job.
    """
    return bool(_end_phase(job))


def is_suspended(job: batch_v1.Job) -> bool:
    """Return whether no pod of a Job may run, for whatever reason.

    Args:
        job: The Job.
    """
    return bool(job.spec and job.spec.suspend)


def is_started(job: batch_v1.Job) -> bool:
    """Return whether a Job has all its inputs; then a queue alone decides whether it runs.

    Args:
        job: The Job.
    """
    return STARTED in objects.annotations_of(job)


def _hold(job: batch_v1.Job) -> pods.Cause | None:
    """Return the cause of a Job that a queue, or a user, holds back."""
    if not (is_suspended(job) and is_started(job)):
        return None
    queue = objects.labels_of(job).get(_QUEUE, "")
    waits = f"waits in queue {queue}" if queue else "is suspended"
    return pods.Cause(f"the Job {waits}: kubectl describe job {objects.name(job)}", blocked=False)


def _phase(job: batch_v1.Job, newest: tuple[pod_observe.ObservedPod, ...]) -> str:
    ended = _end_phase(job)
    if ended == FAILED and len(newest) == _completions(job):
        # Kubernetes counts a pod as failed whose sidecar failed, whatever became of our work.
        done = all(pod.phase == SUCCEEDED for pod in newest)
        return SUCCEEDED if done else FAILED
    if ended:
        return ended
    return RUNNING if any(pod.phase != QUEUED for pod in newest) else QUEUED


def _completions(job: batch_v1.Job) -> int:
    return (job.spec and job.spec.completions) or 1


def _end_phase(job: batch_v1.Job) -> str:
    ends = {condition.type for condition in _conditions(job) if _is_end(condition)}
    return SUCCEEDED if "Complete" in ends else FAILED if "Failed" in ends else ""


def _is_end(condition: batch_models.JobCondition) -> bool:
    return condition.type in {"Complete", "Failed"} and condition.status == "True"


def _conditions(job: batch_v1.Job) -> list[batch_models.JobCondition]:
    return (job.status and job.status.conditions) or []


def _indexes(job: batch_v1.Job, text: str | None) -> frozenset[int]:
    """Return the indexes of a Job in "0-2,5"; what is no range, or beyond its last, is none."""
    end = min(_completions(job), _MOST_INDEXES)
    ranges = map(_RANGE.fullmatch, (text or "")[:_MOST_CHARACTERS].split(","))
    return frozenset(
        index
        for each in ranges
        if each
        for index in range(int(each[1]), min(int(each[2] or each[1]) + 1, end))
    )
