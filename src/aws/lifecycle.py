"""Translate a lifecycle configuration between AWS's form and the words of its option; no I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NONE = "none"
_TRANSITIONS = {
    "ia": "TransitionToIA",
    "archive": "TransitionToArchive",
    "back": "TransitionToPrimaryStorageClass",
}
_ACCESS = ("on-access", "AFTER_1_ACCESS")


def to_policies(words: str) -> Any:
    """Return AWS's list of policies, with one transition each.

    Args:
        words: The words, as `ia=30d back=on-access`, or `none`.
    """
    parts = (part.partition("=") for part in words.split() if words != NONE)
    return [{_TRANSITIONS[name]: _rule(text)} for name, _, text in parts]


def to_words(policies: Iterable[Mapping[str, Any]]) -> str:
    """Return the words of AWS's policies; `none` where there are none.

    Args:
        policies: The policies as AWS describes them.
    """
    found: dict[str, str] = {}
    for policy in policies:
        found |= policy
    parts = [
        f"{name}={_text(found[transition])}"
        for name, transition in _TRANSITIONS.items()
        if transition in found
    ]
    return " ".join(parts) or NONE


def needs_elastic(words: str) -> bool:
    """Return whether AWS takes the configuration with elastic throughput only."""
    return "archive=" in words


def _rule(text: str) -> str:
    days = text.removesuffix("d")
    return _ACCESS[1] if text == _ACCESS[0] else f"AFTER_{days}_DAY{'S'[: days != '1']}"


def _text(rule: str) -> str:
    match = re.fullmatch(r"AFTER_([0-9]+)_DAYS?", rule)
    return f"{match[1]}d" if match else _ACCESS[0] if rule == _ACCESS[1] else rule.lower()
