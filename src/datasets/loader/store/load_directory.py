"""The directory of an unfinished load: shared by its pods, and continued by the next ones.

plan            the shards, written once
lock            one byte each is locked for the plan, the ledger, the end, and each shard
ledger          one line for each finished shard
superseded      the reason why the load has to start over, if it has to
tree/           the files
shard-<n>/owner         the attempt that works on the shard
shard-<n>/<attempt>     the journal of the attempt

Only the loader may read or write in it: what it finds there it believes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple, TextIO

from ..access import open_directory, ownership
from ..base import failure
from . import byte_locks, journal, readback, versions

LOCK_WAIT_SECONDS = 3600.0
# The bytes of the lock file; those from FIRST_SHARD on are the shards'.
PLAN, LEDGER, END, FIRST_SHARD = 0, 1, 2, 8
TREE, SUPERSEDED, LOCK = "tree", "superseded", "lock"
LEDGER_FILE, SHARD_PREFIX, OWNER = "ledger", "shard-", "owner"


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
        home: The directory of the data set's versions.
        name: The name of the load's directory, which exists.
        version: The name of the version that it becomes.

    Attributes:
        directory: The directory.
        name: Its name.
        version: The name of the version that it becomes.
        tree: The directory of the files.

    Raises:
        NotOwnError: Others can read or write in it.
    """

    def __init__(self, home: open_directory.OpenDirectory, name: str, version: str) -> None:
        self._home = home
        self.name = name
        self.version = version
        self.directory = ownership.open_own(home, name, private=True)
        with contextlib.suppress(FileExistsError):
            self.directory.make_directory(TREE, ownership.PRIVATE_DIRECTORY)
        self.tree = ownership.open_own(self.directory, TREE, private=True)
        # One descriptor for all locks: closing any of the file loses them.
        self._locks = ownership.open_lock(self.directory, LOCK)
        self._mutex = threading.Lock()

    def close(self) -> None:
        """Release all locks; the object must not be used any more."""
        # A late call finds no descriptor, rather than one that is reused for another file.
        descriptor, self._locks = self._locks, -1
        if descriptor >= 0:
            os.close(descriptor)

    def to_trash(self) -> open_directory.Entries:
        """Rename it, so that it can be removed. The data set's lock is held."""
        return open_directory.Entries(self._home, [versions.to_trash(self._home, self.name)])

    def has_tree(self) -> bool:
        """Tell whether the files are here; otherwise they were moved to be published."""
        return self.directory.has(TREE)

    def has_files(self) -> bool:
        """Tell whether any file of the load is on the volume."""
        return not self.has_tree() or not self.tree.is_empty()

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
        text = ""
        with contextlib.suppress(FileNotFoundError):
            text = ownership.read_own(self.directory, LEDGER_FILE)
        for line in text.splitlines():
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
                try:
                    attempt.fence()
                except failure.Failure:
                    # The pod that has taken it over may have published already.
                    self.check()
                    raise
                # The newline first ends a line that another pod could not finish.
                text += f"\n{json.dumps(each)}\n"
            append(self.directory, LEDGER_FILE, text.encode())

    # --- starting over

    def supersede(self, reason: str) -> None:
        """Make all pods start over in another directory: these files are of different versions."""
        # Each pod has its own draft: two pods may do this at once.
        draft = f"superseded-{secrets.token_hex(4)}"
        # A directory that is removed is not continued anyway.
        with contextlib.suppress(FileNotFoundError):
            with create_text(self.directory, draft) as file:
                file.write(reason)
            self.directory.rename(draft, self.directory, SUPERSEDED)

    def check(self) -> None:
        """Check that the load can continue.

        Raises:
            LoadGone: The directory does not exist any more.
            StartOver: Another pod has superseded the load.
        """
        with contextlib.suppress(FileNotFoundError):
            raise failure.StartOver(ownership.read_own(self.directory, SUPERSEDED))
        # What is to be removed is renamed first.
        if not self.directory.is_entry(self._home, self.name):
            raise LoadGone

    # --- the shards

    def begin_attempt(self, shard: int) -> ShardAttempt | None:
        """Begin an attempt at a shard, or take it over from an earlier one. Its byte is locked.

        Returns:
            None if it is finished, maybe by a pod whose node was lost and came back.
        """
        name = f"{SHARD_PREFIX}{shard}"
        try:
            self.directory.make_directory(name, ownership.PRIVATE_DIRECTORY)
            return ShardAttempt(self._open_shard(name), taken_over=False)
        except FileExistsError:
            # With the lock, the attempt before either has finished or will find the fence.
            with self.locked(LEDGER):
                return (
                    None
                    if shard in self.finished_shards()
                    else ShardAttempt(self._open_shard(name), taken_over=True)
                )

    def journals(self, shards: int) -> list[str]:
        """Return the paths of the journals of the attempts that own the shards."""
        names = (f"{SHARD_PREFIX}{shard}" for shard in range(shards))
        return [path for path in readback.map_concurrently(self._journal, names) if path]

    def _journal(self, name: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            if token := _read_owner(self._open_shard(name)):
                return f"{name}/{token}"
        return ""

    def _open_shard(self, name: str) -> open_directory.OpenDirectory:
        return ownership.open_own(self.directory, name, private=True)


class ShardAttempt:
    """One attempt at a shard.

    Args:
        shard: The directory of the shard.
        taken_over: Whether an earlier attempt had it.

    Attributes:
        completed: The completed work of earlier attempts.
        journal: The journal of this attempt.
    """

    def __init__(self, shard: open_directory.OpenDirectory, *, taken_over: bool) -> None:
        self._shard = shard
        self._token = secrets.token_hex(8)
        self.completed = journal.CompletedWork()
        self.journal = journal.Journal(shard, self._token)
        try:
            self._begin(taken_over=taken_over)
        except BaseException:
            self.journal.close()
            raise

    def _begin(self, *, taken_over: bool) -> None:
        """Become the owner of the shard."""
        if taken_over:
            self._take_over()
            return
        try:
            with create_text(self._shard, OWNER) as file:
                file.write(self._token)
        except FileExistsError:
            raise _taken_over() from None

    def _take_over(self) -> None:
        before = _read_owner(self._shard)
        for line in journal.read(self._shard, [before] if before else []):
            self.completed.add(line)
            self.journal.add(line)
        self.completed.replaced.sort()
        self.journal.flush()
        draft = f"{self._token}-owner"
        with create_text(self._shard, draft) as file:
            file.write(self._token)
        self._shard.rename(draft, self._shard, OWNER)

    def fence(self) -> None:
        """Raise a failure if another attempt has taken over the shard.

        A node that was lost may come back, and its pod may continue: files that it writes do no
        harm, as they are the same; files that it removes do.
        """
        if ownership.read_own(self._shard, OWNER) != self._token:
            raise _taken_over()


def _taken_over() -> failure.Failure:
    return failure.Later(
        "another pod has taken over this work: nothing to do, it continues", soon=True
    )


def _read_owner(shard: open_directory.OpenDirectory) -> str:
    """Return the attempt that owns a shard: the name of its journal; empty for none."""
    with contextlib.suppress(FileNotFoundError):
        return ownership.read_own(shard, OWNER)
    return ""


def is_superseded(home: open_directory.OpenDirectory, name: str) -> bool:
    """Tell whether a load is not to be continued: it was superseded, or others can write in it."""
    try:
        return ownership.open_own(home, name, private=True).has(SUPERSEDED)
    except (ownership.NotOwnError, FileNotFoundError):
        return True


def create_text(
    directory: open_directory.OpenDirectory, name: str, mode: int = ownership.PRIVATE_FILE
) -> TextIO:
    """Create a file; closing it writes it to the volume.

    Raises:
        FileExistsError: Something has this name.
    """
    return os.fdopen(directory.create_file(name, mode), "w", encoding="ascii")


def append(directory: open_directory.OpenDirectory, name: str, data: bytes) -> None:
    """Append bytes to a file on the volume."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    descriptor = directory.open_file(name, flags, ownership.PRIVATE_FILE)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
