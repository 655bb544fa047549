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
