"""Make a call look like a separate process: its environment, its log and its sudden end."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

# Loggers of this process that would not be in the charm's log on a machine.
_FOREIGN_LOGGERS = ("moto", "ops-scenario", "sandbox", "werkzeug")


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
        after: An AWS operation, or a verb of the Kubernetes API: get, apply, patch, delete; "" for
            never.
        in_process: Returns whether the current thread belongs to the process.
    """
    if not after:
        yield
        return
    owner, name, operation = _client_call(after)
    call = getattr(owner, name)

    def fatal(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = call(self, *args, **kwargs)
        if in_process() and operation(args[0]) == after:
            raise Killed(f"killed after {after}")
        return answer

    with patched(owner, name, fatal):
        yield


def _client_call(after: str) -> tuple[Any, str, Callable[[Any], str]]:
    """Return the method of all calls of this kind, and what names the operation in its argument.

    The method's module is imported only here.
    """
    if after.islower():
        import httpx2  # noqa: PLC0415

        return httpx2.Client, "send", _verb
    import botocore.client  # noqa: PLC0415

    return cast("Any", botocore.client.BaseClient), "_make_api_call", str


def _verb(request: Any) -> str:
    """Return the verb of a request to the Kubernetes API."""
    is_apply = "apply-patch" in request.headers.get("Content-Type", "")
    return "apply" if is_apply else request.method.lower()
