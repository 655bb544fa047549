"""Files on their way to the writer: what they are, who wants them, and how they are grouped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from . import tree_writer

BATCH_FILES, BATCH_BYTES = 16, 2**18


class WrittenFile(NamedTuple):
    """A file that is on the volume.

    Attributes:
        number: What its owner calls it.
        path: Its path in the tree.
        size: Its bytes.
        sha256: The checksum of its content in hex; empty where nobody knows it.
    """

    number: int
    path: str
    size: int
    sha256: str


class WriteListener(Protocol):
    """A listener to the writing of files; its last two methods are called in other threads."""

    def add_pending(self, count: int) -> None:
        """Count so many more pending files."""
        ...

    def record_replacement(self, number: int, path: str) -> None:
        """Record that something of that path will be removed; raise where it must not be."""
        ...

    def record_written(self, written: Sequence[WrittenFile]) -> None:
        """Record files that are on the volume now."""
        ...


class SmallFile(NamedTuple):
    """A file that is to be written, with its content.

    Attributes:
        number: What its owner calls it.
        path: Its path in the tree.
        data: Its content, in pieces.
        executable: Whether it may be executed.
        size: Its bytes.
    """

    number: int
    path: str
    data: Sequence[bytes]
    executable: bool
    size: int


class SmallFileBatch:
    """Small files of one directory, taken together: a thread's turn costs more than a file.

    One thread uses it.

    Args:
        tree: What writes them.
        owner: Who wants them written.
    """

    def __init__(self, tree: tree_writer.TreeWriter, owner: WriteListener) -> None:
        self._tree = tree
        self._owner = owner
        self._files: list[SmallFile] = []
        self._directory = ""
        self._bytes = 0

    def add(self, number: int, path: str, data: Sequence[bytes], *, executable: bool) -> None:
        """Adds a file; it is written with the next ones, or by `flush`.

        Args:
            number: What its owner calls it.
            path: Its path in the tree.
            data: Its content, in pieces.
            executable: Whether it may be executed.

        Raises:
            Failure: An earlier file could not be written.
        """
        directory = path.rpartition("/")[0]
        if directory != self._directory or self._bytes >= BATCH_BYTES:
            self.flush()
        self._directory = directory
        size = sum(map(len, data))
        self._files.append(SmallFile(number, path, data, executable, size))
        self._bytes += size
        if len(self._files) == BATCH_FILES:
            self.flush()

    def flush(self) -> None:
        """Has all be written that was added."""
        files, self._files, self._bytes = self._files, [], 0
        if files:
            self._tree.write_small(files, self._owner)
