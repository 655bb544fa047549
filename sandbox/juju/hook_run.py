"""One hook or action of one unit: the charm's code, run on a state as its process on a machine.

It is the one place that reaches into ops-scenario's private parts, to count what scenario does not
count and to refuse what it does not refuse.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

import ops
import scenario.mocking
from ops import testing
from scenario import _ops_main_mock

from sandbox.juju import charm_files, hook_process, model_state

# The tool that a charm's process runs for each of ops' calls; other calls run none.
_TOOLS: Mapping[str, str] = {
    "action_fail": "action-fail",
    "action_get": "action-get",
    "action_log": "action-log",
    "action_set": "action-set",
    "application_version_set": "app-version-set",
    "config_get": "config-get",
    "credential_get": "credential-get",
    "is_leader": "is-leader",
    "juju_log": "juju-log",
    "network_get": "network-get",
    "planned_units": "goal-state",
    "relation_get": "relation-get",
    "relation_ids": "relation-ids",
    "relation_list": "relation-list",
    "relation_model_get": "relation-model-get",
    "relation_remote_app_name": "relation-list",
    "relation_set": "relation-set",
    "resource_get": "resource-get",
    "secret_add": "secret-add",
    "secret_get": "secret-get",
    "secret_grant": "secret-grant",
    "secret_info_get": "secret-info-get",
    "secret_remove": "secret-remove",
    "secret_revoke": "secret-revoke",
    "secret_set": "secret-set",
    "status_get": "status-get",
    "status_set": "status-set",
}


@dataclasses.dataclass(frozen=True)
class Process:
    """What the process of a hook is started with.

    Attributes:
        charm_type: The charm's class.
        metadata: The charm's files.
        juju_version: The agent's version.
        unit: The unit's name.
        machine: Its machine's number.
        zone: Its machine's availability zone.
        trust: Whether the user trusts the application.
        environ: Its environment, beside what scenario sets.
        refused: The secrets that exist, and that the unit may not read.
        kill_after: The AWS operation or lightkube verb after which it is killed; "" for never.
    """

    charm_type: type[ops.CharmBase]
    metadata: charm_files.Metadata
    juju_version: str
    unit: str
    machine: str
    zone: str
    trust: bool
    environ: Mapping[str, str]
    refused: frozenset[str] = frozenset()
    kill_after: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is left when the process has ended.

    Attributes:
        state: The state that it wrote; None when it failed, since Juju then drops its writes.
        error: Why it failed, as a traceback; "" when it ended well.
        killed: It was killed.
        tools: How often it ran each of Juju's tools.
        seconds: How long it took.
        log: Its juju-log lines.
        read: The secrets that it read.
        results: An action's results, flat.
        failure: What an action that failed said; None when it did not fail.
        messages: What an action told its user on the way.
    """

    state: testing.State | None
    error: str
    killed: bool
    tools: Mapping[str, int]
    seconds: float
    log: tuple[testing.JujuLogLine, ...]
    read: frozenset[str]
    results: Mapping[str, str]
    failure: str | None
    messages: tuple[str, ...]


