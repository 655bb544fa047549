"""Create what a Job's pods read: a Secret of its own, and files that several Jobs share."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import lightkube.types
from lightkube.resources import batch_v1, core_v1

import problems
from cluster import client, manifests, objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightkube.models import meta_v1


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
    client.repeat(lambda: cluster.apply(manifests.resource(manifest)))


def read_secret(cluster: client.Cluster, name: str) -> dict[str, str] | None:
    """Return the values in the Secret of a Job, by name; None where there is none any more.

    Args:
        cluster: The cluster.
        name: The Job's name.
    """
    # lightkube leaves its data untyped.
    secret: Any = cluster.find_own(core_v1.Secret, name)
    if secret is None:
        return None
    data: dict[str, str] = secret.data or {}
    return {key: base64.b64decode(text).decode(errors="replace") for key, text in data.items()}


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

    def share() -> None:
        # lightkube leaves its data untyped.
        existing: Any = cluster.find_own(core_v1.ConfigMap, name)
        if existing is None:
            _create_files(cluster, owner, name, files)
            return
        if existing.binaryData != _encoded(files):
            raise problems.Blocked(
                f"config map {cluster.namespace}/{name} has not the files of its name: delete it"
            )
        body = {"metadata": {"ownerReferences": [owner]}}
        strategic = lightkube.types.PatchType.STRATEGIC  # it adds to the list
        cluster.patch(objects.reference(existing), body, strategic)

    client.repeat(share)


def _create_files(
    cluster: client.Cluster,
    owner: meta_v1.OwnerReference,
    name: str,
    files: Mapping[str, bytes],
) -> None:
    manifest = manifests.render(
        "files",
        name=name,
        job=owner,
        namespace=cluster.namespace,
        labels=dict(cluster.labels),
        files=files,
    )
    cluster.apply(manifests.resource(manifest))


def _encoded(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def files_name(files: Mapping[str, bytes]) -> str:
    """Return the name of the ConfigMap of these files: another one for any other content.

    Args:
        files: The files by name.

    Returns:
        "" where there are none.
    """
    if not files:
        return ""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"files-{digest.hexdigest()[:16]}"


def mounted_files(job: batch_v1.Job) -> str:
    """Return the name of the ConfigMap that the pods of a Job mount; "" where they mount none.

    Args:
        job: The Job.
    """
    pod = job.spec.template.spec if job.spec else None
    volumes = (pod.volumes if pod else None) or []
    maps = [volume.configMap for volume in volumes if volume.name == "files"]
    return next((each.name for each in maps if each and each.name), "")
