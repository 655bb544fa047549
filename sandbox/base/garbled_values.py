"""Make of a good value in a databag what other charms, versions and enemies would make of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, cast

_BIG = "@a number that Python refuses to convert@"
# More than an argument of a program takes, on Linux.
_LONG = "A" * (130 * 1024)
_TEXTS = (
    *("", " ", "\n", "\0", "null", "true", "7", "-1", "NaN", "1e999", '"text"', "[]", "{}"),
    *("[null]", "[[]]", "[7]", '[""]', '[{"": null}]', '{"": null}', '{"a": {"b": []}}'),
    *("[" * 100_000, '{"a":' * 100_000, "9" * 5000, "[" + "9" * 5000 + "]", _LONG),
    *("\ud800", "\u202etxt", "\x1b[31m", "%s%n{}", "../../etc/passwd", "$(reboot)", "- a: b"),
    *("".join(map(chr, range(256))), "<html><body>Please log in</body></html>"),
    *("-----BEGIN CERTIFICATE-----", "secret:", "secret://0/0?x=y", "https://", "127.0.0.1"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, float("inf"), float("nan"), _BIG, _LONG, [], {}, [[]], [None]),
    *("", " ", "text", "\0\x1b[31m", "\ud800", "\u0661", {"": None}, {"text": "text"}, ["text"]),
)


def garbled(good: str) -> Iterator[str]:
    """Yield what may be there in place of a good value: JSON, PEM, or any text.

    Args:
        good: The good value.
    """
    yield from _TEXTS
    half = len(good) // 2
    yield from (good[:1], good[:half], good[:-1], good[half:], f"{good}{good}", f"\ufeff{good}")
    yield from (f"{good}\0", good.upper(), good.replace("\n", ""), good.replace("\n", "\r\n"))
    try:
        value = json.loads(good)
    except ValueError:
        return
    yield from _parts_garbled(value)


def _parts_garbled(value: Any) -> Iterator[str]:
    """Yield a JSON value with each of its parts replaced, or removed."""
    for path in _paths(value):
        for other in _VALUES:
            changed, holder = _opened(value, path)
            holder[path[-1]] = other
            yield json.dumps(changed[0]).replace(f'"{_BIG}"', "9" * 5000)
        if len(path) > 1:
            changed, holder = _opened(value, path)
            del holder[path[-1]]
            yield json.dumps(changed[0])


def _opened(value: Any, path: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return a copy in a list, and that of its parts which holds the last step of the path."""
    changed: Any = [copy.deepcopy(value)]
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    return changed, holder


def _paths(value: Any, path: tuple[Any, ...] = (0,)) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, each in cast("dict[str, Any]", value).items():
            yield from _paths(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(cast("list[Any]", value)):
            yield from _paths(each, (*path, number))
