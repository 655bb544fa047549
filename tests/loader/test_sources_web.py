"""Tokens and headers for web servers, which no other host may get; and one connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from datasets.loader.sources import web_header
from sandbox.servers import origin_server
from tests.loader import loader_rig

SECRET = "hunter2"
CREDENTIALS: dict[str, Mapping[str, str]] = {
    "token": {"token": SECRET},
    "header": {"header": f"X-Api-Key: {SECRET}"},
}
SENT = {"token": ("authorization", f"Bearer {SECRET}"), "header": ("x-api-key", SECRET)}
LARGE = bytes(range(256)) * 2**16


@pytest.fixture
def other() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as server:
        yield server


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_what_the_secret_has_is_sent_to_the_named_host_with_each_range(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    run = rig.load(served.put("large.bin", LARGE), credentials=CREDENTIALS[kind])
    assert run.result.files == 1
    name, value = SENT[kind]
    assert len(served.requests) > 1
    assert all(each.headers.get(name) == value for each in served.requests)
    assert SECRET not in run.log + run.message


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_it_is_not_sent_where_the_named_host_redirects_to(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    other: origin_server.Origin,
    kind: str,
):
    source = served.redirect("there", other.put("large.bin", LARGE))
    assert rig.load(source, credentials=CREDENTIALS[kind]).result.files == 1
    name, _ = SENT[kind]
    assert served.requests[0].headers[name]
    assert len(other.requests) > 1
    assert all(name not in each.headers for each in other.requests)


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_it_is_not_sent_to_other_hosts_of_a_list(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    other: origin_server.Origin,
    kind: str,
):
    # The user names the other host, too, but with a scheme or port of its own it is another one.
    lines = [served.put("a", b"1"), other.put("b", b"2").replace("127.0.0.1", "localhost")]
    source_list = served.put("list.txt", "\n".join(lines).encode())
    rig.load("", source_list=source_list, digest_key="00", credentials=CREDENTIALS[kind])
    name, value = SENT[kind]
    assert {each.headers.get(name) for each in served.requests} == {value}
    assert all(name not in each.headers for each in other.requests)


def test_a_token_of_the_hub_is_not_sent_to_web_servers(
    rig: loader_rig.Rig, served: origin_server.Origin, other: origin_server.Origin
):
    source = f"{served.put('a', b'1')} hf://datasets/org/name"
    rig.load(source, hub=other.url, credentials={"token": SECRET})
    assert other.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert all("authorization" not in each.headers for each in served.requests)


def test_a_token_that_does_not_suffice_is_named(rig: loader_rig.Rig, served: origin_server.Origin):
    faults = origin_server.Faults(status=401)
    first = served.put("a", b"1" * 5000)
    source = f"{first} {served.put('b', b'2', faults=faults)}"
    error = rig.load(source, request="v", connections=1, credentials={"token": SECRET}).error
    assert "/b answers 401: the token or header does not suffice, or has expired: " in error
    assert "put a new one into the secret" in error


@pytest.mark.parametrize(
    "text", ["", "x", ": y", "a b: c", "a: b\r\nc: d", "a: ü", "Host: x", "range: bytes=0-1"]
)
def test_what_is_no_header_of_a_login_is_refused_and_not_repeated(text: str):
    with pytest.raises(ValueError, match=r"is not `Name: value`|which the loader itself sends"):
        web_header.parse(text)
    assert web_header.parse(" X-Key : a b ") == ("X-Key", "a b")


@pytest.mark.parametrize("name", ["large.bin", "s.zip"])
def test_one_connection_is_one_plain_get(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str
):
    files = {"large.bin": LARGE}
    content = LARGE if name == "large.bin" else loader_rig.archive("zip", files)
    faults = origin_server.Faults(max_concurrent=1, busy_status=403)
    assert rig.load(served.put(name, content, faults=faults), connections=1).result.files == 1
    assert rig.files() == files
    assert [each.headers.get("range") for each in served.requests] == [None]
