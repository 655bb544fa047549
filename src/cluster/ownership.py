"""Decide which objects in the cluster are ours; no I/O. Anybody can copy labels: structure counts.

- Our namespace has our application's name, and our model's uuid in its labels. Nothing is read or
  written in a namespace of that name that belongs to somebody else.
- Jobs, ConfigMaps and Secrets are ours in our namespace only.
- Volumes and storage classes are cluster-wide: ours carry our labels, and their own name besides.
- Claims are ours where one of our volumes names them, with their uid.

Whoever may create namespaces or volumes, or write in our namespace, administers the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import problems
from cluster import objects

if TYPE_CHECKING:
    import identity

APPLICATION = "aws-efs/application"
MODEL = "aws-efs/model-uuid"
# The annotation of a storage class with its own name: a copy has another name.
OWN_NAME = "aws-efs/name"
# The annotation of a Job, and of the volume of our Jobs, with the file system that they mount.
FILE_SYSTEM = "aws-efs/file-system"


def labels(owner: identity.Owner) -> dict[str, str]:
    """Return the labels of all our objects.

    Args:
        owner: The application.
    """
    return {"app.kubernetes.io/managed-by": "juju", **mark(owner)}


def mark(owner: identity.Owner) -> dict[str, str]:
    """Return the labels that only our objects have, unless somebody has copied them.

    Other tools set `app.kubernetes.io/managed-by` on what they adopt, so it marks nothing.

    Args:
        owner: The application.
    """
    return {MODEL: owner.model_uuid, APPLICATION: owner.application}


def is_marked(owner: identity.Owner, resource: Any) -> bool:
    """Return whether an object carries our marks.

    Args:
        owner: The application.
        resource: Any object.
    """
    return mark(owner).items() <= objects.labels_of(resource).items()


def owns(owner: identity.Owner, resource: Any) -> bool:
    """Return whether an object is ours: it carries our marks, and is in our namespace or in none.

    A claim in another namespace is ours only where one of our volumes names it.

    Args:
        owner: The application.
        resource: Any object.
    """
    namespace = objects.meta(resource).namespace or owner.application
    return namespace == owner.application and is_marked(owner, resource)


def is_labelled(owner: identity.Owner, resource: Any) -> bool:
    """Return whether an object carries all the labels that ours have.

    Args:
        owner: The application.
        resource: Any object.
    """
    return labels(owner).items() <= objects.labels_of(resource).items()


def names_itself(resource: Any) -> bool:
    """Return whether an object has its own name in our annotation, which a copy has not.

    Args:
        resource: Any object.
    """
    return objects.annotations_of(resource).get(OWN_NAME) == objects.name(resource)


def namespace_conflict(owner: identity.Owner, found: Mapping[str, str]) -> problems.Blocked:
    """Return the problem that the namespace of our name is somebody else's.

    Args:
        owner: The application.
        found: The labels of that namespace.
    """
    model = found.get(MODEL, "")
    whose = f"model {model[:8]}" if model else "no model"
    if model == owner.model_uuid:
        whose = "another application"
    return problems.Blocked(
        f"namespace {owner.application} belongs to {whose}, not to model {owner.short_model}: "
        f"deploy the charm under another name than {owner.application}"
    )
