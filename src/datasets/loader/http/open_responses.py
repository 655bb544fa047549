"""Which hosts have responses that are open, or were until a moment ago.

Origins that allow few connections at once, mostly of one address, refuse a further one as they
refuse what is secret, and notice late that one was closed.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable

from ..base import urls

# An origin that sends may take a while to notice that nobody reads any more.
LINGER_SECONDS = 5.0
# What a host refuses is asked for alone, once: others end meanwhile, then the host notices it.
ALONE_SECONDS = 15.0
MOST_REMEMBERED = 1024


class OpenResponses:
    """The responses of a load; many threads use them.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: collections.Counter[str] = collections.Counter()
        self._closed_at: collections.OrderedDict[str, float] = collections.OrderedDict()
        # The thread that has a host to itself, and until when; those whose time is over stay.
        self._alone: dict[str, tuple[int, float]] = {}

    def requested(self, url: str) -> None:
        """Record that an object is requested: its response counts as open from now on."""
        with self._lock:
            self._open[urls.host_of(url)] += 1

    def began(self, url: str) -> None:
        """Record that its response has begun: this thread needs the host no more for itself."""
        with self._lock:
            self._end_alone(urls.host_of(url))

    def closed(self, url: str) -> None:
        """Record that a response that had begun was closed."""
        host = urls.host_of(url)
        with self._lock:
            self._end(host)
            self._closed_at[host] = self._clock()
            self._closed_at.move_to_end(host)
            if len(self._closed_at) > MOST_REMEMBERED:
                self._closed_at.popitem(last=False)

    def failed(self, url: str) -> None:
        """Record that a request has no response."""
        with self._lock:
            self._end(urls.host_of(url))

    def is_busy(self, url: str) -> bool:
        """Tell whether a refusal may mean that the host serves others; it has failed before.

        This thread may ask the host alone for a while, once: what is secret would otherwise be
        asked for as long as anything else is read there.
        """
        host = urls.host_of(url)
        with self._lock:
            if not self._holds(host):
                self._end_alone(host)
                return False
            if len(self._alone) < MOST_REMEMBERED:
                until = self._clock() + ALONE_SECONDS
                self._alone.setdefault(host, (threading.get_ident(), until))
            return True

    def ends_soon(self, url: str) -> bool:
        """Tell whether the host of a URL may soon serve this thread: it serves no other one."""
        host = urls.host_of(url)
        with self._lock:
            thread, until = self._alone.get(host, (0, 0.0))
            alone = thread == threading.get_ident() and until > self._clock()
            return alone or host not in self._open

    def left_seconds(self, url: str) -> float:
        """Return how long another thread has the host of a URL to itself; 0 if none has."""
        if not self._alone:
            return 0
        with self._lock:
            thread, until = self._alone.get(urls.host_of(url), (0, 0.0))
            return max(0.0, until - self._clock()) if thread != threading.get_ident() else 0

    def _end(self, host: str) -> None:
        self._open[host] -= 1
        if not self._open[host]:
            del self._open[host]

    def _end_alone(self, host: str) -> None:
        thread, _ = self._alone.get(host, (0, 0.0))
        if thread == threading.get_ident():
            self._alone[host] = thread, 0.0

    def _holds(self, host: str) -> bool:
        if host in self._open:
            return True
        closed_at = self._closed_at.get(host)
        return closed_at is not None and self._clock() - closed_at < LINGER_SECONDS
