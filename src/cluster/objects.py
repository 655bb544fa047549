"""Reads what lightkube leaves untyped or optional, and makes names that Kubernetes takes."""

from __future__ import annotations

import hashlib
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


def make_name(*parts: str, limit: int = 63) -> str:
    """A name made of parts; one that would be too long ends in a hash of the whole instead.

    Args:
        parts: What the name tells, the most important first.
        limit: How long it may be; 63 is what a label holds.
    """
    whole = "-".join(parts)
    if len(whole) <= limit:
        return whole
    return f"{whole[: limit - 9].rstrip('-.')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
