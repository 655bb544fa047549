"""Wait for AWS and Kubernetes: ask again at growing intervals, never without an end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")


def poll(
    ask: Callable[[], _Answer], done: Callable[[_Answer], bool], timeout_seconds: float
) -> _Answer:
    """Ask until an answer is good or the time is up: often at first, then every two seconds.

    Args:
        ask: The question; it is asked at least once.
        done: Tells whether an answer ends the waiting.
        timeout_seconds: The time after which no further question is asked.

    Returns:
        The last answer.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda answer: not done(answer)),
        stop=tenacity.stop_before_delay(timeout_seconds),
        wait=tenacity.wait_exponential(multiplier=0.05, max=2),
        retry_error_callback=_last_answer,
    )(ask)


def retry(call: Callable[[], _Answer], error: type[Exception], attempts: int) -> _Answer:
    """Call again while it raises an error, at growing intervals.

    Args:
        call: The call.
        error: The error; any other one ends the calls.
        attempts: The number of calls after which the error is raised.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(error),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential(multiplier=0.05, max=2),
        reraise=True,
    )(call)


def pause(repeats: int) -> None:
    """Wait before a step is repeated: 0.3 s the first time, then twice as long each time.

    Args:
        repeats: The number of times that the step was taken before.
    """
    time.sleep(0.15 * 2**repeats)


def _last_answer(state: tenacity.RetryCallState) -> Any:
    return None if state.outcome is None else state.outcome.result()