def run(
    process: Process,
    event: model_state.Event,
    state: testing.State,
    params: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run an event's hook; with `params`, the action that the event's kind names."""
    began = time.monotonic()
    out, error, failure, killed = None, "", None, False
    context = _Context(process, event.kind, params or {})
    with (
        context,
        hook_process.environment(process.environ),
        hook_process.logging_apart(),
        hook_process.patched(_ops_main_mock, "_MockModelBackend", _Backend),
        hook_process.armed(process.kill_after, context.owns_this_thread),
    ):
        try:
            out = context.run(_scenario_event(context, event, state, params), state)
        except testing.ActionFailed as failed:
            out, failure = cast("testing.State", failed.state), failed.message
        except (hook_process.Killed, SystemExit, testing.errors.UncaughtCharmError) as died:
            killed, error = isinstance(died, hook_process.Killed), _told(died)
    return Outcome(
        state=out,
        error=error,
        killed=killed,
        tools=collections.Counter(context.calls),
        seconds=time.monotonic() - began,
        log=tuple(context.juju_log),
        read=frozenset(context.read),
        results=_flat(context.action_results or {}),
        failure=failure,
        messages=tuple(context.action_logs),
    )


class _Context(testing.Context[ops.CharmBase]):
    """Scenario's context, with what our backend notes."""

    def __init__(self, process: Process, action: str, params: Mapping[str, Any]) -> None:
        application, _, number = process.unit.partition("/")
        actions: dict[str, Any] = copy.deepcopy(dict(process.metadata.actions))
        for name in params:
            # Scenario takes none but declared parameters, and those of one type alone; whether
            # Juju takes them is checked already.
            declared = actions[action].setdefault("params", {})
            declared[name] = {"type": _json_type(params[name])}
        super().__init__(
            process.charm_type,
            meta=dict(process.metadata.meta),
            config={"options": dict(process.metadata.options)},
            actions=actions,
            juju_version=process.juju_version,
            app_name=application,
            unit_id=int(number),
            machine_id=process.machine,
            availability_zone=process.zone,
            app_trusted=process.trust,
        )
        self.refused = frozenset(map(_short_id, process.refused))
        self.calls: list[str] = []
        self.read: set[str] = set()
        self._others = frozenset(threading.enumerate()) - {threading.current_thread()}
        self.nesting = threading.local()

    def owns_this_thread(self) -> bool:
        """Whether the charm runs in this thread: the sandbox's own were there before it."""
        return threading.current_thread() not in self._others


class _Backend(scenario.mocking._MockModelBackend):
    """Scenario's backend, which counts the tools that are run, and refuses as Juju does."""

    _context: _Context

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return functools.partial(self._counted, name, value) if name in _TOOLS else value

    def _counted(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nesting = self._context.nesting
        if getattr(nesting, "inside", False):
            return call(*args, **kwargs)
        if name == "juju_log" and not self._context.owns_this_thread():
            return None
        if not self._known_without(name, args):
            self._context.calls.append(_TOOLS[name])
        nesting.inside = True
        try:
            return call(*args, **kwargs)
        finally:
            nesting.inside = False

    def _known_without(self, name: str, args: tuple[Any, ...]) -> bool:
        """Whether ops has the answer already, where scenario asks again."""
        if name == "is_leader":
            return "is-leader" in self._context.calls
        the_event_s = bool(args) and args[0] == self._juju_context.relation_id
        return name == "relation_remote_app_name" and the_event_s

    def secret_get(
        self,
        *,
        id: str | None = None,  # noqa: A002 - ops' name
        label: str | None = None,
        refresh: bool = False,
        peek: bool = False,
    ) -> dict[str, str]:
        """Refuse what was not granted in Juju's words; note what was read."""
        if id is not None and _short_id(id) in self._context.refused:
            raise ops.ModelError("ERROR permission denied\n")
        content = super().secret_get(id=id, label=label, refresh=refresh, peek=peek)
        self._context.read.add(self._get_secret(id, label).id)
        return content


def _json_type(value: Any) -> str:
    """The name that a JSON schema has for a value's type."""
    return next(name for name, types in charm_files.JSON_TYPES.items() if type(value) in types)


def _short_id(uri: str) -> str:
    """A secret's id, whichever form of its URI it stands in."""
    return uri.removeprefix("secret:").rpartition("/")[2]


def _scenario_event(
    context: _Context,
    event: model_state.Event,
    state: testing.State,
    params: Mapping[str, Any] | None,
) -> Any:
    """Say in scenario's words what happens."""
    if params is not None:
        return context.on.action(event.kind, params=dict(params))
    happens = getattr(context.on, event.kind.replace("-", "_"))
    if event.secret:
        return happens(state.get_secret(id=event.secret))
    if not event.relation:
        return happens()
    relation = state.get_relation(event.relation)
    if not event.remote:
        return happens(relation)
    remote = int(event.remote.partition("/")[2])
    return happens(relation, remote_unit=remote)


def _told(died: BaseException) -> str:
    """Tell of a dead process as its log does; "" when it left by itself, and well."""
    if isinstance(died, SystemExit) and not died.code:
        return ""
    cause = died.__cause__ if isinstance(died, testing.errors.UncaughtCharmError) else died
    return "".join(traceback.format_exception(cause))


def _flat(results: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten an action's results to text, as they go through the action-set tool."""
    flat: dict[str, str] = {}
    for key, value in results.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
