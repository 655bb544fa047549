"""What one pod does of a load: takes shards that nobody has, and does their items side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator

from . import items, place, plan, remote, runs, stream

LANES = 32
TICK_SECONDS = 0.25
PAUSE, PAUSE_SECONDS = "pause", 0.1


class _Shard:
    """A shard that this pod works on."""

    def __init__(
        self, number: int, attempt: place.Attempt, finish: Callable[[_Shard], None]
    ) -> None:
        self.number = number
        self.attempt = attempt
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


class Work:
    """A pod's work on a load.

    Args:
        where: The load's directory.
        planned: Its plan.
        doer: Does items.
        index: This pod's index...
        indexes: ...among so many.
    """

    def __init__(
        self,
        where: place.Place,
        planned: plan.Plan,
        doer: items.Doer,
        *,
        index: int,
        indexes: int,
    ) -> None:
        self._place = where
        self._plan = planned
        self._doer = doer
        self._own, self._others = planned.order(index, indexes)
        self._units = self._all()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._stopped = False
        self._under_way: set[_Shard] = set()
        self._lanes = min(LANES, -(-planned.items // indexes))
        self._connections = max(1, stream.CONNECTIONS // self._lanes)

    def run(self, tick: Callable[[], None]) -> None:
        """Works until nothing is left that no other pod works on.

        Args:
            tick: Called now and then.

        Raises:
            StartOver: The whole load has to begin anew.
            Failure: Something can not be done.
        """
        threads = [threading.Thread(target=self._lane, daemon=True) for _ in range(self._lanes)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(TICK_SECONDS)
                    self._tick(tick)
            self._finish_writing(tick)
        finally:
            # Also where it was stopped: what is done shall not have to be done again.
            self._stopped = True
            self._doer.tree.stop()
            for shard in tuple(self._under_way):
                shard.attempt.journal.close()

    def _tick(self, tick: Callable[[], None]) -> None:
        if self._error:
            raise self._error
        self._place.check()
        tick()

    def _finish_writing(self, tick: Callable[[], None]) -> None:
        """Waits for the files that are under way when all lanes have ended."""
        ended = threading.Event()

        def wait() -> None:
            try:
                self._doer.tree.wait()
            except BaseException as error:  # noqa: BLE001 - the main thread raises it
                self._fail(error)
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        while not ended.wait(TICK_SECONDS):
            self._tick(tick)
        self._tick(tick)

    def _lane(self) -> None:
        try:
            for unit in iter(self._next, None):
                if isinstance(unit, runs.Run):
                    self._doer.do(unit, self._connections)
                else:
                    time.sleep(PAUSE_SECONDS)
        except remote.StartOver as trouble:
            self._place.supersede(trouble.reason)
            self._fail(trouble)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error

    def _next(self) -> runs.Run | str | None:
        """The next item; PAUSE where there may be one later."""
        with self._lock:
            if self._error or self._stopped:
                return None
            return next(self._units, None)

    def _all(self) -> Iterator[runs.Run | str]:
        """The items of this pod's share as they are asked for, then those of others' shards.

        Of those it takes one at a time, and only when its own are done: other pods may only be
        late. What of its own another process works on it waits for: that may be what is left of
        it on a node that was lost.
        """
        left: list[int] = []
        for number in self._own:
            done = yield from self._shard(number)
            left += [] if done else [number]
        for number in self._others:
            while self._under_way:
                yield PAUSE
            yield from self._shard(number)
        while left:
            yield PAUSE
            if (yield from self._shard(left[-1])):
                left.pop()

    def _shard(self, number: int) -> Generator[runs.Run, None, bool]:
        """The items of a shard; returns whether nothing of it is left to others."""
        if not self._place.try_lock(place.FIRST_SHARD + number):
            return False
        self._place.check()
        if number in self._place.finished():
            self._place.unlock(place.FIRST_SHARD + number)
            return True
        shard = _Shard(number, self._place.attempt(number), self._finish)
        self._under_way.add(shard)
        for item_number, item in self._plan.read(number):
            shard.begin()
            yield runs.Run(
                item_number, item, shard.attempt, counts=self._doer.meter, ended=shard.end
            )
        shard.end()
        return True

    def _finish(self, shard: _Shard) -> None:
        """A shard is on the volume, all of it."""
        shard.attempt.journal.close()
        self._place.finish(shard.number, {})
        self._place.unlock(place.FIRST_SHARD + shard.number)
        self._under_way.discard(shard)
