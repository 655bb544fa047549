"""Read from a node its zone, its EC2 instance, and whether it accepts pods."""

from __future__ import annotations

import dataclasses
import datetime

from lightkube.models import core_v1

from cluster import objects

ZONE = "topology.kubernetes.io/zone"

_EPOCH = datetime.datetime.fromtimestamp(0, tz=datetime.timezone.utc)


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of the cluster.

    Attributes:
        name: Its name.
        address: Its InternalIP, "" if unknown.
        zone: Its availability zone, "" if unknown.
        instance_id: Its EC2 instance, "" if unknown.
        ready: Whether it is Ready and accepts new pods.
        created: The time at which it joined.
    """

    name: str
    address: str
    zone: str
    instance_id: str
    ready: bool
    created: datetime.datetime


def read_node(node: core_v1.Node) -> Node:
    """Return a node from the API's object.

    Args:
        node: The API's object.
    """
    spec, status = node.spec, node.status
    addresses = (status and status.addresses) or []
    conditions = (status and status.conditions) or []
    taints = (spec and spec.taints) or []
    closed = bool(spec and spec.unschedulable) or any(
        taint.effect in ("NoSchedule", "NoExecute") for taint in taints
    )
    return Node(
        name=objects.name(node),
        address=next((a.address for a in addresses if a.type == "InternalIP"), ""),
        zone=objects.labels_of(node).get(ZONE, ""),
        instance_id=_instance_id((spec and spec.providerID) or ""),
        ready=not closed and any(c.type == "Ready" and c.status == "True" for c in conditions),
        created=objects.meta(node).creationTimestamp or _EPOCH,
    )


def _instance_id(provider_id: str) -> str:
    """Return the instance in aws:///us-east-1a/i-0123456789abcdef0; "" for another cloud's id."""
    instance = provider_id.rpartition("/")[2]
    return instance if provider_id.startswith("aws://") and instance.startswith("i-") else ""
