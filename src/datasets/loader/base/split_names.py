"""The names of the parts of a split archive, such as `set.tar.gz.aa` and `set.zip.001`."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_ARCHIVE = r"zip|tar\.(?:gz|bz2|xz|zst|lzma)|tar|tgz|tbz2?|txz|tzst|tlz"
_WHOLE = re.compile(rf"\.(?:{_ARCHIVE})$", re.IGNORECASE)
# After the name of an archive, as `split` and others write it; letters may follow directly.
_NUMBER = r"[0-9]{1,6}|[a-z]{2}|a[a-z]{2}|z[a-z]{3}|zz[a-z]{4}"
_OF_ARCHIVE = re.compile(rf"(.+\.(?:{_ARCHIVE}))([._-]?(?:part)?[._-]?)({_NUMBER})", re.IGNORECASE)
# After another name, which tells less.
_OF_OTHER = re.compile(r"(.+?)([._-]part[._-]?|\.)([0-9]{1,6}|[a-z]{2})", re.IGNORECASE)


class PartName(NamedTuple):
    """The name of a part of a split file.

    Attributes:
        whole: The name of the whole.
        mark: What stands between it and the number.
        number: The number of the part, in digits or letters.
        of_archive: Whether the whole is an archive by its name.
    """

    whole: str
    mark: str
    number: str
    of_archive: bool

    @property
    def is_first(self) -> bool:
        """Return whether it is that of a first part."""
        if self.number.isdigit():
            return int(self.number) in {0, 1}
        return set(self.number.lower()) == {"a"}


def parse(name: str) -> PartName | None:
    """Return the name of a part; None if it is that of a whole."""
    if _WHOLE.search(name):
        return None
    if found := _OF_ARCHIVE.fullmatch(name):
        return PartName(found[1], found[2], found[3], of_archive=True)
    found = _OF_OTHER.fullmatch(name)
    return PartName(found[1], found[2], found[3], of_archive=False) if found else None


def order(number: str) -> tuple[int, str]:
    """Return the key that sorts the numbers of parts."""
    return len(number), number.lower()


def sequence_length(numbers: Sequence[str]) -> int:
    """Return how many of the sorted numbers, from the first one on, may belong together.

    Two letters far behind the others are the ending of another file, such as `md` behind `ab`:
    more numbers are missing between them than there are.
    """
    for at in range(1, len(numbers)):
        before, after = numbers[at - 1].lower(), numbers[at].lower()
        two_letters = len(before) == len(after) == 2 and (before + after).isalpha()
        if two_letters and _rank(after) - _rank(before) - 1 > len(numbers):
            return at
    return len(numbers)


def _rank(letters: str) -> int:
    """Return the place of two letters from `aa` on."""
    first, second = map(string.ascii_lowercase.index, letters)
    return first * len(string.ascii_lowercase) + second


def gap(numbers: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two sorted numbers between which others are missing; None if none are."""
    for at in range(1, len(numbers)):
        before, after = numbers[at - 1], numbers[at]
        if after.lower() not in set(_successors(before.lower())):
            return before, after
    return None


def _successors(number: str) -> Iterator[str]:
    """Yield the numbers that may follow one."""
    digits = "0123456789" if number.isdigit() else "abcdefghijklmnopqrstuvwxyz"
    first, last = digits[0], digits[-1]
    rest = number.rstrip(last)
    if rest:
        at = digits.index(rest[-1])
        following = rest[:-1] + digits[at + 1] + first * (len(number) - len(rest))
        # `split` makes them longer before they begin with its last digit: 89, 9000; yz, zaaa.
        widened = len(following) - len(following.lstrip(last)) if following else 0
        yield following
        if widened and set(following[widened:]) == {first}:
            yield following + first * 2
    elif number.isdigit():
        yield "1" + first * len(number)
