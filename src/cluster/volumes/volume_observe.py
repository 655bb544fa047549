"""Observe our volumes and claims, and the pods that use them, in a fixed number of calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from lightkube.resources import core_v1, storage_v1

from cluster import client, objects
from cluster.volumes import volume_resources

ENFORCE = "pod-security.kubernetes.io/enforce"

_NAME = "kubernetes.io/metadata.name"


@dataclasses.dataclass(frozen=True)
class ClaimUser:
    """A pod and the claims that it mounts.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        claims: The names of the claims that it mounts.
    """

    namespace: str
    name: str
    claims: frozenset[str]


def observe(
    cluster: client.Cluster, namespaces: Iterable[str]
) -> volume_resources.ObservedVolumes:
    """Observe our volumes: four calls, whatever the number of namespaces.

    Args:
        cluster: The cluster.
        namespaces: The names of the namespaces to look up.
    """
    observed = [
        _namespace(cluster, n) for n in cluster.select(core_v1.Namespace, {_NAME: namespaces})
    ]
    return volume_resources.ObservedVolumes(
        namespaces={namespace.name: namespace for namespace in observed},
        storage_classes=tuple(map(_storage_class, cluster.ours(storage_v1.StorageClass))),
        volumes=tuple(map(_volume, cluster.ours(core_v1.PersistentVolume))),
        claims=tuple(map(_claim, cluster.ours(core_v1.PersistentVolumeClaim))),
    )


def list_claim_users(cluster: client.Cluster) -> list[ClaimUser]:
    """Return all pods of the cluster, finished ones included: they keep their claims in use.

    Args:
        cluster: The cluster.
    """
    return [_claim_user(pod) for pod in cluster.select(core_v1.Pod, {})]


def find_claim_users(cluster: client.Cluster) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the pods that use each claim, by its namespace and name.

    Args:
        cluster: The cluster.
    """
    users: dict[tuple[str, str], tuple[str, ...]] = {}
    for pod in list_claim_users(cluster):
        for claim in pod.claims:
            key = (pod.namespace, claim)
            users[key] = (*users.get(key, ()), pod.name)
    return users


# These functions take Any: lightkube leaves labels, capacities and requests untyped.


def _namespace(cluster: client.Cluster, namespace: Any) -> volume_resources.ObservedNamespace:
    return volume_resources.ObservedNamespace(
        name=namespace.metadata.name,
        ours=cluster.owns(namespace),
        terminating=namespace.metadata.deletionTimestamp is not None,
        enforce=objects.labels_of(namespace).get(ENFORCE, ""),
    )


def _storage_class(resource: Any) -> volume_resources.ObservedStorageClass:
    fixed = (resource.provisioner, resource.volumeBindingMode, resource.reclaimPolicy)
    return volume_resources.ObservedStorageClass(
        name=resource.metadata.name,
        matches=fixed == ("kubernetes.io/no-provisioner", "Immediate", "Retain"),
        expands=resource.allowVolumeExpansion is True,
    )


def _volume(volume: Any) -> volume_resources.ObservedVolume:
    spec = volume.spec
    reference = spec.claimRef
    return volume_resources.ObservedVolume(
        name=volume.metadata.name,
        server=spec.nfs.server if spec.nfs else "",
        storage_class=spec.storageClassName or "",
        mount_options=tuple(spec.mountOptions or ()),
        capacity=objects.storage(spec.capacity),
        policy=spec.persistentVolumeReclaimPolicy or "",
        namespace=(reference and reference.namespace) or "",
        claim=(reference and reference.name) or "",
        claim_uid=(reference and reference.uid) or "",
        deleting=volume.metadata.deletionTimestamp is not None,
    )


def _claim(claim: Any) -> volume_resources.ObservedClaim:
    spec, status = claim.spec, claim.status
    return volume_resources.ObservedClaim(
        namespace=claim.metadata.namespace,
        name=claim.metadata.name,
        phase=(status and status.phase) or "Pending",
        capacity=objects.storage(status and status.capacity),
        request=objects.storage(spec.resources and spec.resources.requests),
        storage_class=spec.storageClassName or "",
        volume=spec.volumeName or "",
        uid=claim.metadata.uid,
        deleting=claim.metadata.deletionTimestamp is not None,
    )


def _claim_user(pod: core_v1.Pod) -> ClaimUser:
    sources = [v.persistentVolumeClaim for v in (pod.spec and pod.spec.volumes) or []]
    return ClaimUser(
        namespace=objects.meta(pod).namespace or "",
        name=objects.name(pod),
        claims=frozenset(source.claimName for source in sources if source),
    )
