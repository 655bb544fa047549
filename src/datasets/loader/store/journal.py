"""What an attempt at a shard has done, line by line, so that the next one need not do it again.

A line is written when what it tells of is on the volume. A line that was cut off is no line.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TextIO

from ..base import number_set
from . import readback

# The kinds of lines.
FILE, LINK, REPLACED = "file", "link", "replaced"
VERSION, POSITION, ENDED = "version", "position", "ended"
_FILE_START = f'["{FILE}"'
# So much of each journal that waits to be read is in memory.
BUFFER_BYTES = 2**15


class JournalLine(NamedTuple):
    """One line.

    Attributes:
        kind: What it tells of.
        item: The number of the item in the plan.
        number: Which member of the item it is, counted from 0; or a position in bytes.
        path: The path in the tree.
        size: The file's bytes.
        text: A file's checksum, what a link leads to, or the item's result as JSON.
        link_kind: What kind of a link it is.
    """

    kind: str
    item: int
    number: int = 0
    path: str = ""
    size: int = 0
    text: str = ""
    link_kind: str = ""


def _text(line: JournalLine) -> str:
    if line.kind != FILE:
        return json.dumps(line) + "\n"
    # The same by hand, as there are so many: all but the path is known to need no quoting.
    path = json.dumps(line.path)
    return f'["{FILE}", {line.item}, {line.number}, {path}, {line.size}, "{line.text}"]\n'


class Journal:
    """A journal that is being written. One serves many threads.

    Args:
        path: Its file, which is made.

    Attributes:
        files: How many files it tells of.
        bytes: Their sizes together.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._file = path.open("w", encoding="ascii")
        self._lock = threading.Lock()
        self.files = self.bytes = 0

    def add(self, *lines: JournalLine) -> None:
        """Adds lines; they are in the file after the next `flush`."""
        text = "".join(map(_text, lines))
        sizes = [line.size for line in lines if line.kind == FILE]
        with self._lock:
            self.files += len(sizes)
            self.bytes += sum(sizes)
            # What was stopped does not write down what comes after.
            if not self._file.closed:
                self._file.write(text)

    def flush(self) -> None:
        """Brings all lines to the volume."""
        with self._lock:
            # A journal that was closed has brought them already.
            if self._file.closed:
                return
            self._file.flush()
        try:
            os.fdatasync(self._file.fileno())
        except ValueError:
            # It was closed meanwhile, which brings all lines, too.
            return
        except OSError as error:
            if error.errno != errno.EBADF:
                raise

    def close(self) -> None:
        """Brings all lines to the volume, and ends."""
        with self._lock:
            self._file.close()


def read(paths: Iterable[pathlib.Path], *, files: bool = True) -> Iterator[JournalLine]:
    """The lines of journals; none of a journal that is not there.

    Args:
        paths: The journals.
        files: Whether lines that tell of files are wanted: they are many.
    """
    for file in readback.map_concurrently(_opened, paths):
        with file:
            yield from _lines(file, files=files)


def _opened(path: pathlib.Path) -> TextIO:
    """A journal of which the beginning is in memory: for a short one that is all."""
    try:
        file = io.BufferedReader(io.FileIO(path), BUFFER_BYTES)
    except FileNotFoundError:
        return io.StringIO()
    file.peek(1)
    return io.TextIOWrapper(file, encoding="ascii", errors="replace")


def _lines(file: TextIO, *, files: bool) -> Iterator[JournalLine]:
    for text in file:
        if not files and text.startswith(_FILE_START):
            continue
        # What a lost node had not written out is missing, or zeros.
        with contextlib.suppress(ValueError, TypeError):
            fields: list[Any] = json.loads(text)
            yield JournalLine(*fields)


class CompletedWork:
    """What earlier attempts at a shard have done, in little memory.

    Attributes:
        members: For each item, the members that are on the volume.
        positions: For each item that is one large file, up to where it is on the volume.
        ended: The items that are all done.
        versions: For each item, what told the version of its object that was begun with.
        replaced: The paths of which there was more than one.
    """

    def __init__(self) -> None:
        self.members: dict[int, number_set.NumberSet] = {}
        self.positions: dict[int, int] = {}
        self.ended: set[int] = set()
        self.versions: dict[int, str] = {}
        self.replaced: set[str] = set()

    def add(self, line: JournalLine) -> None:
        """Takes a line into account."""
        if line.kind in {FILE, LINK}:
            self.members.setdefault(line.item, number_set.NumberSet()).add(line.number)
        elif line.kind == POSITION:
            self.positions[line.item] = max(line.number, self.positions.get(line.item, 0))
        elif line.kind == REPLACED:
            # It was begun anew, or another member of that name came: the last one counts.
            self.positions.pop(line.item, None)
            self.replaced.add(line.path)
        elif line.kind == VERSION:
            self.versions[line.item] = line.text
        elif line.kind == ENDED:
            self.ended.add(line.item)

    def has(self, item: int, number: int) -> bool:
        """Whether a member of an item is on the volume."""
        return number in self.members.get(item, ())

    def begun(self, item: int) -> bool:
        """Whether anything of an item is on the volume."""
        return item in self.members or item in self.positions
