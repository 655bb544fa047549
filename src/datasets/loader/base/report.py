"""Report the progress of a load in the log, and its end in the termination message."""

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
# Kubernetes truncates the message at 4,096 bytes, and truncated JSON cannot be parsed. A character
# may take 12 bytes in JSON, but only the names in a sentence are not ASCII, and those are short.
LONGEST_ERROR = 600


class Report:
    """A reporter of a load's progress and end.

    Args:
        termination_log: The file that Kubernetes reads the termination message from.
        index: The pod's index.
        clock: A monotonic clock, in seconds.
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
        """Return the seconds since the load began."""
        return round(self._clock() - self._started, 3)

    def write_state(self, state: str, **fields: Any) -> None:
        """Write a line of progress at once, for a new state."""
        self._next = self._clock() + PROGRESS_SECONDS
        line = json.dumps(
            {"state": state, "index": self._index, "seconds": self.seconds, **fields}
        )
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def write_progress(self, state: str, fields: Callable[[], Mapping[str, Any]]) -> None:
        """Write a line of progress if none was written for a while.

        Args:
            state: The state.
            fields: Returns the other fields of the line.
        """
        if self._clock() >= self._next:
            self.write_state(state, **fields())

    def write_published(self, result: tasks.Result) -> None:
        """Write the result of a published data set, also as the termination message."""
        fields = {"state": protocol.PUBLISHED, **dataclasses.asdict(result)}
        self.write_state(**fields)
        self._write_termination_message(fields)

    def write_ended(self, state: str, **fields: Any) -> None:
        """Write the end of work that publishes nothing, also as the termination message."""
        fields = {"state": state, "index": self._index, "seconds": self.seconds, **fields}
        self.write_state(**fields)
        self._write_termination_message(fields)

    def write_failed(self, error: str) -> None:
        """Write the reason of a failure, also as the termination message."""
        error = error if len(error) <= LONGEST_ERROR else error[:LONGEST_ERROR] + "..."
        self.write_state(protocol.FAILED, error=error)
        self._write_termination_message({"state": protocol.FAILED, "error": error})

    def _write_termination_message(self, fields: dict[str, Any]) -> None:
        # If that file cannot be written, the last line of the log has the same fields.
        with contextlib.suppress(OSError), open(self._termination_log, "w") as log:  # noqa: PTH123
            json.dump(fields, log)
