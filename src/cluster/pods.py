"""Find out from a pod's status and events why it does not run, and how to fix it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from lightkube.models import core_v1

from cluster import objects


@dataclasses.dataclass(frozen=True)
class Cause:
    """The cause that keeps a pod from running.

    Attributes:
        sentence: The message: a fact, then what to do.
        blocked: Whether the user has to act; if not, it may resolve itself.
        stamp: An identity of the occurrence, another one for each: the cause of an old event may
            be fixed meanwhile.
    """

    sentence: str
    blocked: bool
    stamp: str


@dataclasses.dataclass(frozen=True)
class Termination:
    """The termination of the container that ended its pod.

    Attributes:
        message: Its termination message.
        container: Its name.
        exit_code: Its exit code.
        reason: Kubernetes' reason, such as OOMKilled.
    """

    message: str
    container: str = ""
    exit_code: int = 0
    reason: str = ""


# The container of our Jobs that runs the image of a custom loader.
USERS_CONTAINER = "loader"

_NO_CLIENT = (
    "no NFS client; "
    "juju exec --application kubernetes-worker -- sudo apt-get install -y nfs-common"
)
_NO_NAME = "{node} cannot resolve the file system's name yet: wait 90 s, then check DNS in the VPC"
_NO_ANSWER = "{node} gets no answer on port 2049: check the VPC's network ACLs and routes"
_OPTIONS = "{node} refuses mount-options: juju config {application} --reset mount-options"
_NO_FILES = "its program was deleted from the cluster: run the action again"
_DENIED = "the file system denies {node} access: check its file system policy in AWS"

# Messages of mount and mount.nfs, in the order in which to look for them: a part of theirs, ours,
# and whether the user has to act.
_MOUNT_FAILURES = (
    ('configmap "files-', _NO_FILES, True),
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
    """Return the cause that keeps a pod from running; None if none is known.

    Args:
        pod: The pod.
        events: Warnings of its namespace.
        application: Our application, for the commands in the messages.
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
            message = condition.message or condition.reason or "no node accepts it"
            return Cause(f"pod not scheduled: {message}", blocked=False, stamp=uid)
    return _mount_failure(pod, events, application)


def find_refusal(owner: Any, events: Iterable[core_v1.Event]) -> Cause | None:
    """Return the cause that keeps a Job's pods from being created, such as a quota or a policy.

    Args:
        owner: The Job.
        events: Warnings of its namespace.
    """
    event = _latest_event(owner, events, "FailedCreate", "")
    if event is None:
        return None
    message = event.message or ""
    # A new namespace has no service account for a moment; that is "forbidden", too.
    blocked = "forbidden" in message and "service account" not in message
    return Cause(" ".join(message.split()), blocked=blocked, stamp=_stamp(event))


def _mount_failure(
    pod: core_v1.Pod, events: Iterable[core_v1.Event], application: str
) -> Cause | None:
    # The kubelet's own "timed out waiting for the condition" says nothing about the server.
    event = _latest_event(pod, events, "FailedMount", _MOUNT_ATTEMPT)
    if event is None:
        return None
    message = event.message or ""
    node = (pod.spec and pod.spec.nodeName) or "the node"
    for theirs, ours, blocked in _MOUNT_FAILURES:
        if theirs in message:
            sentence = ours.format(node=node, application=application)
            return Cause(sentence, blocked, _stamp(event))
    output = message.rpartition("Output:")[2].strip() or message
    return Cause(f"{node} cannot mount: {output}", blocked=False, stamp=_stamp(event))


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
    return max(matching, key=_when, default=None)


def _when(event: core_v1.Event) -> str:
    return str(event.lastTimestamp or event.eventTime or objects.meta(event).creationTimestamp)


def _stamp(event: core_v1.Event) -> str:
    return f"{objects.meta(event).uid} {event.count} {_when(event)}"


def has_started(pod: core_v1.Pod) -> bool:
    """Tell whether any container has started.

    The pod's phase does not tell: it is Pending until all init containers have ended.

    Args:
        pod: The pod.
    """
    states = [status.state for status in _containers(pod) if status.state]
    return any(state.running or state.terminated for state in states)


def find_termination(pod: core_v1.Pod) -> Termination | None:
    """Return the termination of the container that ended the pod; None while it runs.

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
    """Return the states of its containers, in the order in which they run."""
    if pod.status is None:
        return []
    return [*(pod.status.initContainerStatuses or []), *(pod.status.containerStatuses or [])]
