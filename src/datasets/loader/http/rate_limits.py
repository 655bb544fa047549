"""Read from the head of a response how long its origin wants no requests.

Origins tell it by Retry-After (RFC 9110, 10.2.3), by RateLimit and RateLimit-Policy
(draft-ietf-httpapi-ratelimit-headers), or by the RateLimit-Reset or X-RateLimit-Reset before them.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping, Sequence
from email import message as email_message

MOST_DIGITS = 12
# X-RateLimit-Reset is a number of seconds, or a time: a number of seconds since 1970.
LEAST_TIME = 10**9
QUOTED = re.compile(r'"[^"]*"')
# The parameters of the forms of RateLimit: `"name";r=0;t=50` and `limit=9, remaining=0, reset=50`.
REMAINING, RESET, WINDOW = ("r", "remaining"), ("t", "reset"), ("w",)


def asked_seconds(headers: email_message.Message) -> float:
    """Return the wait that a refusal asks for; 0 for none."""
    seconds = refused_seconds(headers)
    if seconds or headers.get("Retry-After", "").strip():
        return seconds
    # It refuses although it names no limit that is used up: the shortest one may be.
    limits = [_value(each, RESET) for each in _limits(headers, "RateLimit")]
    windows = [_value(each, WINDOW) for each in _limits(headers, "RateLimit-Policy")]
    return min(filter(None, limits), default=0) or min(filter(None, windows), default=0)


def refused_seconds(headers: email_message.Message) -> float:
    """Return the time until requests are allowed again, as a refusal tells it; 0 if not."""
    after = headers.get("Retry-After", "").strip()
    if not after:
        return exhausted_seconds(headers)
    seconds = _number(after)
    return _until(after) if seconds is None else seconds


def exhausted_seconds(headers: email_message.Message) -> float:
    """Return the time until requests are allowed again, if this was the last one; 0 if not."""
    used_up = [each for each in _limits(headers, "RateLimit") if _value(each, REMAINING) == 0]
    if used_up:
        resets = [_value(each, RESET) for each in used_up]
        windows = [_value(each, WINDOW) for each in _limits(headers, "RateLimit-Policy")]
        return max(filter(None, resets), default=0) or max(filter(None, windows), default=0)
    for prefix in ("", "X-"):
        if _number(headers.get(f"{prefix}RateLimit-Remaining", "")) == 0:
            reset = _number(headers.get(f"{prefix}RateLimit-Reset", "")) or 0
            return max(0, reset - time.time()) if reset >= LEAST_TIME else reset
    return 0


def _limits(headers: email_message.Message, name: str) -> Sequence[Mapping[str, str]]:
    """Return the parameters of each limit in a header."""
    limits: list[dict[str, str]] = []
    text = QUOTED.sub("name", ",".join(headers.get_all(name, [])))
    for part in text.split(","):
        parameters = [each.strip().partition("=") for each in part.split(";")]
        # In the earlier form, commas separate the parameters of one limit.
        if not limits or not parameters[0][1]:
            limits.append({})
        limits[-1].update({key.lower(): value for key, equals, value in parameters if equals})
    return limits


def _value(limit: Mapping[str, str], names: Sequence[str]) -> float | None:
    values = (_number(limit[name]) for name in names if name in limit)
    return next(values, None)


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def _until(date: str) -> float:
    """Return the seconds until a time as in the header Date; 0 if it is none."""
    try:
        then = email.utils.parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0
    return max(0, then - time.time())
