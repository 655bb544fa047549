"""The state of a model: applications, units, relations and secrets. It runs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import ops
from ops import testing

from sandbox.juju import charm_files, model_secrets

if TYPE_CHECKING:
    from sandbox.juju import substrate


# `juju status` shows the worst unit status as the application's status.
_SEVERITY = ("error", "blocked", "maintenance", "waiting", "active", "unknown")


@dataclasses.dataclass(frozen=True)
class Status:
    """The status of a unit or an application."""

    name: str
    message: str


@dataclasses.dataclass(frozen=True)
class Event:
    """An event that a unit's hook handles.

    Attributes:
        kind: Juju's name without the endpoint: "install", "relation-joined", ...
        relation: The relation's id, for relation events.
        remote: The remote unit of the event.
        secret: The secret's id, for secret events.
    """

    kind: str
    relation: int = 0
    remote: str = ""
    secret: str = ""


@dataclasses.dataclass(frozen=True)
class RelationEnd:
    """One end of a relation; `implicit` for the juju-info endpoint of every application."""

    application: str
    endpoint: str
    implicit: bool = False


@dataclasses.dataclass
class Relation:
    """A relation with its ends (one for peers) and its databags by writer."""

    id: int
    ends: tuple[RelationEnd, ...]
    bags: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict[str, dict[str, str]])
    cross_model: bool = False
    dying: bool = False

    def end(self, application: str) -> RelationEnd:
        """Return an application's end."""
        return next(end for end in self.ends if end.application == application)

    def other(self, application: str) -> RelationEnd:
        """Return the remote end of an application; its own end for peers."""
        return next((end for end in self.ends if end.application != application), self.ends[0])

    def bag(self, writer: str) -> dict[str, str]:
        """Return the databag of a unit or application."""
        return self.bags.setdefault(writer, {})

    def __str__(self) -> str:
        return " ".join(f"{end.application}:{end.endpoint}" for end in self.ends)


@dataclasses.dataclass
class Unit:
    """A unit with the state that its agent keeps.

    Attributes:
        name: The unit's name.
        machine: The machine's number.
        instance: The machine's cloud instance.
        joined: For each relation that it has entered, the remote units that have joined.
        status: The last status that the charm set.
        error: The error message while a failed hook waits for a retry.
        started: Whether the start hook has run.
        dying: Whether the unit is being removed.
    """

    name: str
    machine: str
    instance: substrate.ModelInstance
    joined: dict[int, set[str]] = dataclasses.field(default_factory=dict[int, set[str]])
    status: Status = Status("unknown", "")
    error: str = ""
    started: bool = False
    dying: bool = False
    stored: frozenset[testing.StoredState] = frozenset()
    deferred: tuple[testing.DeferredEvent, ...] = ()
    ports: frozenset[testing.Port] = frozenset()
    workload_version: str = ""

    @property
    def application(self) -> str:
        """Return the application's name."""
        return self.name.partition("/")[0]

    @property
    def number(self) -> int:
        """Return the unit's number."""
        return int(self.name.partition("/")[2])


@dataclasses.dataclass
class Application:
    """An application: its charm, options and units."""

    name: str
    charm_type: type[ops.CharmBase]
    metadata: charm_files.Metadata
    trust: bool = False
    config: dict[str, charm_files.ConfigValue] = dataclasses.field(
        default_factory=dict[str, charm_files.ConfigValue]
    )
    units: dict[str, Unit] = dataclasses.field(default_factory=dict[str, Unit])
    leader: str = ""
    next_unit: int = 0
    status: Status = Status("unknown", "")
    dying: bool = False

    def declares(self, endpoint: str) -> bool:
        """Return whether the charm's metadata has an endpoint; hooks run only for these."""
        return any(endpoint == declared.name for declared in self.metadata.endpoints())


@dataclasses.dataclass
class World:
    """The contents of a model."""

    name: str
    uuid: str
    version: str
    cloud_spec: testing.CloudSpec
    applications: dict[str, Application] = dataclasses.field(
        default_factory=dict[str, Application]
    )
    relations: dict[int, Relation] = dataclasses.field(default_factory=dict[int, Relation])
    secrets: dict[str, model_secrets.Secret] = dataclasses.field(
        default_factory=dict[str, model_secrets.Secret]
    )

    def application(self, name: str) -> Application:
        """Return an application."""
        if name not in self.applications:
            raise charm_files.JujuError(f'application "{name}" not found')
        return self.applications[name]

    def unit(self, name: str) -> Unit:
        """Return a unit by its name, or the leader of an application ("app/leader")."""
        application = self.application(name.partition("/")[0])
        if name.endswith("/leader"):
            if not application.leader:
                raise charm_files.JujuError(f'could not determine leader for "{application.name}"')
            name = application.leader
        if name not in application.units:
            raise charm_files.JujuError(f'unit "{name}" not found')
        return application.units[name]

    def status(self, name: str) -> Status:
        """Return the status of a unit ("app/0", "app/leader") or an application ("app")."""
        if "/" in name:
            unit = self.unit(name)
            if unit.error:
                return Status("error", unit.error)
            return unit.status
        application = self.application(name)
        if application.status.name != "unknown":
            return application.status
        units = [self.status(unit) for unit in application.units]
        worst = min(units, key=lambda each: _SEVERITY.index(each.name), default=None)
        return worst or Status("unknown", "")

    def relations_of(self, application: str) -> list[Relation]:
        """Return an application's relations in the order in which Juju breaks them: peers last."""
        mine = [
            relation
            for relation in self.relations.values()
            if any(end.application == application for end in relation.ends)
        ]
        return sorted(mine, key=lambda relation: len(relation.ends) == 1)

    def others(self, relation: Relation, unit: Unit) -> Iterator[Unit]:
        """Yield the units on the other end of a relation that have entered its scope."""
        other = self.applications.get(relation.other(unit.application).application)
        for candidate in other.units.values() if other else ():
            if candidate.name != unit.name and relation.id in candidate.joined:
                yield candidate

    def enter(self, relation: Relation, unit: Unit) -> list[tuple[str, Event]]:
        """Add a unit to a relation's scope.

        Returns:
            The resulting hooks of this unit, and of the units already in the scope.
        """
        unit.joined[relation.id] = set()
        instance = unit.instance
        # Across models Juju publishes public addresses, also under the old key.
        address = instance.public_address if relation.cross_model else instance.private_address
        relation.bags[unit.name] = {
            "egress-subnets": f"{address}/32",
            "ingress-address": address,
            "private-address": address,
        }
        return [
            (one.name, Event(kind, relation.id, another.name))
            for remote in self.others(relation, unit)
            for one, another in ((remote, unit), (unit, remote))
            for kind in ("relation-joined", "relation-changed")
        ]
