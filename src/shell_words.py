"""Split a value into words as a shell does: quotes and backslashes hold words together."""

from __future__ import annotations

import re
import shlex

# A word in POSIX shell's quoting. An unfinished quote is part of no word.
_WORD = re.compile(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^ \t\r\n'"\\])+""", re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*")


def split(value: str) -> list[str]:
    """Return the words of a value; an unquoted word that begins with # begins a comment.

    YAML, as which Juju reads the parameters of actions, ends a value at such a word, too. A # that
    YAML takes out of quotes leaves a quote open, which is refused here.

    Raises:
        ValueError: A quote is not closed, or nothing follows a backslash.
    """
    try:
        return [word for part in _without_comments(value) for word in shlex.split(part)]
    except ValueError as error:
        raise ValueError(
            f"cannot be split into words ({error}): check its quotes; Juju ends a value at ' #', "
            "unless all of it is quoted twice, as in '\"...\"', or with --string-args"
        ) from None


def _without_comments(value: str) -> list[str]:
    """Return the parts of a value between its comments."""
    parts: list[str] = []
    begin = end = 0
    while word := _WORD.match(value, _end_of_blanks(value, end)):
        end = word.end()
        if word[0].startswith("#"):
            parts.append(value[begin : word.start()])
            line_end = value.find("\n", word.start())
            begin = end = len(value) if line_end < 0 else line_end
    return [*parts, value[begin:]]


def _end_of_blanks(value: str, begin: int) -> int:
    blanks = _BLANKS.match(value, begin)
    return blanks.end() if blanks else begin
