"""Takes away all that is ours in the cluster, in the order in which Kubernetes lets it go."""

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
    say: Callable[[str], None],
    timeout_seconds: float,
    dry_run: bool = False,
) -> list[str]:
    """Take away all that is ours in the cluster: Jobs, claims, volumes, class, namespace.

    It can be run again at any point. No claim is touched while a pod uses it.

    Args:
        cluster: The cluster.
        say: Told of each thing as it goes.
        timeout_seconds: How long to wait for pods that use claims, and for what was deleted.
        dry_run: Only tell what would go.

    Returns:
        What was said.

    Raises:
        problems.Waiting: Pods still use claims, or something is still going: it is named.
    """
    deadline = time.monotonic() + timeout_seconds
    own = cluster.owner.application
    seen = volume_observe.observe(cluster, [own])
    lines = job_lifecycle.remove(cluster, say=say, dry_run=dry_run)
    if not dry_run:
        _wait_for_pods(cluster, seen, deadline)
    for kind, name, namespace in _targets(seen, own):
        if not dry_run:
            cluster.delete(kind, name, namespace)
        done = "would delete" if dry_run else "deleted"
        lines.append(f"{done} {client.title(kind, name, namespace)}")
        say(lines[-1])
    if not dry_run:
        _wait_until_gone(cluster, own, deadline)
    return lines


def _targets(
    seen: volume_resources.ObservedVolumes, own: str
) -> list[tuple[type[client.Resource], str, str]]:
    targets: list[tuple[type[client.Resource], str, str]] = []
    targets += [
        (core_v1.PersistentVolumeClaim, c.name, c.namespace) for c in seen.claims if not c.deleting
    ]
    targets += [(core_v1.PersistentVolume, v.name, "") for v in seen.volumes if not v.deleting]
    targets += [(storage_v1.StorageClass, c.name, "") for c in seen.storage_classes]
    targets += [
        (core_v1.Namespace, own, "")
        for namespace in seen.namespaces.values()
        if namespace.ours and not namespace.terminating
    ]
    return targets


def _wait_for_pods(
    cluster: client.Cluster, seen: volume_resources.ObservedVolumes, deadline: float
) -> None:
    """Wait until no pod uses a claim of ours, nor stands in the namespace that we delete."""
    own = {namespace.name for namespace in seen.namespaces.values() if namespace.ours}
    claims = {(claim.namespace, claim.name) for claim in seen.claims}
    if not own and not claims:
        return

    def holders() -> list[str]:
        return [
            f"{pod.namespace}/{pod.name}"
            for pod in volume_observe.list_claim_users(cluster)
            if pod.namespace in own or any((pod.namespace, c) in claims for c in pod.claims)
        ]

    left = polling.poll(holders, lambda found: not found, deadline - time.monotonic())
    if left:
        pods = volume_resources.format_pods(left)
        raise problems.Waiting(f"claims are in use: delete {pods}, then run it again")


def _wait_until_gone(cluster: client.Cluster, own: str, deadline: float) -> None:
    def remains() -> list[str]:
        seen = volume_observe.observe(cluster, [own])
        return [
            *(f"claim {c.namespace}/{c.name}" for c in seen.claims),
            *(f"volume {v.name}" for v in seen.volumes),
            *(f"namespace {n.name}" for n in seen.namespaces.values() if n.ours),
        ]

    left = polling.poll(remains, lambda found: not found, deadline - time.monotonic())
    if left:
        raise problems.Waiting(f"{left[0]} is still being deleted: run it again")
