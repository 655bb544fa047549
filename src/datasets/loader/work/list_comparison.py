"""Compare all lines of a file list with the tree: by several processes, with many files at once.

The directories of the next lines are listed in advance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..base import forked_calls
from ..store import file_list, readback
from . import comparison

# The directories that are remembered as listed, by their hashes: of two that share one, only one
# is listed in advance.
REMEMBERED = 2**20


class ComparedSpan(NamedTuple):
    """The result of comparing the lines of a span.

    Attributes:
        files: The number of files.
        bytes: The sum of their sizes in the list.
        differences: The path of each entry that differs, and how.
    """

    files: int
    bytes: int
    differences: list[tuple[str, str]]


class ListComparison:
    """A comparison of all lines. It is created before other threads are.

    Args:
        listing: The file list.
        compared: The comparison, which has learnt the list.
    """

    def __init__(self, listing: file_list.FileList, compared: comparison.Comparison) -> None:
        self._listing = listing
        self._compared = compared
        self._listed = bytearray(REMEMBERED)
        self._calls = forked_calls.ForkedCalls(self._compare)

    def close(self) -> None:
        """End the processes."""
        self._calls.close()

    def run(self, tick: Callable[[], None]) -> Iterator[ComparedSpan]:
        """Compare all lines; yield the spans in the order in which they are compared.

        Args:
            tick: Called now and then.

        Raises:
            Failure: A process was killed.
        """
        for answer in self._calls.map(self._arguments(), tick):
            start, end, files, size, differences = json.loads(answer)
            # The paths may be too long for an answer.
            lines = self._listing.read(start, end) if differences else []
            named = [(lines[int(at)]["path"], differences[at]) for at in differences]
            yield ComparedSpan(files, size, named)

    def _arguments(self) -> Iterator[str]:
        for span in readback.map_concurrently(self._look_ahead, self._listing.spans()):
            yield json.dumps([span.start, span.end])

    def _look_ahead(self, span: file_list.Span) -> file_list.Span:
        for directory in span.directories:
            at = hash(directory) % REMEMBERED
            if not self._listed[at]:
                self._listed[at] = True
                self._compared.look_ahead(directory)
        return span

    def _compare(self, argument: str) -> str:
        """Compare a span, in one of the processes."""
        start, end = json.loads(argument)
        lines = self._listing.read(start, end)
        files = sum("bytes" in line or "same" in line for line in lines)
        size = sum(line.get("bytes", 0) for line in lines)
        compared = [(at, self._compared.compare(line)) for at, line in enumerate(lines)]
        differences = {at: difference for at, difference in compared if difference}
        return json.dumps([start, end, files, size, differences])
