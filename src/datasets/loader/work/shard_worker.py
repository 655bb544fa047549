"""What one pod does of a load: takes shards that nobody has, and does their items side by side.

One thread takes the shards, so that the next one is there when it is needed; another one writes
down which are done; and all lanes do items.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable

from ..http import object_stream
from ..store import load_directory
from . import item_loader, item_run, plan

LANES = 32
TICK_SECONDS = 0.25
# Between two looks at what goes on here, and at what another process holds.
PAUSE_SECONDS, LONG_PAUSE_SECONDS = 0.02, 0.5
# How long what is under way may take to see that it is to stop.
END_SECONDS = 5.0


class _Shard:
    """A shard that this pod works on."""

    def __init__(
        self, number: int, attempt: load_directory.ShardAttempt, finish: Callable[[_Shard], None]
    ) -> None:
        self.number = number
        self.attempt = attempt
        self.fetched = 0
        self._finish = finish
        self._lock = threading.Lock()
        # One more than the items under way, until all of them are known.
        self._open = 1

    def begin(self) -> None:
        with self._lock:
            self._open += 1

    def end(self) -> None:
        with self._lock:
            self._open -= 1
            last = not self._open
        if last:
            self._finish(self)


class ShardWorker:
    """A pod's work on a load.

    Args:
        directory: The load's directory.
        planned: Its plan.
        loader: Loads items.
        index: This pod's index...
        indexes: ...among so many.
    """

    def __init__(
        self,
        directory: load_directory.LoadDirectory,
        planned: plan.Plan,
        loader: item_loader.ItemLoader,
        *,
        index: int,
        indexes: int,
    ) -> None:
        self._directory = directory
        self._plan = planned
        self._loader = loader
        self._context = loader.context
        self._index = index
        self._own, self._others = planned.order(index, indexes)
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._under_way: set[_Shard] = set()
        self._lanes = min(LANES, -(-planned.items // indexes))
        self._connections = max(1, object_stream.MOST_CONNECTIONS // self._lanes)
        self._runs: queue.SimpleQueue[item_run.ItemRun | None] = queue.SimpleQueue()
        # So many items wait for a lane: what is taken too early nobody else can do.
        self._room = threading.Semaphore(self._lanes)
        self._done: queue.SimpleQueue[_Shard | None] = queue.SimpleQueue()

    def run(self, tick: Callable[[], None]) -> None:
        """Works until nothing is left that no other pod works on.

        Args:
            tick: Called now and then.

        Raises:
            StartOver: The whole load has to begin anew.
            Failure: Something can not be done.
        """
        taking, writing = self._thread(self._take_all), self._thread(self._write_down)
        lanes = [self._thread(self._lane) for _ in range(self._lanes)]
        try:
            self._wait_for(lanes, tick)
            # Files may be under way when all lanes have ended.
            self._wait_for([self._thread(self._context.tree.wait)], tick)
            self._done.put(None)
            self._wait_for([writing], tick)
        finally:
            # Also where it was stopped: what is done shall not have to be done again.
            self._stopped.set()
            self._context.tree.stop()
            # What is fetched in vain now would be counted, and in the way of another attempt.
            self._context.client.close()
            self._done.put(None)
            deadline = time.monotonic() + END_SECONDS
            for thread in (writing, taking, *lanes):
                thread.join(max(0.0, deadline - time.monotonic()))
            for shard in tuple(self._under_way):
                shard.attempt.journal.close()

    def _wait_for(self, threads: Iterable[threading.Thread], tick: Callable[[], None]) -> None:
        for thread in threads:
            thread.join(TICK_SECONDS)
            while thread.is_alive():
                self._tick(tick)
                thread.join(TICK_SECONDS)
        if self._error:
            raise self._error

    def _tick(self, tick: Callable[[], None]) -> None:
        if self._error:
            raise self._error
        self._directory.check()
        tick()

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        """Begins work in a thread; what it raises the main thread raises."""

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the main thread raises it
                self._fail(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error

    def _is_over(self) -> bool:
        return self._error is not None or self._stopped.is_set()

    def _lane(self) -> None:
        for run in iter(self._runs.get, None):
            self._room.release()
            if self._is_over():
                return
            self._loader.load(run, self._connections)

    def _take_all(self) -> None:
        """Takes this pod's share, then others' shards.

        Of those it takes one at a time, and only when its own are done: other pods may only be
        late. What of its own another process works on it waits for: that may be what is left of
        it on a node that was lost.
        """
        try:
            # To lock one that is done would cost more than to look at all of them.
            finished = self._count_before()
            own = [number for number in self._own if number not in finished]
            left = [number for number in own if not self._take(number)]
            if self._others:
                finished = self._finished()
            for number in self._others:
                if number not in finished and self._take(number):
                    finished = self._finished()
            while left and not self._is_over():
                self._stopped.wait(LONG_PAUSE_SECONDS)
                if self._take(left[-1]):
                    left.pop()
        finally:
            for _ in range(self._lanes):
                self._runs.put(None)

    def _count_before(self) -> set[int]:
        """Counts what earlier pods of this index have brought: what others did they tell.

        Returns:
            The shards that are done.
        """
        found: set[int] = set()
        for each in self._directory.read_ledger():
            found.add(each.shard)
            if each.pod == self._index:
                self._context.counter.add_earlier(each.fetched, each.files, each.bytes)
        return found

    def _finished(self) -> set[int]:
        """The shards that are done, as soon as none is that this pod works on."""
        while self._under_way and not self._is_over():
            self._stopped.wait(PAUSE_SECONDS)
        return self._directory.finished_shards()

    def _take(self, number: int) -> bool:
        """Takes a shard, if nobody has it; returns whether nothing of it is left to others."""
        if self._is_over() or not self._directory.try_lock(load_directory.FIRST_SHARD + number):
            return False
        self._directory.check()
        attempt = self._directory.begin_attempt(number)
        if attempt is None:
            self._directory.unlock(load_directory.FIRST_SHARD + number)
            return True
        shard = _Shard(number, attempt, self._done.put)
        self._under_way.add(shard)
        before = shard.attempt.journal
        self._context.counter.add_earlier(files=before.files, size=before.bytes)
        for item_number, item in self._plan.read(number):
            while not self._room.acquire(timeout=TICK_SECONDS):
                if self._is_over():
                    return True
            shard.begin()
            shard.fetched += item.counted
            run = item_run.ItemRun(
                item_number, item, shard.attempt, counter=self._context.counter, ended=shard.end
            )
            self._runs.put(run)
        shard.end()
        return True

    def _write_down(self) -> None:
        """Writes down which shards are on the volume, all that there are at a time."""
        ended = False
        while not ended:
            taken = [self._done.get()]
            taken += [self._done.get() for _ in range(self._done.qsize())]
            ended = None in taken
            shards = [each for each in taken if each]
            for each in shards:
                each.attempt.journal.close()
            if shards:
                self._directory.record_finished(
                    (each.attempt, self._told(each)) for each in shards
                )
            for each in shards:
                self._under_way.discard(each)
                self._directory.unlock(load_directory.FIRST_SHARD + each.number)

    def _told(self, shard: _Shard) -> load_directory.FinishedShard:
        brought = shard.attempt.journal
        return load_directory.FinishedShard(
            shard.number, self._index, shard.fetched, brought.files, brought.bytes
        )
