"""Find objects that carry our marks and are not ours: copies, which are left alone and told."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from lightkube.resources import batch_v1, core_v1, storage_v1

from cluster import objects, ownership

if TYPE_CHECKING:
    from cluster import client

_KINDS: tuple[type[Any], ...] = (
    core_v1.PersistentVolumeClaim,
    core_v1.PersistentVolume,
    storage_v1.StorageClass,
    batch_v1.Job,
    core_v1.Secret,
    core_v1.ConfigMap,
    core_v1.Namespace,
)


def find(cluster: client.Cluster, removed: Collection[str]) -> list[str]:
    """Return the titles of the copies outside our namespace: a call for each kind.

    Args:
        cluster: The cluster.
        removed: The uids of our objects that are deleted, or would be.
    """
    return [
        objects.reference(each).title
        for kind in _KINDS
        for each in cluster.select(kind, ownership.mark(cluster.owner))
        if _is_outside(cluster, each) and objects.meta(each).uid not in removed
    ]


def _is_outside(cluster: client.Cluster, resource: Any) -> bool:
    metadata = objects.meta(resource)
    if isinstance(resource, core_v1.Namespace):
        return metadata.name != cluster.namespace
    return metadata.namespace != cluster.namespace
