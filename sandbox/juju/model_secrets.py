"""Juju's secrets: who may read them, the revision that each reader tracks, changes by hooks.

Rotation, expiry and the removal of old revisions are omitted: they concern owners, and the charm
only reads secrets.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Container, Iterable, Mapping
from typing import Literal

from ops import testing


@dataclasses.dataclass
class Secret:
    """A secret of a user or a charm.

    Attributes:
        id: The secret's URI.
        owner: The application or unit that owns it; "" for a user's secret.
        revisions: The contents of all revisions, the latest last.
        grants: The applications that the user granted it to.
        shares: For each relation, the units and applications that the owner granted it to.
        label: The owner's label.
        labels: The label of each reading unit.
        tracked: The revision, counted from 1, that each reading unit tracks.
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
        """Return a unit's kind of ownership, as a State expresses it."""
        if self.owner == unit:
            return "unit"
        return "app" if self.owner == unit.partition("/")[0] else None

    def readable(self, unit: str, relations: Container[int]) -> bool:
        """Return whether a unit in these relations may read it."""
        application = unit.partition("/")[0]
        shared = any(
            not names.isdisjoint((unit, application))
            for relation, names in self.shares.items()
            if relation in relations
        )
        return shared or application in self.grants or self.owned_as(unit) is not None


def new_id() -> str:
    """Return a new URI as Juju makes it: twenty letters and digits."""
    return f"secret:{secrets.token_hex(10)}"


def views(
    all_secrets: Iterable[Secret], unit: str, relations: Container[int]
) -> list[testing.Secret]:
    """Return the secrets that a unit in these relations may read, as it sees them."""
    return [
        testing.Secret(
            # A first-time reader gets the latest revision.
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


def apply_changes(
    world: dict[str, Secret], after: Iterable[testing.Secret], unit: str, read: Iterable[str]
) -> list[tuple[str, str]]:
    """Apply the changes that a unit's hook made to secrets.

    Args:
        world: All secrets, by id.
        after: The unit's view at the end of the hook.
        unit: The unit's name.
        read: The ids of the secrets that the hook read.

    Returns:
        The readers of each new revision: the unit's name and the secret's id.
    """
    readers: list[tuple[str, str]] = []
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
                readers += [(reader, id_) for reader in outdated_readers(known) if reader != unit]
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
    return readers


def outdated_readers(secret: Secret) -> list[str]:
    """Return the units that track an older revision: Juju notifies them."""
    return [unit for unit, revision in secret.tracked.items() if revision < len(secret.revisions)]


def refused(all_secrets: Iterable[Secret], unit: str, relations: Container[int]) -> frozenset[str]:
    """Return the ids of the secrets that a unit in these relations may not read."""
    return frozenset(secret.id for secret in all_secrets if not secret.readable(unit, relations))
