"""Remember in the cluster which nodes have mounted the volume: they are not probed again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import msgspec

from cluster import client, records

KIND = "probe"
_NAME = "nodes"


class _Content(msgspec.Struct):
    mount: str = ""
    nodes: dict[str, int] = {}
    prepared: dict[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Proofs:
    """The nodes that have mounted the volume.

    Attributes:
        mount: What they mounted, and how: a digest. With another one nothing is proven.
        nodes: The read-ahead of each one's mount in KiB, 0 if unknown, by the node's uid.
        prepared: What the volume was last prepared for by a pod of each zone: a digest, by zone.
    """

    mount: str
    nodes: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    prepared: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def with_proof(self, uid: str, read_ahead_kib: int, zone: str, prepared: str) -> Proofs:
        """Return the proofs with that of one more node.

        Args:
            uid: The node's uid.
            read_ahead_kib: The read-ahead of its mount, 0 if unknown.
            zone: Its zone.
            prepared: What its pod prepared the volume for.
        """
        return dataclasses.replace(
            self,
            nodes={**self.nodes, uid: read_ahead_kib},
            prepared={**self.prepared, zone: prepared},
        )

    def without_former(self, uids: Iterable[str], zones: Iterable[str]) -> Proofs:
        """Return the proofs without those of nodes and zones that the cluster has no more.

        Args:
            uids: The uids of its nodes.
            zones: Their zones.
        """
        uids, zones = set(uids), set(zones)
        return dataclasses.replace(
            self,
            nodes={uid: value for uid, value in self.nodes.items() if uid in uids},
            prepared={zone: value for zone, value in self.prepared.items() if zone in zones},
        )


def load(cluster: client.Cluster, mount: str) -> Proofs:
    """Return the proofs of what is mounted now; none where there is no record that can be read.

    Args:
        cluster: The cluster.
        mount: What is mounted, and how.
    """
    text = records.find(cluster, KIND, _NAME)
    try:
        content = msgspec.json.decode(text or "{}", type=_Content)
    except (msgspec.DecodeError, UnicodeError):
        content = _Content()
    if content.mount != mount:
        return Proofs(mount)
    return Proofs(mount, content.nodes, content.prepared)


def save(cluster: client.Cluster, proofs: Proofs) -> None:
    """Save the proofs.

    Args:
        cluster: The cluster.
        proofs: The proofs.
    """
    content = _Content(proofs.mount, dict(proofs.nodes), dict(proofs.prepared))
    records.save(cluster, KIND, _NAME, msgspec.json.encode(content).decode())
