"""The directory of a load that is not finished: shared by its pods, and left to the next ones.

plan            the shards, once and for all
lock            one byte of it is locked for the plan, the ledger, the end, and each shard
ledger          one line for each shard that is done
superseded      why it has to be done again from the beginning, if it has
tree/           the files
shard-<n>/owner         which attempt works on the shard
shard-<n>/<attempt>     the journal of what the attempt has done
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


class LoadGone(Exception):  # noqa: N818 - not an error, an order
    """Another pod has published or removed it: what is there now has to be looked at again."""


class FinishedShard(NamedTuple):
    """A shard that is done: a line of the ledger.

    Attributes:
        shard: Its number.
        pod: The index of the pod that did the last of it.
        fetched: The bytes that its items have at their origins, as far as the plan knows.
        files: The files that it brought.
        bytes: Their sizes together.
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
        """Lets go of all locks; nothing more may be asked of it."""
        # What is late finds no descriptor, and not one that is something else's by now.
        descriptor, self._locks = self._locks, -1
        if descriptor >= 0:
            os.close(descriptor)

    def has_files(self) -> bool:
        """Whether anything of the data set is on the volume."""
        try:
            return bool(os.listdir(self.tree))  # noqa: PTH208 - an iterator would stay open
        except FileNotFoundError:
            # It is where it is published.
            return True

    # --- locks

    def try_lock(self, byte: int) -> bool:
        """Locks a byte against all other processes; False where one of them has it."""
        return byte_locks.try_lock(self._locks, byte)

    def is_alone(self) -> bool:
        """Whether no other process works on it: all bytes are locked then."""
        return byte_locks.try_lock(self._locks, 0, byte_locks.ALL)

    def unlock(self, byte: int) -> None:
        """Lets go of a byte."""
        byte_locks.unlock(self._locks, byte)

    @contextlib.contextmanager
    def locked(self, byte: int) -> Generator[None]:
        """Keeps all others away from what a byte stands for.

        Raises:
            Failure: Another one does not let go.
        """
        with self._mutex:
            if not byte_locks.lock(self._locks, byte, LOCK_WAIT_SECONDS, self.check):
                raise failure.Later(
                    "another pod of this load holds it up: look at its pods in the cluster, "
                    "then run create-dataset again",
                    soon=True,
                )
            try:
                yield
            finally:
                self.unlock(byte)

    # --- the ledger

    def read_ledger(self) -> Iterator[FinishedShard]:
        """What is written down of the shards that are done."""
        with contextlib.suppress(FileNotFoundError):
            for line in self._ledger.read_text().splitlines():
                # One that is being written, or was cut off, is no line.
                with contextlib.suppress(ValueError, TypeError):
                    yield FinishedShard(*map(int, json.loads(line)))

    def finished_shards(self) -> set[int]:
        """The shards that are done."""
        return {each.shard for each in self.read_ledger()}

    def record_finished(self, shards: Iterable[tuple[ShardAttempt, FinishedShard]]) -> None:
        """Writes down that shards are done, each by its attempt.

        Raises:
            Failure: Another attempt has taken one over.
        """
        with self.locked(LEDGER):
            text = ""
            for attempt, each in shards:
                attempt.fence()
                # What somebody could not finish to write is ended first, and is no line.
                text += f"\n{json.dumps(each)}\n"
            append(self._ledger, text.encode())

    # --- starting over

    def supersede(self, reason: str) -> None:
        """Has all pods begin anew elsewhere: what is here does not belong together."""
        # A draft of one's own: two pods may come to it at once.
        draft = self.path / f"superseded-{secrets.token_hex(4)}"
        # Where all of it is gone, nobody goes on with it anyway.
        with contextlib.suppress(FileNotFoundError):
            draft.write_text(reason)
            draft.replace(self.path / SUPERSEDED)

    def check(self) -> None:
        """Raises StartOver where another pod has found that all has to begin anew.

        Raises:
            LoadGone: The directory is not there any more.
            StartOver: All has to begin anew.
        """
        with contextlib.suppress(FileNotFoundError):
            raise failure.StartOver((self.path / SUPERSEDED).read_text())
        if not self.path.exists():
            raise LoadGone

    # --- the shards

    def begin_attempt(self, shard: int) -> ShardAttempt | None:
        """Takes a shard, or takes it over from whoever worked on it before. Its byte is locked.

        Returns:
            None where it is finished, maybe by a pod whose node was lost and came back.
        """
        path = self._shard(shard)
        try:
            path.mkdir()
            return ShardAttempt(path, taken_over=False)
        except FileExistsError:
            # So that the one before either finds its fence or has finished.
            with self.locked(LEDGER):
                return (
                    None
                    if shard in self.finished_shards()
                    else ShardAttempt(path, taken_over=True)
                )

    def journals(self, shards: int) -> list[pathlib.Path]:
        """The journals of the attempts that did the shards, or did the most of them."""
        found = readback.map_concurrently(_owned, map(self._shard, range(shards)))
        return [path for path in found if path]

    def _shard(self, shard: int) -> pathlib.Path:
        return self.path / f"shard-{shard}"


class ShardAttempt:
    """One attempt at a shard, with what those before it have done.

    Attributes:
        completed: That.
        journal: Where it writes down what it does.
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
        before = _owned(shard)
        for line in journal.read([before] if before else []):
            self.completed.add(line)
            self.journal.add(line)
        self.journal.flush()
        draft = shard / f"{self._token}-owner"
        draft.write_text(self._token)
        draft.replace(self._owner)

    def fence(self) -> None:
        """Raises where another attempt has taken the shard over.

        A node that was lost may come back, and its pod go on: what it wrote does no harm, since it
        is the same; what it would remove does.
        """
        if self._owner.read_text() != self._token:
            raise _taken_over()


def _taken_over() -> failure.Failure:
    return failure.Later(
        "another pod has taken this work over: nothing is to be done, it goes on", soon=True
    )


def _owned(shard: pathlib.Path) -> pathlib.Path | None:
    """The journal of the attempt that works on a shard; None where there is none yet."""
    token = ""
    with contextlib.suppress(FileNotFoundError):
        token = (shard / "owner").read_text()
    return shard / token if token else None


def is_superseded(path: pathlib.Path) -> bool:
    """Whether a load's directory is one that is not to be gone on with."""
    return (path / SUPERSEDED).exists()


def create_text(path: pathlib.Path) -> TextIO:
    """Opens a file that all may read, to be written anew; closing it brings it to the volume."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o644), "w", encoding="ascii")


def append(path: pathlib.Path, data: bytes) -> None:
    """Adds bytes to a file; closing it brings them to the volume."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
