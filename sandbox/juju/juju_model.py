"""A small Juju: a model that runs real charms, with one method per command of the user.

It follows Juju's rules where a charm may break them: what exists in which hook, what a failed
hook loses, who may read what. It knows neither AWS nor Kubernetes: it gets a cloud for its
machines, and a control plane and nodes for its charms.
"""

from __future__ import annotations

import itertools
import pathlib
import uuid as uuids
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import ops

import identity
from sandbox.juju import (
    charm_files,
    endpoints,
    model_secrets,
    model_state,
    substrate,
    unit_agents,
)
from sandbox.juju.charm_files import ConfigValue, JujuError
from sandbox.juju.model_state import Status
from sandbox.juju.unit_agents import ActionResult, Hook, LogLine

__all__ = ["ActionResult", "Hook", "JujuError", "LogLine", "Model", "Status"]

# The newest agent of each series that the charm supports.
_VERSIONS = {"2.9": "2.9.52", "3.6": "3.6.14"}


class Model:
    """A model; every method runs all resulting hooks before it returns.

    Args:
        cloud: The cloud of the machines; by default one of bare addresses.
        plane: The control plane of the Kubernetes charms; by default an unreachable one.
        nodes: The nodes of the workers; by default none run.
        name: The model's name.
        uuid: The model's uuid.
        version: The agents' version: "3.6", or "2.9" (without secrets).
        proxies: The model's juju-http-proxy, juju-https-proxy and juju-no-proxy.
    """

    def __init__(
        self,
        cloud: substrate.ModelCloud | None = None,
        plane: substrate.ModelPlane | None = None,
        nodes: substrate.ModelNodes | None = None,
        *,
        name: str = "sandbox",
        uuid: str = "",
        version: Literal["2.9", "3.6"] = "3.6",
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self.cloud = cloud or substrate.BareCloud()
        self.plane = plane or substrate.BarePlane()
        self.nodes = nodes
        self.world = model_state.World(
            name,
            uuid or str(uuids.uuid4()),
            _VERSIONS[version],
            substrate.cloud_spec(self.cloud.region, self.cloud.credentials),
        )
        self._agents = unit_agents.Agents(
            self.world, self.cloud, substrate.proxy_environ(proxies or {})
        )
        self._machines = itertools.count()
        self._relations = itertools.count(1)
        self._zones = itertools.cycle(sorted(self.cloud.subnets))

    @property
    def uuid(self) -> str:
        """Return the model's uuid."""
        return self.world.uuid

    @property
    def hooks(self) -> list[Hook]:
        """Return the hooks and actions that have run."""
        return self._agents.hooks

    @property
    def log(self) -> list[LogLine]:
        """Return the lines of `juju debug-log`."""
        return self._agents.log

    # Applications and units

    def deploy(
        self,
        charm_type: type[ops.CharmBase],
        charm: pathlib.Path | charm_files.Metadata,
        application: str = "",
        *,
        units: int = 1,
        trust: bool = False,
        config: Mapping[str, ConfigValue] | None = None,
        zones: Sequence[str] = (),
        vpc: Any = None,
    ) -> str:
        """Deploy a charm.

        Args:
            charm_type: The charm's class.
            charm: Its source directory, or its metadata if it has none.
            application: The application's name; the charm's name by default.
            units: The number of units.
            trust: As --trust.
            config: As --config.
            zones: The zones of the units' machines; by default the cloud's zones in turn.
            vpc: The VPC of the machines; the cloud's default VPC by default.

        Returns:
            The application's name.
        """
        metadata = charm_files.Metadata.read(charm) if isinstance(charm, pathlib.Path) else charm
        name = application or metadata.name
        if name in self.world.applications:
            raise JujuError(f'deploying "{name}": application already exists')
        checked = {key: metadata.config_value(key, value) for key, value in (config or {}).items()}
        new = model_state.Application(name, charm_type, metadata, trust, checked)
        self.world.applications[name] = new
        for endpoint in metadata.endpoints():
            if endpoint.role == "peers":
                self._new_relation((model_state.RelationEnd(name, endpoint.name),))
        self.add_unit(name, units, zones=zones, vpc=vpc)
        return name

    def add_unit(
        self, application: str, count: int = 1, *, zones: Sequence[str] = (), vpc: Any = None
    ) -> None:
        """Add units, each on a new machine."""
        target = self.world.application(application)
        cycle = itertools.cycle(zones) if zones else self._zones
        for zone in itertools.islice(cycle, count):
            self._agents.start(target, str(next(self._machines)), zone, vpc)
        self._agents.settle()

    def remove_unit(self, *names: str) -> None:
        """Remove units."""
        for unit in [self.world.unit(name) for name in names]:
            self._agents.remove_unit(unit)
        self._agents.settle()

    def remove_application(self, *names: str) -> None:
        """Remove applications with their units and relations."""
        for application in [self.world.application(name) for name in names]:
            application.dying = True
            for relation in self.world.relations_of(application.name):
                self._agents.break_relation(relation)
            for unit in application.units.values():
                self._agents.remove_unit(unit)
            if not application.units:
                self._agents.delete_application(application)
        self._agents.settle()

    def destroy_model(self) -> None:
        """Remove all applications, then the cloud's resources of the model."""
        self.remove_application(*self.world.applications)
        self.cloud.destroy_model(self.uuid)

    def upgrade_charm(
        self, application: str, charm_type: type[ops.CharmBase] | None = None
    ) -> None:
        """Refresh an application's charm, optionally to another class."""
        target = self.world.application(application)
        target.charm_type = charm_type or target.charm_type
        self._agents.queue_for_units(target, "upgrade-charm", "config-changed")
        self._agents.settle()

    def set_leader(self, unit: str) -> None:
        """Make a unit the leader."""
        winner = self.world.unit(unit)
        self.world.applications[winner.application].leader = winner.name
        self._agents.queue([(winner.name, model_state.Event("leader-elected"))])
        self._agents.settle()

    # Settings

    def config(self, application: str, values: Mapping[str, ConfigValue]) -> None:
        """Set options."""
        target = self.world.application(application)
        checked = {key: target.metadata.config_value(key, value) for key, value in values.items()}
        self._configure(target, target.config | checked)

    def reset(self, application: str, *options: str) -> None:
        """Reset options to their defaults."""
        target = self.world.application(application)
        for option in options:
            if option not in target.metadata.options:
                raise JujuError(f'unknown option "{option}"')
        left = {key: value for key, value in target.config.items() if key not in options}
        self._configure(target, left)

    def trust(self, application: str, *, remove: bool = False) -> None:
        """Grant an application the cloud's credential, or revoke it."""
        target = self.world.application(application)
        target.trust = not remove
        self._agents.queue_for_units(target, "config-changed")
        self._agents.settle()

    def update_credential(self, credentials: identity.AwsCredentials | None) -> None:
        """Replace the model's credential; None stands for the role of its instances."""
        self.world.cloud_spec = substrate.cloud_spec(self.cloud.region, credentials)

    # Relations

    def relate(self, one: str, another: str, *, cross_model: bool = False) -> None:
        """Relate two applications, each given as "application" or "application:endpoint".

        Args:
            one: One of them.
            another: The other.
            cross_model: Treat them as applications of different models.
        """
        mine, theirs = endpoints.match(self.world, one, another)
        relation = self._new_relation((mine, theirs))
        relation.cross_model = cross_model
        for end in (theirs, mine):
            units = self.world.applications[end.application].units
            created = model_state.Event("relation-created", relation.id)
            self._agents.queue((name, created) for name, unit in units.items() if not unit.dying)
        self._agents.settle()

    def remove_relation(self, one: str, another: str) -> None:
        """Remove a relation with its data."""
        self._agents.break_relation(endpoints.find(self.world, one, another))
        self._agents.settle()

    def databag(self, endpoint: str, writer: str, remote: str = "") -> dict[str, str]:
        """Return the databag of a unit or application.

        Args:
            endpoint: An end of the relation: "application:endpoint".
            writer: The unit's or application's name.
            remote: The application on the other end, if the endpoint has several relations.
        """
        return dict(endpoints.find(self.world, endpoint, remote).bags.get(writer, {}))

    # Secrets

    def add_secret(self, content: Mapping[str, str]) -> str:
        """Add a user's secret.

        Returns:
            Its URI.
        """
        if self.world.version.startswith("2."):
            raise JujuError('"add-secret" is not a juju command: Juju 2.9 has no secrets')
        secret = model_secrets.Secret(model_secrets.new_id(), "", [dict(content)])
        self.world.secrets[secret.id] = secret
        return secret.id

    def grant_secret(self, uri: str, application: str) -> None:
        """Let an application read a secret."""
        self._secret(uri).grants.add(self.world.application(application).name)

    def revoke_secret(self, uri: str, application: str) -> None:
        """Revoke an application's grant of a secret."""
        self._secret(uri).grants.discard(application)

    def update_secret(self, uri: str, content: Mapping[str, str]) -> None:
        """Add a revision to a secret, and notify the units that track an older one."""
        secret = self._secret(uri)
        secret.revisions.append(dict(content))
        changed = model_state.Event("secret-changed", secret=uri)
        self._agents.queue((name, changed) for name in model_secrets.outdated_readers(secret))
        self._agents.settle()

    # Actions, time and status

    def run(self, unit: str, action: str, params: Mapping[str, Any] | None = None) -> ActionResult:
        """Run an action on a unit, or on an application's leader ("aws-efs/leader")."""
        target = self.world.unit(unit)
        metadata = self.world.applications[target.application].metadata
        if action not in metadata.actions:
            raise JujuError(f'action "{action}" not defined on unit "{target.name}"')
        checked = metadata.action_params(action, params or {})
        result = self._agents.run_action(target, action, checked)
        self._agents.settle()
        return result

    def update_status(self, application: str = "") -> None:
        """Run update-status on all units, or on those of one application."""
        for each in self.world.applications.values():
            if application in {"", each.name}:
                self._agents.queue_for_units(each, "update-status")
        self._agents.settle()

    def resolve(self) -> None:
        """Retry failed hooks, as Juju does automatically after some time."""
        self._agents.settle()

    def kill_next_hook(self, *, after: str) -> None:
        """Kill the next hook or action that makes a call, as soon as it has the answer.

        Args:
            after: An AWS operation ("CreateFileSystem"), a verb of Kubernetes ("apply"), or the
                number of writes to both.
        """
        self._agents.kill_after = after

    @property
    def is_kill_pending(self) -> bool:
        """Return whether no hook has made the call yet after which the next one is killed."""
        return bool(self._agents.kill_after)

    def status(self, name: str) -> Status:
        """Return the status of a unit ("app/0", "app/leader") or an application ("app")."""
        return self.world.status(name)

    def _new_relation(self, ends: tuple[model_state.RelationEnd, ...]) -> model_state.Relation:
        """Add a relation; no unit has entered it yet."""
        relation = model_state.Relation(next(self._relations), ends)
        self.world.relations[relation.id] = relation
        return relation

    def _configure(
        self, application: model_state.Application, config: dict[str, ConfigValue]
    ) -> None:
        """Set an application's options, and run config-changed if they differ."""
        if config != application.config:
            application.config = config
            self._agents.queue_for_units(application, "config-changed")
        self._agents.settle()

    def _secret(self, uri: str) -> model_secrets.Secret:
        """Return a user's secret."""
        if uri not in self.world.secrets:
            raise JujuError(f'secret "{uri}" not found')
        return self.world.secrets[uri]
