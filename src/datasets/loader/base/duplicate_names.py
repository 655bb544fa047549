"""Find duplicates among millions of names, in eight bytes a name."""

from __future__ import annotations

import array
from collections.abc import Iterator

from . import name_set

PARTS = 256


class DuplicateNames:
    """A detector of duplicate names, which keeps only their hashes."""

    def __init__(self) -> None:
        self._parts = [array.array("q") for _ in range(PARTS)]

    def add(self, name: str) -> None:
        """Add a name."""
        value = hash(name)
        self._parts[value % PARTS].append(value)

    def suspects(self) -> name_set.NameSet:
        """Return the names that were added twice; very rarely, two with the same hash are."""
        found = name_set.NameSet()
        for value in self._repeated():
            found.add_hash(value)
        found.sort()
        return found

    def _repeated(self) -> Iterator[int]:
        for part in self._parts:
            ordered = sorted(part)
            for number in range(1, len(ordered)):
                if ordered[number - 1] == ordered[number]:
                    yield ordered[number]
