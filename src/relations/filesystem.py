"""Offer the file system to charms that mount it on machines, over filesystem_info."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from relations import control_plane

if TYPE_CHECKING:
    import ops

ENDPOINT = "filesystem"
# The only field of the interface: nfs://(host)/path, in the application's bag.
KEY = "endpoint"


def addresses(charm: ops.CharmBase) -> Iterator[str]:
    """Yield the private addresses of the machines that mount the file system."""
    for relation in charm.model.relations[ENDPOINT]:
        yield from control_plane.unit_addresses(relation)


def clients(charm: ops.CharmBase) -> tuple[str, ...]:
    """Return the names of the related applications."""
    return tuple(sorted({relation.app.name for relation in charm.model.relations[ENDPOINT]}))


def publish(charm: ops.CharmBase, server: str, unserved: Collection[str]) -> None:
    """Tell the related applications what to mount; leader only.

    A client mounts at once what it is told. So it is told nothing until its first machines are
    known and each can mount it; afterwards a further machine, whose mount target is still being
    created, does not take the volume from the others.

    Args:
        charm: The charm.
        server: The host to mount.
        unserved: The addresses of machines that cannot mount it yet.
    """
    for relation in charm.model.relations[ENDPOINT]:
        bag = relation.data[charm.app]
        known = bag.get(KEY, "")
        # A colon would begin a port.
        told = f"nfs://({server.replace(':', '%3A')})/"
        machines = control_plane.unit_addresses(relation)
        waits = not relation.units or any(each in unserved for each in machines)
        if known != told and (known or not waits):
            bag[KEY] = told


def withdraw(charm: ops.CharmBase) -> None:
    """Tell the related applications that there is nothing to mount; leader only."""
    for relation in charm.model.relations[ENDPOINT]:
        relation.data[charm.app].pop(KEY, None)
