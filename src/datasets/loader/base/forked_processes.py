"""What all processes that the loader forks have in common: their signals and their end."""

from __future__ import annotations

import os
import signal
import time

from . import failure

END_SECONDS, POLL_SECONDS = 1.0, 0.001


def leave_signals() -> None:
    """Leave SIGTERM and SIGINT to the main process: this one ends with it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def await_end(process: int, deadline: float) -> None:
    """Wait for the end of a process that was killed.

    One that waits for the volume may not end now; it ends with the pod.

    Args:
        process: The process.
        deadline: The end of the wait, by the monotonic clock.
    """
    while os.waitpid(process, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def killed(advice: str) -> failure.Failure:
    """Return the failure of a process that somebody else killed.

    Args:
        advice: What to do, for the end of the sentence.
    """
    return failure.Later(
        "a process of the loader was killed, probably because the node is out of memory: "
        f"{advice}",
        soon=True,
    )
