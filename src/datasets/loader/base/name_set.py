"""A set of millions of names, in eight bytes a name."""

from __future__ import annotations

import array
import bisect

PARTS = 256


class NameSet:
    """A set of names that keeps only their hashes: it may, very rarely, take one for another.

    Nobody can choose such names, as Python's hashes differ from process to process.
    """

    def __init__(self) -> None:
        self._parts = [array.array("q") for _ in range(PARTS)]

    def add(self, name: str) -> None:
        """Add a name."""
        self.add_hash(hash(name))

    def add_hash(self, value: int) -> None:
        """Add a name by its hash."""
        self._parts[value % PARTS].append(value)

    def __len__(self) -> int:
        """Return the number of names that were added."""
        return sum(map(len, self._parts))

    def sort(self) -> None:
        """Make the names that were added known to `in`."""
        for number, part in enumerate(self._parts):
            self._parts[number] = array.array("q", sorted(set(part)))

    def __contains__(self, name: str) -> bool:
        value = hash(name)
        part = self._parts[value % PARTS]
        at = bisect.bisect_left(part, value)
        return at < len(part) and part[at] == value
