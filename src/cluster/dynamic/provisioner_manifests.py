"""Render the objects of the provisioner, and tell which volumes it made; no client."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from cluster import manifests, objects, ownership, pods
from cluster.jobs import pod_options
from cluster.volumes import volume_names

if TYPE_CHECKING:
    import identity

# The directory of the file system that has the volumes, each in a directory of its own.
DIRECTORY = ".aws-efs/dynamic"
# The name of the service account, the Deployment and the container.
NAME = pods.PROVISIONER_CONTAINER
# The label of its pods, by which the Deployment finds them.
PART = "aws-efs/part"
# The annotation with the digest of what we ask for: it changes with what we ask for no more, too.
_DIGEST = "aws-efs/manifest"
# The annotation by which Kubernetes knows whose a volume is to delete.
_MADE_BY = "pv.kubernetes.io/provisioned-by"


@dataclasses.dataclass(frozen=True)
class DesiredProvisioner:
    """The provisioner that the options ask for.

    Attributes:
        server: What its volumes mount.
        storage_class: The name of its class.
        mount_options: The volumes' NFS options.
        image: Its image.
        options: What the options add to its pod.
    """

    server: str
    storage_class: str
    mount_options: tuple[str, ...]
    image: str
    options: pod_options.PodOptions = dataclasses.field(default_factory=pod_options.PodOptions)


def cluster_name(owner: identity.Owner) -> str:
    """Return the name of the cluster-wide role, and of its binding.

    Args:
        owner: The application.
    """
    return f"{owner.application}-{owner.short_model}-{NAME}"


def render(desired: DesiredProvisioner, owner: identity.Owner) -> list[manifests.Manifest]:
    """Return its objects in the order in which they are made; the role is the first.

    Args:
        desired: The desired provisioner.
        owner: The application.
    """
    return [_with_digest(each) for each in _render(desired, owner)]


def _with_digest(manifest: manifests.Manifest) -> manifests.Manifest:
    """Return a manifest with the digest of all that it has."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    metadata: dict[str, Any] = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), _DIGEST: digest[:16]}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def _render(desired: DesiredProvisioner, owner: identity.Owner) -> list[manifests.Manifest]:
    options, labels = desired.options, ownership.labels(owner)
    names = {"name": NAME, "account": NAME, "namespace": owner.application}
    wide = {**names, "name": cluster_name(owner), "labels": labels}
    provisioner = volume_names.provisioner_name(owner)
    selector = {**ownership.mark(owner), PART: NAME}
    return [
        manifests.render("provisioner-role", **wide),
        manifests.render("provisioner-account", **names, labels=labels),
        manifests.render("provisioner-binding", **wide),
        manifests.render(
            "provisioner",
            **names,
            labels=labels,
            selector=selector,
            pod_labels={**options.labels, **labels, **selector},
            pod_annotations=dict(options.annotations),
            node_selector={**options.node_selector, "kubernetes.io/os": "linux"},
            tolerations=options.tolerations,
            image_pull_secret=options.image_pull_secret,
            container=NAME,
            image=desired.image,
            provisioner=provisioner,
            server=desired.server,
            path=f"/{DIRECTORY}",
            sub_path=DIRECTORY,
            claim=volume_names.own_claim_name(owner),
        ),
        manifests.render(
            "provisioner-class",
            name=desired.storage_class,
            labels=labels,
            annotations={ownership.OWN_NAME: desired.storage_class},
            provisioner=provisioner,
            mount_options=list(desired.mount_options),
        ),
    ]


def includes(found: object, desired: object) -> bool:
    """Return whether an object has all that is desired; lists have the same length.

    Args:
        found: The object, or a part of it, as the API server has it, with its defaults.
        desired: The desired one.
    """
    if isinstance(desired, dict):
        wanted, has = cast("dict[str, Any]", desired), cast("dict[str, Any]", found)
        return isinstance(found, dict) and all(
            includes(has.get(key), value) for key, value in wanted.items()
        )
    if isinstance(desired, list):
        items, there = cast("list[Any]", desired), cast("list[Any]", found)
        return (
            isinstance(found, list)
            and len(there) == len(items)
            and all(map(includes, there, items))
        )
    return found == desired


def made(owner: identity.Owner, volume: Any) -> bool:
    """Return whether our provisioner made a volume: by its annotation, kind and directory.

    Args:
        owner: The application.
        volume: The volume.
    """
    annotations: Mapping[str, str] = objects.annotations_of(volume)
    nfs = volume.spec.nfs
    return bool(
        nfs
        and annotations.get(_MADE_BY) == volume_names.provisioner_name(owner)
        and nfs.path.startswith(f"/{DIRECTORY}/")
    )


def title(volume: Any) -> str:
    """Return a volume's name and claim, as our messages have them.

    Args:
        volume: The volume.
    """
    claim = volume.spec.claimRef
    name = objects.name(volume)
    return f"volume {name} (claim {claim.namespace}/{claim.name})" if claim else f"volume {name}"
