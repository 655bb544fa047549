from __future__ import annotations

import functools
import itertools
import json
import random
import re
import socket
import time
from collections.abc import Callable

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig

FILES = {"a": b"1" * 3000, "d/noise": random.Random(1).randbytes(600_000)}
SECRET = "hunter2"


@functools.cache
def packed(archive_format: str) -> bytes:
    return loader_rig.archive(archive_format, FILES)


def broken(served: origin_server.Origin, archive_format: str = "tar.gz", **faults: object) -> str:
    content = packed(archive_format)
    return served.put(f"s.{archive_format}", content, faults=origin_server.Faults(**faults))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, "nothing is there; check the source"),
        (410, "nothing is there; check the source"),
        (401, "requires credentials, or a signed link has expired"),
        (403, "requires credentials, or a signed link has expired"),
        (407, "the proxy requires credentials"),
        (418, "answers 418: check the source"),
        (300, "redirects in a circle"),
    ],
)
def test_an_origin_that_will_not_serve_it_is_not_asked_twice(
    rig: loader_rig.Rig, served: origin_server.Origin, status: int, expected: str
):
    assert expected in rig.refused(broken(served, status=status))
    assert len(served.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_an_origin_that_is_in_trouble_for_ever_is_given_up(
    rig: loader_rig.Rig, served: origin_server.Origin, status: int
):
    error = rig.refused(broken(served, status=status), patience=0.5)
    assert f"answers {status}" in error
    # On a busy machine the last answer may come later.
    assert re.search(r"even after [0-9.]+ seconds: check the source", error)
    assert len(served.requests) > 1


def test_an_origin_that_is_in_trouble_for_a_while_is_waited_for(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    assert rig.load(broken(served, status=503, status_times=2)).code == 0
    assert rig.files() == FILES


def test_an_origin_that_asks_to_be_left_alone_is(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = packed("tar")
    faults = origin_server.Faults(status=503, status_times=1)
    source = served.put("s.tar", content, headers={"Retry-After": "1"}, faults=faults)
    began = time.monotonic()
    assert rig.load(source, patience=5).code == 0
    assert time.monotonic() - began >= 1


def test_a_host_that_does_not_resolve_is_named(rig: loader_rig.Rig):
    error = rig.refused(f"https://nowhere.invalid/x.tar?token={SECRET}", patience=0.15)
    assert "https://nowhere.invalid/x.tar?..." in error
    assert "the host nowhere.invalid does not resolve" in error
    assert "proxy settings" in error


def test_an_origin_that_refuses_connections_is_given_up(rig: loader_rig.Rig):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = rig.refused(f"http://127.0.0.1:{unused.getsockname()[1]}/x.tar", patience=0.15)
    assert "the connection was refused" in error


def test_an_origin_that_sends_nothing_is_given_up(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    error = rig.refused(broken(served, delay_seconds=3), timeout=0.2, patience=0.15)
    assert "did not answer in time" in error


def test_an_origin_without_a_certificate_is_given_up(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = broken(served).replace("http:", "https:")
    assert "TLS failed" in rig.refused(source, patience=0.15)


@pytest.mark.parametrize("archive_format", loader_rig.ARCHIVES)
def test_a_connection_that_drops_is_resumed(
    rig: loader_rig.Rig, served: origin_server.Origin, archive_format: str
):
    source = broken(served, archive_format, drop_after=300_000, drop_times=2)
    result = rig.load(source).result
    assert rig.files() == FILES
    parts = [request.headers.get("range") for request in served.requests]
    # The central directory of a zip archive is fetched in a request of its own.
    assert archive_format == "zip" or parts == [None, "bytes=300000-", "bytes=600000-"]
    assert result.fetched == len(packed(archive_format))


@pytest.mark.parametrize("faults", [{"ranges": False}, {"validators": False}])
def test_without_ranges_or_validators_it_is_read_again_from_the_start(
    rig: loader_rig.Rig, served: origin_server.Origin, faults: dict[str, bool]
):
    content = packed("tar")
    source = broken(served, "tar", drop_after=400_000, drop_times=2, **faults)
    result = rig.load(source).result
    assert rig.files() == FILES
    assert (result.files, result.fetched) == (2, len(content))
    assert len(rig.versions()) == 1


def test_a_source_that_changes_in_the_middle_is_not_mixed(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    old = loader_rig.archive("tar", {"old": FILES["d/noise"], "same": b"old"})
    new = loader_rig.archive("tar", {"new": FILES["d/noise"], "same": b"new"})
    faults = origin_server.Faults(hold_after=200_000, drop_after=400_000)
    process = rig.start(served.put("s.tar", old, faults=faults))
    loader_rig.wait_until(lambda: served.requests)
    served.put("s.tar", new)
    served.release()
    assert rig.wait(process).result.files == 2
    assert rig.files() == {"new": FILES["d/noise"], "same": b"new"}


@pytest.mark.parametrize("faults", [{}, {"ranges": False}, {"length": False}])
def test_an_origin_that_breaks_off_for_ever_is_given_up(
    rig: loader_rig.Rig, served: origin_server.Origin, faults: dict[str, bool]
):
    source = broken(served, drop_after=0, drop_times=None, **faults)
    error = rig.refused(source, patience=0.15)
    assert "breaks off after" in error or "broke the connection off" in error


def test_an_answer_without_a_length_is_read_to_its_end(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    assert rig.load(broken(served, length=False)).code == 0
    assert rig.files() == FILES


def test_a_response_without_a_length_that_breaks_off_is_resumed(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    assert rig.load(broken(served, length=False, drop_after=300_000)).code == 0
    assert rig.files() == FILES
    assert served.requests[1].headers["range"].startswith("bytes=")


def test_a_redirect_is_followed(rig: loader_rig.Rig, served: origin_server.Origin):
    source = served.redirect("there", broken(served))
    assert rig.load(source).code == 0
    assert rig.files() == FILES


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        f"http://me:{SECRET}@127.0.0.1/x",
        f"https://me:{SECRET}@127.0.0.1:x/x",
    ],
)
def test_a_redirect_to_what_could_not_be_a_source_is_refused_and_not_repeated(
    rig: loader_rig.Rig, served: origin_server.Origin, target: str
):
    run = rig.load(served.redirect("there", target))
    assert "redirects" in run.error
    assert SECRET not in run.error + run.log


TARGETS: dict[str, Callable[[origin_server.Origin, str], str]] = {
    "refused": lambda served, path: served.put(
        path, b"1", faults=origin_server.Faults(status=403)
    ),
    "gone": lambda served, path: f"{served.url}/{path}",
    "on": lambda served, path: served.redirect(path, "ftp://127.0.0.1/x"),
    "circle": lambda served, path: served.redirect(path, f"/{path}"),
    "trouble": lambda served, path: served.put(
        path, b"1", faults=origin_server.Faults(status=503)
    ),
    "later": lambda served, path: served.put(
        path, b"1" * 2**24, faults=origin_server.Faults(answers=1, drop_after=2**20)
    ),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_the_path_of_a_redirects_target_is_not_shown(
    rig: loader_rig.Rig, served: origin_server.Origin, kind: str
):
    target = TARGETS[kind](served, f"get/{SECRET}/there.csv")
    run = rig.load(served.redirect("data.csv", target), patience=0.5)
    assert "/data.csv" in run.error
    assert SECRET not in run.error + run.log


def test_redirects_in_a_circle_end(rig: loader_rig.Rig, served: origin_server.Origin):
    source = served.redirect("there", f"{served.url}/there?a={SECRET}")
    run = rig.load(source)
    assert "redirects in a circle" in run.error
    assert SECRET not in run.error + run.log


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"status": 404},
        {"status": 503},
        {"drop_after": 100, "drop_times": 2},
        {"drop_after": 0, "drop_times": None},
        {"drop_after": 100, "drop_times": None, "validators": False},
    ],
)
def test_what_may_be_a_secret_in_a_url_is_never_repeated(
    rig: loader_rig.Rig, served: origin_server.Origin, faults: dict[str, object]
):
    source = broken(served, **faults) + f"?X-Amz-Signature={SECRET}"
    run = rig.load(source, patience=0.15)
    assert SECRET not in run.log + run.message
    assert SECRET not in "".join(
        path.read_text() for path in rig.volume.rglob("*.json") if path.is_file()
    )
    assert served.requests[0].target.endswith(SECRET)


def test_a_task_with_credentials_in_its_source_is_refused_and_not_repeated(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    source = broken(served).replace("//", f"//me:{SECRET}@")
    run = rig.load(source)
    assert "the loader does not understand its task" in run.error
    assert SECRET not in run.log + run.message
    assert not served.requests


@pytest.mark.parametrize("task", ["", "{}", "[]", "x", '{"name": "x"}'])
def test_a_task_that_makes_no_sense_is_refused(rig: loader_rig.Rig, task: str):
    assert "the loader does not understand its task" in rig.run(task).error


@pytest.mark.parametrize("field", ["name", "request", "fingerprint"])
def test_a_name_in_a_task_is_not_trusted(rig: loader_rig.Rig, field: str):
    task = {"name": "x", "request": "1", "fingerprint": "", "root": str(rig.volume)}
    assert "is invalid: use" in rig.run(json.dumps({**task, field: "../evil"})).error
    assert not list(rig.volume.iterdir())


@pytest.mark.parametrize(
    "proxy", ["http://me:{}@[::1", "http://me:{}@a..b:1", f"http://me:{{}}@{'a' * 300}:1"]
)
def test_a_proxy_that_is_not_a_url_is_told_and_not_repeated(rig: loader_rig.Rig, proxy: str):
    environ = {"https_proxy": proxy.format(SECRET), "no_proxy": ""}
    run = rig.load("https://nowhere.invalid/x", environ=environ, patience=0.2)
    assert run.error == (
        "the model's proxy for https is not a URL: correct it by juju model-config"
    )
    assert SECRET not in run.log


def test_the_proxy_of_the_environment_is_used(rig: loader_rig.Rig, served: origin_server.Origin):
    source = broken(served).replace(served.url, "http://nowhere.invalid")
    environ = {"http_proxy": served.url, "no_proxy": ""}
    assert rig.load(source, environ=environ).code == 0
    assert served.requests[0].target == source
    assert "does not resolve" in rig.refused(
        source, "y", environ={**environ, "no_proxy": "nowhere.invalid"}, patience=0.2
    )


def test_a_proxy_that_refuses_is_reported(rig: loader_rig.Rig, served: origin_server.Origin):
    # In a process of its own: http.client leaves the proxy's answer open.
    run = rig.wait(
        rig.start("https://nowhere.invalid/x", environ={"https_proxy": served.url}, patience=0.15)
    )
    assert "the proxy refused" in run.error


def test_progress_is_reported_during_the_load(rig: loader_rig.Rig, served: origin_server.Origin):
    content = loader_rig.archive("tar", {"noise": bytes(1_800_000)})
    source = served.put("s.tar", content, faults=origin_server.Faults(bytes_per_second=1_000_000))
    process = rig.start(source, patience=5)
    run = rig.wait(process)
    lines = [json.loads(line) for line in run.log.splitlines()]
    # A slow machine reports some of them more than once.
    assert [state for state, _ in itertools.groupby(line["state"] for line in lines)] == [
        "preparing",
        "transferring",
        "verifying",
        "published",
    ]
    assert lines[0]["source"] == source
    assert 0 < lines[1]["fetched"] < lines[1]["total"] == len(content)


def test_an_origin_that_serves_few_at_once_gets_no_more_requests_at_once(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    content = random.Random(3).randbytes(2**20) * 48 + b"the last"
    faults = origin_server.Faults(max_concurrent=2, bytes_per_second=24 * 2**20)
    source = served.put("large.bin", content, faults=faults)
    # The refusals last longer than the patience with any one of them.
    assert rig.load(source, patience=0.3, unpack="false").code == 0
    assert rig.files() == {"large.bin": content}
    refused = [each for each in served.requests if each.status == 503]
    assert 0 < len(refused) < 20
