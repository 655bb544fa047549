"""Find out from a pod's status and events why it does not run, and how to fix it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from lightkube.models import core_v1

from cluster import objects, pod_images, pod_mounts, pod_refusals
from cluster.pod_causes import Cause


@dataclasses.dataclass(frozen=True)
class Termination:
    """The end of a pod: of our container, or of whatever ended the pod before that.

    Attributes:
        message: Its termination message.
        container: Its name; "" where the pod ended as a whole.
        exit_code: Its exit code.
        reason: Kubernetes' reason, such as OOMKilled.
        pod_reason: Why Kubernetes ended the pod, such as an eviction, in its words; "" if it did
            not.
    """

    message: str
    container: str = ""
    exit_code: int = 0
    reason: str = ""
    pod_reason: str = ""


@dataclasses.dataclass(frozen=True)
class OurContainers:
    """The names of our containers in a pod; all others were added to it by somebody else.

    Attributes:
        main: The one whose end is the end of our work.
        init: Those that run before it, in their order.
    """

    main: str
    init: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return all names, in the order in which the containers run."""
        return (*self.init, self.main)


# The container of our Jobs that runs the image of a custom loader.
USERS_CONTAINER = "loader"
# The container of the provisioner of dynamic volumes.
PROVISIONER_CONTAINER = "provisioner"

# The kubelet's words where image pull secrets that a pod names do not exist.
_UNREAD_SECRETS = re.compile(r"image pull secrets \(([^)]*)\)")
# The most that is read of a message: Kubernetes' own are shorter, and the patterns that look for
# causes take a time that grows with the square of the length.
_MOST_CHARACTERS = 4096
# Registries take names of 255 characters.
_LONGEST_IMAGE = 512
# Reasons of a container that cannot start before somebody has changed something.
_START_FAILURES = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")


def find_cause(
    pod: core_v1.Pod, events: Iterable[core_v1.Event], application: str, ours: OurContainers
) -> Cause | None:
    """Return the cause that keeps our container from running; None if none is known.

    Args:
        pod: The pod.
        events: Warnings of its namespace.
        application: Our application, for the commands in the messages.
        ours: The names of our containers.
    """
    main = find_state(pod, ours.main)
    begun = main and (main.running or main.terminated)
    if pod.status is None or pod.status.phase in ("Succeeded", "Failed") or begun:
        return None
    for status in _all_statuses(pod):
        waiting = status.state and status.state.waiting
        if waiting and waiting.reason in pod_images.FAILURES:
            return _pull_failure(pod, status, events, _image_fix(status.name, application, ours))
        if waiting and waiting.reason in _START_FAILURES:
            said = " ".join(_cut(waiting.message or waiting.reason).split())
            return Cause(f"container {status.name} cannot start: {said}", blocked=True)
    if held := _held_by_others(pod, ours):
        return held
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            said = _cut(condition.message or condition.reason) or "no node accepts it"
            explained = pod_refusals.explain_placement(said, application)
            return Cause(explained, blocked=False, unscheduled=True)
    return _mount_failure(pod, events, application) or _sandbox_failure(pod, events)


def find_refusal(owner: Any, events: Iterable[core_v1.Event], application: str) -> Cause | None:
    """Return the cause that keeps a Job's pods from being created, such as a quota or a policy.

    Args:
        owner: The Job.
        events: Warnings of its namespace.
        application: Our application, for the commands in the messages.
    """
    event = _latest_event(owner, events, "FailedCreate", "")
    if event is None:
        return None
    sentence, blocked = pod_refusals.explain(_cut(event.message), application)
    return Cause(sentence, blocked=blocked, stamp=_stamp(event))


def _held_by_others(pod: core_v1.Pod, ours: OurContainers) -> Cause | None:
    """Return the cause of a container of others that has to do its work before ours can run.

    It is an init container that has not ended, or a native sidecar that does not start.
    """
    init = (pod.status and pod.status.initContainerStatuses) or []
    sidecars = {
        each.name for each in (pod.spec and pod.spec.initContainers) or [] if each.restartPolicy
    }
    for status in init:
        if status.name in ours.names or status.state is None:
            continue
        title = f"container {status.name}, which is not the charm's,"
        log = f"kubectl -n {objects.meta(pod).namespace} logs {objects.name(pod)} -c {status.name}"
        if status.state.waiting and status.state.waiting.reason == "CrashLoopBackOff":
            return Cause(f"{title} fails again and again before ours: see {log}", blocked=True)
        if status.state.running and not (status.name in sidecars and status.started):
            return Cause(f"{title} has to finish before ours: see {log}", blocked=False)
    return None


def _pull_failure(
    pod: core_v1.Pod,
    status: core_v1.ContainerStatus,
    events: Iterable[core_v1.Event],
    fix: pod_images.ImageFix,
) -> Cause:
    """Return the cause that keeps an image from being pulled.

    Before Kubernetes 1.32 the registry's words are in an event only.
    """
    waiting = status.state and status.state.waiting
    reason, said = _cut(waiting and waiting.reason), _cut(waiting and waiting.message)
    event = _latest_event(pod, events, "Failed", f'Failed to pull image "{status.image}"')
    if event is not None and not pod_images.strip_preamble(said):
        said = _cut(event.message)
    unread = _latest_event(pod, events, "FailedToRetrieveImagePullSecret", "")
    if match := _UNREAD_SECRETS.search(_cut(unread and unread.message)):
        secret = f"create secret {match[1]} in namespace {objects.meta(pod).namespace}"
        fix = dataclasses.replace(fix, login=secret)
    image = status.image[:_LONGEST_IMAGE]
    text, blocked = pod_images.explain(reason, said, image, _node(pod), fix)
    return Cause(text, blocked=blocked)


