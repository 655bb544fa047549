"""Lock bytes of files; with NFSv4 the server keeps the locks, and they end with the process."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Callable

ALL = 0  # all bytes, also beyond the end of the file
# Most locks are short; but a thousand pods may wait for the one that makes the plan.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.1


def try_lock(descriptor: int, byte: int, count: int = 1) -> bool:
    """Lock bytes of a file against all other processes; return False if one of them has any."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, count, byte)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def lock(
    descriptor: int, byte: int, wait_seconds: float, between: Callable[[], None] = lambda: None
) -> bool:
    """Lock a byte of a file; retry at growing intervals.

    Args:
        descriptor: The file, open for writing.
        byte: The byte.
        wait_seconds: The longest wait.
        between: Called before each wait.

    Returns:
        Whether it is locked now.
    """
    deadline = time.monotonic() + wait_seconds
    pause = FIRST_PAUSE_SECONDS
    while not try_lock(descriptor, byte):
        between()
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
    return True


def unlock(descriptor: int, byte: int) -> None:
    """Unlock a byte of a file."""
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
