"""Store facts that cannot be observed in AWS in the peer relation, for the next leader."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, cast

import ops

import problems

ENDPOINT = "peers"
KEY = "record"
LEADER = "leader"
NOTES = "notes"


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
        throughput: The throughput that the application set last, as `elastic`; "" for none.
        policies_set: The file system's policies that it set last, by the names of their options.
        policies_seen: Those policies as they were read last.
        policies_seen_at: The time of that, in seconds of the epoch.
        endpoint: The cluster's API server that answered last, of several.
        torn_down: Whether teardown deleted it; then nothing is created until the `setup` action.
    """

    file_system_id: str = ""
    region: str = ""
    account_id: str = ""
    adopted: bool = False
    security_groups: tuple[str, ...] = ()
    throughput: str = ""
    policies_set: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    policies_seen: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    policies_seen_at: int = 0
    endpoint: str = ""
    torn_down: bool = False


def exist(charm: ops.CharmBase) -> bool:
    """Return whether there is a peer relation; Juju creates it after install."""
    return charm.model.get_relation(ENDPOINT) is not None


def load(charm: ops.CharmBase) -> PeerRecord:
    """Return the record; an empty one at install, before Juju creates the peer relation.

    Raises:
        problems.Blocked: Somebody else wrote it.
    """
    relation = charm.model.get_relation(ENDPOINT)
    text = relation.data[charm.app].get(KEY) if relation else None
    return _parse(text) if text else PeerRecord()


def announce_leader(charm: ops.CharmBase) -> None:
    """Write the leader's name where the other units see it: the former one stands by at once."""
    relation = charm.model.get_relation(ENDPOINT)
    if relation is not None and relation.data[charm.app].get(LEADER) != charm.unit.name:
        relation.data[charm.app][LEADER] = charm.unit.name


def save(charm: ops.CharmBase, record: PeerRecord) -> None:
    """Save the record; leader only.

    Before Juju creates the peer relation the record is not saved. The file system is then found by
    its creation token.
    """
    relation = charm.model.get_relation(ENDPOINT)
    if relation is not None and load(charm) != record:
        relation.data[charm.app][KEY] = json.dumps(dataclasses.asdict(record))


def load_notes(charm: ops.CharmBase) -> dict[str, str]:
    """Return what the leader has noted for the other units; nothing of what cannot be read."""
    relation = charm.model.get_relation(ENDPOINT)
    text = relation.data[charm.app].get(NOTES, "") if relation else ""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    items = cast("dict[Any, Any]", found).items() if isinstance(found, dict) else ()
    return {name: value for name, value in items if isinstance(value, str)}


def save_notes(charm: ops.CharmBase, notes: Mapping[str, str]) -> None:
    """Note what every unit can tell the user; leader only."""
    relation = charm.model.get_relation(ENDPOINT)
    text = json.dumps(dict(notes), sort_keys=True)
    if relation is not None and relation.data[charm.app].get(NOTES, "{}") != text:
        relation.data[charm.app][NOTES] = text


def _parse(text: str) -> PeerRecord:
    """Return the record; a later version of the charm may have added fields."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _unreadable("not JSON") from None
    if not isinstance(found, dict):
        raise _unreadable("not an object")
    values: dict[str, Any] = {}
    for name, default in vars(PeerRecord()).items():
        value: Any = cast("dict[str, Any]", found).get(name, default)
        if name == "security_groups" and isinstance(value, list):
            listed = cast("list[Any]", value)
            value = tuple(str(each) for each in listed)  # JSON has no tuples
        elif isinstance(value, dict):
            named = cast("dict[Any, Any]", value)
            value = {str(key): str(each) for key, each in named.items()}
        if type(value) is not type(default):
            raise _unreadable(name)
        values[name] = value
    return PeerRecord(**values)


def _unreadable(what: str) -> problems.Blocked:
    return problems.Blocked(
        f"{KEY} of the peer relation cannot be read ({what}): "
        "juju refresh to the revision that wrote it"
    )
