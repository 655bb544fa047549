"""Which objects have open responses, or had until a moment ago."""

from __future__ import annotations

from datasets.loader.http import open_responses

URL = "https://data.example.org/a.zip"


def test_an_object_is_held_while_a_response_is_open_and_a_moment_after():
    now = 100.0
    known = open_responses.OpenResponses(lambda: now)
    assert not known.holds(URL)
    known.opened(URL)
    known.opened(URL)
    known.closed(URL)
    now += 1000
    assert known.holds(URL)
    known.closed(URL)
    assert known.holds(URL)
    now += open_responses.LINGER_SECONDS
    assert not known.holds(URL)
    assert not known.holds(f"{URL}?other")


def test_of_many_objects_the_last_ones_are_remembered():
    known = open_responses.OpenResponses(lambda: 100.0)
    urls = [f"{URL}?{number}" for number in range(open_responses.MOST_REMEMBERED + 1)]
    for url in urls:
        known.opened(url)
        known.closed(url)
    assert [url for url in urls if not known.holds(url)] == urls[:1]
