"""Small files to be written, their batches, and the listener to their writing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

BATCH_FILES, BATCH_BYTES = 16, 2**18


class WrittenFile(NamedTuple):
    """A file that is on the volume.

    Attributes:
        number: Its number, as the listener knows it.
        path: The path in the tree.
        size: Its size in bytes.
        executable: Whether it is executable.
        sha256: The checksum of its content in hex; empty where it is not known.
    """

    number: int
    path: str
    size: int
    executable: bool
    sha256: str


class WriteListener(Protocol):
    """A listener to the writing of files; its last three methods are called in other threads."""

    def add_pending(self, count: int) -> None:
        """Count so many more pending files."""
        ...

    def record_replacement(self, number: int, path: str) -> None:
        """Record that what is at this path will be removed; raise where it must stay."""
        ...

    def count_written(self, size: int) -> None:
        """Count bytes of a file that are on the volume."""
        ...

    def record_written(self, written: Sequence[WrittenFile]) -> None:
        """Record files that are on the volume now."""
        ...


class SmallFile(NamedTuple):
    """A file to be written, with its content.

    Attributes:
        number: Its number, as the listener knows it.
        path: The path in the tree.
        data: The content, in pieces.
        executable: Whether the file is executable.
        size: Its size in bytes.
    """

    number: int
    path: str
    data: Sequence[bytes]
    executable: bool
    size: int


class SmallFileBatch:
    """A batch of small files of one directory: handing over a file costs more than writing it.

    It is used by one thread.

    Args:
        write: Writes the files of a batch.
    """

    def __init__(self, write: Callable[[Sequence[SmallFile]], None]) -> None:
        self._write = write
        self._files: list[SmallFile] = []
        self._directory = ""
        self._bytes = 0

    def add(self, number: int, path: str, data: Sequence[bytes], *, executable: bool) -> None:
        """Add a file; it is written with the next ones, or by `flush`.

        Args:
            number: Its number, as the listener knows it.
            path: The path in the tree.
            data: The content, in pieces.
            executable: Whether the file is executable.

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
        """Write all files that were added."""
        files, self._files, self._bytes = self._files, [], 0
        if files:
            self._write(files)
