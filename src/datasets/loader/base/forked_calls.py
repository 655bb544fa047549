"""Call a function in forked processes, with many calls at once.

Threads that wait for a remote file system cost nothing, but each time that one continues it needs
the interpreter lock, which all threads of a process share: so there are several processes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from . import failure, forked_processes

PROCESSES, THREADS = 8, 8
# More calls than threads, so that the next one is there when one ends.
MOST_CALLS = 128
TICK_SECONDS = 0.5
# The longest argument or answer, in bytes: more do not fit into the socket with all the others.
MOST_BYTES = 2**13
# What an answer begins with: the function returned, or raised an error.
_RETURNED, _RAISED = b"+", b"-"


class ForkedCalls:
    """Processes that call a function.

    They are created before other threads are: a process is forked with one thread only.

    Args:
        function: Called with an argument of a call, in many threads; returns the answer.
    """

    def __init__(self, function: Callable[[str], str]) -> None:
        # Each message arrives whole at one of the threads of all processes that receive.
        self._socket, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._processes: list[int] = []
        for _ in range(PROCESSES):
            process = os.fork()
            if not process:
                try:
                    # While one of them has it open, the others do not see that the loader ended.
                    self._socket.close()
                    _serve(remote, function)
                finally:
                    os._exit(1)
            self._processes.append(process)
        remote.close()

    def map(
        self, arguments: Iterable[str], tick: Callable[[], None] = lambda: None
    ) -> Iterator[str]:
        """Yield the function's answers, in the order in which they come.

        Args:
            arguments: The arguments of the calls, none of them empty.
            tick: Called now and then.

        Raises:
            Failure: A process was killed.
        """
        left = iter(arguments)
        argument = next(left, None)
        calls = 0
        while calls or argument is not None:
            to_send = [self._socket] * (argument is not None and calls < MOST_CALLS)
            readable, writable, _ = select.select([self._socket], to_send, [], TICK_SECONDS)
            if writable and argument is not None:
                self._send(argument)
                calls += 1
                argument = next(left, None)
            elif readable:
                yield self._receive()
                calls -= 1
            else:
                tick()
                self._check()

    def _send(self, argument: str) -> None:
        try:
            self._socket.send(argument.encode())
        except ConnectionError:
            raise _killed() from None

    def _receive(self) -> str:
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = self._socket.recv(MOST_BYTES)
        if not answer:
            raise _killed()
        if answer.startswith(_RAISED):
            raise RuntimeError(answer[1:].decode())
        return answer[1:].decode()

    def close(self) -> None:
        """End the processes, even if they are working."""
        self._socket.close()
        for process in self._processes:
            os.kill(process, signal.SIGKILL)
        deadline = time.monotonic() + forked_processes.END_SECONDS
        for process in self._processes:
            forked_processes.await_end(process, deadline)

    def _check(self) -> None:
        for process in tuple(self._processes):
            if os.waitpid(process, os.WNOHANG) != (0, 0):
                self._processes.remove(process)
                raise _killed()


def _serve(connection: socket.socket, function: Callable[[str], str]) -> NoReturn:
    """Call the function for each argument, until the loader closes the connection or ends."""
    forked_processes.leave_signals()

    def serve() -> NoReturn:
        try:
            while argument := connection.recv(MOST_BYTES):
                connection.send(_answer(function, argument.decode()))
        finally:
            # The loader has ended, or does not wait for an answer any more.
            os._exit(0)

    for _ in range(THREADS - 1):
        threading.Thread(target=serve, daemon=True).start()
    serve()


def _answer(function: Callable[[str], str], argument: str) -> bytes:
    try:
        return _RETURNED + function(argument).encode()
    except BaseException as error:  # noqa: BLE001 - the main process raises it
        # Without its text, which may be long.
        return _RAISED + type(error).__name__.encode()


def _killed() -> failure.Failure:
    return forked_processes.killed("try again")
