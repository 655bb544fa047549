"""Problems that keep the volume from working, with a message that tells what to do."""

from __future__ import annotations

LONGEST_QUOTE = 30


class Problem(Exception):  # noqa: N818 - also kept as a value, and shown
    """A problem that is shown in `juju status` or as the failure of an action.

    Args:
        message: The fact, then the remedy, in at most 120 characters where it can be a status. It
            never contains a secret.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Waiting(Problem):
    """A problem that resolves itself, or that another charm or API resolves: retry later."""


class Blocked(Problem):
    """A problem that the user has to solve: the message names the command."""


def quote(value: str) -> str:
    """Return a user's value quoted, and cut to fit into a status.

    Args:
        value: The value.
    """
    return repr(value if len(value) <= LONGEST_QUOTE else value[: LONGEST_QUOTE - 3] + "...")
