"""Bounded waiting: look, ever more slowly, until it is so or the time is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tenacity

_Seen = TypeVar("_Seen")


def until(
    look: Callable[[], _Seen], done: Callable[[_Seen], bool], timeout_seconds: float
) -> _Seen:
    """Look again and again until it is done or the time is up.

    Args:
        look: What to do each time; at least once.
        done: Whether what was seen is the end.
        timeout_seconds: How long to go on.

    Returns:
        What was seen last.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda seen: not done(seen)),
        stop=tenacity.stop_before_delay(timeout_seconds),
        wait=tenacity.wait_exponential(multiplier=0.05, max=2),
        retry_error_callback=_last_seen,
    )(look)


def _last_seen(state: tenacity.RetryCallState) -> Any:
    return None if state.outcome is None else state.outcome.result()
