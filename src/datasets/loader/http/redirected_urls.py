"""The targets of redirects, kept until they expire: origins limit and count what they resolve."""

from __future__ import annotations

import calendar
import collections
import re
import threading
import time
import urllib.parse

MOST_KEPT = 1024
# A signed URL is not used any more when it expires so soon.
MARGIN_SECONDS = 30
DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.\d{1,9})?Z")
# The parameters of signed URLs: when they were signed, and for how many seconds.
SIGNED_FOR = (("x-amz-date", "x-amz-expires"), ("x-goog-date", "x-goog-expires"))
# When they expire: CloudFront, older S3 and Google, and others; and Azure.
EXPIRES = ("expires", "se", "exp")
# A smaller number is no time.
LEAST_TIME = 10**9


class RedirectedUrls:
    """The last targets of redirects; many threads use them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._targets: collections.OrderedDict[str, tuple[str, float | None]]
        self._targets = collections.OrderedDict()

    def find(self, url: str) -> str:
        """Return the target that a URL was redirected to; empty if none is known and valid."""
        if not self._targets:
            return ""
        with self._lock:
            target, expires = self._targets.get(url, ("", None))
            if target and expires is not None and time.time() > expires - MARGIN_SECONDS:
                del self._targets[url]
                return ""
            return target

    def keep(self, url: str, target: str) -> None:
        """Keep the target that a URL was redirected to."""
        with self._lock:
            self._targets[url] = target, expiry(target)
            if len(self._targets) > MOST_KEPT:
                self._targets.popitem(last=False)

    def forget(self, url: str, target: str) -> None:
        """Forget a target that is refused, unless another one is known by now."""
        with self._lock:
            if self._targets.get(url, ("",))[0] == target:
                del self._targets[url]


def expiry(url: str) -> float | None:
    """Return the time when a signed URL expires, in seconds since 1970; None if it tells none."""
    query = urllib.parse.urlsplit(url).query
    values: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        values.setdefault(name.lower(), urllib.parse.unquote(value))
    for date, seconds in SIGNED_FOR:
        signed, lasts = _time(values.get(date, "")), _time(values.get(seconds, ""))
        if signed is not None and lasts is not None:
            return signed + lasts
    times = (_time(values.get(name, "")) for name in EXPIRES)
    return next((each for each in times if each and each >= LEAST_TIME), None)


def _time(text: str) -> float | None:
    """Return a number of seconds, or a date as such a number."""
    if text.isdecimal() and len(text) <= 12:
        return float(text)
    match = DATE.fullmatch(text)
    if not match:
        return None
    try:
        return float(calendar.timegm(tuple(map(int, match.groups()))))
    except (ValueError, OverflowError):
        return None
