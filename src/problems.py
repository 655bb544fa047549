"""What stands between the user and a working volume: a typed sentence that says what to do."""

from __future__ import annotations

LONGEST_QUOTE = 30


class Problem(Exception):  # noqa: N818 - also kept as a value, and shown
    """A state that the user is told of in `juju status` or as an action's failure.

    Args:
        message: What is so, then what to do, in at most 120 characters where it can be a
            status line. It never carries a secret.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Waiting(Problem):
    """It mends itself, or another charm or API does: the next event goes on from here."""


class Blocked(Problem):
    """It needs the user: the message names the command that mends it."""


def quote(value: str) -> str:
    """Return a user's value quoted, and short enough for a status.

    Args:
        value: The value.
    """
    return repr(value if len(value) <= LONGEST_QUOTE else value[: LONGEST_QUOTE - 3] + "...")
