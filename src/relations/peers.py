"""Store facts that cannot be observed in AWS in the peer relation, for the next leader."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import ops

ENDPOINT = "peers"
KEY = "record"


@dataclasses.dataclass(frozen=True)
class PeerRecord:
    """The file system as the application recorded it.

    Attributes:
        file_system_id: The file system that the application created or adopted, or "". With it
            the loss of a file system is noticed, which must not be replaced by an empty one.
        region: Its region.
        account_id: The AWS account that it is in.
        adopted: Whether the user named it in the option file-system-id.
        security_groups: The ids of the security groups that the application created.
        torn_down: Whether teardown deleted it; then nothing is created until the `setup` action.
    """

    file_system_id: str = ""
    region: str = ""
    account_id: str = ""
    adopted: bool = False
    security_groups: tuple[str, ...] = ()
    torn_down: bool = False


def load(charm: ops.CharmBase) -> PeerRecord:
    """Return the record; an empty one at install, before Juju creates the peer relation."""
    relation = charm.model.get_relation(ENDPOINT)
    text = relation.data[charm.app].get(KEY) if relation else None
    return _parse(text) if text else PeerRecord()


def save(charm: ops.CharmBase, record: PeerRecord) -> None:
    """Save the record; leader only.

    Before Juju creates the peer relation the record is not saved. The file system is then found by
    its creation token.
    """
    relation = charm.model.get_relation(ENDPOINT)
    if relation is not None and load(charm) != record:
        relation.data[charm.app][KEY] = json.dumps(dataclasses.asdict(record))


def _parse(text: str) -> PeerRecord:
    """Return the record; a later version of the charm may have added fields."""
    known = {field.name for field in dataclasses.fields(PeerRecord)}
    found: dict[str, Any] = {k: v for k, v in json.loads(text).items() if k in known}
    # JSON has no tuples.
    found["security_groups"] = tuple(found.get("security_groups", ()))
    return PeerRecord(**found)
