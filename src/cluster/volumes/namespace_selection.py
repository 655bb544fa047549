"""Find the namespaces that a label selector matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightkube.resources import core_v1

import problems
from cluster import objects

if TYPE_CHECKING:
    from cluster import client

# Each costs writes, and time to be bound; their names fit into an environment variable.
MOST = 1000


def find(cluster: client.Cluster, selector: str) -> tuple[str, ...]:
    """Return the names of the namespaces that a selector matches, sorted.

    Our own and those that are being deleted are not among them. There is one call, and one more
    for each further page, whatever the selector.

    Args:
        cluster: The cluster.
        selector: The label selector, which the API server applies; "" for no namespaces.

    Raises:
        problems.Problem: They cannot be listed, or are too many: then nothing may be changed.
    """
    if not selector:
        return ()
    # lightkube writes a key without a value as it is.
    found = cluster.select(core_v1.Namespace, {selector: None})
    names = sorted(
        objects.name(each)
        for each in found
        if objects.meta(each).deletionTimestamp is None and objects.name(each) != cluster.namespace
    )
    if len(names) > MOST:
        raise problems.Blocked(
            f"namespace-selector matches {len(names)} namespaces, at most {MOST} get claims: "
            "narrow it (juju config)"
        )
    return tuple(names)
