"""Compute what EFS's limits allow at most; docs/explanation/limits.md explains each step."""

from __future__ import annotations

import dataclasses

from benchmarks import slow_mount

# A small file: create, write, close.
FILE_OPERATIONS = 3


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The times in seconds that a load takes at least, by what limits it."""

    slots: float
    node_bytes: float
    operations: float
    file_system_bytes: float

    @property
    def seconds(self) -> float:
        """Return the time that all limits together allow."""
        return max(dataclasses.astuple(self))


def of_load(
    files: int,
    size: int,
    nodes: int,
    limits: slow_mount.Limits = slow_mount.EFS,
    write_seconds: float = slow_mount.WRITE_SECONDS,
) -> Bounds:
    """Return the bounds of writing files of `size` bytes in all, spread evenly over nodes."""
    operations = FILE_OPERATIONS * files
    return Bounds(
        slots=operations * write_seconds / (limits.slots * nodes),
        node_bytes=size / (limits.node_bytes * nodes),
        operations=operations / limits.write_operations,
        file_system_bytes=size / limits.write_bytes,
    )


def files_a_second(
    nodes: int = 1,
    limits: slow_mount.Limits = slow_mount.EFS,
    write_seconds: float = slow_mount.WRITE_SECONDS,
) -> float:
    """Return how many small files nodes can write, if bytes do not limit them."""
    return 1 / of_load(1, 0, nodes, limits, write_seconds).seconds
