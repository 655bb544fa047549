"""The directory of an unfinished load: shared by its pods, and continued by the next ones.

plan            the shards, written once
lock            one byte each is locked for the plan, the ledger, the end, and each shard
ledger          one line for each finished shard
superseded      the reason why the load has to start over, if it has to
tree/           the files
shard-<n>/owner         the attempt that works on the shard
shard-<n>/<attempt>     the journal of the attempt
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import secrets
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple, TextIO

from ..base import failure
from . import byte_locks, journal, readback

LOCK_WAIT_SECONDS = 3600.0
# The bytes of the lock file; those from FIRST_SHARD on are the shards'.
PLAN, LEDGER, END, FIRST_SHARD = 0, 1, 2, 8
TREE, SUPERSEDED = "tree", "superseded"


class LoadGone(Exception):  # noqa: N818 - not an error, an instruction
    """An instruction to look again: another pod has published or removed the load."""


class FinishedShard(NamedTuple):
    """A finished shard: a line of the ledger.

    Attributes:
        shard: Its number.
        pod: The index of the pod that finished it.
        fetched: The bytes of its items at their origins, as far as the plan has them.
        files: The number of its files.
        bytes: The sum of their sizes.
    """

    shard: int
    pod: int
    fetched: int
    files: int
    bytes: int


class LoadDirectory:
    """The directory of an unfinished load.

    Args:
        path: The directory, which exists.
        version: The name of the version that it becomes.
    """

    def __init__(self, path: pathlib.Path, version: str) -> None:
        self.path = path
        self.version = version
        self.tree = path / TREE
        self.plan = path / "plan"
        self.file_list = path / "file-list"
        self._ledger = path / "ledger"
        self.tree.mkdir(exist_ok=True)
        # One descriptor for all locks: closing any of the file loses them.
        self._locks = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mutex = threading.Lock()

    def close(self) -> None:
        """Release all locks; the object must not be used any more."""
        # A late call finds no descriptor, rather than one that is reused for another file.
        descriptor, self._locks = self._locks, -1
        if descriptor >= 0:
            os.close(descriptor)

    def has_files(self) -> bool:
        """Tell whether any file of the load is on the volume."""
        try:
            return bool(os.listdir(self.tree))  # noqa: PTH208 - an iterator would stay open
        except FileNotFoundError:
            # It was moved to where it is published.
            return True

    # --- locks

    def try_lock(self, byte: int) -> bool:
        """Lock a byte against all other processes; return False if one of them has it."""
        return byte_locks.try_lock(self._locks, byte)

    def is_alone(self) -> bool:
        """Tell whether no other process works on the load; lock all bytes then."""
        return byte_locks.try_lock(self._locks, 0, byte_locks.ALL)

    def unlock(self, byte: int) -> None:
        """Unlock a byte."""
        byte_locks.unlock(self._locks, byte)

    @contextlib.contextmanager
    def locked(self, byte: int) -> Generator[None]:
        """Hold the lock of a byte against other threads and processes.

        Raises:
            Failure: Another process does not release it.
        """
        with self._mutex:
            if not byte_locks.lock(self._locks, byte, LOCK_WAIT_SECONDS, self.check):
                raise failure.Later(
                    "another pod blocks this load: look at its pods in the cluster, then run "
                    "create-dataset again",
                    soon=True,
                )
            try:
                yield
            finally:
                self.unlock(byte)

    # --- the ledger

    def read_ledger(self) -> Iterator[FinishedShard]:
        """Yield the finished shards in the ledger."""
        with contextlib.suppress(FileNotFoundError):
            for line in self._ledger.read_text().splitlines():
                # Lines that are being written, or were truncated, are ignored.
                with contextlib.suppress(ValueError, TypeError):
                    yield FinishedShard(*map(int, json.loads(line)))

    def finished_shards(self) -> set[int]:
        """Return the finished shards."""
        return {each.shard for each in self.read_ledger()}

    def record_finished(self, shards: Iterable[tuple[ShardAttempt, FinishedShard]]) -> None:
        """Record that shards are finished, each by its attempt.

        Raises:
            Failure: Another attempt has taken one over.
        """
        with self.locked(LEDGER):
            text = ""
            for attempt, each in shards:
                attempt.fence()
                # The newline first ends a line that another pod could not finish.
                text += f"\n{json.dumps(each)}\n"
            append(self._ledger, text.encode())

    # --- starting over

    def supersede(self, reason: str) -> None:
        """Make all pods start over in another directory: these files are of different versions."""
        # Each pod has its own draft: two pods may do this at once.
        draft = self.path / f"superseded-{secrets.token_hex(4)}"
        # A directory that is removed is not continued anyway.
        with contextlib.suppress(FileNotFoundError):
            draft.write_text(reason)
            draft.replace(self.path / SUPERSEDED)

    def check(self) -> None:
        """Check that the load can continue.

        Raises:
            LoadGone: The directory does not exist any more.
            StartOver: Another pod has superseded the load.
        """
        with contextlib.suppress(FileNotFoundError):
            raise failure.StartOver((self.path / SUPERSEDED).read_text())
        if not self.path.exists():
            raise LoadGone

    # --- the shards

    def begin_attempt(self, shard: int) -> ShardAttempt | None:
        """Begin an attempt at a shard, or take it over from an earlier one. Its byte is locked.

        Returns:
            None if it is finished, maybe by a pod whose node was lost and came back.
        """
        path = self._shard(shard)
        try:
            path.mkdir()
            return ShardAttempt(path, taken_over=False)
        except FileExistsError:
            # With the lock, the attempt before either has finished or will find the fence.
            with self.locked(LEDGER):
                return (
                    None
                    if shard in self.finished_shards()
                    else ShardAttempt(path, taken_over=True)
                )

    def journals(self, shards: int) -> list[pathlib.Path]:
        """Return the journals of the attempts that own the shards."""
        journals = readback.map_concurrently(_owner_journal, map(self._shard, range(shards)))
        return [path for path in journals if path]

    def _shard(self, shard: int) -> pathlib.Path:
        return self.path / f"shard-{shard}"


class ShardAttempt:
    """One attempt at a shard.

    Attributes:
        completed: The completed work of earlier attempts.
        journal: The journal of this attempt.
    """

    def __init__(self, shard: pathlib.Path, *, taken_over: bool) -> None:
        self._owner = shard / "owner"
        self._token = secrets.token_hex(8)
        self.completed = journal.CompletedWork()
        self.journal = journal.Journal(shard / self._token)
        if taken_over:
            self._take_over(shard)
            return
        try:
            with self._owner.open("x") as file:
                file.write(self._token)
        except FileExistsError:
            raise _taken_over() from None

    def _take_over(self, shard: pathlib.Path) -> None:
        before = _owner_journal(shard)
        for line in journal.read([before] if before else []):
            self.completed.add(line)
            self.journal.add(line)
        self.journal.flush()
        draft = shard / f"{self._token}-owner"
        draft.write_text(self._token)
        draft.replace(self._owner)

    def fence(self) -> None:
        """Raise a failure if another attempt has taken over the shard.

        A node that was lost may come back, and its pod may continue: files that it writes do no
        harm, as they are the same; files that it removes do.
        """
        if self._owner.read_text() != self._token:
            raise _taken_over()


def _taken_over() -> failure.Failure:
    return failure.Later(
        "another pod has taken over this work: nothing to do, it continues", soon=True
    )


def _owner_journal(shard: pathlib.Path) -> pathlib.Path | None:
    """Return the journal of the attempt that owns a shard; None if there is none yet."""
    token = ""
    with contextlib.suppress(FileNotFoundError):
        token = (shard / "owner").read_text()
    return shard / token if token else None


def is_superseded(path: pathlib.Path) -> bool:
    """Tell whether the load in a directory was superseded, and is not to be continued."""
    return (path / SUPERSEDED).exists()


def create_text(path: pathlib.Path) -> TextIO:
    """Open a new, empty file that all may read; closing it writes it to the volume."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o644), "w", encoding="ascii")


def append(path: pathlib.Path, data: bytes) -> None:
    """Append bytes to a file on the volume."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
