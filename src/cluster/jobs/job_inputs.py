"""What a Job's pod gets besides its manifest: a Secret of its own, and files that Jobs share."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import lightkube.types
from lightkube.models import meta_v1
from lightkube.resources import core_v1

if TYPE_CHECKING:
    from cluster import client


def save_secret(
    cluster: client.Cluster, owner: meta_v1.OwnerReference, values: Mapping[str, str]
) -> None:
    """Keep values in a Secret that has the Job's name and goes with it.

    Args:
        cluster: The cluster.
        owner: The Job.
        values: The values by name.
    """
    secret = core_v1.Secret(
        metadata=_metadata(cluster, owner.name, owner),
        data={name: _base64(value.encode()) for name, value in values.items()},
    )
    cluster.apply(secret, known=False)


def share_files(
    cluster: client.Cluster, owner: meta_v1.OwnerReference, files: Mapping[str, bytes]
) -> None:
    """Make the ConfigMap of these files, or let the Job be one more owner of the one there is.

    Args:
        cluster: The cluster.
        owner: The Job.
        files: The files by name.
    """
    name = files_name(files)
    there = cluster.find(core_v1.ConfigMap, name, cluster.namespace)
    if there is not None and cluster.owns(there):
        body = {"metadata": {"ownerReferences": [owner]}}
        strategic = lightkube.types.PatchType.STRATEGIC  # it adds to the list
        cluster.patch(core_v1.ConfigMap, name, cluster.namespace, body, strategic)
        return
    config_map = core_v1.ConfigMap(
        metadata=_metadata(cluster, name, owner),
        immutable=True,
        binaryData={name: _base64(content) for name, content in files.items()},
    )
    cluster.apply(config_map, known=False)


def files_name(files: Mapping[str, bytes]) -> str:
    """The name of the ConfigMap of these files: another one for any other content.

    Args:
        files: The files by name.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"files-{digest.hexdigest()[:16]}"


def _metadata(
    cluster: client.Cluster, name: str, owner: meta_v1.OwnerReference
) -> meta_v1.ObjectMeta:
    return meta_v1.ObjectMeta(
        name=name,
        namespace=cluster.namespace,
        labels=dict(cluster.labels),
        ownerReferences=[owner],
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
