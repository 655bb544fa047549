"""How to wait for AWS: often at first, then every two seconds, and never without an end."""

from __future__ import annotations

import operator
import time
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable


def polled(done: Callable[[], bool], until: float) -> bool:
    """Ask until it is done or the time is up; at least once.

    Args:
        done: The question.
        until: When to give up, on the monotonic clock.

    Returns:
        The last answer.
    """
    retrying = tenacity.Retrying(
        wait=tenacity.wait_exponential(multiplier=0.05, max=2),
        stop=lambda _: time.monotonic() >= until,
        retry=tenacity.retry_if_result(operator.not_),
        retry_error_callback=lambda _: False,
    )
    return retrying(done)
