"""The journal of an attempt at a shard: its completed work, so that the next one continues.

A line is written when the work that it records is on the volume. Truncated lines are ignored.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from ..access import open_directory, ownership
from ..base import name_set, number_set
from . import json_lines, readback

# The kinds of lines.
FILE, LINK, REPLACED, DIRECTORY = "file", "link", "replaced", "directory"
VERSION, POSITION, ENDED = "version", "position", "ended"
_FILE_START = f'["{FILE}"'
# The part of each journal that is read ahead into memory.
BUFFER_BYTES = 2**15


class JournalLine(NamedTuple):
    """A line of a journal.

    Attributes:
        kind: The kind of the line.
        item: The number of the item in the plan.
        number: The number of the member in the item, from 0; or a position in bytes.
        path: The path in the tree.
        size: The file's size in bytes.
        text: A file's checksum, a link's target, or the item's result as JSON.
        link_kind: The kind of the link.
        executable: Whether the file is executable.
    """

    kind: str
    item: int
    number: int = 0
    path: str = ""
    size: int = 0
    text: str = ""
    link_kind: str = ""
    executable: bool = False


def _text(line: JournalLine) -> str:
    if line.kind != FILE:
        return json.dumps(line) + "\n"
    # Formatted by hand for speed, as there are so many: only the path may need quoting.
    path = json.dumps(line.path)
    more = ', "", true' if line.executable else ""
    return f'["{FILE}", {line.item}, {line.number}, {path}, {line.size}, "{line.text}"{more}]\n'


class Journal:
    """A journal that is written by many threads.

    Args:
        directory: Its directory.
        name: The name of its file, which is created.

    Attributes:
        files: The number of files in it.
        bytes: The sum of their sizes.
    """

    def __init__(self, directory: open_directory.OpenDirectory, name: str) -> None:
        descriptor = directory.create_file(name, ownership.PRIVATE_FILE)
        self._file = os.fdopen(descriptor, "w", encoding="ascii")
        self._lock = threading.Lock()
        self.files = self.bytes = 0

    def add(self, *lines: JournalLine) -> None:
        """Add lines; they are on the volume after the next `flush`."""
        text = "".join(map(_text, lines))
        sizes = [line.size for line in lines if line.kind == FILE]
        with self._lock:
            self.files += len(sizes)
            self.bytes += sum(sizes)
            # A closed journal ignores lines of work that was cancelled.
            if not self._file.closed:
                self._file.write(text)

    def flush(self) -> None:
        """Write all lines to the volume."""
        with self._lock:
            # Closing has written them already.
            if self._file.closed:
                return
            self._file.flush()
        try:
            os.fdatasync(self._file.fileno())
        except ValueError:
            # It was closed meanwhile, which has written them, too.
            return
        except OSError as error:
            if error.errno != errno.EBADF:
                raise

    def close(self) -> None:
        """Write all lines to the volume, and close the file."""
        with self._lock:
            self._file.close()


def read(
    load: open_directory.OpenDirectory, paths: Iterable[str], *, files: bool = True
) -> Iterator[JournalLine]:
    """Yield the lines of journals; none of a journal that does not exist.

    Args:
        load: The directory of the load.
        paths: The paths of the journals in it.
        files: Whether to yield lines of kind FILE, which are many.

    Raises:
        NotOwnError: Others could have written one of them.
    """
    for file in readback.map_concurrently(lambda path: _open(load, path), paths):
        with file:
            yield from _lines(file, files=files)


def _open(load: open_directory.OpenDirectory, path: str) -> TextIO:
    """Open a journal and read its beginning into memory; of a short one, all of it."""
    shard, _, name = path.rpartition("/")
    try:
        directory = ownership.open_own(load, shard, private=True) if shard else load
        descriptor = ownership.open_own_file(directory, name)
    except FileNotFoundError:
        return io.StringIO()
    file = io.BufferedReader(os.fdopen(descriptor, "rb", 0), BUFFER_BYTES)
    file.peek(1)
    return io.TextIOWrapper(file, encoding="ascii", errors="replace")


def _lines(file: TextIO, *, files: bool) -> Iterator[JournalLine]:
    for batch in json_lines.batches(file):
        wanted = [text for text in batch if files or not text.startswith(_FILE_START)]
        for fields in _parse(wanted):
            with contextlib.suppress(TypeError):
                yield JournalLine(*fields)


def _parse(lines: Sequence[str]) -> Iterable[Any]:
    """Return what each line stands for, without lines that are not whole."""
    # Of whole lines each is one value; a string that is not closed does not go on in a new line.
    if all(line.startswith('["') and line.endswith("]\n") for line in lines):
        with contextlib.suppress(ValueError):
            parsed: list[Any] = json.loads(f"[{','.join(lines)}]")
            if len(parsed) == len(lines):
                return parsed
    return [each for line in lines for each in _whole(line)]


def _whole(line: str) -> list[Any]:
    # What a lost node had not written is missing, or zeros.
    with contextlib.suppress(ValueError):
        return [json.loads(line)]
    return []


class CompletedWork:
    """The completed work of earlier attempts at a shard, in little memory.

    Attributes:
        members: For each item, the members that are on the volume.
        positions: For each item that is one large file, the position up to which it is on the
            volume.
        ended: The items that are complete.
        versions: For each item, the validator of the version of its object that it began with.
        replaced: The paths of files that were replaced, known when all lines are added.
    """

    def __init__(self) -> None:
        self.members: dict[int, number_set.NumberSet] = {}
        self.positions: dict[int, int] = {}
        self.ended: set[int] = set()
        self.versions: dict[int, str] = {}
        self.replaced = name_set.NameSet()

    def add(self, line: JournalLine) -> None:
        """Add the work in a line."""
        if line.kind in {FILE, LINK}:
            self.members.setdefault(line.item, number_set.NumberSet()).add(line.number)
        elif line.kind == POSITION:
            self.positions[line.item] = max(line.number, self.positions.get(line.item, 0))
        elif line.kind == REPLACED:
            # It was started over, or another member has this path: the last one counts.
            self.positions.pop(line.item, None)
            self.replaced.add(line.path)
        elif line.kind == VERSION:
            self.versions[line.item] = line.text
        elif line.kind == ENDED:
            self.ended.add(line.item)

    def has(self, item: int, number: int) -> bool:
        """Tell whether a member of an item is on the volume."""
        return number in self.members.get(item, ())

    def has_begun(self, item: int) -> bool:
        """Tell whether any part of an item is on the volume."""
        return item in self.members or item in self.positions
