"""Temporary directories; those of killed processes are removed by the next process."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import tempfile
import time

_PREFIX = "aws-efs-sandbox-"
_YOUNG_SECONDS = 60  # younger ones may not be locked yet


class ScratchDirectory:
    """A new directory that only its owner may read; a lock shows that it is in use."""

    def __init__(self) -> None:
        for left in pathlib.Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            _remove_if_left(left)
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: int | None = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the directory; can be called again."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_if_left(directory: pathlib.Path) -> None:
    try:
        if time.time() - directory.stat().st_mtime < _YOUNG_SECONDS:
            return
        lock = os.open(directory, os.O_RDONLY)
    except OSError:  # just removed, or another user's
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:
        pass  # its process is running
    finally:
        os.close(lock)
