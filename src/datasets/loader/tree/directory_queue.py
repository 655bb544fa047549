"""Whose turn it is to create: one thread in each directory, many directories at once.

Linux holds the parent directory's lock while a file is created in it, so a second creator would
only wait there. What follows the creation (data, closing) happens outside of the turn.
"""

from __future__ import annotations

import collections
import queue
import threading
from collections.abc import Callable

from ..base import pending_work

THREADS = 128
MOST_DIRECTORIES_REMEMBERED = 50_000

# Creates something in its directory's turn, and returns what is to be done outside of it.
Create = Callable[[], "Callable[[], None] | None"]


class _Directory:
    """A directory and what waits to be created in it."""

    __slots__ = ("busy", "made", "path", "pending")

    def __init__(self, path: str, *, made: bool) -> None:
        self.path = path
        self.made = made
        self.busy = False
        self.pending: collections.deque[tuple[Create, int]] = collections.deque()


class DirectoryQueue(pending_work.PendingWork):
    """Work that is done in its directories' turns.

    Args:
        make: Makes a directory, whose parent is there.
        threads: How many do it.
    """

    def __init__(self, make: Callable[[str], None], threads: int = THREADS) -> None:
        super().__init__()
        self._make = make
        self._most = threads
        self._directories = {"": _Directory("", made=True)}
        self._ready: queue.SimpleQueue[_Directory | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def submit(self, directory: str, create: Create, weight: int) -> None:
        """Has something created; returns when there is room for the next.

        Args:
            directory: The path of the directory; it is made if need be.
            create: Creates it.
            weight: The bytes that wait for it.

        Raises:
            BaseException: What an earlier one raised.
        """
        self.begin(weight)
        with self._lock:
            self._enqueue(self._place(directory), create, weight)

    def close(self) -> None:
        """Ends the threads, when nothing is left to be done."""
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _enqueue(self, place: _Directory, create: Create, weight: int) -> None:
        if weight:
            place.pending.append((create, weight))
        else:
            # A directory: what waits for it can be done beside what waits here.
            place.pending.appendleft((create, weight))
        self._start(place)

    def _start(self, place: _Directory) -> None:
        """Has a thread create what waits in a directory, if none does."""
        if place.busy or not place.made or not place.pending:
            return
        place.busy = True
        self._put(place)

    def _put(self, place: _Directory) -> None:
        """Makes it some thread's turn, and has one more thread where all are at work."""
        self._ready.put(place)
        if len(self._threads) < min(self._most, self.count):
            thread = threading.Thread(target=self._run, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _place(self, path: str) -> _Directory:
        place = self._directories.get(path)
        if place is None:
            if len(self._directories) > MOST_DIRECTORIES_REMEMBERED:
                self._forget()
            place = self._directories[path] = _Directory(path, made=False)
            parent = self._place(path.rpartition("/")[0])
            made = place
            self.add()
            self._enqueue(parent, lambda: self._make_directory(made), 0)
        return place

    def _forget(self) -> None:
        """Forgets the directories in which nothing waits; they are found again if need be."""
        self._directories = {
            path: place
            for path, place in self._directories.items()
            if not path or place.busy or place.pending or not place.made
        }

    def _make_directory(self, place: _Directory) -> None:
        self._make(place.path)
        with self._lock:
            place.made = True
            self._start(place)

    def _run(self) -> None:
        while place := self._ready.get():
            create, weight = place.pending.popleft()
            try:
                rest = create()
                self._pass_on(place)
                if rest:
                    rest()
            except BaseException as error:  # noqa: BLE001 - the next call raises it
                self.fail(error)
            self.end(weight)

    def _pass_on(self, place: _Directory) -> None:
        """Lets the next one create in the directory."""
        with self._lock:
            if place.pending:
                self._put(place)
            else:
                place.busy = False
