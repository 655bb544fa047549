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
        value = hash(name)
        self._parts[value % PARTS].append(value)

    def __len__(self) -> int:
        """Return the number of names that were added."""
        return sum(map(len, self._parts))

    def sort(self) -> None:
        """Make the names that were added known to `in`."""
        for number, part in enumerate(self._parts):
            self._parts[number] = array.array("q", sorted(set(part)))

    def repeated(self) -> NameSet:
        """Return the names that were added twice, known to `in`; call it before `sort`.

        Very rarely, two names with the same hash are among them.
        """
        found = NameSet()
        for number, part in enumerate(self._parts):
            ordered = sorted(part)
            found._parts[number].extend(
                ordered[at] for at in range(1, len(ordered)) if ordered[at - 1] == ordered[at]
            )
        found.sort()
        return found

    def __contains__(self, name: str) -> bool:
        value = hash(name)
        part = self._parts[value % PARTS]
        at = bisect.bisect_left(part, value)
        return at < len(part) and part[at] == value
