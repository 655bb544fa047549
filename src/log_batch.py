"""Write what a hook logs with few runs of juju-log, each of which is a process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

# The first message is written at once: it tells of a change even if the hook is killed.
FIRST = 1
# ops splits longer messages into several runs.
MOST_CHARACTERS = 100_000


class LogBatch(logging.Filter):
    """Hold records back from handlers, then let them write one a level.

    An error is written at once, after what led to it.

    Args:
        handlers: The handlers that run a process for each record.
    """

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        super().__init__()
        self._handlers = handlers
        self._lock = threading.Lock()
        self._held: dict[int, list[str]] = {}
        self._passed = 0

    def hold(self) -> None:
        """Hold records from now on; can be called again."""
        for handler in self._handlers:
            handler.addFilter(self)

    def release(self) -> None:
        """Write what is held, and hold no more."""
        for handler in self._handlers:
            handler.removeFilter(self)
        self._write()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written now; else keep its message."""
        if record.levelno >= logging.ERROR:
            self._write()
            return True
        with self._lock:
            if record.levelno >= logging.INFO and self._passed < FIRST:
                self._passed += 1
                return True
            self._held.setdefault(record.levelno, []).append(self._handlers[0].format(record))
            return False

    def _write(self) -> None:
        with self._lock:
            held, self._held = self._held, {}
        for level, messages in sorted(held.items()):
            record = logging.LogRecord(__name__, level, "", 0, _join(messages), (), None)
            for handler in self._handlers:
                handler.emit(record)


def _join(messages: Sequence[str]) -> str:
    text = "\n".join(messages)
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}... ({len(text) - MOST_CHARACTERS} more characters)"
