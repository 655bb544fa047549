"""The ids of requests for data sets: unique, and sorted by time."""

from __future__ import annotations

import calendar
import secrets
import time

TIME = "%Y%m%dt%H%M%S"


def new() -> str:
    """Return a new id for a request: unique, and sorted by time."""
    return f"{time.strftime(TIME, time.gmtime())}-{secrets.token_hex(4)}"


def time_of(request: str) -> float:
    """Return the time of a request in seconds since 1970; 0 for text that is no request id.

    Args:
        request: The id of the request, or the version that was made from it.
    """
    try:
        when = time.strptime(request.partition("-")[0], TIME)
    except ValueError:
        return 0
    return calendar.timegm(when)
