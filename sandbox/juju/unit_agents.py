"""The units' agents: the hooks that Juju owes them, in which order, and what goes with each.

It knows the order of a unit's life, and nothing of what a user may ask for: juju_model does.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sandbox.juju import hook_run, hook_state, model_secrets, model_state, substrate

logger = logging.getLogger(__name__)

# A hook that runs this often while a model settles is two charms that answer each other for ever.
_TOO_OFTEN = 30


@dataclasses.dataclass(frozen=True)
class LogLine:
    """A line of `juju debug-log`."""

    unit: str
    level: str
    message: str


@dataclasses.dataclass(frozen=True)
class Hook:
    """A hook or action that has run.

    Attributes:
        unit: The unit's name.
        name: The hook's or action's name.
        seconds: How long it took.
        tools: How often its process ran each of Juju's tools.
        error: The traceback that it ended with; "" when it ended well.
    """

    unit: str
    name: str
    seconds: float
    tools: Mapping[str, int]
    error: str


@dataclasses.dataclass(frozen=True)
class ActionResult:
    """What `juju run` shows of an action.

    Attributes:
        status: "completed" or "failed".
        results: What the action has set, nested keys joined by dots.
        message: Why it failed; "" when it did not.
        log: What it told on the way.
    """

    status: Literal["completed", "failed"]
    results: Mapping[str, str]
    message: str
    log: tuple[str, ...]


class Agents:
    """The agents of all units in a model.

    Args:
        world: The model.
        cloud: Where the units' machines are.
        environ: What each hook's environment has beside the cloud's.

    Attributes:
        hooks: What has run, in order.
        log: What was logged, in order.
        kill_after: The call after which the next hook that makes it is killed.
    """

    def __init__(
        self, world: model_state.World, cloud: substrate.Cloud, environ: Mapping[str, str]
    ) -> None:
        self.hooks: list[Hook] = []
        self.log: list[LogLine] = []
        self.kill_after = ""
        self._world = world
        self._cloud = cloud
        self._environ = environ
        # What is owed, oldest first; True once it has begun, and failed.
        self._owed: dict[tuple[str, model_state.Event], bool] = {}

    def owe(self, hooks: Iterable[tuple[str, model_state.Event]]) -> None:
        """Add hooks to what is owed; one that is owed already will see the newest data anyway."""
        for hook in hooks:
            self._owed.setdefault(hook, False)

    def settle(self) -> None:
        """Run all that is owed; a unit whose hook fails stops there until the next time."""
        stuck: set[str] = set()
        runs: collections.Counter[tuple[str, model_state.Event]] = collections.Counter()
        while hook := next((each for each in self._owed if each[0] not in stuck), None):
            runs[hook] += 1
            if runs[hook] > _TOO_OFTEN:
                raise RuntimeError(f"the model does not settle: {hook[0]} runs {hook[1]} for ever")
            unit, event = self._world.unit(hook[0]), hook[1]
            if not self._owed[hook] and not self._begin(unit, event):
                del self._owed[hook]
            elif not self._runs(unit, event) or self._run(unit, event):
                del self._owed[hook]
                self._end(unit, event)
            else:
                self._owed[hook] = True
                stuck.add(unit.name)

    def act(self, unit: model_state.Unit, action: str, params: Mapping[str, Any]) -> ActionResult:
        """Run an action: Juju does so even while a failed hook waits."""
        outcome = self._process(unit, model_state.Event(action), params)
        self._record(unit, action, outcome)
        failure = "exit status 1" if outcome.error else outcome.failure
        return ActionResult(
            status="completed" if failure is None else "failed",
            results=outcome.results,
            message=failure or "",
            log=outcome.messages,
        )

    def start(
        self, application: model_state.Application, machine: str, zone: str, vpc: Any
    ) -> None:
        """Make a unit on a machine of its own, and owe it the hooks of its beginning."""
        name = f"{application.name}/{application.next_unit}"
        application.next_unit += 1
        instance = self._cloud.launch(
            machine, zone, model_uuid=self._world.uuid, units=[name], vpc=vpc
        )
        logger.info("added %s on machine %s (%s in %s)", name, machine, instance.id, zone)
        application.units[name] = model_state.Unit(name, machine, instance)
        application.leader = application.leader or name
        created = [
            model_state.Event("relation-created", relation.id)
            for relation in self._world.relations_of(application.name)
            if not relation.dying
        ]
        elected = [model_state.Event("leader-elected")] if application.leader == name else []
        rest = [model_state.Event("config-changed"), model_state.Event("start")]
        events = [model_state.Event("install"), *created, *elected, *rest]
        self.owe((name, event) for event in events)

    def everywhere(self, application: model_state.Application, *kinds: str) -> None:
        """Owe hooks to all units of an application that are up and well."""
        self.owe(
            (unit.name, model_state.Event(kind))
            for unit in application.units.values()
            for kind in kinds
            if not unit.dying and (kind != "update-status" or (unit.started and not unit.error))
        )

    def part(self, relation: model_state.Relation) -> None:
        """Owe both ends the hooks of a relation's end: the provider goes first, to be harsh."""
        relation.dying = True
        for end in reversed(relation.ends):
            for unit in self._world.applications[end.application].units.values():
                self.leave(relation, unit)
        self.drop_if_empty(relation)

    def leave(self, relation: model_state.Relation, unit: model_state.Unit) -> None:
        """Owe a unit the hooks of a relation that ends for it."""
        self._forget(unit, relation.id)
        if relation.id in unit.joined:
            self.owe(
                (unit.name, model_state.Event("relation-departed", relation.id, remote))
                for remote in sorted(unit.joined[relation.id])
            )
            self.owe([(unit.name, model_state.Event("relation-broken", relation.id))])

    def retire(self, unit: model_state.Unit) -> None:
        """Owe a unit the hooks of its end."""
        unit.dying = True
        self._forget(unit)
        for relation in self._world.relations_of(unit.application):
            self.leave(relation, unit)
        self.owe([(unit.name, model_state.Event(kind)) for kind in ("stop", "remove")])

    def drop_if_empty(self, relation: model_state.Relation) -> None:
        """Remove a dying relation once the last unit has left it."""
        units = (
            unit
            for end in relation.ends
            if end.application in self._world.applications
            for unit in self._world.applications[end.application].units.values()
        )
        if relation.dying and not any(relation.id in unit.joined for unit in units):
            self._world.relations.pop(relation.id, None)

    def _forget(self, unit: model_state.Unit, relation: int = 0) -> None:
        """Strike what is owed to a unit (for a relation), but no failed hook: it needs mending."""
        for hook, begun in list(self._owed.items()):
            if hook[0] == unit.name and not begun and relation in {0, hook[1].relation}:
                del self._owed[hook]

    def _begin(self, unit: model_state.Unit, event: model_state.Event) -> bool:
        """Do what the agent does before a hook; False when its reason is gone."""
        if event.kind == "secret-changed":
            secret = self._world.secrets.get(event.secret)
            return secret is not None and secret.readable(unit.name, unit.joined)
        if not event.relation:
            return True
        relation = self._world.relations.get(event.relation)
        if relation is None:
            return False
        if event.kind == "relation-created":
            self.owe(self._world.enter(relation, unit))
            return True
        known = unit.joined.get(relation.id, set[str]())
        if event.kind == "relation-joined":
            if any(event.remote == other.name for other in self._world.others(relation, unit)):
                known.add(event.remote)
            return event.remote in known
        there = not event.remote or event.remote in known
        if event.kind == "relation-departed":
            known.discard(event.remote)
        return there

    def _runs(self, unit: model_state.Unit, event: model_state.Event) -> bool:
        """Whether the charm has hooks for it: the end of an implicit relation has none."""
        if not event.relation:
            return True
        endpoint = self._world.relations[event.relation].end(unit.application).endpoint
        return self._world.applications[unit.application].declares(endpoint)

    def _run(self, unit: model_state.Unit, event: model_state.Event) -> bool:
        """Run a hook; what a failed one wrote is lost, and its unit shows the error."""
        relation = self._world.relations.get(event.relation)
        name, told = event.kind, f'"{event.kind}"'
        if relation:
            name = f"{relation.end(unit.application).endpoint}-{event.kind}"
            other = relation.other(unit.application)
            told = f'"{name}" for {other.application}:{other.endpoint}'
        outcome = self._process(unit, event)
        unit.error = f"hook failed: {told}" if outcome.error else ""
        self._record(unit, name, outcome)
        return not outcome.error

    def _end(self, unit: model_state.Unit, event: model_state.Event) -> None:
        """Do what the agent does after a hook that ended well."""
        if event.kind == "start":
            unit.started = True
        elif event.kind == "relation-broken":
            relation = self._world.relations[event.relation]
            del unit.joined[relation.id]
            self.owe(
                (other.name, model_state.Event("relation-departed", relation.id, unit.name))
                for other in self._world.others(relation, unit)
                if unit.name in other.joined[relation.id]
            )
            self.drop_if_empty(relation)
        elif event.kind == "remove":
            self._bury(unit)

    def _bury(self, unit: model_state.Unit) -> None:
        """Remove a unit and its machine, and an application that it was the last dying unit of."""
        application = self._world.applications[unit.application]
        self._forget(unit)
        del application.units[unit.name]
        self._cloud.terminate(unit.instance.id)
        logger.info("removed %s and its machine %s", unit.name, unit.machine)
        for secret in self._world.secrets.values():
            secret.tracked.pop(unit.name, None)
        if application.leader == unit.name:
            alive = (each.name for each in application.units.values() if not each.dying)
            application.leader = next(alive, "")
            if application.leader:
                self.owe([(application.leader, model_state.Event("leader-elected"))])
        if application.dying and not application.units:
            self.bury_application(application)

    def bury_application(self, application: model_state.Application) -> None:
        """Remove an application without units, with its secrets."""
        del self._world.applications[application.name]
        for relation in self._world.relations_of(application.name):
            self.drop_if_empty(relation)
        for secret in list(self._world.secrets.values()):
            if secret.owner.partition("/")[0] == application.name:
                del self._world.secrets[secret.id]

    def _process(
        self,
        unit: model_state.Unit,
        event: model_state.Event,
        params: Mapping[str, Any] | None = None,
    ) -> hook_run.Outcome:
        """Run a hook's or action's process, and take what it wrote."""
        application = self._world.applications[unit.application]
        process = hook_run.Process(
            charm_type=application.charm_type,
            metadata=application.metadata,
            juju_version=self._world.version,
            unit=unit.name,
            machine=unit.machine,
            zone=unit.instance.zone,
            trust=application.trust,
            environ={**self._cloud.environ(), **self._environ},
            refused=model_secrets.refused(self._world.secrets.values(), unit.name, unit.joined),
            kill_after=self.kill_after,
        )
        state = hook_state.project(self._world, unit, event)
        outcome = hook_run.run(process, event, state, params)
        if outcome.killed:
            self.kill_after = ""
        if outcome.state is not None:
            self.owe(hook_state.absorb(self._world, unit, outcome.state, outcome.read))
        return outcome

    def _record(self, unit: model_state.Unit, name: str, outcome: hook_run.Outcome) -> None:
        """Keep what ran, and what it logged."""
        self.hooks.append(Hook(unit.name, name, outcome.seconds, outcome.tools, outcome.error))
        self.log += [LogLine(unit.name, line.level, line.message) for line in outcome.log]
        if outcome.error:
            told = f"Uncaught exception while in charm code:\n{outcome.error}"
            self.log.append(LogLine(unit.name, "ERROR", told))
