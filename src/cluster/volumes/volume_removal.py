"""Delete all our objects in the cluster, in the order that Kubernetes requires."""

from __future__ import annotations

import time
from collections.abc import Callable

from lightkube.resources import core_v1, storage_v1

import polling
import problems
from cluster import client
from cluster.jobs import job_lifecycle
from cluster.volumes import volume_observe, volume_resources


def remove(
    cluster: client.Cluster,
    *,
    report: Callable[[str], None],
    timeout_seconds: float,
    dry_run: bool = False,
) -> list[str]:
    """Delete all our objects in the cluster: Jobs, claims, volumes, class, namespace.

    It can be run again at any point. No claim is touched while a pod uses it.

    Args:
        cluster: The cluster.
        report: Gets a line for each object.
        timeout_seconds: The longest time to wait for pods that use claims, and for deletions.
        dry_run: Only report what would be deleted.

    Returns:
        The reported lines.

    Raises:
        problems.Waiting: Pods still use claims, or an object is still being deleted: it is named.
    """
    deadline = time.monotonic() + timeout_seconds
    own = cluster.owner.application
    observed = volume_observe.observe(cluster, [own])
    lines = job_lifecycle.remove(cluster, report=report, dry_run=dry_run)
    if not dry_run:
        _wait_for_pods(cluster, observed, deadline)
    lines += _delete(cluster, _claims(observed), report, dry_run=dry_run)
    if not dry_run:
        # Kubernetes looks again only after 8 s at a deleted namespace in which it found a claim.
        _wait_until_gone(cluster, _claim_titles, deadline)
    lines += _delete(cluster, _all_but_claims(observed, own), report, dry_run=dry_run)
    if not dry_run:
        _wait_until_gone(cluster, _all_titles, deadline)
    return lines


_Target = tuple[type[client.Resource], str, str]
_Titles = Callable[[volume_resources.ObservedVolumes], list[str]]


def _claims(observed: volume_resources.ObservedVolumes) -> list[_Target]:
    return [
        (core_v1.PersistentVolumeClaim, c.name, c.namespace)
        for c in observed.claims
        if not c.deleting
    ]


def _all_but_claims(observed: volume_resources.ObservedVolumes, own: str) -> list[_Target]:
    targets: list[_Target] = []
    targets += [(core_v1.PersistentVolume, v.name, "") for v in observed.volumes if not v.deleting]
    targets += [(storage_v1.StorageClass, c.name, "") for c in observed.storage_classes]
    targets += [
        (core_v1.Namespace, own, "")
        for namespace in observed.namespaces.values()
        if namespace.ours and not namespace.terminating
    ]
    return targets


def _delete(
    cluster: client.Cluster,
    targets: list[_Target],
    report: Callable[[str], None],
    *,
    dry_run: bool,
) -> list[str]:
    lines: list[str] = []
    for kind, name, namespace in targets:
        if not dry_run:
            cluster.delete(kind, name, namespace)
        done = "would delete" if dry_run else "deleted"
        lines.append(f"{done} {client.title(kind, name, namespace)}")
        report(lines[-1])
    return lines


def _wait_for_pods(
    cluster: client.Cluster, observed: volume_resources.ObservedVolumes, deadline: float
) -> None:
    """Wait until no pod uses a claim of ours or is in the namespace that we delete."""
    own = {namespace.name for namespace in observed.namespaces.values() if namespace.ours}
    claims = {(claim.namespace, claim.name) for claim in observed.claims}
    if not own and not claims:
        return

    def users() -> list[str]:
        return [
            f"{pod.namespace}/{pod.name}"
            for pod in volume_observe.list_claim_users(cluster)
            if pod.namespace in own or any((pod.namespace, c) in claims for c in pod.claims)
        ]

    left = polling.poll(users, lambda pods: not pods, deadline - time.monotonic())
    if left:
        named = volume_resources.format_pods(left)
        raise problems.Waiting(f"claims are in use: delete {named}, then run it again")


def _claim_titles(observed: volume_resources.ObservedVolumes) -> list[str]:
    return [f"claim {claim.namespace}/{claim.name}" for claim in observed.claims]


def _all_titles(observed: volume_resources.ObservedVolumes) -> list[str]:
    return [
        *_claim_titles(observed),
        *(f"volume {volume.name}" for volume in observed.volumes),
        *(f"namespace {each.name}" for each in observed.namespaces.values() if each.ours),
    ]


def _wait_until_gone(cluster: client.Cluster, titles: _Titles, deadline: float) -> None:
    """Wait until an observation has nothing that `titles` lists."""

    def remaining() -> list[str]:
        return titles(volume_observe.observe(cluster, [cluster.owner.application]))

    left = polling.poll(remaining, lambda each: not each, deadline - time.monotonic())
    if left:
        raise problems.Waiting(f"{left[0]} is still being deleted: run it again")
