"""Child processes that cannot outlive this process; it does not know what they run."""

from __future__ import annotations

import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

# Runs in the child, which then executes the program. A preexec_fn would be unsafe in a process
# with threads. The parent's id is checked because the parent may have ended before prctl.
_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


def tie_to_parent(command: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return a command line that runs `command` and is killed when the starting thread ends.

    The kernel watches the thread, not the process: start it from a thread that lives long enough.

    Args:
        command: The program's absolute path, then its arguments.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    return [*launcher, *(os.fspath(part) for part in command)]


class Process:
    """A program in the background that ends with this process; its output goes to a file.

    Args:
        command: The program's absolute path, then its arguments.
        log: The file that the output is appended to.
        environ: The whole environment; by default that of this process.
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        log: pathlib.Path,
        *,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = pathlib.Path(command[0]).name
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._started = threading.Event()
        # The thread stays until the program ends: see tie_to_parent.
        self._keeper = threading.Thread(
            target=self._keep, args=(tie_to_parent(command), environ), name=self.name, daemon=True
        )
        self._keeper.start()
        self._started.wait()
        if self._error is not None:
            raise self._error

    @property
    def running(self) -> bool:
        """Return whether the program is still running."""
        return self._keeper.is_alive()

    @property
    def pid(self) -> int:
        """Return the program's process id."""
        return self._child.pid if self._child is not None else 0

    def tail(self, lines: int = 8) -> str:
        """Return the last lines of the output, each cut to 300 characters."""
        last = self._log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(line[:300] for line in last)

    def kill(self) -> None:
        """Kill the program, and wait until it has ended."""
        if self._child is not None and self.running:
            self._child.send_signal(signal.SIGKILL)
        self._keeper.join()

    def _keep(self, command: list[str], environ: Mapping[str, str] | None) -> None:
        try:
            with self._log.open("ab") as log:
                self._child = subprocess.Popen(  # noqa: S603 - our own command
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
                )
        except OSError as error:
            self._error = error
            return
        finally:
            self._started.set()
        logger.debug("started %s as process %d", self.name, self._child.pid)
        self._child.wait()
