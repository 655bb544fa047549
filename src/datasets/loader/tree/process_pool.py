"""The pool of worker processes that write small files, on the loader's side.

Threads that wait for a remote file system cost nothing, but each time that one continues it needs
the interpreter lock, which all threads of a process share: so there are several processes. They
are forked, as a new interpreter takes 0.1 s and 10 MiB to start.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, NamedTuple

from ..base import failure, forked_processes, pending_work
from . import directory_queue, files, worker_process

PROCESSES = 4


class Command(NamedTuple):
    """A command to write files of one directory.

    Attributes:
        new_files: The files; none to make the directory only.
        data: Their contents, one after the other.
        replacing: Called with a file's index before an existing file is replaced.
        done: Called with the sha256 of each content when all are on the volume.
        weight: The bytes that it keeps in memory.
    """

    new_files: Sequence[files.NewFile]
    data: Sequence[bytes]
    replacing: Callable[[int], None]
    done: Callable[[Sequence[str]], None]
    weight: int = 0


def ignore(_: object) -> None:
    """Do nothing."""


class ProcessPool(pending_work.PendingWork):
    """A pool of worker processes; each directory always has the same one.

    It is created before other threads are: a process is forked with one thread only.

    Args:
        tree_files: Creates the files.

    Attributes:
        closed: Whether the pool is closed.
    """

    def __init__(self, tree_files: files.TreeFiles) -> None:
        super().__init__()
        self.closed = False
        self._workers: list[_Worker] = []
        for _ in range(PROCESSES):
            self._workers.append(_Worker(self, tree_files, self._workers))
        for each in self._workers:
            each.start()

    def submit(self, directory: str, command: Command) -> None:
        """Queue a command for a directory, which is made if needed; return when there is room.

        Raises:
            BaseException: The error of earlier work.
        """
        weight = files.weight(command.new_files) + files.directory_weight(directory)
        command = command._replace(weight=weight)
        self.begin(weight)
        self._workers[zlib.crc32(directory.encode(errors="surrogateescape")) % PROCESSES].send(
            directory, command
        )

    def close(self) -> None:
        """Kill the processes, even if they are working."""
        self.closed = True
        for each in self._workers:
            each.kill()
        for each in self._workers:
            each.close()


class _Worker:
    """A worker process."""

    def __init__(
        self, pool: ProcessPool, tree_files: files.TreeFiles, others: Sequence[_Worker]
    ) -> None:
        self._pool = pool
        self._connection, remote = socket.socketpair()
        self._sending = threading.Lock()
        self._commands: dict[int, Command] = {}
        self._last = 0
        self._process = os.fork()
        if not self._process:
            try:
                # As long as one of them is open, its process does not see that the loader ended.
                for each in (self._connection, *(each._connection for each in others)):
                    each.close()
                worker_process.serve(remote, tree_files, directory_queue.THREADS // PROCESSES)
            finally:
                os._exit(1)
        remote.close()

    def start(self) -> None:
        """Start to read its answers."""
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, directory: str, command: Command) -> None:
        with self._sending:
            self._last += 1
            number = self._last
            self._commands[number] = command._replace(data=())
            if command.new_files:
                head = [worker_process.WRITE, number, directory, command.new_files]
            else:
                head = [worker_process.DIRECTORY, number, directory]
            self._send(head, command.data)

    def kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)

    def close(self) -> None:
        deadline = time.monotonic() + forked_processes.END_SECONDS
        forked_processes.await_end(self._process, deadline)
        self._connection.close()

    def _send(self, head: Sequence[Any], data: Sequence[bytes] = ()) -> None:
        try:
            self._connection.sendall(b"".join([json.dumps(head).encode(), b"\n", *data]))
        except OSError:
            self._pool.fail(_killed())
            self._pool.check()

    def _listen(self) -> None:
        try:
            with self._connection.makefile("rb") as answers:
                while line := self._next(answers):
                    self._handle(*json.loads(line))
        except BaseException as error:  # noqa: BLE001 - the next call raises it
            self._pool.fail(error)
        if not self._pool.closed:
            self._pool.fail(_killed())

    @staticmethod
    def _next(answers: BinaryIO) -> bytes:
        """Return the next answer; empty if the process has ended."""
        with contextlib.suppress(OSError):
            return answers.readline()
        return b""

    def _handle(self, kind: str, number: int, *rest: Any) -> None:
        if kind == worker_process.FAILED:
            self._pool.fail(_failure(*rest))
        elif kind == worker_process.THERE:
            self._commands[number].replacing(rest[0])
            with self._sending:
                self._send([worker_process.REPLACE, number])
        else:
            command = self._commands.pop(number)
            command.done(rest[0])
            self._pool.end(command.weight)


def _failure(severity: str, sentence: str) -> BaseException:
    if severity == worker_process.UNKNOWN:
        return RuntimeError(sentence)
    if severity == worker_process.HOPELESS:
        return failure.Failure(sentence)
    return failure.Later(sentence, soon=severity == worker_process.SOON)


def _killed() -> failure.Failure:
    return forked_processes.killed("run create-dataset again")
