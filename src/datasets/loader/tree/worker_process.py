"""A worker process that writes small files, with its commands and answers over a socket.

Each command and each answer is a line of JSON; the contents of files follow their command.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from ..base import failure, forked_processes, tasks
from . import directory_queue, files

T = TypeVar("T")

# The commands: write files, make a directory, replace an existing file.
WRITE, DIRECTORY, REPLACE = "write", "directory", "replace"
# The answers: the command is done, a file of that path exists, the command failed.
DONE, THERE, FAILED = "done", "there", "failed"
# The severity of a failure: another pod may try at once, or later, or never, or it is unknown.
SOON, LATER, HOPELESS, UNKNOWN = "soon", "later", "hopeless", "unknown"
BUFFER_BYTES = 2**18
# The main process has priority: the others depend on its data.
NICE = 5


def serve(connection: socket.socket, tree_files: files.TreeFiles, threads: int) -> NoReturn:
    """Carry out commands until the loader closes the connection.

    Args:
        connection: The connection to the loader.
        tree_files: Creates the files.
        threads: The most files that are created at once.
    """
    forked_processes.leave_signals()
    os.nice(NICE)
    # Any error was reported; the work that is still pending has no recipient.
    with contextlib.suppress(BaseException):
        WorkerProcess(connection, tree_files, threads).run()
    os._exit(0)


class WorkerProcess:
    """The worker process on its own side: it reads commands and answers them."""

    def __init__(
        self, connection: socket.socket, tree_files: files.TreeFiles, threads: int
    ) -> None:
        self._connection = connection
        self._files = tree_files
        self._queue = directory_queue.DirectoryQueue(
            self._reporting(tree_files.make_directory), threads=threads
        )
        self._sending = threading.Lock()
        self._replacements: dict[int, queue.SimpleQueue[None]] = {}

    def run(self) -> None:
        """Carry out commands until the socket is closed."""
        self._reporting(self._run)()

    def _run(self) -> None:
        with self._connection.makefile("rb", BUFFER_BYTES) as commands:
            while line := commands.readline():
                kind, number, *rest = json.loads(line)
                if kind == REPLACE:
                    self._replacements.pop(number).put(None)
                elif kind == DIRECTORY:
                    self._directory(number, *rest)
                else:
                    new_files = [files.NewFile(*each) for each in rest[1]]
                    data = [memoryview(commands.read(each.size)) for each in new_files]
                    self._write(number, rest[0], new_files, data)

    def _directory(self, number: int, path: str) -> None:
        def create() -> None:
            self._send(DONE, number, [])

        # In the queue of the directory itself, which begins when it exists.
        self._queue.submit(path, create, 0)

    def _write(
        self,
        number: int,
        directory: str,
        new_files: Sequence[files.NewFile],
        data: Sequence[memoryview],
    ) -> None:
        def create() -> Callable[[], None]:
            opened = self._files.directory(directory)
            descriptors: list[int] = []
            for index, each in enumerate(new_files):
                replacing = functools.partial(self._confirm_replacement, number, index)
                descriptors.append(self._files.create(opened, each, replacing))
            return self._reporting(write, descriptors)

        def write(descriptors: Sequence[int]) -> None:
            for index, descriptor in enumerate(descriptors):
                files.write(descriptor, data[index], new_files[index].path)
                # All are written out at once, so that closing them does not wait for each.
                files.begin_write_out(descriptor)
            for index, descriptor in enumerate(descriptors):
                files.close(descriptor, new_files[index].path)
            self._send(DONE, number, [_sha256(each) for each in data])

        self._queue.submit(directory, self._reporting(create), files.weight(new_files))

    def _confirm_replacement(self, number: int, index: int) -> None:
        """Report that a file will be replaced, and wait until the journal has that."""
        answer = self._replacements[number] = queue.SimpleQueue()
        self._send(THERE, number, index)
        answer.get()

    def _reporting(self, work: Callable[..., T], *arguments: Any) -> Callable[..., T]:
        """Return the same work, with its error reported."""

        def reported(*more: Any) -> T:
            try:
                return work(*arguments, *more)
            except BaseException as error:
                self._send(FAILED, 0, *_describe(error))
                raise

        return reported

    def _send(self, *fields: object) -> None:
        with self._sending:
            self._connection.sendall(json.dumps(fields).encode() + b"\n")


def _sha256(data: memoryview) -> str:
    digest = tasks.hasher("sha256")
    tasks.update(digest, data)
    return digest.hexdigest()


def _describe(error: BaseException) -> tuple[str, str]:
    """Return an error's severity, and the sentence for the user."""
    if isinstance(error, failure.Later):
        return SOON if error.soon else LATER, str(error)
    if isinstance(error, failure.Failure):
        return HOPELESS, str(error)
    return UNKNOWN, type(error).__name__
