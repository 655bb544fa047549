"""The one truth of a model: applications, units, relations, secrets. It runs nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import ops
from ops import testing

from sandbox.juju import charm_files, model_secrets

if TYPE_CHECKING:
    from sandbox.juju import substrate


# How `juju status` makes an application's status of its units': the worst one.
_SEVERITY = ("error", "blocked", "maintenance", "waiting", "active", "unknown")


@dataclasses.dataclass(frozen=True)
class Status:
    """What `juju status` shows of a unit or an application."""

    name: str
    message: str


@dataclasses.dataclass(frozen=True)
class Event:
    """A hook that Juju owes a unit.

    Attributes:
        kind: Juju's word for it, without the end point: "install", "relation-joined", ...
        relation: The relation's id, for relation events.
        remote: The unit on the other end that it is about.
        secret: The secret's id, for secret events.
    """

    kind: str
    relation: int = 0
    remote: str = ""
    secret: str = ""


@dataclasses.dataclass(frozen=True)
class End:
    """One end of a relation; `implicit` where it is the juju-info that every application has."""

    application: str
    endpoint: str
    implicit: bool = False


@dataclasses.dataclass
class Relation:
    """A relation, its ends (one for peers), and its databags by their writers' names."""

    id: int
    ends: tuple[End, ...]
    bags: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict[str, dict[str, str]])
    cross_model: bool = False
    dying: bool = False

    def end(self, application: str) -> End:
        """The end that an application has."""
        return next(end for end in self.ends if end.application == application)

    def other(self, application: str) -> End:
        """The end that an application speaks to: its own, for peers."""
        return next((end for end in self.ends if end.application != application), self.ends[0])

    def bag(self, writer: str) -> dict[str, str]:
        """The databag of a unit or application."""
        return self.bags.setdefault(writer, {})

    def __str__(self) -> str:
        return " ".join(f"{end.application}:{end.endpoint}" for end in self.ends)


@dataclasses.dataclass
class Unit:
    """A unit, and what its agent keeps for it.

    Attributes:
        name: Its name.
        machine: Its machine's number.
        instance: The cloud's instance that the machine is.
        joined: For each relation whose scope it is in, the remote units that it was told of.
        status: What its charm said last.
        error: What Juju shows while a failed hook waits to be run again.
        started: Its start hook has run.
        dying: It is being removed.
    """

    name: str
    machine: str
    instance: substrate.Instance
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
        """The application's name."""
        return self.name.partition("/")[0]

    @property
    def number(self) -> int:
        """The unit's number."""
        return int(self.name.partition("/")[2])


@dataclasses.dataclass
class Application:
    """An application: its charm, settings and units."""

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
        """Whether the charm's metadata has an end point: its hooks run for no other."""
        return any(endpoint == declared.name for declared in self.metadata.endpoints())


@dataclasses.dataclass
class World:
    """All that a model holds."""

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
        """Find an application."""
        if name not in self.applications:
            raise charm_files.JujuError(f'application "{name}" not found')
        return self.applications[name]

    def unit(self, name: str) -> Unit:
        """Find a unit, by its name or as the leader of its application ("app/leader")."""
        application = self.application(name.partition("/")[0])
        if name.endswith("/leader"):
            if not application.leader:
                raise charm_files.JujuError(f'could not determine leader for "{application.name}"')
            name = application.leader
        if name not in application.units:
            raise charm_files.JujuError(f'unit "{name}" not found')
        return application.units[name]

    def status(self, name: str) -> Status:
        """What `juju status` shows of a unit ("app/0", "app/leader") or an application ("app")."""
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
        """An application's relations, peers last: so Juju breaks them."""
        mine = [
            relation
            for relation in self.relations.values()
            if any(end.application == application for end in relation.ends)
        ]
        return sorted(mine, key=lambda relation: len(relation.ends) == 1)

    def others(self, relation: Relation, unit: Unit) -> Iterator[Unit]:
        """The units on the other end of a relation that have entered its scope."""
        other = self.applications.get(relation.other(unit.application).application)
        for candidate in other.units.values() if other else ():
            if candidate.name != unit.name and relation.id in candidate.joined:
                yield candidate

    def enter(self, relation: Relation, unit: Unit) -> list[tuple[str, Event]]:
        """Let a unit into a relation's scope.

        Returns:
            The hooks that Juju then owes it, and owes the units that are in the scope already.
        """
        unit.joined[relation.id] = set()
        instance = unit.instance
        # Across models Juju tells public addresses, under the old name too.
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
