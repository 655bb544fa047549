"""How long a load waits for its origins, and what it says meanwhile."""

from __future__ import annotations

import email.utils
import http.client
import time
from collections.abc import Mapping

import pytest

from datasets import answers
from datasets.loader.base import failure
from datasets.loader.http import origins, rate_limits, redirected_urls, responses

HUB = "https://hub.example/datasets/a/b/resolve/0/x"


def head(headers: Mapping[str, str]) -> http.client.HTTPMessage:
    message = http.client.HTTPMessage()
    for name, value in headers.items():
        message[name] = value
    return message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "3600"}, 3600),
        ({"Retry-After": "-1"}, 0),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "9" * 400}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"RateLimit": '"resolvers";r=0;t=211'}, 211),
        ({"RateLimit": '"api";r=10;t=300, "resolvers";r=0;t=42'}, 42),
        ({"RateLimit": '"a;r=1,b";r=0;t=5'}, 5),
        ({"RateLimit": "default;r=0", "RateLimit-Policy": '"fixed window";"x";q=3000;w=300'}, 300),
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"RateLimit": '"a";r=9;t=30'}, 30),
        ({"RateLimit-Policy": "100;w=60"}, 60),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "12"}, 12),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "12"}, 12),
        ({"RateLimit": ";;=,,r=,t=x"}, 0),
    ],
)
def test_the_wait_that_a_refusal_asks_for_is_read(headers: Mapping[str, str], seconds: float):
    assert rate_limits.asked_seconds(head(headers)) == seconds


@pytest.mark.parametrize("name", ["Retry-After", "X-RateLimit-Reset"])
def test_a_wait_may_be_told_as_a_time(name: str):
    then = time.time() + 100
    told = email.utils.formatdate(then) if name == "Retry-After" else str(round(then))
    seconds = rate_limits.asked_seconds(head({name: told, "X-RateLimit-Remaining": "0"}))
    assert 90 < seconds <= 101


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"resolvers";r=1;t=211'}, 0),
        ({"RateLimit": '"resolvers";r=0;t=211'}, 211),
        ({"RateLimit-Policy": '"x";q=3000;w=300'}, 0),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "12"}, 0),
    ],
)
def test_a_limit_that_is_used_up_is_noticed_before_a_refusal(
    headers: Mapping[str, str], seconds: float
):
    assert rate_limits.exhausted_seconds(head(headers)) == seconds


class Clock:
    """A clock that goes on when somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def started(clock: Clock, opening: float = 25, patience: float = 900) -> origins.Origins:
    return origins.Origins(opening, patience, clock=lambda: clock.now)


def give_up(known: origins.Origins, trouble: responses.RetryLater) -> str:
    backoff = origins.Backoff(known, HUB, lambda: None)
    with pytest.raises(failure.Later) as raised:
        while True:
            backoff.wait(trouble)
    return str(raised.value)


def test_what_was_waited_is_what_is_said(clock: Clock):
    known = started(clock)
    began = clock.now
    assert "x answers 503, even after 25 seconds: " in give_up(
        known, responses.RetryLater("answers 503")
    )
    assert clock.now - began == pytest.approx(25)
    known.received()
    clock.now += 50
    began = clock.now
    assert "even after 900 seconds" in give_up(known, responses.RetryLater("answers 503"))
    assert clock.now - began == pytest.approx(900)


def test_a_wait_that_is_too_long_is_not_begun_and_not_claimed(clock: Clock):
    began = clock.now
    error = give_up(started(clock), responses.RetryLater("answers 429", wait_seconds=3600))
    assert "asks to wait for 3600 seconds, but a load ends after 900 seconds without data" in error
    assert clock.now == began


def test_a_load_outlasts_two_windows_of_the_hub_before_its_first_data(clock: Clock):
    known = started(clock)
    backoff = origins.Backoff(known, HUB, lambda: None)
    for _ in range(2):
        backoff.wait(responses.RetryLater("answers 429", wait_seconds=300))
    assert clock.now == pytest.approx(1600)


def test_patience_is_that_of_the_load_not_of_one_object(clock: Clock):
    known = started(clock, patience=100)
    known.received()
    backoff = origins.Backoff(known, HUB, lambda: None)
    for _ in range(50):
        backoff.wait(responses.RetryLater("answers 503"))
        # Meanwhile other objects arrive.
        known.received()
    assert clock.now > 1500


def test_what_is_waited_for_is_shown_and_a_wait_ends_with_the_load(clock: Clock):
    known = started(clock)
    shown: list[str] = []
    known.tick = lambda: shown.append(known.waiting())
    origins.Backoff(known, HUB, lambda: None).wait(
        responses.RetryLater("answers 429 (Too Many Requests)", wait_seconds=300)
    )
    assert shown[0] == "hub.example answers 429 (Too Many Requests), 300 s left"
    assert shown[-1].endswith(", 0 s left")
    assert known.waiting() == ""

    def check() -> None:
        raise failure.stopped()

    known.pause(HUB, 60)
    with pytest.raises(failure.Later):
        known.wait_for_host(HUB, check)
    known.wait_for_host("https://other.example/x", check)


def test_the_charm_shows_what_a_pod_waits_for():
    line = '{"state": "transferring", "files": 2, "waiting": "hub.example answers 429, 9 s left"}'
    progress = answers.read_progress(line)
    assert progress is not None
    text = answers.format_progress(answers.combine([answers.Progress("preparing"), progress]))
    assert text == "transferring: 2 files, waiting: hub.example answers 429, 9 s left"
    evil = answers.read_progress('{"state": "preparing", "waiting": "\\u001b[2J"}')
    assert evil is not None
    assert evil.waiting == ""


@pytest.mark.parametrize(
    ("query", "expires"),
    [
        ("", None),
        ("X-Amz-Date=20260101T000000Z&X-Amz-Expires=600", 1767225600 + 600),
        ("x-goog-date=20260101T000000Z&x-goog-expires=600", 1767225600 + 600),
        ("Expires=1767225600&Signature=x&Key-Pair-Id=y", 1767225600),
        ("se=2026-01-01T00%3A00%3A00Z&sig=x", 1767225600),
        ("expires=3600", None),
        ("X-Amz-Date=yesterday&X-Amz-Expires=600", None),
        ("se=2026-99-99T00:00:00Z", None),
    ],
)
def test_the_end_of_a_signed_url_is_known(query: str, expires: float | None):
    found = redirected_urls.expiry(f"https://cdn.example/x?{query}")
    assert found == expires or query.startswith("se=2026-99")


def test_the_target_of_a_redirect_is_kept_until_it_expires():
    known = redirected_urls.RedirectedUrls()
    soon, late = (f"https://cdn.example/x?Expires={round(time.time()) + s}" for s in (10, 600))
    known.keep(HUB, soon)
    assert known.find(HUB) == ""
    known.keep(HUB, late)
    assert known.find(HUB) == late
    known.forget(HUB, soon)
    assert known.find(HUB) == late
    known.forget(HUB, late)
    assert known.find(HUB) == ""
