"""A small Juju: a model whose charms run for real, with one method for each of the user's verbs.

It keeps Juju's rules where a charm may break on them: what exists at which hook, what a failed
hook loses, who may read what. It knows neither AWS nor Kubernetes: it is given a cloud for its
machines, a control plane and nodes for its charms.
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

# The newest agent of each series that the charm has to run on.
_VERSIONS = {"2.9": "2.9.52", "3.6": "3.6.14"}


class Model:
    """A model; every method runs what it has set off until nothing is left to run.

    Args:
        cloud: Where machines come from; none but bare addresses by default.
        plane: The control plane that Kubernetes' charms speak for; by default an unreachable one.
        nodes: Where the workers' nodes run; by default they do not.
        name: The model's name.
        uuid: Its uuid.
        version: The agents' version: "3.6", or "2.9", which has no secrets.
        proxies: The model's juju-http-proxy, juju-https-proxy and juju-no-proxy.
    """

    def __init__(
        self,
        cloud: substrate.Cloud | None = None,
        plane: substrate.Plane | None = None,
        nodes: substrate.Nodes | None = None,
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
        """The model's uuid."""
        return self.world.uuid

    @property
    def hooks(self) -> list[Hook]:
        """The hooks and actions that have run."""
        return self._agents.hooks

    @property
    def log(self) -> list[LogLine]:
        """What `juju debug-log` shows."""
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
            charm: Its source directory, or its metadata where it has none.
            application: The application's name; the charm's by default.
            units: How many units.
            trust: As --trust.
            config: As --config.
            zones: The zones of the units' machines; by default the cloud's, one after the other.
            vpc: The VPC of the machines, where it is not the cloud's default one.

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
                self._new_relation((model_state.End(name, endpoint.name),))
        self.add_unit(name, units, zones=zones, vpc=vpc)
        return name

    def add_unit(
        self, application: str, count: int = 1, *, zones: Sequence[str] = (), vpc: Any = None
    ) -> None:
        """Add units, each on a new machine."""
        its = self.world.application(application)
        placed = itertools.cycle(zones) if zones else self._zones
        for zone in itertools.islice(placed, count):
            self._agents.start(its, str(next(self._machines)), zone, vpc)
        self._agents.settle()

    def remove_unit(self, *names: str) -> None:
        """Remove units."""
        for unit in [self.world.unit(name) for name in names]:
            self._agents.retire(unit)
        self._agents.settle()

    def remove_application(self, *names: str) -> None:
        """Remove applications with their units and relations."""
        for application in [self.world.application(name) for name in names]:
            application.dying = True
            for relation in self.world.relations_of(application.name):
                self._agents.part(relation)
            for unit in application.units.values():
                self._agents.retire(unit)
            if not application.units:
                self._agents.bury_application(application)
        self._agents.settle()

    def destroy_model(self) -> None:
        """Remove all applications, then what the cloud has of the model; it raises what hangs."""
        self.remove_application(*self.world.applications)
        self.cloud.destroy_model(self.uuid)

    def upgrade_charm(
        self, application: str, charm_type: type[ops.CharmBase] | None = None
    ) -> None:
        """Refresh an application's charm, to another class where one is given."""
        its = self.world.application(application)
        its.charm_type = charm_type or its.charm_type
        self._agents.everywhere(its, "upgrade-charm", "config-changed")
        self._agents.settle()

    def set_leader(self, unit: str) -> None:
        """Let another unit win the election."""
        winner = self.world.unit(unit)
        self.world.applications[winner.application].leader = winner.name
        self._agents.owe([(winner.name, model_state.Event("leader-elected"))])
        self._agents.settle()

    # Settings

    def config(self, application: str, values: Mapping[str, ConfigValue]) -> None:
        """Set options."""
        its = self.world.application(application)
        checked = {key: its.metadata.config_value(key, value) for key, value in values.items()}
        self._configure(its, its.config | checked)

    def reset(self, application: str, *options: str) -> None:
        """Set options back to their defaults."""
        its = self.world.application(application)
        for option in options:
            if option not in its.metadata.options:
                raise JujuError(f'unknown option "{option}"')
        left = {key: value for key, value in its.config.items() if key not in options}
        self._configure(its, left)

    def trust(self, application: str, *, remove: bool = False) -> None:
        """Let an application have the cloud's credential, or take it away."""
        its = self.world.application(application)
        its.trust = not remove
        self._agents.everywhere(its, "config-changed")
        self._agents.settle()

    def update_credential(self, credentials: identity.AwsCredentials | None) -> None:
        """Give the model another credential; None for the role of its instances."""
        self.world.cloud_spec = substrate.cloud_spec(self.cloud.region, credentials)

    # Relations

    def relate(self, one: str, another: str, *, cross_model: bool = False) -> None:
        """Relate two applications, each given as "application" or "application:endpoint".

        Args:
            one: One of them.
            another: The other.
            cross_model: Have Juju treat them as if each were in a model of its own.
        """
        mine, theirs = endpoints.match(self.world, one, another)
        relation = self._new_relation((mine, theirs))
        relation.cross_model = cross_model
        for end in (theirs, mine):
            its = self.world.applications[end.application]
            created = model_state.Event("relation-created", relation.id)
            self._agents.owe((name, created) for name, unit in its.units.items() if not unit.dying)
        self._agents.settle()

    def remove_relation(self, one: str, another: str) -> None:
        """End a relation; the data that came over it go, too."""
        self._agents.part(endpoints.find(self.world, one, another))
        self._agents.settle()

    def databag(self, endpoint: str, writer: str, remote: str = "") -> dict[str, str]:
        """What a unit or application has written to a relation.

        Args:
            endpoint: An end of the relation: "application:endpoint".
            writer: The unit's or application's name.
            remote: The application on the other end, where the end point has several relations.
        """
        return dict(endpoints.find(self.world, endpoint, remote).bags.get(writer, {}))

    # Secrets

    def add_secret(self, content: Mapping[str, str]) -> str:
        """Add a secret of the user's.

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
        """Take a secret away from an application."""
        self._secret(uri).grants.discard(application)

    def update_secret(self, uri: str, content: Mapping[str, str]) -> None:
        """Give a secret a new revision: those who have read it are told."""
        secret = self._secret(uri)
        secret.revisions.append(dict(content))
        told = model_secrets.outdated(secret)
        self._agents.owe((name, model_state.Event("secret-changed", secret=uri)) for name in told)
        self._agents.settle()

    # Running and looking

    def run(self, unit: str, action: str, params: Mapping[str, Any] | None = None) -> ActionResult:
        """Run an action on a unit, or on an application's leader ("aws-efs/leader")."""
        its = self.world.unit(unit)
        metadata = self.world.applications[its.application].metadata
        if action not in metadata.actions:
            raise JujuError(f'action "{action}" not defined on unit "{its.name}"')
        checked = metadata.action_params(action, params or {})
        result = self._agents.act(its, action, checked)
        self._agents.settle()
        return result

    def update_status(self, application: str = "") -> None:
        """Let the time pass after which units run update-status: all, or one application's."""
        for its in self.world.applications.values():
            if application in {"", its.name}:
                self._agents.everywhere(its, "update-status")
        self._agents.settle()

    def resolve(self) -> None:
        """Run failed hooks again, as Juju does by itself after a while."""
        self._agents.settle()

    def kill_next_hook(self, *, after: str) -> None:
        """Kill the next hook or action that makes a call, as soon as it is answered.

        Args:
            after: An AWS operation ("CreateFileSystem") or a verb of lightkube's client ("apply").
        """
        self._agents.kill_after = after

    def status(self, name: str) -> Status:
        """What `juju status` shows of a unit ("app/0", "app/leader") or an application ("app")."""
        return self.world.status(name)

    def _new_relation(self, ends: tuple[model_state.End, ...]) -> model_state.Relation:
        """Write a relation down; no unit is in it yet."""
        relation = model_state.Relation(next(self._relations), ends)
        self.world.relations[relation.id] = relation
        return relation

    def _configure(
        self, application: model_state.Application, config: dict[str, ConfigValue]
    ) -> None:
        """Give an application other settings: its units hear of it only if something differs."""
        if config != application.config:
            application.config = config
            self._agents.everywhere(application, "config-changed")
        self._agents.settle()

    def _secret(self, uri: str) -> model_secrets.Secret:
        """Find a secret of the user's."""
        if uri not in self.world.secrets:
            raise JujuError(f'secret "{uri}" not found')
        return self.world.secrets[uri]
