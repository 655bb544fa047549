"""Read fields that lightkube leaves untyped or optional, and make valid object names."""

from __future__ import annotations

import hashlib
from typing import Any

from lightkube.models import meta_v1


def meta(resource: Any) -> meta_v1.ObjectMeta:
    """Return an object's metadata; an API server always sends some.

    Args:
        resource: Any object.
    """
    return resource.metadata or meta_v1.ObjectMeta()


def name(resource: Any) -> str:
    """Return an object's name.

    Args:
        resource: Any object.
    """
    return meta(resource).name or ""


def labels_of(resource: Any) -> dict[str, str]:
    """Return an object's labels.

    Args:
        resource: Any object.
    """
    labels: dict[str, str] | None = resource.metadata and resource.metadata.labels
    return labels or {}


def annotations_of(resource: Any) -> dict[str, str]:
    """Return an object's annotations.

    Args:
        resource: Any object.
    """
    annotations: dict[str, str] | None = resource.metadata and resource.metadata.annotations
    return annotations or {}


def storage(quantities: Any) -> str:
    """Return the storage in a capacity or a request; "" where there is none.

    Args:
        quantities: The dictionary, or None.
    """
    quantity: dict[str, str] = quantities or {}
    return quantity.get("storage", "")


def make_name(*parts: str, limit: int = 63) -> str:
    """Return a name made of parts; one that is too long is cut and ends in a hash of the whole.

    Args:
        parts: The parts, the most important first.
        limit: The greatest length; 63 is that of a label's value.
    """
    whole = "-".join(parts)
    if len(whole) <= limit:
        return whole
    return f"{whole[: limit - 9].rstrip('-.')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
