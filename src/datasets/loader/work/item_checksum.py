"""Compare what was fetched for an item with the checksum that the user or a list gave."""

from __future__ import annotations

from typing import Any

from ..base import failure, tasks, urls
from . import plan

DEFAULT_ALGORITHM = "sha256"


def algorithm(item: plan.Item) -> str:
    """Return the algorithm of an item's checksum."""
    return item.checksum.partition(":")[0] or DEFAULT_ALGORITHM


def hasher(item: plan.Item) -> Any:
    """Return a new hash for what is fetched for an item."""
    return tasks.hasher(algorithm(item))


def compare(item: plan.Item, url: str, digest: str) -> str:
    """Compare what was fetched with the checksum that was given, if one was.

    Args:
        item: The item.
        url: The URL that it was fetched from.
        digest: The digest of what was fetched, in hex, by the checksum's algorithm.

    Returns:
        The checksum of what was fetched.

    Raises:
        Failure: They differ.
    """
    actual = f"{algorithm(item)}:{digest}"
    if item.checksum and actual != item.checksum:
        raise failure.Failure(
            f"what came from {urls.redact(url)} has the checksum {actual}, not {item.checksum}: "
            "check which of the two is wrong"
        )
    return actual
