"""Stop the provisioner of dynamic volumes, and remove its objects; the volumes stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightkube.resources import apps_v1, core_v1, rbac_authorization_v1, storage_v1

import polling
import problems
from cluster import objects, ownership
from cluster.dynamic import provisioner_manifests
from cluster.volumes import volume_names

if TYPE_CHECKING:
    import identity
    from cluster import client


def standing(cluster: client.Cluster) -> list[objects.Reference]:
    """Return its objects that stand, in the order in which they go: the Deployment is the first.

    The role goes last, so that it tells whether any may stand.

    Args:
        cluster: The cluster.
    """
    found: list[Any] = [_find(cluster, apps_v1.Deployment), *find_classes(cluster)]
    wide = provisioner_manifests.cluster_name(cluster.owner)
    found.append(cluster.find(rbac_authorization_v1.ClusterRoleBinding, wide))
    found.append(_find(cluster, core_v1.ServiceAccount))
    found.append(cluster.find(rbac_authorization_v1.ClusterRole, wide))
    return [objects.reference(each) for each in found if each is not None and cluster.owns(each)]


def find_classes(cluster: client.Cluster) -> list[storage_v1.StorageClass]:
    """Return the classes of its claims.

    Args:
        cluster: The cluster.
    """
    marked = cluster.select(storage_v1.StorageClass, ownership.mark(cluster.owner))
    return [each for each in marked if owns_class(cluster.owner, each)]


def owns_class(owner: identity.Owner, resource: Any) -> bool:
    """Return whether a class is ours: by its marks, its own name, and its provisioner.

    Args:
        owner: The application.
        resource: The class.
    """
    return bool(
        ownership.is_marked(owner, resource)
        and ownership.names_itself(resource)
        and resource.provisioner == volume_names.provisioner_name(owner)
    )


def find_made(cluster: client.Cluster) -> list[core_v1.PersistentVolume]:
    """Return the volumes that the provisioner made: one call.

    Args:
        cluster: The cluster.
    """
    found = cluster.select(core_v1.PersistentVolume, {})
    return [each for each in found if provisioner_manifests.made(cluster.owner, each)]


def stop(cluster: client.Cluster, timeout_seconds: float) -> None:
    """Delete the Deployment, and wait until its pods are gone.

    Args:
        cluster: The cluster.
        timeout_seconds: The longest time to wait.

    Raises:
        problems.Waiting: A pod is still there.
    """
    release_claim(cluster)
    await_end(cluster, timeout_seconds)


def release_claim(cluster: client.Cluster) -> None:
    """Delete the Deployment, whose pod keeps our claim in use.

    Args:
        cluster: The cluster.
    """
    deployment = _find(cluster, apps_v1.Deployment)
    if deployment is not None:
        cluster.remove(objects.reference(deployment))


def await_end(cluster: client.Cluster, timeout_seconds: float) -> None:
    """Wait until none of its pods is left, which could still make a volume.

    Args:
        cluster: The cluster.
        timeout_seconds: The longest time to wait.

    Raises:
        problems.Waiting: A pod is still there.
    """
    left = polling.poll(lambda: _pods(cluster), lambda pods: not pods, timeout_seconds)
    if left:
        raise problems.Waiting(
            f"pod {cluster.namespace}/{objects.name(left[0])}, the provisioner, is still being "
            "deleted: see kubectl describe"
        )


def remove(cluster: client.Cluster, timeout_seconds: float) -> list[str]:
    """Stop the provisioner and remove its objects; one call where there are none.

    Args:
        cluster: The cluster.
        timeout_seconds: The longest time to wait for its pods.

    Returns:
        The titles of the volumes that it made, which stay; none where it did not stand.

    Raises:
        problems.Waiting: A pod is still there.
    """
    wide = provisioner_manifests.cluster_name(cluster.owner)
    role = cluster.find(rbac_authorization_v1.ClusterRole, wide)
    if role is None or not cluster.owns(role):
        return []
    stop(cluster, timeout_seconds)
    for each in standing(cluster):
        cluster.remove(each)
    return [provisioner_manifests.title(each) for each in find_made(cluster)]


def _find(cluster: client.Cluster, kind: type[Any]) -> Any:
    """Return the provisioner's object of a kind in our namespace; None where there is none."""
    return cluster.find_own(kind, provisioner_manifests.NAME) if _has_namespace(cluster) else None


def _has_namespace(cluster: client.Cluster) -> bool:
    """Return whether the namespace of our name is ours: in one of others, nothing is."""
    found = cluster.find(core_v1.Namespace, cluster.namespace)
    return found is not None and ownership.is_marked(cluster.owner, found)


def _pods(cluster: client.Cluster) -> list[core_v1.Pod]:
    if not _has_namespace(cluster):
        return []
    marked = cluster.own(core_v1.Pod, {provisioner_manifests.PART: provisioner_manifests.NAME})
    return [each for each in marked if objects.replica_set_uid(each)]
