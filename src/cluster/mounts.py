"""Find the users' pods that have a directory of the volume mounted, in any namespace."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from lightkube.models import core_v1 as models
from lightkube.resources import core_v1

from cluster import client, objects


def find_users(cluster: client.Cluster, directories: Iterable[str]) -> list[str]:
    """Return the running pods that mount one of these directories, a parent or a child of it.

    Args:
        cluster: The cluster.
        directories: Paths from the volume's root.

    Returns:
        Their namespaces and names, as in "default/reader".
    """
    claims = {
        (objects.meta(claim).namespace, objects.name(claim))
        for claim in cluster.ours(core_v1.PersistentVolumeClaim)
    }
    searched = list(directories)
    users: list[str] = []
    for pod in cluster.select(core_v1.Pod, {}):
        ended = pod.status and pod.status.phase in {"Succeeded", "Failed"}
        if ended or pod.spec is None or cluster.owns(pod):
            continue
        namespace = objects.meta(pod).namespace
        ours = {
            volume.name
            for volume in pod.spec.volumes or []
            if (source := volume.persistentVolumeClaim) and (namespace, source.claimName) in claims
        }
        mounted = (path for name, path in _mounted_directories(pod.spec) if name in ours)
        if any(_overlap(path, directory) for path in mounted for directory in searched):
            users.append(f"{namespace}/{objects.name(pod)}")
    return sorted(users)


def _mounted_directories(spec: models.PodSpec) -> Iterator[tuple[str, str]]:
    """Yield the mounts of all containers: volume and directory in it; "" for all of it."""
    containers = [
        *(spec.initContainers or []),
        *spec.containers,
        *(spec.ephemeralContainers or []),
    ]
    for container in containers:
        for mount in container.volumeMounts or []:
            # A subPathExpr is known only up to its first variable.
            expression = (mount.subPathExpr or "").partition("$(")[0].rpartition("/")[0]
            yield mount.name, mount.subPath or expression


def _overlap(one: str, other: str) -> bool:
    """Tell whether two directories are the same, or one is in the other."""
    first, second = (posixpath.normpath(f"/{path}").rstrip("/") + "/" for path in (one, other))
    return first.startswith(second) or second.startswith(first)
