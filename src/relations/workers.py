"""Read the addresses of workers from juju-info, before these machines show up as Nodes."""

from __future__ import annotations

from collections.abc import Iterator

import ops

from relations import control_plane

ENDPOINT = "workers"


def addresses(charm: ops.CharmBase) -> Iterator[str]:
    """Yield the private addresses of all units of the applications related as workers."""
    for relation in charm.model.relations[ENDPOINT]:
        yield from control_plane.unit_addresses(relation)