def _image_fix(container: str, application: str, ours: OurContainers) -> pod_images.ImageFix:
    image = f"juju config {application} loader-image=…"
    if container == USERS_CONTAINER:
        image = "run create-dataset with another image="
    elif container == PROVISIONER_CONTAINER:
        image = f"juju config {application} dynamic-image=…"
    elif container not in ours.names:
        image = f"mend container {container}, which is not the charm's"
    return pod_images.ImageFix(image, f"juju config {application} image-pull-secret=…")


def _mount_failure(
    pod: core_v1.Pod, events: Iterable[core_v1.Event], application: str
) -> Cause | None:
    # The kubelet's own "timed out waiting for the condition" says nothing about the server.
    event = _latest_event(pod, events, "FailedMount", pod_mounts.ATTEMPT)
    if event is None:
        return None
    return pod_mounts.explain(
        _cut(event.message),
        _node(pod),
        application,
        stamp=_stamp(event),
        failing_seconds=_seconds_until(pod, event),
    )


def _seconds_until(pod: core_v1.Pod, event: core_v1.Event) -> float:
    """Return the time from the start of a pod on its node to what happened last; 0 if unknown."""
    started = pod.status and pod.status.startTime
    last = event.lastTimestamp or event.eventTime
    return objects.seconds(last) - objects.seconds(started) if started and last else 0


def _sandbox_failure(pod: core_v1.Pod, events: Iterable[core_v1.Event]) -> Cause | None:
    """Return the cause that keeps the node from starting any container, such as its network."""
    event = _latest_event(pod, events, "FailedCreatePodSandBox", "")
    if event is None:
        return None
    said = pod_images.strip_preamble(_cut(event.message).partition(": ")[2])
    text = f"cannot start pods: {said}"
    return Cause(f"{_node(pod)}: {text}", blocked=False, stamp=_stamp(event), about_node=text)


def _cut(text: str | None) -> str:
    return (text or "")[:_MOST_CHARACTERS]


def _node(pod: core_v1.Pod) -> str:
    return (pod.spec and pod.spec.nodeName) or "the node"


def _latest_event(
    regarding: Any, events: Iterable[core_v1.Event], reason: str, containing: str
) -> core_v1.Event | None:
    matching = [
        event
        for event in events
        if event.involvedObject.uid == objects.meta(regarding).uid
        and event.reason == reason
        and containing in (event.message or "")
    ]
    return max(matching, key=objects.event_time, default=None)


def _stamp(event: core_v1.Event) -> str:
    return f"{objects.meta(event).uid} {event.count} {objects.event_time(event)}"


def has_started(pod: core_v1.Pod, ours: OurContainers) -> bool:
    """Tell whether any of our containers has started.

    The pod's phase does not tell: it is Pending until all init containers have ended, and Running
    with the containers of others.

    Args:
        pod: The pod.
        ours: The names of our containers.
    """
    states = [find_state(pod, name) for name in ours.names]
    return any(state and (state.running or state.terminated) for state in states)


def find_termination(pod: core_v1.Pod, ours: OurContainers) -> Termination | None:
    """Return the end of our work in a pod; None while it goes on.

    A container that others have added, and that ended badly, counts only where it has kept ours
    from running.

    Args:
        pod: The pod.
        ours: The names of our containers.
    """
    reason = _pod_reason(pod)
    for name in ours.names:
        state = find_state(pod, name)
        ended = state and state.terminated
        if ended and (name == ours.main or ended.exitCode != 0):
            return _termination(name, ended, reason)
    if pod.status is None or pod.status.phase != "Failed":
        return None
    for status in _all_statuses(pod):
        ended = status.state and status.state.terminated
        if ended and ended.exitCode != 0:
            return _termination(status.name, ended, reason)
    return Termination("", pod_reason=reason)


def _termination(
    container: str, ended: core_v1.ContainerStateTerminated, pod_reason: str
) -> Termination:
    message = _cut(ended.message).strip()
    return Termination(message, container, ended.exitCode, ended.reason or "", pod_reason)


def _pod_reason(pod: core_v1.Pod) -> str:
    """Return why Kubernetes ended a pod, in its words; "" where it did not."""
    status = pod.status
    if status is None:
        return ""
    disruptions = [
        f"{_cut(condition.reason)}: {_cut(condition.message)}"
        for condition in status.conditions or []
        if condition.type == "DisruptionTarget" and condition.status == "True"
    ]
    said = f"{_cut(status.reason)}: {_cut(status.message)}"
    return next((each.strip(": ") for each in (said, *disruptions) if each.strip(": ")), "")


def find_state(pod: core_v1.Pod, container: str) -> core_v1.ContainerState | None:
    """Return the state of a container; None where it has none yet.

    Args:
        pod: The pod.
        container: The container's name.
    """
    return next((each.state for each in _all_statuses(pod) if each.name == container), None)


def _all_statuses(pod: core_v1.Pod) -> list[core_v1.ContainerStatus]:
    """Return the states of all containers, in the order in which they run."""
    if pod.status is None:
        return []
    return [*(pod.status.initContainerStatuses or []), *(pod.status.containerStatuses or [])]
