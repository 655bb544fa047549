"""Locks of bytes of files, which the server keeps on NFSv4: they go with their process."""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Callable

ALL = 0  # as many bytes as there may ever be
# Most are let go of at once; but a thousand pods may wait for the one that makes the plan.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.1


def try_lock(descriptor: int, byte: int, count: int = 1) -> bool:
    """Locks bytes of a file against all other processes; False where one of them has any."""
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
    """Waits for a byte of a file, at growing intervals.

    Args:
        descriptor: The file, open for writing.
        byte: The byte.
        wait_seconds: How long.
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
    """Lets go of a byte."""
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
