"""Which hosts have open responses, or had until a moment ago."""

from __future__ import annotations

import concurrent.futures

from datasets.loader.http import open_responses

HOST = "https://data.example.org"
URL, OTHER = f"{HOST}/a.zip", f"{HOST}/b.zip?c"


def test_a_host_is_busy_while_a_response_is_open_and_a_moment_after():
    now = 100.0
    known = open_responses.OpenResponses(lambda: now)
    assert not known.is_busy(URL)
    known.requested(URL)
    known.requested(OTHER)
    known.began(URL)
    known.closed(URL)
    now += 1000
    assert known.is_busy(URL)
    known.closed(OTHER)
    assert known.is_busy(URL)
    now += open_responses.LINGER_SECONDS
    assert not known.is_busy(URL)


def test_requests_that_fail_do_not_make_a_host_busy():
    known = open_responses.OpenResponses(lambda: 100.0)
    known.requested(URL)
    known.failed(URL)
    assert not known.is_busy(URL)


def test_of_many_hosts_the_last_ones_are_remembered():
    known = open_responses.OpenResponses(lambda: 100.0)
    urls = [
        f"https://{number}.example.org" for number in range(open_responses.MOST_REMEMBERED + 1)
    ]
    for url in urls:
        known.requested(url)
        known.closed(url)
    assert [url for url in urls if not known.is_busy(url)] == urls[:1]


def test_what_is_refused_is_asked_for_alone_once():
    now = 100.0
    known = open_responses.OpenResponses(lambda: now)
    known.requested(OTHER)
    with concurrent.futures.ThreadPoolExecutor(1) as other_thread:

        def others_wait() -> float:
            return other_thread.submit(known.left_seconds, OTHER).result()

        assert known.is_busy(URL)
        assert known.ends_soon(URL)
        assert known.left_seconds(URL) == 0
        assert others_wait() == open_responses.ALONE_SECONDS
        known.requested(URL)
        known.began(URL)
        assert others_wait() == 0
        # A second time, others are not stopped for it.
        assert known.is_busy(URL)
        assert not known.ends_soon(URL)
        assert others_wait() == 0


def test_a_thread_that_ends_has_a_host_to_itself_for_a_while_only():
    now = 100.0
    known = open_responses.OpenResponses(lambda: now)
    known.requested(OTHER)
    with concurrent.futures.ThreadPoolExecutor(1) as other_thread:
        assert other_thread.submit(known.is_busy, URL).result()
    assert known.left_seconds(URL) > 0
    now += open_responses.ALONE_SECONDS
    assert known.left_seconds(URL) == 0
