"""The only adapter to the private parts of ops-scenario that the sandbox's Juju uses.

Scenario neither counts tool calls nor refuses secrets as Juju does, so its backend is replaced.
`mismatches` names each private part that a new version of ops-scenario has changed.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.metadata
import inspect
import json
import threading
import types
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

import ops
import scenario.mocking
import yaml
from ops import testing
from scenario import _ops_main_mock, _runtime

from sandbox.juju import charm_files, hook_process, model_state

# The Juju tool that ops runs for each backend call; other calls run none.
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

# The private methods that this module calls or overrides, and their parameters.
_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "__init__": ("self", "state", "event", "charm_spec", "context", "juju_context"),
    "secret_get": ("self", "id", "label", "refresh", "peek"),
    "action_get": ("self",),
    "_get_secret": ("self", "id", "label"),
}
_ATTRIBUTES = ("_context", "_juju_context")


class Context(testing.Context[ops.CharmBase]):
    """Scenario's context with the records of the sandbox's backend.

    Args:
        charm_type: The charm's class.
        metadata: The charm's files.
        action: The action to run, if any.
        params: The action's parameters.
        refused: The existing secrets that the unit may not read.
        options: The other arguments of scenario's context.

    Attributes:
        params: The action's parameters.
        calls: The Juju tools that were run, in order.
        read: The secrets that were read.
    """

    def __init__(
        self,
        charm_type: type[ops.CharmBase],
        metadata: charm_files.Metadata,
        *,
        action: str,
        params: Mapping[str, Any],
        refused: Iterable[str],
        **options: Any,
    ) -> None:
        actions: dict[str, Any] = copy.deepcopy(dict(metadata.actions))
        for name in params:
            # Scenario accepts only declared parameters of one type; charm_files has already
            # checked whether Juju accepts them.
            declared = actions[action].setdefault("params", {})
            declared[name] = {"type": _json_type(_scenarios(params[name]))}
        super().__init__(
            charm_type,
            meta=dict(metadata.meta),
            config={"options": dict(metadata.options)},
            actions=actions,
            **options,
        )
        self.params = params
        self.refused = frozenset(map(_short_id, refused))
        self.calls: list[str] = []
        self.read: set[str] = set()
        self._others = frozenset(threading.enumerate()) - {threading.current_thread()}
        self.nesting = threading.local()

    def owns_this_thread(self) -> bool:
        """Return whether this thread belongs to the charm: the sandbox's threads are older."""
        return threading.current_thread() not in self._others


@contextlib.contextmanager
def adapted() -> Generator[None]:
    """Replace scenario's backend with the sandbox's, and its way to write YAML, temporarily."""
    with (
        hook_process.patched(_ops_main_mock, "_MockModelBackend", _Backend),
        metadata_as_json(),
    ):
        yield


@contextlib.contextmanager
def metadata_as_json() -> Generator[None]:
    """Let scenario write the charm's metadata for each hook as JSON, temporarily.

    JSON is YAML, too; to write it takes a hundredth of the time.
    """
    writer = types.SimpleNamespace(safe_dump=json.dumps)
    with hook_process.patched(_runtime, "yaml", writer):
        yield


def mismatches() -> list[str]:
    """Return a message for each private part that differs from what this module expects."""
    version = importlib.metadata.version("ops-scenario")
    backend = scenario.mocking._MockModelBackend
    problems = [
        f"{name}({', '.join(actual)}) should take ({', '.join(expected)})"
        for name, expected in _SIGNATURES.items()
        if (actual := _parameters(backend, name)) != expected
    ]
    problems += [f"{name} is gone" for name in _TOOLS if not hasattr(backend, name)]
    problems += [
        f"__init__ does not set {name}" for name in _ATTRIBUTES if not _is_set(backend, name)
    ]
    if getattr(_ops_main_mock, "_MockModelBackend", None) is not backend:
        problems.append("scenario._ops_main_mock does not use it")
    if getattr(_runtime, "yaml", None) is not yaml:
        problems.append("scenario._runtime does not write the metadata with yaml")
    return [f"ops-scenario {version}: _MockModelBackend: {problem}" for problem in problems]


def scenario_event(
    context: Context,
    event: model_state.Event,
    state: testing.State,
    params: Mapping[str, Any] | None,
) -> Any:
    """Return an event or action in the form that scenario's `Context.run` takes."""
    if params is not None:
        of_scenario = {name: _scenarios(value) for name, value in params.items()}
        return context.on.action(event.kind, params=of_scenario)
    create = getattr(context.on, event.kind.replace("-", "_"))
    if event.secret:
        return create(state.get_secret(id=event.secret))
    if not event.relation:
        return create()
    relation = state.get_relation(event.relation)
    if not event.remote:
        return create(relation)
    remote = int(event.remote.partition("/")[2])
    return create(relation, remote_unit=remote)


class _Backend(scenario.mocking._MockModelBackend):
    """Scenario's backend that also counts Juju tools and refuses secrets as Juju does."""

    _context: Context

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        return functools.partial(self._counted, name, value) if name in _TOOLS else value

    def _counted(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nesting = self._context.nesting
        if getattr(nesting, "inside", False):
            return call(*args, **kwargs)
        if name == "juju_log" and not self._context.owns_this_thread():
            return None
        if not self._is_cached(name, args):
            self._context.calls.append(_TOOLS[name])
        nesting.inside = True
        try:
            return call(*args, **kwargs)
        finally:
            nesting.inside = False

    def _is_cached(self, name: str, args: tuple[Any, ...]) -> bool:
        """Return whether ops has cached the answer, although scenario asks again."""
        if name == "is_leader":
            return "is-leader" in self._context.calls
        of_the_event = bool(args) and args[0] == self._juju_context.relation_id
        return name == "relation_remote_app_name" and of_the_event

    def secret_get(
        self,
        *,
        id: str | None = None,  # noqa: A002 - ops' name
        label: str | None = None,
        refresh: bool = False,
        peek: bool = False,
    ) -> dict[str, str]:
        """Refuse a secret that was not granted, in Juju's words; record the secrets read."""
        if id is not None and _short_id(id) in self._context.refused:
            raise ops.ModelError("ERROR permission denied\n")
        content = super().secret_get(id=id, label=label, refresh=refresh, peek=peek)
        self._context.read.add(self._get_secret(id, label).id)
        return content

    def action_get(self) -> dict[str, Any]:
        """Return the action's parameters, also those that scenario cannot express."""
        return {**super().action_get(), **self._context.params}


def _scenarios(value: Any) -> Any:
    """Return the value that scenario gets: it knows no null."""
    return "" if value is None else value


def _json_type(value: Any) -> str:
    """Return the JSON schema name of a value's type."""
    return next(name for name, types in charm_files.JSON_TYPES.items() if type(value) in types)


def _short_id(uri: str) -> str:
    """Return a secret's id, from any form of its URI."""
    return uri.removeprefix("secret:").rpartition("/")[2]


def _parameters(owner: type, name: str) -> tuple[str, ...]:
    """Return the names of a method's parameters; empty if there is no such method."""
    method = getattr(owner, name, None)
    return tuple(inspect.signature(method).parameters) if method else ()


def _is_set(owner: type, attribute: str) -> bool:
    """Return whether the `__init__` of a class or its bases sets an attribute."""
    methods = [vars(each).get("__init__") for each in owner.__mro__]
    return any(
        attribute in method.__code__.co_names for method in methods if inspect.isfunction(method)
    )
