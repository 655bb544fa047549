"""Problems that keep the volume from working, with a message that tells what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST_QUOTE = 30
LONGEST_MESSAGE = 16_000

# Juju's hook commands take no NUL and no lone surrogate as an argument, and a terminal should not
# obey what an API server or an archive says.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# The user and password of a URL, its query, and a password before a host.
_SECRETS = re.compile(r"(?<=://).*(?=@)|(?<=\?).+|(?<=:)[^/@\s]*(?=@)", re.DOTALL)


class Problem(Exception):  # noqa: N818 - also kept as a value, and shown
    """A problem that is shown in `juju status` or as the failure of an action.

    Args:
        message: The fact, then the remedy, in at most 120 characters where it can be a status. It
            never contains a secret.
    """

    def __init__(self, message: str) -> None:
        self.message = printable(message[:LONGEST_MESSAGE])
        super().__init__(self.message)


class Waiting(Problem):
    """A problem that resolves itself, or that another charm or API resolves: retry later."""


class Blocked(Problem):
    """A problem that the user has to solve: the message names the command."""


def printable(text: str) -> str:
    """Return text without control characters (but line ends and tabs) and lone surrogates.

    Args:
        text: The text.
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def name_some(names: Sequence[str], most: int) -> str:
    """Return names as a message has them: the first ones, and the number of others.

    Args:
        names: The names.
        most: The most that are named.
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def list_some(lines: Sequence[str], most: int, rest: str = "{} more") -> list[str]:
    """Return the first lines, and one with the number of others if there are any.

    Args:
        lines: The lines.
        most: The most that are returned as they are.
        rest: The last line, with {} for the number.
    """
    more = len(lines) - most
    return [*lines[:most], *([rest.format(more)] if more > 0 else [])]


def quote(value: str) -> str:
    """Return a user's value quoted, and cut to fit into a status.

    A URL in the place of something else may have a password or a signature in it.

    Args:
        value: The value.
    """
    value = _SECRETS.sub("...", value)
    return repr(value if len(value) <= LONGEST_QUOTE else value[: LONGEST_QUOTE - 3] + "...")
