"""Load the shards that no other pod has taken, with many items at once.

One thread takes shards, so that the next one is ready when it is needed; another one records the
finished ones; the lanes load their items.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable

from ..http import object_stream
from ..store import load_directory
from . import item_loader, item_run, list_queries, plan

LANES = 32
TICK_SECONDS = 0.25
# The pause between two checks of this pod's shards, and of a lock that another process has.
PAUSE_SECONDS, LONG_PAUSE_SECONDS = 0.02, 0.5
# The longest wait for threads to stop.
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
        # One more than the pending items, until all of them are known.
        self._pending = 1

    def add_pending(self) -> None:
        with self._lock:
            self._pending += 1

    def remove_pending(self) -> None:
        with self._lock:
            self._pending -= 1
            last = not self._pending
        if last:
            self._finish(self)


class ShardWorker:
    """A pod's work on a load.

    Args:
        directory: The load directory.
        planned: Its plan.
        queries: The queries of the source list.
        loader: Loads items.
        index: This pod's index.
        indexes: The number of pods.
    """

    def __init__(
        self,
        directory: load_directory.LoadDirectory,
        planned: plan.Plan,
        queries: list_queries.ListQueries,
        loader: item_loader.ItemLoader,
        *,
        index: int,
        indexes: int,
    ) -> None:
        self._directory = directory
        self._plan = planned
        self._queries = queries
        self._loader = loader
        self._context = loader.context
        self._index = index
        self._own, self._others = planned.divide(index, indexes)
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._stopped = threading.Event()
        self._active: set[_Shard] = set()
        most = self._context.task.connections or object_stream.MOST_CONNECTIONS
        self._lanes = min(LANES, -(-planned.items // indexes), most)
        self._connections = max(1, most // self._lanes)
        self._queue: queue.SimpleQueue[item_run.ItemRun | None] = queue.SimpleQueue()
        # Do not queue more items than lanes, or other pods starve.
        self._queue_room = threading.Semaphore(self._lanes)
        self._to_record: queue.SimpleQueue[_Shard | None] = queue.SimpleQueue()

    def run(self, tick: Callable[[], None]) -> None:
        """Load shards until each is finished or taken by another pod.

        Args:
            tick: Called now and then.

        Raises:
            StartOver: The whole load has to start over.
            Failure: An item cannot be loaded.
        """
        taking, recording = self._thread(self._take_shards), self._thread(self._record_finished)
        lanes = [self._thread(self._lane) for _ in range(self._lanes)]
        try:
            self._wait_for(lanes, tick)
            # Files may be pending when all lanes have ended.
            self._wait_for([self._thread(self._context.tree.wait)], tick)
            self._to_record.put(None)
            self._wait_for([recording], tick)
        finally:
            # Also after a failure: finished shards are recorded, so that no attempt repeats them.
            self._stopped.set()
            self._context.tree.stop()
            # Further bytes would be counted, and would slow down another attempt.
            self._context.client.close()
            self._to_record.put(None)
            deadline = time.monotonic() + END_SECONDS
            for thread in (recording, taking, *lanes):
                thread.join(max(0.0, deadline - time.monotonic()))
            for shard in tuple(self._active):
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
        """Start work in a thread; the main thread raises its error."""

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
        for run in iter(self._queue.get, None):
            self._queue_room.release()
            if self._is_over():
                return
            self._loader.load(run, self._connections)

    def _take_shards(self) -> None:
        """Take this pod's share, then other pods' shards.

        It takes other pods' shards one at a time, and only when its own are finished: those pods
        may only be late. It waits for shards of its own that another process has taken: that may
        be an earlier pod of this index, on a node that was lost.
        """
        try:
            # Reading the ledger costs less than locking a finished shard.
            finished = self._count_earlier()
            own = [number for number in self._own if number not in finished]
            left = [number for number in own if not self._take(number)]
            if self._others:
                finished = self._wait_for_own()
            for number in self._others:
                if number not in finished and self._take(number):
                    finished = self._wait_for_own()
            while left and not self._is_over():
                self._stopped.wait(LONG_PAUSE_SECONDS)
                if self._take(left[-1]):
                    left.pop()
        finally:
            for _ in range(self._lanes):
                self._queue.put(None)

    def _count_earlier(self) -> set[int]:
        """Count the bytes and files of earlier pods of this index; other pods report their own.

        Returns:
            The finished shards.
        """
        finished: set[int] = set()
        for each in self._directory.read_ledger():
            finished.add(each.shard)
            if each.pod == self._index:
                self._context.counter.add_earlier(each.fetched, each.files, each.bytes)
        return finished

    def _wait_for_own(self) -> set[int]:
        """Wait until this pod works on no shard; return the shards that are finished."""
        while self._active and not self._is_over():
            self._stopped.wait(PAUSE_SECONDS)
        return self._directory.finished_shards()

    def _take(self, number: int) -> bool:
        """Take a shard if no process has it; return whether it is taken or finished."""
        if self._is_over() or not self._directory.try_lock(load_directory.FIRST_SHARD + number):
            return False
        self._directory.check()
        attempt = self._directory.begin_attempt(number)
        if attempt is None:
            self._directory.unlock(load_directory.FIRST_SHARD + number)
            return True
        shard = _Shard(number, attempt, self._to_record.put)
        self._active.add(shard)
        earlier = shard.attempt.journal
        self._context.counter.add_earlier(files=earlier.files, size=earlier.bytes)
        for item_number, item in self._plan.read(number):
            while not self._queue_room.acquire(timeout=TICK_SECONDS):
                if self._is_over():
                    return True
            shard.add_pending()
            shard.fetched += item.planned_bytes
            run = item_run.ItemRun(
                item_number,
                self._plan.with_query(item, self._queries),
                shard.attempt,
                counter=self._context.counter,
                ended=shard.remove_pending,
            )
            self._queue.put(run)
        shard.remove_pending()
        return True

    def _record_finished(self) -> None:
        """Record finished shards, all that there are at a time."""
        ended = False
        while not ended:
            taken = [self._to_record.get()]
            taken += [self._to_record.get() for _ in range(self._to_record.qsize())]
            ended = None in taken
            shards = [each for each in taken if each]
            for each in shards:
                each.attempt.journal.close()
            if shards:
                self._directory.record_finished(
                    (each.attempt, self._finished_shard(each)) for each in shards
                )
            for each in shards:
                self._active.discard(each)
                self._directory.unlock(load_directory.FIRST_SHARD + each.number)

    def _finished_shard(self, shard: _Shard) -> load_directory.FinishedShard:
        written = shard.attempt.journal
        return load_directory.FinishedShard(
            shard.number, self._index, shard.fetched, written.files, written.bytes
        )
