"""Reads what lightkube leaves untyped or optional: metadata, labels, quantities."""

from __future__ import annotations

from typing import Any

from lightkube.models import meta_v1


def meta(resource: Any) -> meta_v1.ObjectMeta:
    """An object's metadata; an API server always sends some.

    Args:
        resource: Any object.
    """
    return resource.metadata or meta_v1.ObjectMeta()


def name(resource: Any) -> str:
    """An object's name.

    Args:
        resource: Any object.
    """
    return meta(resource).name or ""


def labels_of(resource: Any) -> dict[str, str]:
    """An object's labels.

    Args:
        resource: Any object.
    """
    found: dict[str, str] | None = resource.metadata and resource.metadata.labels
    return found or {}


def annotations_of(resource: Any) -> dict[str, str]:
    """An object's annotations.

    Args:
        resource: Any object.
    """
    found: dict[str, str] | None = resource.metadata and resource.metadata.annotations
    return found or {}


def storage(quantities: Any) -> str:
    """The storage in a capacity or a request; "" where it names none.

    Args:
        quantities: The dictionary, or None.
    """
    found: dict[str, str] = quantities or {}
    return found.get("storage", "")
