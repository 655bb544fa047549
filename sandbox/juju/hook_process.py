"""What lets a call pass for a process of its own: its environment, its log, its sudden end."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

# What runs in this process beside the charm, and would not be in its log on a machine.
_NOT_THE_CHARM = ("moto", "ops-scenario", "sandbox", "werkzeug")


class Killed(BaseException):
    """The process is gone, as after SIGKILL; a BaseException, since no charm outlives one."""


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Generator[None]:
    """Give the process its environment, and nothing of the developer's clouds and proxies."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", "JUJU_", "KUBE")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        # One by one, since other threads start processes meanwhile.
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def logging_apart() -> Generator[None]:
    """Keep what is not the charm out of its log, and take away handlers that a charm left."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    apart = [logging.getLogger(name) for name in _NOT_THE_CHARM]
    kept = [(each.handlers, each.propagate) for each in apart]
    for each in apart:
        each.handlers, each.propagate = [*each.handlers, *handlers, logging.NullHandler()], False
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for each, (its_handlers, propagate) in zip(apart, kept, strict=True):
            each.handlers, each.propagate = its_handlers, propagate


@contextlib.contextmanager
def patched(owner: Any, name: str, value: Any) -> Generator[None]:
    """Have another value in an attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextlib.contextmanager
def armed(after: str, here: Callable[[], bool]) -> Generator[None]:
    """Kill the process as soon as it has the answer to a call.

    Args:
        after: An AWS operation or a verb of lightkube's client; "" for never.
        here: Tells whether the running thread is the process's.
    """
    if not after:
        yield
        return
    owner, name, call = _client_call(after)

    def fatal(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = call(self, *args, **kwargs)
        if here() and (after.islower() or args[0] == after):
            raise Killed(f"killed after {after}")
        return answer

    with patched(owner, name, fatal):
        yield


def _client_call(after: str) -> tuple[Any, str, Callable[..., Any]]:
    """Find the method that all calls of this kind go through, and import it only then."""
    if after.islower():
        import lightkube  # noqa: PLC0415

        return lightkube.Client, after, getattr(lightkube.Client, after)
    import botocore.client  # noqa: PLC0415

    client = cast("Any", botocore.client.BaseClient)
    return client, "_make_api_call", client._make_api_call
