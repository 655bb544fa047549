"""Allow one file creation at a time per directory, in many directories at once.

Linux holds the parent directory's lock while a file is created in it, so a second creation would
only wait for the lock. The steps after the creation (writing, closing) run in parallel.
"""

from __future__ import annotations

import collections
import queue
import sys
import threading
from collections.abc import Callable

from ..base import pending_work

THREADS = 128
# What is remembered of directories that exist, with what each takes beside its path.
MOST_REMEMBERED_BYTES, DIRECTORY_BYTES = 12 * 2**20, 300

# Creates something in its directory, and returns the steps that may run in parallel.
Create = Callable[[], "Callable[[], None] | None"]


class _Directory:
    """A directory and its pending creations."""

    __slots__ = ("busy", "exists", "path", "pending")

    def __init__(self, path: str, *, exists: bool) -> None:
        self.path = path
        self.exists = exists
        self.busy = False
        # Only while there are any: there are many directories, and an empty deque takes 0.7 KiB.
        self.pending: collections.deque[tuple[Create, int]] | None = None

    @property
    def bytes(self) -> int:
        """Return the bytes that it takes in memory."""
        return sys.getsizeof(self.path) + DIRECTORY_BYTES

    def add(self, create: Create, weight: int) -> None:
        """Add a creation; that of a directory comes first, as its own can then run meanwhile."""
        if self.pending is None:
            self.pending = collections.deque()
        if weight:
            self.pending.append((create, weight))
        else:
            self.pending.appendleft((create, weight))

    def take(self) -> tuple[Create, int]:
        """Take the next creation."""
        pending = self.pending or collections.deque()
        taken = pending.popleft()
        if not pending:
            self.pending = None
        return taken


class DirectoryQueue(pending_work.PendingWork):
    """A queue of creations, in order for each directory.

    Args:
        make: Makes a directory whose parent exists.
        threads: The most threads.
    """

    def __init__(self, make: Callable[[str], None], threads: int = THREADS) -> None:
        super().__init__()
        self._make = make
        self._most = threads
        self._directories = {"": _Directory("", exists=True)}
        self._remembered_bytes, self._most_remembered = 0, MOST_REMEMBERED_BYTES
        self._ready: queue.SimpleQueue[_Directory | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, directory: str, create: Create, weight: int) -> None:
        """Queue a creation; return when there is room for the next one.

        Args:
            directory: The path of the directory; it is made if needed.
            create: Creates the file.
            weight: The bytes that the creation keeps in memory.

        Raises:
            BaseException: The error of earlier work.
        """
        self.begin(weight)
        with self._lock:
            self._enqueue(self._directory(directory), create, weight)

    def close(self) -> None:
        """End the threads, when no work is pending, or after an error."""
        with self._lock:
            # After an error some still work: they must not add threads that nobody ends.
            self._closed = True
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _enqueue(self, directory: _Directory, create: Create, weight: int) -> None:
        directory.add(create, weight)
        self._start(directory)

    def _start(self, directory: _Directory) -> None:
        """Start the creations in a directory, if none runs there."""
        if directory.busy or not directory.exists or not directory.pending:
            return
        directory.busy = True
        self._put(directory)

    def _put(self, directory: _Directory) -> None:
        """Have a thread run the next creation in a directory; add a thread if all are busy."""
        self._ready.put(directory)
        if not self._closed and len(self._threads) < min(self._most, self.count):
            thread = threading.Thread(target=self._run, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _directory(self, path: str) -> _Directory:
        directory = self._directories.get(path)
        if directory is None:
            if self._remembered_bytes > self._most_remembered:
                self._forget()
            directory = self._directories[path] = _Directory(path, exists=False)
            self._remembered_bytes += directory.bytes
            parent = self._directory(path.rpartition("/")[0])
            new = directory
            self.add()
            self._enqueue(parent, lambda: self._make_directory(new), 0)
        return directory

    def _forget(self) -> None:
        """Forget the directories without pending creations; they are added again if needed."""
        self._directories = {
            path: each
            for path, each in self._directories.items()
            if not path or each.busy or each.pending or not each.exists
        }
        self._remembered_bytes = sum(each.bytes for each in self._directories.values())
        # Those that are pending cannot be forgotten: they are not looked through for each new one.
        self._most_remembered = max(MOST_REMEMBERED_BYTES, 2 * self._remembered_bytes)

    def _make_directory(self, directory: _Directory) -> None:
        self._make(directory.path)
        with self._lock:
            directory.exists = True
            self._start(directory)

    def _run(self) -> None:
        while directory := self._ready.get():
            with self._lock:
                create, weight = directory.take()
            try:
                rest = create()
                self._continue(directory)
                if rest:
                    rest()
            except BaseException as error:  # noqa: BLE001 - the next call raises it
                self.fail(error)
            self.end(weight)

    def _continue(self, directory: _Directory) -> None:
        """Start the next creation in a directory, if one is pending."""
        with self._lock:
            if directory.pending:
                self._put(directory)
            else:
                directory.busy = False
