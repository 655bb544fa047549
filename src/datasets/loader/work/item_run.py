"""The run of one item of a plan: its pending files, and its lines in the journal."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..base import progress, tasks
from ..store import journal, load_directory
from ..tree import small_files, tree_writer
from . import plan


class ItemRun:
    """The run of an item: it ends when all of its files are on the volume.

    Args:
        number: The item's number in the plan.
        item: The item.
        attempt: The attempt at its shard.
        counter: The progress of this pod.
        ended: Called when the item ended, in the thread that wrote its last file.

    Attributes:
        number: The item's number in the plan.
        item: The item.
        attempt: The attempt at its shard.
        has_written: Whether this run has written any of its members, or begun to.
        progress: The progress of the item.
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
        self.progress = progress.ItemProgress(counter)
        self._ended = ended
        self.has_written = False
        self._lock = threading.Lock()
        # One more than the pending files, until all of them are known.
        self._pending = 1
        self._result = ""

    def record(self, kind: str, number: int, path: str, **fields: Any) -> None:
        """Write a line into the journal."""
        self.has_written = self.has_written or kind != journal.VERSION
        self.attempt.journal.add(journal.JournalLine(kind, self.number, number, path, **fields))

    def has_member(self, number: int) -> bool:
        """Tell whether an earlier attempt has written a member."""
        return self.attempt.completed.has(self.number, number)

    def add_pending(self, count: int) -> None:
        """Add to the number of pending members."""
        self.has_written = True
        with self._lock:
            self._pending += count

    def record_replacement(self, number: int, path: str) -> None:
        """Record that a member replaces an earlier one, or a file of an earlier attempt.

        Raises:
            Failure: Another attempt has taken over this one's work.
        """
        self.attempt.fence()
        self.record(journal.REPLACED, number, path)
        self.attempt.journal.flush()

    def count_written(self, size: int) -> None:
        """Count bytes of a file that are on the volume."""
        self.progress.add_written(size)

    def record_written(self, written: Sequence[small_files.WrittenFile]) -> None:
        """Record members that are on the volume now."""
        # A part of a file is not counted as a file.
        if self.item.kind != plan.PART:
            self.attempt.journal.add(
                *(
                    journal.JournalLine(
                        journal.FILE,
                        self.number,
                        each.number,
                        each.path,
                        each.size,
                        each.sha256,
                        "",
                        each.executable,
                    )
                    for each in written
                )
            )
            self._counter.add_files(len(written), sum(each.size for each in written))
        self.progress.add_written(0, files=len(written))
        self.remove_pending(len(written))

    def make_directory(self, tree: tree_writer.TreeWriter, number: int, path: str) -> None:
        """Queue the creation of a directory that is a member itself, and record it."""

        def made() -> None:
            self.record(journal.DIRECTORY, number, path)
            self.remove_pending()

        self.add_pending(1)
        tree.make_directory(path, made)

    def finish(self, **result: Any) -> None:
        """Set the result: all members are known, and pending or written."""
        self._result = json.dumps(result)
        self.remove_pending()

    def remove_pending(self, count: int = 1) -> None:
        """Subtract from the number of pending members; the last one ends the item."""
        with self._lock:
            self._pending -= count
            last = not self._pending
        if last and self._result:
            self.record(journal.ENDED, 0, "", text=self._result)
        if last:
            self._ended()


def url_of(item: plan.Item, task: tasks.Task) -> str:
    """Return the URL that an item is fetched from."""
    return item.url or task.sources[item.source].url
