"""Wait in a test for what others bring about, within a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Return the first true result of a condition; the test fails if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "the condition does not become true"
        time.sleep(0.1)
    return result
