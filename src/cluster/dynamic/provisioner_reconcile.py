"""Bring the provisioner of dynamic volumes to the desired state, and tell why it does not run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightkube.resources import apps_v1, core_v1, storage_v1

import polling
import problems
from cluster import client, manifests, objects, pods
from cluster.dynamic import provisioner_manifests, provisioner_removal

if TYPE_CHECKING:
    from lightkube.models import core_v1 as models

# What cannot be changed: with another one, the object is made again.
_FIXED = {
    "StorageClass": ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
    "ClusterRoleBinding": ("roleRef",),
}
_OURS = pods.OurContainers(provisioner_manifests.NAME)
_SUBJECT = "dynamic volumes"


def reconcile(
    cluster: client.Cluster,
    desired: provisioner_manifests.DesiredProvisioner,
    *,
    timeout_seconds: float,
) -> problems.Problem | None:
    """Make the provisioner run; in a steady state nothing is written.

    Args:
        cluster: The cluster.
        desired: The desired provisioner.
        timeout_seconds: The longest time to wait for its pod, where something was changed.

    Returns:
        The problem that keeps it from running; None where it runs.

    Raises:
        problems.Blocked: An object of its name is somebody else's.
    """
    written = False
    for manifest in provisioner_manifests.render(desired, cluster.owner):
        resource = manifests.resource(manifest)
        written |= client.repeat(
            lambda manifest=manifest, resource=resource: _bring(cluster, manifest, resource)
        )
    _remove_former_classes(cluster, desired.storage_class)
    # What has not run for a while does not because this hook waits.
    runs = polling.poll(lambda: _runs(cluster), bool, timeout_seconds if written else 0)
    return None if runs else _explain(cluster)


def _bring(cluster: client.Cluster, manifest: manifests.Manifest, resource: Any) -> bool:
    """Create an object, or change it where it is not as desired; return whether that was so."""
    target = objects.reference(resource)
    found = cluster.find(target.kind, target.name, target.namespace)
    if found is None or not cluster.owns(found):
        cluster.apply(resource)  # it refuses to touch one that is not ours
        return True
    foreign_class = target.kind is storage_v1.StorageClass and not (
        provisioner_removal.owns_class(cluster.owner, found)
    )
    if foreign_class:
        application = cluster.owner.application
        raise problems.Blocked(
            f"{target.title} exists and is not ours: juju config {application} storage-class=…"
        )
    state: dict[str, Any] = found.to_dict()
    fixed = all(state.get(key) == manifest[key] for key in _FIXED.get(manifest["kind"], ()))
    if fixed and provisioner_manifests.includes(state, manifest):
        return False
    over: objects.Reference | None = objects.reference(found)
    if not fixed:
        cluster.delete(objects.reference(found))
        over = None
    cluster.apply(resource, over=over)
    return True


def _remove_former_classes(cluster: client.Cluster, storage_class: str) -> None:
    """Delete classes of former names; one that volumes have is needed to delete them."""
    former = [
        each
        for each in provisioner_removal.find_classes(cluster)
        if objects.name(each) != storage_class
    ]
    if not former:
        return
    used = {
        each.spec and each.spec.storageClassName for each in provisioner_removal.find_made(cluster)
    }
    for each in former:
        if objects.name(each) not in used:
            cluster.remove(objects.reference(each))


def _runs(cluster: client.Cluster) -> bool:
    deployment: Any = cluster.find_own(apps_v1.Deployment, provisioner_manifests.NAME)
    if deployment is None or deployment.status is None:
        return False
    status = deployment.status
    current = (status.observedGeneration or 0) >= (objects.meta(deployment).generation or 0)
    return current and bool(status.updatedReplicas) and bool(status.availableReplicas)


def _explain(cluster: client.Cluster) -> problems.Problem:
    """Return why it does not run."""
    name, namespace = provisioner_manifests.NAME, cluster.namespace
    application = cluster.owner.application
    see = f"kubectl -n {namespace} logs deployment/{name}"
    events = cluster.select(core_v1.Event, {}, namespace=namespace, fields={"type": "Warning"})
    part = {provisioner_manifests.PART: name}
    for pod in cluster.own(core_v1.Pod, part):
        if objects.meta(pod).deletionTimestamp is not None:
            continue
        state = pods.find_state(pod, name)
        if state and state.waiting and state.waiting.reason == "CrashLoopBackOff":
            return problems.Blocked(f"{_SUBJECT}: the provisioner fails: see {see}{_said(pod)}")
        if cause := pods.find_cause(pod, events, application, _OURS):
            return _problem(cause)
    for each in cluster.own(apps_v1.ReplicaSet, part):
        if cause := pods.find_refusal(each, events, application):
            return _problem(cause)
    return problems.Waiting(f"{_SUBJECT}: the provisioner does not run yet: see {see}")


def _problem(cause: pods.Cause) -> problems.Problem:
    """Return a cause as a problem; one that names the image's option needs no subject."""
    sentence = " ".join(cause.sentence.split())
    kind = problems.Blocked if cause.blocked else problems.Waiting
    return kind(sentence if "dynamic-image" in sentence else f"{_SUBJECT}: {sentence}")


def _said(pod: models.Pod) -> str:
    """Return what it wrote last, after the fix: it may be long."""
    statuses = (pod.status and pod.status.containerStatuses) or []
    for each in statuses:
        ended = each.lastState and each.lastState.terminated
        if each.name == provisioner_manifests.NAME and ended and ended.message:
            return f" ({' '.join(ended.message.split())[-200:]})"
    return ""
