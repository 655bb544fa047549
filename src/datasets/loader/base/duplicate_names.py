"""Tells whether millions of names differ, in eight bytes a name."""

from __future__ import annotations

import array
from collections.abc import Iterator

PARTS = 256


class Distinct:
    """What is left of the names that came: their hashes."""

    def __init__(self) -> None:
        self._parts = [array.array("q") for _ in range(PARTS)]

    def add(self, name: str) -> None:
        """Takes a name in."""
        value = hash(name)
        self._parts[value % PARTS].append(value)

    def suspects(self) -> set[int]:
        """The hashes that came more than once: of one name, or, hardly ever, of two."""
        return set(self._repeated())

    def _repeated(self) -> Iterator[int]:
        for part in self._parts:
            ordered = sorted(part)
            for number in range(1, len(ordered)):
                if ordered[number - 1] == ordered[number]:
                    yield ordered[number]
