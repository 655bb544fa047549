"""What a load knows about its origins: which ones want to be left alone, and serve no ranges.

All attempts and connections of a pod share it, so that none repeats what another has learnt.
"""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from ..base import failure, urls
from . import open_responses, redirected_urls, responses

Answer = TypeVar("Answer")

OPENING_SECONDS, PATIENCE_SECONDS = 25.0, 900.0
# A host is read without ranges when this many of its objects had to be.
OBJECTS_OF_A_HOST = 2
MOST_REMEMBERED = 1024
# Shorter waits are not worth a word.
SHORTEST_SHOWN_SECONDS = 1.0
TICK_SECONDS = 0.5
# After a failure, fewer bytes than these do not count as data: an origin could send one at a time.
LEAST_BYTES = 2**14


class Origins:
    """The origins of a load; many threads use it.

    Args:
        opening_seconds: The longest time that origins may refuse to begin, unless they ask to
            wait: short, so that the action that a user waits for reports a wrong source.
        patience_seconds: The longest time without any data for the load.
        clock: A monotonic clock, in seconds.

    Attributes:
        tick: Called now and then in a thread that waits.
        redirects: The targets of redirects.
        open_responses: The hosts that objects are being read from.
        patience_seconds: The longest time without any data for the load.
    """

    def __init__(
        self,
        opening_seconds: float = OPENING_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tick: Callable[[], None] = lambda: None
        self.redirects = redirected_urls.RedirectedUrls()
        self.open_responses = open_responses.OpenResponses(clock)
        self.patience_seconds = patience_seconds
        self._opening_seconds = opening_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = False
        self._received_at = clock()
        # The time since when nothing arrives; None while data arrive.
        self._silent_since: float | None = None
        self._arrived = 0
        self._not_before: dict[str, float] = {}
        self._waits: dict[int, tuple[float, str]] = {}
        self._whole: set[str] = set()
        self._whole_of_host: collections.Counter[str] = collections.Counter()

    # --- patience

    def received(self, count: int = LEAST_BYTES) -> None:
        """Record that so many bytes of data have arrived."""
        self._begun = True
        self._arrived += count
        if self._arrived >= LEAST_BYTES:
            self._received_at = self._clock()
            self._silent_since = None

    def patience(self, since: float, *, asked: bool) -> tuple[float, float]:
        """Return the longest time without data, and how much of it is left.

        Args:
            since: The time of the request, or of the data before.
            asked: Whether the origin has asked to wait.
        """
        longest = self.patience_seconds if self._begun or asked else self._opening_seconds
        with self._lock:
            if self._silent_since is None:
                self._silent_since, self._arrived = max(since, self._received_at), 0
            return longest, longest - (self._clock() - self._silent_since)

    def pause(self, url: str, seconds: float) -> None:
        """Send no request to the host of a URL for a while, as it has asked for that."""
        host = urls.host_of(url)
        with self._lock:
            until = self._clock() + seconds
            self._not_before[host] = max(until, self._not_before.get(host, 0))

    def wait_for_host(self, url: str, check: Callable[[], None]) -> None:
        """Wait while the host of a URL wants no requests.

        Args:
            url: The URL.
            check: Called now and then; it raises if the wait is to end.
        """
        host = urls.host_of(url)
        left = self._not_before.get(host, 0) - self._clock()
        if left > 0:
            self.wait(left, f"{host} allows no more requests now", check)
        while (left := self.open_responses.left_seconds(url)) > 0:
            self.wait(min(left, TICK_SECONDS), "", check)

    def wait(self, seconds: float, reason: str, check: Callable[[], None]) -> None:
        """Wait, and show meanwhile what for.

        Args:
            seconds: The time to wait.
            reason: What is waited for, without what may be secret.
            check: Called now and then; it raises if the wait is to end.
        """
        until = self._clock() + seconds
        with self._shown(until, reason if seconds >= SHORTEST_SHOWN_SECONDS else ""):
            while (left := until - self._clock()) > 0:
                check()
                self.tick()
                time.sleep(min(left, TICK_SECONDS))

    @contextlib.contextmanager
    def _shown(self, until: float, reason: str) -> Generator[None]:
        if not reason:
            yield
            return
        key = threading.get_ident()
        with self._lock:
            self._waits[key] = until, reason
        try:
            yield
        finally:
            with self._lock:
                self._waits.pop(key, None)

    def waiting(self) -> str:
        """Return what is waited for, and how long; empty if nothing is."""
        with self._lock:
            if not self._waits:
                return ""
            until, reason = max(self._waits.values())
        return f"{reason}, {max(0, round(until - self._clock()))} s left"

    # --- ranges

    def read_whole(self, url: str) -> None:
        """Record that an object cannot be read in ranges."""
        key, host = urls.unsigned(url), urls.host_of(url)
        with self._lock:
            if key in self._whole or len(self._whole) >= MOST_REMEMBERED:
                return
            self._whole.add(key)
            self._whole_of_host[host] += 1

    def reads_whole(self, url: str) -> bool:
        """Tell whether an object is to be read as a whole, by one connection."""
        if not self._whole:
            return False
        with self._lock:
            return (
                urls.unsigned(url) in self._whole
                or self._whole_of_host[urls.host_of(url)] >= OBJECTS_OF_A_HOST
            )


class Backoff:
    """Retries of an origin in trouble, at growing intervals.

    Args:
        origins: The origins of the load.
        url: The URL.
        check: Raises if the load has ended.
    """

    FIRST_SECONDS, SOON_SECONDS, LONGEST_SECONDS = 0.1, 1.0, 15.0

    def __init__(self, origins: Origins, url: str, check: Callable[[], None]) -> None:
        self._origins = origins
        self._url = url
        self._check = check
        self._waits = 0
        self._began = time.monotonic()

    def retried(self, send: Callable[[], Answer]) -> Answer:
        """Send a request; retry while the origin is in trouble.

        Raises:
            Failure: The origin refuses the request, or stays in trouble.
        """
        while True:
            try:
                return send()
            except responses.RetryLater as trouble:  # noqa: PERF203 - a request costs more
                self.wait(trouble)

    def wait(self, trouble: responses.RetryLater) -> None:
        """Wait before another attempt.

        Raises:
            Failure: The load has had no data for too long, or would not have any for too long.
        """
        asked = trouble.wait_seconds
        longest, left = self._origins.patience(self._began, asked=asked > 0)
        shown = urls.redact(self._url)
        if asked > max(left, 0):
            raise failure.Later(
                f"{shown} {trouble.reason}, and asks to wait for {asked:.0f} seconds, but a load "
                f"ends after {longest:g} seconds without data: run create-dataset again after that"
            )
        if left <= 0:
            waited = time.monotonic() - self._began
            raise failure.Later(
                f"{shown} {trouble.reason}, even after {waited:.{0 if waited >= 10 else 1}f} "
                "seconds: check the source and the model's proxy settings, then run "
                "create-dataset again"
            )
        most = self.SOON_SECONDS if trouble.soon else self.LONGEST_SECONDS
        grown = min(self.FIRST_SECONDS * 2**self._waits, most, left)
        self._waits += 1
        reason = f"{urls.host_of(self._url)} {trouble.reason}"
        self._origins.wait(max(grown, asked), reason, self._check)
