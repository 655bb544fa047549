"""Fit the texts that Juju shows: statuses, failures of actions, and their results."""

from __future__ import annotations

import re

import problems

STATUS_LIMIT = 120
# Linux takes at most 128 KiB in an argument of a program.
LONGEST_RESULT_BYTES = 120_000
INTERNAL_ERROR = "internal error: see debug-log"
_RETRIED = re.compile(
    "[:,] (the charm tries again|trying again|the next update-status continues)$"
)


def shorten(message: str) -> str:
    """Return a status message, cut where Juju's table would become too wide."""
    if len(message) <= STATUS_LIMIT:
        return message
    return message[: STATUS_LIMIT - 3] + "..."


def describe_failure(problem: problems.Problem) -> str:
    """Return the message of a failed action, which nothing runs again by itself.

    Args:
        problem: The problem that ended it.
    """
    if not isinstance(problem, problems.Waiting):
        return problem.message
    text = _RETRIED.sub("", problem.message)
    return text if text.endswith("again") else f"{text}: run the action again"


def fit_result(value: str) -> str:
    """Return an action's result as an argument that action-set can take.

    Args:
        value: The result.
    """
    encoded = problems.printable(value).encode()
    if len(encoded) <= LONGEST_RESULT_BYTES:
        return encoded.decode()
    kept = encoded[:LONGEST_RESULT_BYTES].decode(errors="ignore")
    return f"{kept}\n... {len(encoded):,} bytes: the rest does not fit into a result"


def torn_down(application: str) -> str:
    """Return the status message after a teardown."""
    return (
        f"torn down: juju run {application}/leader setup creates it again, "
        f"or juju remove-application {application}"
    )
