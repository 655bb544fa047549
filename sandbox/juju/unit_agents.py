"""The units' agents: their pending hooks, the order of hooks, and the effects of each.

It knows the life cycle of a unit, but not the user's commands: juju_model does.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from sandbox.juju import hook_run, hook_state, model_secrets, model_state, substrate

logger = logging.getLogger(__name__)

# After so many runs of one hook, two charms are assumed to trigger each other endlessly.
_MAX_RUNS = 30


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
        seconds: Its duration.
        tools: The number of runs of each Juju tool.
        error: The traceback of its failure; "" on success.
    """

    unit: str
    name: str
    seconds: float
    tools: Mapping[str, int]
    error: str


@dataclasses.dataclass(frozen=True)
class ActionResult:
    """The result of an action as `juju run` shows it.

    Attributes:
        status: "completed" or "failed".
        results: The action's results, with nested keys joined by dots.
        message: The failure message; "" on success.
        log: The action's log messages.
    """

    status: Literal["completed", "failed"]
    results: Mapping[str, str]
    message: str
    log: tuple[str, ...]


class Agents:
    """The agents of all units in a model.

    Args:
        world: The model.
        cloud: The cloud of the units' machines.
        environ: The environment of each hook, in addition to the cloud's.

    Attributes:
        hooks: The hooks that have run, in order.
        log: The log lines, in order.
        kill_after: The call after which the next hook is killed.
    """

    def __init__(
        self, world: model_state.World, cloud: substrate.ModelCloud, environ: Mapping[str, str]
    ) -> None:
        self.hooks: list[Hook] = []
        self.log: list[LogLine] = []
        self.kill_after = ""
        self._world = world
        self._cloud = cloud
        self._environ = environ
        # Pending hooks, oldest first; True after a failed run.
        self._pending: dict[tuple[str, model_state.Event], bool] = {}

    def queue(self, hooks: Iterable[tuple[str, model_state.Event]]) -> None:
        """Queue hooks; those already pending will see the newest data anyway."""
        for hook in hooks:
            self._pending.setdefault(hook, False)

    def settle(self) -> None:
        """Run all pending hooks; a unit whose hook fails stops until the next call."""
        stuck: set[str] = set()
        runs: collections.Counter[tuple[str, model_state.Event]] = collections.Counter()
        while hook := next((each for each in self._pending if each[0] not in stuck), None):
            runs[hook] += 1
            if runs[hook] > _MAX_RUNS:
                raise RuntimeError(f"the model does not settle: {hook[0]} keeps running {hook[1]}")
            unit, event = self._world.unit(hook[0]), hook[1]
            if not self._pending[hook] and not self._prepare(unit, event):
                del self._pending[hook]
            elif not self._has_hook(unit, event) or self._run(unit, event):
                del self._pending[hook]
                self._finish(unit, event)
            else:
                self._pending[hook] = True
                stuck.add(unit.name)

    def run_action(
        self, unit: model_state.Unit, action: str, params: Mapping[str, Any]
    ) -> ActionResult:
        """Run an action, as Juju does even while a failed hook waits."""
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
        """Create a unit on a new machine, and queue its first hooks."""
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
        self.queue((name, event) for event in events)

    def queue_for_units(self, application: model_state.Application, *kinds: str) -> None:
        """Queue hooks for all units of an application, update-status only for healthy units."""
        self.queue(
            (unit.name, model_state.Event(kind))
            for unit in application.units.values()
            for kind in kinds
            if not unit.dying and (kind != "update-status" or (unit.started and not unit.error))
        )

    def break_relation(self, relation: model_state.Relation) -> None:
        """Queue the last hooks of a relation, the provider's first (the harder order)."""
        relation.dying = True
        for end in reversed(relation.ends):
            for unit in self._world.applications[end.application].units.values():
                self.leave_relation(relation, unit)
        self.drop_if_empty(relation)

    def leave_relation(self, relation: model_state.Relation, unit: model_state.Unit) -> None:
        """Queue the hooks of a unit that leaves a relation."""
        self._drop_pending(unit, relation.id)
        if relation.id in unit.joined:
            self.queue(
                (unit.name, model_state.Event("relation-departed", relation.id, remote))
                for remote in sorted(unit.joined[relation.id])
            )
            self.queue([(unit.name, model_state.Event("relation-broken", relation.id))])

    def remove_unit(self, unit: model_state.Unit) -> None:
        """Queue the last hooks of a unit."""
        unit.dying = True
        self._drop_pending(unit)
        for relation in self._world.relations_of(unit.application):
            self.leave_relation(relation, unit)
        self.queue([(unit.name, model_state.Event(kind)) for kind in ("stop", "remove")])

    def drop_if_empty(self, relation: model_state.Relation) -> None:
        """Delete a dying relation if all units have left it."""
        units = (
            unit
            for end in relation.ends
            if end.application in self._world.applications
            for unit in self._world.applications[end.application].units.values()
        )
        if relation.dying and not any(relation.id in unit.joined for unit in units):
            self._world.relations.pop(relation.id, None)

    def _drop_pending(self, unit: model_state.Unit, relation: int = 0) -> None:
        """Drop a unit's pending hooks (of a relation), except a failed one, which is retried."""
        for hook, failed in list(self._pending.items()):
            if hook[0] == unit.name and not failed and relation in {0, hook[1].relation}:
                del self._pending[hook]

    def _prepare(self, unit: model_state.Unit, event: model_state.Event) -> bool:
        """Update the model before a hook; return False if the hook is no longer needed."""
        if event.kind == "secret-changed":
            secret = self._world.secrets.get(event.secret)
            return secret is not None and secret.readable(unit.name, unit.joined)
        if not event.relation:
            return True
        relation = self._world.relations.get(event.relation)
        if relation is None:
            return False
        if event.kind == "relation-created":
            self.queue(self._world.enter(relation, unit))
            return True
        known = unit.joined.get(relation.id, set[str]())
        if event.kind == "relation-joined":
            if any(event.remote == other.name for other in self._world.others(relation, unit)):
                known.add(event.remote)
            return event.remote in known
        present = not event.remote or event.remote in known
        if event.kind == "relation-departed":
            known.discard(event.remote)
        return present

    def _has_hook(self, unit: model_state.Unit, event: model_state.Event) -> bool:
        """Return whether the charm has a hook for an event; implicit endpoints have none."""
        if not event.relation:
            return True
        endpoint = self._world.relations[event.relation].end(unit.application).endpoint
        return self._world.applications[unit.application].declares(endpoint)

    def _run(self, unit: model_state.Unit, event: model_state.Event) -> bool:
        """Run a hook; a failed one loses its writes, and its unit shows the error."""
        relation = self._world.relations.get(event.relation)
        name, label = event.kind, f'"{event.kind}"'
        if relation:
            name = f"{relation.end(unit.application).endpoint}-{event.kind}"
            other = relation.other(unit.application)
            label = f'"{name}" for {other.application}:{other.endpoint}'
        outcome = self._process(unit, event)
        unit.error = f"hook failed: {label}" if outcome.error else ""
        self._record(unit, name, outcome)
        return not outcome.error

    def _finish(self, unit: model_state.Unit, event: model_state.Event) -> None:
        """Update the model after a successful hook."""
        if event.kind == "start":
            unit.started = True
        elif event.kind == "relation-broken":
            relation = self._world.relations[event.relation]
            del unit.joined[relation.id]
            self.queue(
                (other.name, model_state.Event("relation-departed", relation.id, unit.name))
                for other in self._world.others(relation, unit)
                if unit.name in other.joined[relation.id]
            )
            self.drop_if_empty(relation)
        elif event.kind == "remove":
            self._delete_unit(unit)

    def _delete_unit(self, unit: model_state.Unit) -> None:
        """Delete a unit and its machine, and a dying application after its last unit."""
        application = self._world.applications[unit.application]
        self._drop_pending(unit)
        del application.units[unit.name]
        self._cloud.terminate(unit.instance.id)
        logger.info("removed %s and its machine %s", unit.name, unit.machine)
        for secret in self._world.secrets.values():
            secret.tracked.pop(unit.name, None)
        if application.leader == unit.name:
            alive = (each.name for each in application.units.values() if not each.dying)
            application.leader = next(alive, "")
            if application.leader:
                self.queue([(application.leader, model_state.Event("leader-elected"))])
        if application.dying and not application.units:
            self.delete_application(application)

    def delete_application(self, application: model_state.Application) -> None:
        """Delete an application without units, and its secrets."""
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
        """Run the process of a hook or action, and apply its writes."""
        application = self._world.applications[unit.application]
        process = hook_run.HookProcess(
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
        state = hook_state.build_state(self._world, unit, event)
        outcome = hook_run.run(process, event, state, params)
        if outcome.killed:
            self.kill_after = ""
        if outcome.state is not None:
            self.queue(hook_state.apply_state(self._world, unit, outcome.state, outcome.read))
        return outcome

    def _record(self, unit: model_state.Unit, name: str, outcome: hook_run.Outcome) -> None:
        """Record a run and its log lines."""
        self.hooks.append(Hook(unit.name, name, outcome.seconds, outcome.tools, outcome.error))
        self.log += [LogLine(unit.name, line.level, line.message) for line in outcome.log]
        if outcome.error:
            message = f"Uncaught exception while in charm code:\n{outcome.error}"
            self.log.append(LogLine(unit.name, "ERROR", message))
