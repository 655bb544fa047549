"""Create what a Job's pods read: a Secret of its own, and files that several Jobs share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import lightkube.types
from lightkube.resources import core_v1

from cluster import manifests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightkube.models import meta_v1

    from cluster import client


def save_secret(
    cluster: client.Cluster, owner: meta_v1.OwnerReference, values: Mapping[str, str]
) -> None:
    """Save values in a Secret that has the Job's name and is deleted with it.

    Args:
        cluster: The cluster.
        owner: The Job.
        values: The values by name.
    """
    manifest = manifests.render(
        "secret",
        job=owner,
        namespace=cluster.namespace,
        labels=dict(cluster.labels),
        values={name: value.encode() for name, value in values.items()},
    )
    cluster.apply(manifests.resource(manifest), known=False)


def share_files(
    cluster: client.Cluster, owner: meta_v1.OwnerReference, files: Mapping[str, bytes]
) -> None:
    """Create the ConfigMap of these files, or add the Job to the owners of the existing one.

    Args:
        cluster: The cluster.
        owner: The Job.
        files: The files by name.
    """
    name = files_name(files)
    existing = cluster.find(core_v1.ConfigMap, name, cluster.namespace)
    if existing is not None and cluster.owns(existing):
        body = {"metadata": {"ownerReferences": [owner]}}
        strategic = lightkube.types.PatchType.STRATEGIC  # it adds to the list
        cluster.patch(core_v1.ConfigMap, name, cluster.namespace, body, strategic)
        return
    manifest = manifests.render(
        "files",
        name=name,
        job=owner,
        namespace=cluster.namespace,
        labels=dict(cluster.labels),
        files=files,
    )
    cluster.apply(manifests.resource(manifest), known=False)


def files_name(files: Mapping[str, bytes]) -> str:
    """Return the name of the ConfigMap of these files: another one for any other content.

    Args:
        files: The files by name.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"files-{digest.hexdigest()[:16]}"
