"""Run one hook or action of one unit: the charm's code on a state, as a process on a machine.

ops_scenario runs it; this module adds the environment of a process and collects the results.
"""

from __future__ import annotations

import collections
import dataclasses
import time
import traceback
from collections.abc import Mapping
from typing import Any, cast

import ops
from ops import testing

from sandbox.juju import charm_files, hook_process, model_state, ops_scenario


@dataclasses.dataclass(frozen=True)
class HookProcess:
    """The input of a hook's process.

    Attributes:
        charm_type: The charm's class.
        metadata: The charm's files.
        juju_version: The agent's version.
        unit: The unit's name.
        machine: Its machine's number.
        zone: Its machine's availability zone.
        trust: Whether the user trusts the application.
        environ: Its environment, in addition to scenario's own.
        refused: The existing secrets that the unit may not read.
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
    """The result of a hook's process.

    Attributes:
        state: The state that it wrote; None if it failed, because Juju then drops its writes.
        error: The traceback of its failure; "" on success.
        killed: Whether it was killed.
        tools: The number of runs of each Juju tool.
        seconds: Its duration.
        log: Its juju-log lines.
        read: The secrets that it read.
        results: An action's results, with nested keys joined by dots.
        failure: The message of a failed action; None on success.
        messages: An action's log messages for the user.
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
    process: HookProcess,
    event: model_state.Event,
    state: testing.State,
    params: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run an event's hook; with `params`, run the action that the event's kind names."""
    began = time.monotonic()
    out, error, failure, killed = None, "", None, False
    application, _, number = process.unit.partition("/")
    context = ops_scenario.Context(
        process.charm_type,
        process.metadata,
        action=event.kind,
        params=params or {},
        refused=process.refused,
        juju_version=process.juju_version,
        app_name=application,
        unit_id=int(number),
        machine_id=process.machine,
        availability_zone=process.zone,
        app_trusted=process.trust,
    )
    with (
        context,
        hook_process.environment(process.environ),
        hook_process.separate_logging(),
        ops_scenario.adapted(),
        hook_process.killed_after(process.kill_after, context.owns_this_thread),
    ):
        try:
            out = context.run(ops_scenario.scenario_event(context, event, state, params), state)
        except testing.ActionFailed as failed:
            out, failure = cast("testing.State", failed.state), failed.message
        except (hook_process.Killed, SystemExit, testing.errors.UncaughtCharmError) as reason:
            killed, error = isinstance(reason, hook_process.Killed), _traceback(reason)
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


def _traceback(reason: BaseException) -> str:
    """Return the traceback of a process that ended; "" after an exit with status 0."""
    if isinstance(reason, SystemExit) and not reason.code:
        return ""
    cause = reason.__cause__ if isinstance(reason, testing.errors.UncaughtCharmError) else reason
    return "".join(traceback.format_exception(cause))


def _flat(results: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten an action's results to text, as the action-set tool does."""
    flat: dict[str, str] = {}
    for key, value in results.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
