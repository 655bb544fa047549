"""Juju's secrets: who may read which, the revision that each tracks, what a hook changes.

Rotation, expiry and the removal of old revisions are left out: they concern owners, and our charm
only reads.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Container, Iterable, Mapping
from typing import Literal

from ops import testing


@dataclasses.dataclass
class Secret:
    """A secret of the user's or of a charm's.

    Attributes:
        id: Its URI.
        owner: The application or unit that owns it; "" for a user's.
        revisions: Its contents so far, the latest last.
        grants: The applications that the user let read it.
        shares: For each relation, the units and applications that its owner let read it.
        label: The owner's name for it.
        labels: Each reading unit's name for it.
        tracked: The revision, counted from 1, that each unit which has read it goes on reading.
    """

    id: str
    owner: str
    revisions: list[dict[str, str]]
    grants: set[str] = dataclasses.field(default_factory=set[str])
    shares: Mapping[int, frozenset[str]] = dataclasses.field(
        default_factory=dict[int, frozenset[str]]
    )
    label: str | None = None
    labels: dict[str, str | None] = dataclasses.field(default_factory=dict[str, str | None])
    tracked: dict[str, int] = dataclasses.field(default_factory=dict[str, int])

    def owned_as(self, unit: str) -> Literal["app", "unit"] | None:
        """How a unit owns it, as a State says it."""
        if self.owner == unit:
            return "unit"
        return "app" if self.owner == unit.partition("/")[0] else None

    def readable(self, unit: str, relations: Container[int]) -> bool:
        """Whether a unit that is in these relations may read it."""
        application = unit.partition("/")[0]
        shared = any(
            not names.isdisjoint((unit, application))
            for relation, names in self.shares.items()
            if relation in relations
        )
        return shared or application in self.grants or self.owned_as(unit) is not None


def new_id() -> str:
    """Make a URI as Juju does: twenty letters and digits."""
    return f"secret:{secrets.token_hex(10)}"


def seen(
    all_secrets: Iterable[Secret], unit: str, relations: Container[int]
) -> list[testing.Secret]:
    """Make the view that a unit in these relations has of the secrets that it may read."""
    return [
        testing.Secret(
            # Whoever reads it for the first time begins with the latest revision.
            dict(secret.revisions[secret.tracked.get(unit, len(secret.revisions)) - 1]),
            latest_content=dict(secret.revisions[-1]),
            id=secret.id,
            owner=secret.owned_as(unit),
            remote_grants=secret.shares,
            label=secret.label if secret.owned_as(unit) else secret.labels.get(unit),
        )
        for secret in all_secrets
        if secret.readable(unit, relations)
    ]


def absorb(
    world: dict[str, Secret], after: Iterable[testing.Secret], unit: str, read: Iterable[str]
) -> list[tuple[str, str]]:
    """Take what a unit's hook did with secrets.

    Args:
        world: All secrets, by their id.
        after: What the unit saw when its hook ended.
        unit: The unit's name.
        read: The ids of the secrets that the hook read.

    Returns:
        Who is to be told of a new revision: the unit's name, and the secret's id.
    """
    told: list[tuple[str, str]] = []
    left = {secret.id: secret for secret in after}
    for id_, secret in left.items():
        known = world.get(id_)
        if known is None:
            owner = unit if secret.owner == "unit" else unit.partition("/")[0]
            known = world[id_] = Secret(id_, owner, [dict(secret.latest_content)])
        if known.owned_as(unit):
            known.label, known.shares = secret.label, dict(secret.remote_grants)
            if secret.latest_content != known.revisions[-1]:
                known.revisions.append(dict(secret.latest_content))
                told += [(reader, id_) for reader in outdated(known) if reader != unit]
        else:
            known.labels[unit] = secret.label
        if id_ in read:
            at_latest = secret.tracked_content == known.revisions[-1]
            known.tracked[unit] = (
                len(known.revisions)
                if at_latest
                else known.tracked.get(unit, len(known.revisions))
            )
    for id_ in [id_ for id_, known in world.items() if known.owned_as(unit) and id_ not in left]:
        del world[id_]
    return told


def outdated(secret: Secret) -> list[str]:
    """The units that track a revision which is not the latest: Juju tells them so."""
    return [unit for unit, revision in secret.tracked.items() if revision < len(secret.revisions)]


def refused(all_secrets: Iterable[Secret], unit: str, relations: Container[int]) -> frozenset[str]:
    """The ids of the secrets that a unit in these relations may not read."""
    return frozenset(secret.id for secret in all_secrets if not secret.readable(unit, relations))
