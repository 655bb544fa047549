"""The directory of a load that is not finished: shared by its pods, and left to the next ones.

plan            the shards, once and for all
lock            one byte of it is locked for the plan, the ledger, the end, and each shard
ledger          one line for each shard that is done
superseded      why it has to be done again from the beginning, if it has
tree/           the files
shards/<n>/owner                the attempt that works on the shard
shards/<n>/<attempt>/journal    what the attempt has done
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import secrets
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from . import failure, journal, remote

LOCK_POLL_SECONDS = 0.1
LOCK_WAIT_SECONDS = 3600.0
# The bytes of the lock file; those from FIRST_SHARD on are the shards'.
PLAN, LEDGER, END, FIRST_SHARD = 0, 1, 2, 8


class Gone(Exception):  # noqa: N818 - not an error, an order
    """Another pod has published or removed it: what is there now has to be looked at again."""


class Place:
    """The directory of an unfinished load.

    Args:
        path: The directory, which exists.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.tree = path / "tree"
        self.plan = path / "plan"
        self.manifest = path / "manifest"
        self._ledger = path / "ledger"
        self._superseded = path / "superseded"
        self._shards = path / "shards"
        for directory in (self.tree, self._shards):
            directory.mkdir(exist_ok=True)
        # One descriptor for all locks, until the process ends: closing any of the file loses them.
        self._locks = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._mutex = threading.Lock()

    @property
    def version(self) -> str:
        """The name of the version that it becomes."""
        return self.path.name.partition("-")[2]

    def close(self) -> None:
        """Lets go of all locks; nothing more may be asked of it."""
        os.close(self._locks)

    def begun(self) -> bool:
        """Whether anything of the data set is on the volume."""
        return bool(os.listdir(self.tree))  # noqa: PTH208 - an iterator would stay open

    # --- locks

    def try_lock(self, byte: int) -> bool:
        """Locks a byte against all other processes; False where one of them has it."""
        return try_lock(self._locks, byte)

    def unlock(self, byte: int) -> None:
        """Lets go of a byte."""
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, byte)

    @contextlib.contextmanager
    def locked(self, byte: int) -> Generator[None]:
        """Keeps all others away from what a byte stands for.

        Raises:
            Failure: Another one does not let go.
        """
        with self._mutex:
            deadline = time.monotonic() + LOCK_WAIT_SECONDS
            while not self.try_lock(byte):
                self.check()
                if time.monotonic() > deadline:
                    raise failure.Later(
                        "another pod of this load holds it up: look at its pods in the cluster, "
                        "then run create-dataset again"
                    )
                time.sleep(LOCK_POLL_SECONDS)
            try:
                yield
            finally:
                self.unlock(byte)

    # --- the ledger

    def finished(self) -> dict[int, dict[str, Any]]:
        """What is told of each shard that is done."""
        with self.locked(LEDGER):
            return self._read_ledger()

    def finish(self, shard: int, result: Mapping[str, Any]) -> int:
        """Writes down that a shard is done; returns how many are."""
        with self.locked(LEDGER):
            done = self._read_ledger()
            if shard not in done:
                # A line that somebody could not finish is ended first.
                text = "\n" + json.dumps({"shard": shard, **result}) + "\n"
                append(self._ledger, text.encode())
            return len({*done, shard})

    def _read_ledger(self) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._ledger.read_text().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    fields = json.loads(line)
                    found[int(fields["shard"])] = fields
        return found

    # --- starting over

    def supersede(self, reason: str) -> None:
        """Has all pods begin anew elsewhere: what is here does not belong together."""
        # A draft of one's own: two pods may come to it at once.
        draft = self.path / f"superseded-{secrets.token_hex(4)}"
        draft.write_text(reason)
        draft.replace(self._superseded)

    def check(self) -> None:
        """Raises StartOver where another pod has found that all has to begin anew.

        Raises:
            Gone: The directory is not there any more.
            StartOver: All has to begin anew.
        """
        with contextlib.suppress(FileNotFoundError):
            raise remote.StartOver(self._superseded.read_text())
        if not self.path.exists():
            raise Gone

    # --- the shards

    def attempt(self, shard: int) -> Attempt:
        """Takes a shard over from whoever worked on it before. Its byte is locked."""
        return Attempt(self._shards / str(shard))

    def lines(self, shards: int, *, files: bool = True) -> Iterator[journal.Line]:
        """What was done of all shards; see `journal.read`."""
        for shard in range(shards):
            yield from _owned(self._shards / str(shard), files=files)


class Attempt:
    """One attempt at a shard, with what those before it have done.

    Attributes:
        done: That.
        journal: Where it writes down what it does.
        resumed: Whether there was one before it.
    """

    def __init__(self, shard: pathlib.Path) -> None:
        shard.mkdir(exist_ok=True)
        self._owner = shard / "owner"
        self._token = secrets.token_hex(8)
        home = shard / self._token
        home.mkdir()
        self.done = journal.Done()
        self.resumed = self._owner.exists()
        self.journal = journal.Journal(home / "journal")
        for line in _owned(shard):
            self.done.add(line)
            self.journal.add(line)
        self.journal.flush()
        draft = home / "owner"
        draft.write_text(self._token)
        draft.replace(self._owner)

    def fence(self) -> None:
        """Raises where another attempt has taken the shard over.

        A node that was lost may come back, and its pod go on: what it wrote does no harm, since it
        is the same; what it would remove does.
        """
        if self._owner.read_text() != self._token:
            raise failure.Later(
                "another pod has taken this work over: nothing is to be done, it goes on",
                soon=True,
            )


def _owned(shard: pathlib.Path, *, files: bool = True) -> Iterator[journal.Line]:
    try:
        token = (shard / "owner").read_text()
    except FileNotFoundError:
        return iter(())
    return journal.read(shard / token / "journal", files=files)


def append(path: pathlib.Path, data: bytes) -> None:
    """Adds bytes to a file and brings them to the volume."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, data)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, byte: int) -> bool:
    """Locks a byte of a file against all other processes; False where one of them has it."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True
