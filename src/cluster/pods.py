"""Says why a pod does not run, from what its status and its events tell, and what mends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from lightkube.models import core_v1

from cluster import objects


@dataclasses.dataclass(frozen=True)
class Cause:
    """What keeps a pod from running.

    Attributes:
        sentence: What is so, then what to do.
        blocked: Whether it needs the user; else it may mend itself.
        stamp: Differs each time that it is seen anew: an old event may be mended meanwhile.
    """

    sentence: str
    blocked: bool
    stamp: str


@dataclasses.dataclass(frozen=True)
class Termination:
    """The end of the container that decided a pod's end.

    Attributes:
        message: Its termination message.
        container: Its name.
        exit_code: Its exit code.
        reason: Kubernetes' word for it, such as OOMKilled.
    """

    message: str
    container: str = ""
    exit_code: int = 0
    reason: str = ""


# The container of a Job of ours that runs an image which the user named in an action.
USERS_CONTAINER = "loader"

_NO_CLIENT = (
    "no NFS client; "
    "juju exec --application kubernetes-worker -- sudo apt-get install -y nfs-common"
)
_NO_NAME = "{node} cannot resolve the file system's name yet: it takes 90 s, and DNS in the VPC"
_NO_ANSWER = "{node} gets no answer on port 2049: check the VPC's network ACLs and routes"
_OPTIONS = "{node} refuses mount-options: juju config {application} --reset mount-options"
_DENIED = "the file system denies {node} access: check its file system policy in AWS"

# What mount and mount.nfs say, in the order in which to look: (their words, ours, needs the user).
_MOUNT_FAILURES = (
    ("unknown filesystem type", _NO_CLIENT, True),
    ("need a /sbin/mount.", _NO_CLIENT, True),
    ("wrong fs type", _NO_CLIENT, True),
    ("Failed to resolve server", _NO_NAME, False),
    ("incorrect mount option", _OPTIONS, True),
    ("access denied", _DENIED, True),
    ("Connection refused", _NO_ANSWER, True),
    ("timed out", _NO_ANSWER, True),
    ("No route to host", _NO_ANSWER, True),
)
_IMAGE_FAILURES = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_MOUNT_ATTEMPT = "MountVolume.SetUp failed"


def find_cause(
    pod: core_v1.Pod, events: Iterable[core_v1.Event], application: str
) -> Cause | None:
    """What keeps a pod from running; None while nothing is known to.

    Args:
        pod: The pod.
        events: Warnings of its namespace.
        application: Our application, for the commands that mend it.
    """
    if pod.status is None or pod.status.phase != "Pending":
        return None
    uid = objects.meta(pod).uid or ""
    for status in _containers(pod):
        waiting = status.state and status.state.waiting
        if waiting and waiting.reason in _IMAGE_FAILURES:
            hint = f"juju config {application} loader-image=…"
            if status.name == USERS_CONTAINER:
                hint = "check image"
            sentence = f"image {status.image} cannot be pulled ({waiting.reason}): {hint}"
            return Cause(sentence, blocked=True, stamp=uid)
        if waiting and waiting.reason == "CreateContainerConfigError":
            return Cause(waiting.message or waiting.reason, blocked=True, stamp=uid)
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            said = condition.message or condition.reason or "no node takes it"
            return Cause(f"pod not scheduled: {said}", blocked=False, stamp=uid)
    return _mount_failure(pod, events, application)


def find_refusal(owner: Any, events: Iterable[core_v1.Event]) -> Cause | None:
    """Why the pods of a Job are not even created, as a quota or a policy does it.

    Args:
        owner: The Job.
        events: Warnings of its namespace.
    """
    event = _latest_event(owner, events, "FailedCreate", "")
    if event is None:
        return None
    said = event.message or ""
    # A new namespace has no service account for a moment, and that is "forbidden", too.
    blocked = "forbidden" in said and "service account" not in said
    return Cause(" ".join(said.split()), blocked=blocked, stamp=_stamp(event))


def _mount_failure(
    pod: core_v1.Pod, events: Iterable[core_v1.Event], application: str
) -> Cause | None:
    # The kubelet also says "timed out waiting for the condition", which tells nothing of a server.
    event = _latest_event(pod, events, "FailedMount", _MOUNT_ATTEMPT)
    if event is None:
        return None
    said = event.message or ""
    node = (pod.spec and pod.spec.nodeName) or "the node"
    for theirs, ours, blocked in _MOUNT_FAILURES:
        if theirs in said:
            sentence = ours.format(node=node, application=application)
            return Cause(sentence, blocked, _stamp(event))
    output = said.rpartition("Output:")[2].strip() or said
    return Cause(f"{node} cannot mount: {output}", blocked=False, stamp=_stamp(event))


def _latest_event(
    regarding: Any, events: Iterable[core_v1.Event], reason: str, containing: str
) -> core_v1.Event | None:
    found = [
        event
        for event in events
        if event.involvedObject.uid == objects.meta(regarding).uid
        and event.reason == reason
        and containing in (event.message or "")
    ]
    return max(found, key=_when, default=None)


def _when(event: core_v1.Event) -> str:
    return str(event.lastTimestamp or event.eventTime or objects.meta(event).creationTimestamp)


def _stamp(event: core_v1.Event) -> str:
    return f"{objects.meta(event).uid} {event.count} {_when(event)}"


def has_started(pod: core_v1.Pod) -> bool:
    """Whether any of its containers has run: a pod is Pending until the last of the first has.

    Args:
        pod: The pod.
    """
    states = [status.state for status in _containers(pod) if status.state]
    return any(state.running or state.terminated for state in states)


def find_termination(pod: core_v1.Pod) -> Termination | None:
    """Return the end of the container that decided the pod's end; None while it runs.

    Args:
        pod: The pod.
    """
    spec = pod.spec
    last = spec.containers[-1].name if spec else ""
    for status in _containers(pod):
        ended = status.state and status.state.terminated
        if ended and (status.name == last or ended.exitCode != 0):
            return Termination(
                (ended.message or "").strip(), status.name, ended.exitCode, ended.reason or ""
            )
    return None


def _containers(pod: core_v1.Pod) -> list[core_v1.ContainerStatus]:
    """The states of its containers, in the order in which they run."""
    if pod.status is None:
        return []
    return [*(pod.status.initContainerStatuses or []), *(pod.status.containerStatuses or [])]
