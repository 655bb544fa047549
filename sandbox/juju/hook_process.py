"""Make a call look like a separate process: its environment, its log and its sudden end."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

# Loggers of this process that would not be in the charm's log on a machine.
_FOREIGN_LOGGERS = ("moto", "ops-scenario", "sandbox", "werkzeug")

# The beginnings of AWS operations that change nothing.
_AWS_READS = ("Describe", "Get", "List")


class Killed(BaseException):
    """The end of the process by SIGKILL; a BaseException, so that no charm catches it."""


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Generator[None]:
    """Set the process's environment, without the developer's clouds and proxies."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "JUJU_", "KUBE")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        # One by one, because other threads start processes at the same time.
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def separate_logging() -> Generator[None]:
    """Keep other loggers out of the charm's log, and remove the charm's handlers afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    foreign = [logging.getLogger(name) for name in _FOREIGN_LOGGERS]
    saved = [(each.handlers, each.propagate) for each in foreign]
    for each in foreign:
        each.handlers, each.propagate = [*each.handlers, *handlers, logging.NullHandler()], False
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for each, (own_handlers, propagate) in zip(foreign, saved, strict=True):
            each.handlers, each.propagate = own_handlers, propagate


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Generator[None]:
    """Replace the value of an attribute temporarily."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def killed_after(after: str, in_process: Callable[[], bool]) -> Generator[None]:
    """Kill the process as soon as it has the answer to a call.

    Args:
        after: An AWS operation, or a verb of the Kubernetes API: get, apply, patch, delete; a
            number for as many writes to either; "" for never.
        in_process: Returns whether the current thread belongs to the process.
    """
    if not after:
        yield
        return
    writes = itertools.count(1)

    def is_last(operation: str) -> bool:
        if not after.isdecimal():
            return operation == after
        is_read = operation == "get" or operation.startswith(_AWS_READS)
        return not is_read and next(writes) == int(after)

    with contextlib.ExitStack() as stack:
        for owner, name, operation in _client_calls(after):
            fatal = _fatal(getattr(owner, name), operation, is_last, in_process)
            stack.enter_context(patched(owner, name, fatal))
        yield


def _fatal(
    call: Callable[..., Any],
    operation: Callable[[Any], str],
    is_last: Callable[[str], bool],
    in_process: Callable[[], bool],
) -> Callable[..., Any]:
    """Return a client's method that kills the process after the last call."""

    def fatal(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = call(self, *args, **kwargs)
        if in_process() and is_last(name := operation(args[0])):
            raise Killed(f"killed after {name}")
        return answer

    return fatal


def _client_calls(after: str) -> Generator[tuple[Any, str, Callable[[Any], str]]]:
    """Yield the methods of all calls, and what names the operation in their argument.

    Their modules are imported only here.
    """
    if after.islower() or after.isdecimal():
        import httpx2  # noqa: PLC0415

        yield httpx2.Client, "send", _verb
    if not after.islower():
        import botocore.client  # noqa: PLC0415

        yield cast("Any", botocore.client.BaseClient), "_make_api_call", str


def _verb(request: Any) -> str:
    """Return the verb of a request to the Kubernetes API."""
    is_apply = "apply-patch" in request.headers.get("Content-Type", "")
    return "apply" if is_apply else request.method.lower()
