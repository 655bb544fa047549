"""The file list of a version: a JSON object in each line for each of its entries.

path, bytes, sha256     a file; executable is true if it is
path, same              a file that the list has under another name already, a hard link
path, link              a symbolic link, and its target
path, directory         a directory; those that are part of another path may be left out
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from ..access import open_directory, ownership
from . import json_lines

NAME = "file-list"
# All may read it.
MODE = 0o644
# Lines are compared in spans: to hand over each by itself would cost more than to compare it.
SPAN_LINES, SPAN_BYTES = 16, 2**18


def format_file(path: str, size: int, sha256: str, *, executable: bool) -> str:
    """Return the line of a file."""
    # Formatted by hand for speed: there may be millions.
    more = ', "executable": true' if executable else ""
    return f'{{"path": {json.dumps(path)}, "bytes": {size}, "sha256": "{sha256}"{more}}}\n'


def format_hard_link(path: str, same: str) -> str:
    """Return the line of another name of a file."""
    return json.dumps({"path": path, "same": same}) + "\n"


def format_symbolic_link(path: str, target: str) -> str:
    """Return the line of a symbolic link."""
    return json.dumps({"path": path, "link": target}) + "\n"


def format_directory(path: str) -> str:
    """Return the line of a directory."""
    return json.dumps({"path": path, "directory": True}) + "\n"


def create(work: open_directory.OpenDirectory) -> TextIO:
    """Open a new, empty list in the directory of a load; closing it writes it to the volume."""
    return os.fdopen(work.create_anew(NAME, MODE), "w", encoding="ascii")


class Span(NamedTuple):
    """Some neighbouring lines of a list.

    Attributes:
        start: The position in bytes where they begin.
        end: The position where they end.
        directories: The paths of the directories of their entries.
    """

    start: int
    end: int
    directories: frozenset[str]


class FileList:
    """A list that is read.

    Args:
        home: The directory that it is in.
        name: Its name.

    Raises:
        NotOwnError: Others could have written it.
        FileNotFoundError: There is none.
    """

    def __init__(self, home: open_directory.OpenDirectory, name: str) -> None:
        self._file = os.fdopen(ownership.open_own_file(home, name), "rb")

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield all lines."""
        return (fields for _, fields in self._parsed())

    def spans(self) -> Iterator[Span]:
        """Yield all lines in spans of a few files, or of one that is large."""
        start = end = count = size = 0
        directories: set[str] = set()
        for line, fields in self._parsed():
            end += len(line)
            count += 1
            size += fields.get("bytes", 0)
            directories.add(fields["path"].rpartition("/")[0])
            if count >= SPAN_LINES or size >= SPAN_BYTES:
                yield Span(start, end, frozenset(directories))
                start, count, size = end, 0, 0
                directories.clear()
        if count:
            yield Span(start, end, frozenset(directories))

    def read(self, start: int, end: int) -> list[dict[str, Any]]:
        """Return the lines of a span; many threads and processes may read at once."""
        data = bytearray(end - start)
        at = 0
        while at < len(data):
            count = os.preadv(self._file.fileno(), [memoryview(data)[at:]], start + at)
            if not count:
                raise EOFError("a file list became shorter")
            at += count
        return _parse(bytes(data).splitlines())

    def _parsed(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        self._file.seek(0)
        for batch in json_lines.batches(self._file):
            yield from zip(batch, _parse(batch))  # noqa: B905 - of 3.9


def _parse(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    return json.loads(b"[%s]" % b",".join(lines))
