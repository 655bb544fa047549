"""Origins that serve no ranges, or only seem to: their objects are read by one plain GET."""

from __future__ import annotations

import functools
import random
from typing import Any

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig

NOISE = random.Random(16).randbytes(2**20)
LARGE = NOISE * 14 + b"the end"
FILES = {"a": b"1" * 3000, "d/noise": NOISE * 6, "e/noise": NOISE[::-1] * 6}
# What people have met.
ORIGINS: dict[str, dict[str, Any]] = {
    "If-Range is answered 200": {"range_status": 200},
    "ranges are refused with 400": {"range_status": 400},
    "ranges are refused with 401": {"range_status": 401},
    "ranges are refused with 403": {"range_status": 403},
    "ranges are refused with 405": {"range_status": 405},
    "ranges are refused with 416": {"range_status": 416},
    "ranges are refused with 501": {"range_status": 501},
    "two backends with an ETag each": {"backends": 2},
    "three backends with an ETag each": {"backends": 3},
    "no validator": {"validators": False},
    "no ranges": {"ranges": False},
    "no ranges and no validator": {"ranges": False, "validators": False},
    "no length": {"length": False, "validators": False},
    "a link for one GET": {"answers": 1},
    "a second connection is refused with 403": {"max_concurrent": 1, "busy_status": 403},
    "a second connection is refused with 429": {"max_concurrent": 1, "busy_status": 429},
    "a third connection is refused with 403": {"max_concurrent": 2, "busy_status": 403},
    "closed connections count for a while": {
        "max_concurrent": 2,
        "busy_status": 403,
        "notices_after_seconds": 0.3,
    },
    "a closed connection counts for a while": {
        "max_concurrent": 1,
        "busy_status": 401,
        "notices_after_seconds": 0.3,
    },
}
# The same for each request of a range, for ever.
for status in (429, 500, 503):
    ORIGINS[f"ranges are answered with {status}"] = {"range_status": status}


@functools.cache
def packed(archive_format: str) -> bytes:
    return loader_rig.archive(archive_format, FILES)


def put(served: origin_server.Origin, name: str, content: bytes, kind: str, **more: object) -> str:
    faults = origin_server.Faults(**ORIGINS[kind], **more)  # type: ignore[arg-type]
    return served.put(name, content, faults=faults)


@pytest.mark.parametrize("kind", ORIGINS)
@pytest.mark.parametrize("content", [b"tiny", NOISE * 6, LARGE], ids=["tiny", "medium", "large"])
def test_a_file_is_loaded(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str, content: bytes
):
    result = rig.load(put(served, "s.bin", content, kind)).result
    assert rig.files() == {"s.bin": content}
    assert result.fetched == len(content)


@pytest.mark.parametrize("kind", ORIGINS)
@pytest.mark.parametrize("archive_format", ["tar", "zip"])
def test_an_archive_is_loaded(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str, archive_format: str
):
    rig.load(put(served, f"s.{archive_format}", packed(archive_format), kind)).result  # noqa: B018
    assert rig.files() == FILES


@pytest.mark.parametrize("kind", [each for each in ORIGINS if each != "a link for one GET"])
@pytest.mark.parametrize("name", ["s.bin", "s.tar", "s.zip"])
def test_a_connection_that_drops_begins_anew_and_goes_on_with_the_same_bytes(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str, name: str
):
    contents = {"s.bin": LARGE, "s.tar": packed("tar"), "s.zip": packed("zip")}
    source = put(served, name, contents[name], kind, drop_after=9 * 2**20, drop_times=2)
    rig.load(source).result  # noqa: B018
    assert rig.files() == ({"s.bin": LARGE} if name == "s.bin" else FILES)
    assert len(rig.versions()) == 1


@pytest.mark.parametrize("part", ["shifted", "whole"])
@pytest.mark.parametrize("name", ["s.bin", "s.tar", "s.zip"])
def test_a_range_with_other_bytes_than_it_says_is_not_used(
    rig: loader_rig.Rig, served: origin_server.Origin, part: str, name: str
):
    contents = {"s.bin": LARGE, "s.tar": packed("tar"), "s.zip": packed("zip")}
    faults = origin_server.Faults(range_body=part)
    rig.load(served.put(name, contents[name], faults=faults)).result  # noqa: B018
    assert rig.files() == ({"s.bin": LARGE} if name == "s.bin" else FILES)


def test_a_part_that_nobody_asked_for_is_not_taken_for_the_whole(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    headers = {"Content-Range": "bytes 0-3/9"}
    source = served.put("s.bin", b"part", headers=headers, faults=origin_server.Faults(status=206))
    assert "answers with a part only" in rig.refused(source, patience=0.3)


# --- limits of a host, however many objects are asked for

LIMITS: dict[str, dict[str, Any]] = {
    "one connection, 403": {"max_concurrent": 1, "busy_status": 403},
    "one connection, 429": {"max_concurrent": 1, "busy_status": 429},
    "one connection, 400, noticed late": {
        "max_concurrent": 1,
        "busy_status": 400,
        "notices_after_seconds": 0.2,
    },
    "two connections, 401": {"max_concurrent": 2, "busy_status": 401},
    "two connections, 503, noticed late": {
        "max_concurrent": 2,
        "busy_status": 503,
        "notices_after_seconds": 0.2,
    },
}


@pytest.mark.parametrize("kind", LIMITS)
def test_several_objects_of_a_host_that_allows_few_connections_are_loaded(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    contents = {"t.bin": b"tiny", "m.bin": NOISE * 6, "n.bin": NOISE * 3, "l.bin": LARGE}
    served.limit = origin_server.Faults(**LIMITS[kind])
    sources = [served.put(name, content) for name, content in contents.items()]
    sources.append(served.put("s.zip", packed("zip")))
    rig.load(" ".join(sources), patience=30).result  # noqa: B018
    assert rig.files() == {**contents, **FILES}


def test_what_is_secret_is_told_while_others_are_read(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    secret = served.put("secret", b"1", faults=origin_server.Faults(status=403))
    held = served.put("held.bin", LARGE, faults=origin_server.Faults(bytes_per_second=2**22))
    error = rig.load(f"{held} {secret}", patience=60).error
    assert "/secret answers 403: it requires credentials" in error


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "1"}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}],
    ids=["Retry-After", "X-RateLimit"],
)
def test_a_refusal_that_tells_until_when_is_waited_for(
    rig: loader_rig.Rig, served: origin_server.Origin, status: int, headers: dict[str, str]
):
    faults = origin_server.Faults(status=status, status_times=1)
    assert (
        rig.load(served.put("s.bin", b"1,2\n", headers=headers, faults=faults)).result.bytes == 4
    )
