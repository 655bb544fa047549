"""An item of a plan while it is being done, and what is told of it in the end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..base import failure, progress, tasks
from ..store import journal, load_directory
from ..tree import small_files
from . import plan


class ItemRun:
    """An item while it is being done: it ends when all of its files are on the volume.

    Args:
        number: The item's number in the plan.
        item: The item.
        attempt: The attempt at its shard.
        counter: Counts what is done.
        ended: Called when all is done, in whatever thread did the last of it.
    """

    def __init__(
        self,
        number: int,
        item: plan.Item,
        attempt: load_directory.ShardAttempt,
        *,
        counter: progress.Counter,
        ended: Callable[[], None],
    ) -> None:
        self.number = number
        self.item = item
        self.attempt = attempt
        self._counter = counter
        self._ended = ended
        self._lock = threading.Lock()
        # One more than the files under way, until all of them are known.
        self._open = 1
        self._result = ""

    def add(self, kind: str, number: int, path: str, **fields: Any) -> None:
        """Writes a line into the journal."""
        self.attempt.journal.add(journal.JournalLine(kind, self.number, number, path, **fields))

    def has(self, number: int) -> bool:
        """Whether an earlier attempt has brought a member."""
        return self.attempt.completed.has(self.number, number)

    def begin(self, count: int) -> None:
        """So many members more are under way."""
        with self._lock:
            self._open += count

    def replacing(self, number: int, path: str) -> None:
        """Something of that path is there: an earlier member, or what is left of an attempt.

        Raises:
            Failure: Another attempt has taken this one's work over.
        """
        self.attempt.fence()
        self.add(journal.REPLACED, number, path)
        self.attempt.journal.flush()

    def done(self, written: Sequence[small_files.WrittenFile]) -> None:
        """Members are on the volume."""
        # A part of a file is no file.
        if self.item.kind != plan.PART:
            self.attempt.journal.add(
                *(
                    journal.JournalLine(
                        journal.FILE, self.number, each.number, each.path, each.size, each.sha256
                    )
                    for each in written
                )
            )
            self._counter.add_files(len(written), sum(each.size for each in written))
        self.close(len(written))

    def end(self, **result: Any) -> None:
        """All members are under way or done."""
        self._result = json.dumps(result)
        self.close()

    def close(self, count: int = 1) -> None:
        """So much of what was open is done."""
        with self._lock:
            self._open -= count
            last = not self._open
        if last and self._result:
            self.add(journal.ENDED, 0, "", text=self._result)
        if last:
            self._ended()


def url_of(item: plan.Item, task: tasks.Task) -> str:
    """Where an item is fetched from."""
    return item.url or task.sources[item.source].url


def named(error: failure.Failure, item: plan.Item) -> failure.Failure:
    """What is wrong with an archive, with its name where it is one of many."""
    return failure.Failure(f"{failure.quote(item.name)}: {error}") if item.name else error
