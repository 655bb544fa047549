"""Which objects have responses that are open, or were until a moment ago.

Origins that allow few connections at once refuse a further one as they refuse what is secret, and
notice late that one was closed.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable

# An origin that sends may take a while to notice that nobody reads any more.
LINGER_SECONDS = 5.0
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

    def opened(self, url: str) -> None:
        """Record that an object's response has begun."""
        with self._lock:
            self._open[url] += 1

    def closed(self, url: str) -> None:
        """Record that it was closed."""
        with self._lock:
            self._open[url] -= 1
            if not self._open[url]:
                del self._open[url]
            self._closed_at[url] = self._clock()
            self._closed_at.move_to_end(url)
            if len(self._closed_at) > MOST_REMEMBERED:
                self._closed_at.popitem(last=False)

    def holds(self, url: str) -> bool:
        """Tell whether the origin may still count a response of an object as open."""
        with self._lock:
            if url in self._open:
                return True
            closed_at = self._closed_at.get(url)
            return closed_at is not None and self._clock() - closed_at < LINGER_SECONDS
