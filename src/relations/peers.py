"""The application's own record: what can not be observed in AWS, kept for the next leader."""

from __future__ import annotations

import ops
import pydantic

ENDPOINT = "peers"
KEY = "record"


class Record(pydantic.BaseModel):
    """What we did once.

    Attributes:
        file_system_id: The file system that we created, or "". By it one that is gone is noticed,
            and never silently replaced by an empty one.
        region: The region that it is in.
        torn_down: Whether teardown removed it; then nothing is made until the `setup` action.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    file_system_id: str = ""
    region: str = ""
    torn_down: bool = False


def load(charm: ops.CharmBase) -> Record:
    """The record; an empty one at install, when Juju has made no peer relation yet."""
    relation = charm.model.get_relation(ENDPOINT)
    text = relation.data[charm.app].get(KEY) if relation else None
    return Record.model_validate_json(text) if text else Record()


def save(charm: ops.CharmBase, record: Record) -> None:
    """Keep the record. Leader only.

    At install there is no place for it yet: until then the creation token stands in.
    """
    relation = charm.model.get_relation(ENDPOINT)
    if relation is not None and load(charm) != record:
        relation.data[charm.app][KEY] = record.model_dump_json()
