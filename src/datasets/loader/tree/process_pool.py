"""The processes that make files for the loader, as it sees them.

A thread that waits for a file system far away does nothing, but each time that it goes on it wants
the interpreter's lock, which all of a process have to share: so there are several processes.
They are forked, as a new interpreter takes 0.1 s and 10 MiB to start.
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

from ..base import failure, pending_work
from . import directory_queue, files, worker_process

PROCESSES = 4
END_SECONDS, POLL_SECONDS = 1.0, 0.001


class Command(NamedTuple):
    """Files of one directory that are to be made.

    Attributes:
        wanted: The files.
        data: Their contents, one after the other.
        replacing: Called before what is there is replaced; gets the file's index.
        done: Called when all are on the volume; gets the sha256 of each content.
    """

    wanted: Sequence[files.NewFile]
    data: Sequence[bytes]
    replacing: Callable[[int], None]
    done: Callable[[Sequence[str]], None]

    @property
    def weight(self) -> int:
        """The bytes that wait for it."""
        return files.weight(self.wanted)


def ignore(_: object) -> None:
    """Nobody wants to know."""


class ProcessPool(pending_work.PendingWork):
    """Processes that make files; a directory is always the same one's.

    It is made before other threads are: a process is forked with one thread only.

    Args:
        made: Makes files.

    Attributes:
        closed: Whether they are to end.
    """

    def __init__(self, made: files.TreeFiles) -> None:
        super().__init__()
        self.closed = False
        self._hands: list[_Worker] = []
        for _ in range(PROCESSES):
            self._hands.append(_Worker(self, made, self._hands))
        for each in self._hands:
            each.start()

    def submit(self, directory: str, order: Command) -> None:
        """Has files made in a directory, which is made if need be; returns when there is room.

        Raises:
            BaseException: What an earlier one raised.
        """
        self.begin(order.weight)
        self._hands[zlib.crc32(directory.encode(errors="surrogateescape")) % PROCESSES].send(
            directory, order
        )

    def close(self) -> None:
        """Ends the processes, whatever they are at."""
        self.closed = True
        for each in self._hands:
            each.kill()
        for each in self._hands:
            each.close()


class _Worker:
    """One process."""

    def __init__(
        self, crew: ProcessPool, made: files.TreeFiles, others: Sequence[_Worker]
    ) -> None:
        self._crew = crew
        self._connection, theirs = socket.socketpair()
        self._sending = threading.Lock()
        self._orders: dict[int, Command] = {}
        self._last = 0
        self._process = os.fork()
        if not self._process:
            try:
                # As long as one of them is open, its process does not see that the loader ended.
                for each in (self._connection, *(each._connection for each in others)):
                    each.close()
                worker_process.serve(theirs, made, directory_queue.THREADS // PROCESSES)
            finally:
                os._exit(1)
        theirs.close()

    def start(self) -> None:
        """Begins to listen to it."""
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, directory: str, order: Command) -> None:
        with self._sending:
            self._last += 1
            number = self._last
            self._orders[number] = order._replace(data=())
            if order.wanted:
                head = [worker_process.WRITE, number, directory, order.wanted]
            else:
                head = [worker_process.DIRECTORY, number, directory]
            self._send(head, order.data)

    def kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)

    def close(self) -> None:
        # One that waits for the volume may not end now; it ends with the pod.
        deadline = time.monotonic() + END_SECONDS
        while os.waitpid(self._process, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._connection.close()

    def _send(self, head: Sequence[Any], data: Sequence[bytes] = ()) -> None:
        try:
            self._connection.sendall(b"".join([json.dumps(head).encode(), b"\n", *data]))
        except OSError:
            self._crew.fail(_gone())
            self._crew.check()

    def _listen(self) -> None:
        try:
            with self._connection.makefile("rb") as answers:
                while line := self._next(answers):
                    self._take(*json.loads(line))
        except BaseException as error:  # noqa: BLE001 - the next call raises it
            self._crew.fail(error)
        if not self._crew.closed:
            self._crew.fail(_gone())

    @staticmethod
    def _next(answers: BinaryIO) -> bytes:
        """The next answer; none where the process has ended."""
        with contextlib.suppress(OSError):
            return answers.readline()
        return b""

    def _take(self, word: str, number: int, *rest: Any) -> None:
        if word == worker_process.FAILED:
            self._crew.fail(_failure(*rest))
        elif word == worker_process.THERE:
            self._orders[number].replacing(rest[0])
            with self._sending:
                self._send([worker_process.REPLACE, number])
        else:
            order = self._orders.pop(number)
            order.done(rest[0])
            self._crew.end(order.weight)


def _failure(how: str, sentence: str) -> BaseException:
    if how == worker_process.UNKNOWN:
        return RuntimeError(sentence)
    if how == worker_process.HOPELESS:
        return failure.Failure(sentence)
    return failure.Later(sentence, soon=how == worker_process.SOON)


def _gone() -> failure.Failure:
    return failure.Later(
        "a process of the loader was killed, probably because the node has no memory left: run "
        "create-dataset again",
        soon=True,
    )
