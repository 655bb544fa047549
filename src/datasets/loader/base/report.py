"""Tells the world how far the load is: progress in the log, its end in the termination message."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from ... import protocol
from . import tasks

PROGRESS_SECONDS = 1.0
# Kubernetes cuts the message at 4,096 bytes, and a cut JSON says nothing. A character may take 12
# bytes in JSON, but only the names in a sentence are not ASCII, and those are short.
LONGEST_ERROR = 600


class Report:
    """Where the load's progress and end are written.

    Args:
        termination_log: The file that Kubernetes reads the container's last words from.
        index: The pod's index.
        clock: Tells seconds; monotonic.
    """

    def __init__(
        self, termination_log: str, *, index: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._termination_log = termination_log
        self._index = index
        self._clock = clock
        self._started = self._next = clock()

    @property
    def seconds(self) -> float:
        """How long the load has been running."""
        return round(self._clock() - self._started, 3)

    def state(self, state: str, **fields: Any) -> None:
        """Writes a line of progress at once: the load has come to another state."""
        self._next = self._clock() + PROGRESS_SECONDS
        line = json.dumps(
            {"state": state, "index": self._index, "seconds": self.seconds, **fields}
        )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def progress(self, state: str, fields: Callable[[], Mapping[str, Any]]) -> None:
        """Writes a line of progress, with what it is to say, if none was written for a while."""
        if self._clock() >= self._next:
            self.state(state, **fields())

    def published(self, result: tasks.Result) -> None:
        """Tells that the data set is there."""
        fields = {"state": protocol.PUBLISHED, **dataclasses.asdict(result)}
        self.state(**fields)
        self._last_words(fields)

    def ended(self, state: str, **fields: Any) -> None:
        """Tells that what was to be done is done, other than publishing."""
        fields = {"state": state, "index": self._index, "seconds": self.seconds, **fields}
        self.state(**fields)
        self._last_words(fields)

    def failed(self, error: str) -> None:
        """Tells why there is no data set."""
        error = error if len(error) <= LONGEST_ERROR else error[:LONGEST_ERROR] + "..."
        self.state(protocol.FAILED, error=error)
        self._last_words({"state": protocol.FAILED, "error": error})

    def _last_words(self, fields: dict[str, Any]) -> None:
        # Without that file the log's last line says the same.
        with contextlib.suppress(OSError), open(self._termination_log, "w") as log:  # noqa: PTH123
            json.dump(fields, log)
