"""Compare the content of an item with the checksum from the user or a list."""

from __future__ import annotations

from typing import Any

from ..base import failure, tasks, urls
from . import plan

DEFAULT_ALGORITHM = "sha256"


def algorithm(item: plan.Item) -> str:
    """Return the algorithm of an item's checksum."""
    return item.checksum.partition(":")[0] or DEFAULT_ALGORITHM


def hasher(item: plan.Item) -> Any:
    """Return a new hash for the content of an item."""
    return tasks.hasher(algorithm(item))


def compare(item: plan.Item, url: str, digest: str) -> str:
    """Compare the digest of an item's content with the item's checksum, if it has one.

    Args:
        item: The item.
        url: The URL that it was fetched from.
        digest: The digest of its content, in hex, by the checksum's algorithm.

    Returns:
        The checksum of its content.

    Raises:
        Failure: They differ.
    """
    actual = f"{algorithm(item)}:{digest}"
    if item.checksum and actual != item.checksum:
        raise failure.Failure(
            f"the content of {urls.redact(url)} has the checksum {actual}, not {item.checksum}: "
            "check which of the two is wrong"
        )
    return actual
