"""Observe the pod of each index of a Job: by our containers, not by those of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from lightkube.models import batch_v1, core_v1

from cluster import objects, pods

# The annotation of a pod that names its main container: kubectl, too, reads its log from there.
MAIN_CONTAINER = "kubectl.kubernetes.io/default-container"

QUEUED, RUNNING, SUCCEEDED, FAILED = "queued", "running", "succeeded", "failed"

_INDEX = "batch.kubernetes.io/job-completion-index"
_POD_ENDS = ("Succeeded", "Failed")


@dataclasses.dataclass(frozen=True)
class ObservedPod:
    """The newest pod of an index.

    Attributes:
        name: Its name.
        index: The index; 0 for the only one of a plain Job.
        phase: queued, running, succeeded or failed.
        termination: The termination of the container that ended it; None while it runs.
        cause: The cause that keeps it from running.
        node: Its node.
        previous_termination: The termination of the pod that it replaced.
        outlived: Whether containers of others run on after ours has ended.
    """

    name: str
    index: int
    phase: str
    termination: pods.Termination | None = None
    cause: pods.Cause | None = None
    node: str = ""
    previous_termination: pods.Termination | None = None
    outlived: bool = False

    @property
    def message(self) -> str:
        """Return its termination message; empty while it runs."""
        return self.termination.message if self.termination else ""


def newest(
    job: batch_v1.Job,
    job_pods: Iterable[core_v1.Pod],
    warnings: Sequence[core_v1.Event],
    application: str,
) -> Iterator[ObservedPod]:
    """Yield the newest pod of each index of a Job, or the one that did its work, in their order.

    Args:
        job: The Job.
        job_pods: All its pods.
        warnings: Warning events of its namespace.
        application: Our application, for the commands in messages.
    """
    ours = _our_containers(job)
    by_index: dict[int, list[core_v1.Pod]] = {}
    for pod in sorted(job_pods, key=lambda pod: str(objects.meta(pod).creationTimestamp)):
        by_index.setdefault(_pod_index(pod), []).append(pod)
    for index, attempts in sorted(by_index.items()):
        pod = _decisive(attempts, ours)
        cause = pods.find_cause(pod, warnings, application, ours)
        phase = QUEUED if cause else _pod_phase(pod, ours)
        ended = bool(pod.status and pod.status.phase in _POD_ENDS)
        yield ObservedPod(
            name=objects.name(pod),
            index=index,
            phase=phase,
            termination=pods.find_termination(pod, ours),
            cause=cause,
            node=(pod.spec and pod.spec.nodeName) or "",
            previous_termination=pods.find_termination(attempts[-2], ours)
            if pod is attempts[-1] and attempts[1:]
            else None,
            outlived=phase in (SUCCEEDED, FAILED) and not ended,
        )


def _decisive(attempts: Sequence[core_v1.Pod], ours: pods.OurContainers) -> core_v1.Pod:
    """Return the pod that did the work of an index; without one, the newest.

    Its sidecar may have failed afterwards: then Kubernetes may have made another pod.
    """
    for pod in attempts:
        main = pods.find_state(pod, ours.main)
        if main and main.terminated and not main.terminated.exitCode:
            return pod
    return attempts[-1]


def _our_containers(job: batch_v1.Job) -> pods.OurContainers:
    """Return the names of our containers, from the Job: no webhook for pods has changed that.

    Jobs of earlier releases do not name the main one.
    """
    template = job.spec and job.spec.template
    spec = template and template.spec
    if template is None or spec is None:
        return pods.OurContainers("")
    main = objects.annotations_of(template).get(MAIN_CONTAINER) or spec.containers[-1].name
    init = tuple(each.name for each in spec.initContainers or [] if not each.restartPolicy)
    return pods.OurContainers(main, init)


def _pod_index(pod: core_v1.Pod) -> int:
    """Return a pod's index; 0 for what is no index, since annotations can be edited."""
    index = objects.annotations_of(pod).get(_INDEX, "")
    return int(index) if index.isdecimal() and len(index) < 10 else 0


def _pod_phase(pod: core_v1.Pod, ours: pods.OurContainers) -> str:
    """Return the phase of our work in a pod; containers of others may run before and after it."""
    main = pods.find_state(pod, ours.main)
    if main and main.terminated:
        return FAILED if main.terminated.exitCode else SUCCEEDED
    phase = (pod.status and pod.status.phase) or ""
    if phase in _POD_ENDS:
        return SUCCEEDED if phase == "Succeeded" else FAILED
    return RUNNING if pods.has_started(pod, ours) else QUEUED
