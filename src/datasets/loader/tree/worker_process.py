"""A process that writes small files for the loader: what it is told over a socket, and answers.

Each order and each answer is a line of JSON; the content of files follows their order.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from ..base import failure, tasks
from . import directory_queue, files

T = TypeVar("T")

# What is said to a hand: write files, make a directory, replace what is there.
WRITE, DIRECTORY, REPLACE = "write", "directory", "replace"
# What a hand answers: it is done, something of that name is there, it can not be done.
DONE, THERE, FAILED = "done", "there", "failed"
# How bad it is: another pod may do it at once, or later, or nobody, or nobody knows.
SOON, LATER, HOPELESS, UNKNOWN = "soon", "later", "hopeless", "unknown"
BUFFER_BYTES = 2**18
# The process that reads the source goes first: all others live on what it hands them.
NICE = 5
# Python lets go of its interpreter lock to hash more than this at once, and to get it back takes
# longer than to hash a small file.
QUIET_BYTES, HASHED_AT_ONCE_BYTES = 2047, 2**16


def serve(connection: socket.socket, made: files.TreeFiles, threads: int) -> NoReturn:
    """Does what it is told until nobody is there to tell it more.

    Args:
        connection: Where orders come from.
        made: Makes files.
        threads: How many files may be under way.
    """
    # Whoever stops the loader stops its main process; this one ends with that.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    # Whatever ends it, it was told; what is still under way is for nobody.
    with contextlib.suppress(BaseException):
        WorkerProcess(connection, made, threads).run()
    os._exit(0)


class WorkerProcess:
    """The process, from its own side: it reads commands, and reports what came of them."""

    def __init__(self, connection: socket.socket, made: files.TreeFiles, threads: int) -> None:
        self._connection = connection
        self._files = made
        self._turns = directory_queue.DirectoryQueue(
            self._telling(made.make_directory), threads=threads
        )
        self._sending = threading.Lock()
        self._asked: dict[int, queue.SimpleQueue[None]] = {}

    def run(self) -> None:
        """Carry out commands until the socket is closed."""
        self._telling(self._run)()

    def _run(self) -> None:
        with self._connection.makefile("rb", BUFFER_BYTES) as orders:
            while line := orders.readline():
                word, number, *rest = json.loads(line)
                if word == REPLACE:
                    self._asked.pop(number).put(None)
                elif word == DIRECTORY:
                    self._directory(number, *rest)
                else:
                    wanted = [files.NewFile(*each) for each in rest[1]]
                    data = [memoryview(orders.read(each.size)) for each in wanted]
                    self._write(number, rest[0], wanted, data)

    def _directory(self, number: int, path: str) -> None:
        def create() -> None:
            self._say(DONE, number, [])

        # In its own turn, which is not before it was made.
        self._turns.submit(path, create, 0)

    def _write(
        self,
        number: int,
        directory: str,
        wanted: Sequence[files.NewFile],
        data: Sequence[memoryview],
    ) -> None:
        def create() -> Callable[[], None]:
            descriptors: list[int] = []
            for index, each in enumerate(wanted):
                replacing = functools.partial(self._ask, number, index)
                descriptors.append(self._files.create(each, replacing))
            return self._telling(fill, descriptors)

        def fill(descriptors: Sequence[int]) -> None:
            for index, descriptor in enumerate(descriptors):
                files.write(descriptor, data[index], wanted[index].path)
                # All at once, so that closing one after the other finds them written.
                files.begin_write_out(descriptor)
            for index, descriptor in enumerate(descriptors):
                files.close(descriptor, wanted[index].path)
            self._say(DONE, number, [_sha256(each) for each in data])

        self._turns.submit(directory, self._telling(create), files.weight(wanted))

    def _ask(self, number: int, index: int) -> None:
        """Tells that something will be replaced, and waits until that is written down."""
        answer = self._asked[number] = queue.SimpleQueue()
        self._say(THERE, number, index)
        answer.get()

    def _telling(self, work: Callable[..., T], *arguments: Any) -> Callable[..., T]:
        """The same work; why it can not be done is told."""

        def told(*more: Any) -> T:
            try:
                return work(*arguments, *more)
            except BaseException as error:
                self._say(FAILED, 0, *_reason(error))
                raise

        return told

    def _say(self, *words: object) -> None:
        with self._sending:
            self._connection.sendall(json.dumps(words).encode() + b"\n")


def _sha256(data: memoryview) -> str:
    digest = tasks.hasher("sha256")
    step = len(data) if len(data) > HASHED_AT_ONCE_BYTES else QUIET_BYTES
    for at in range(0, len(data), step):
        digest.update(data[at : at + step])
    return digest.hexdigest()


def _reason(error: BaseException) -> tuple[str, str]:
    """How bad it is, and the sentence for the user."""
    if isinstance(error, failure.Later):
        return SOON if error.soon else LATER, str(error)
    if isinstance(error, failure.Failure):
        return HOPELESS, str(error)
    return UNKNOWN, type(error).__name__
