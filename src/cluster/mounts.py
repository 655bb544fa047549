"""Which pods have a directory of the volume mounted: those of users, in whatever namespace."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from lightkube.models import core_v1 as models
from lightkube.resources import core_v1

from cluster import client, objects


def find_users(cluster: client.Cluster, directories: Iterable[str]) -> list[str]:
    """The pods that have not ended and mount one of these directories, or one around or in it.

    Args:
        cluster: The cluster.
        directories: From the volume's root.

    Returns:
        Their namespaces and names, as in "default/reader".
    """
    claims = {
        (objects.meta(claim).namespace, objects.name(claim))
        for claim in cluster.ours(core_v1.PersistentVolumeClaim)
    }
    wanted = list(directories)
    found: list[str] = []
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
        if any(_overlap(path, directory) for path in mounted for directory in wanted):
            found.append(f"{namespace}/{objects.name(pod)}")
    return sorted(found)


def _mounted_directories(spec: models.PodSpec) -> Iterator[tuple[str, str]]:
    """The volumes that its containers mount, and which directory of each; "" for all of it."""
    every = [*(spec.initContainers or []), *spec.containers, *(spec.ephemeralContainers or [])]
    for container in every:
        for mount in container.volumeMounts or []:
            # What an expression stands for is known up to its first variable.
            expression = (mount.subPathExpr or "").partition("$(")[0].rpartition("/")[0]
            yield mount.name, mount.subPath or expression


def _overlap(one: str, other: str) -> bool:
    """Whether one of two directories is the other, or in it."""
    first, second = (posixpath.normpath(f"/{path}").rstrip("/") + "/" for path in (one, other))
    return first.startswith(second) or second.startswith(first)
