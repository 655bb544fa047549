"""Origins that never come to an end: heads, bodies and listings."""

from __future__ import annotations

import contextlib
import email.message
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from datasets.loader.base import failure, tasks
from datasets.loader.http import http_client
from datasets.loader.sources import expansion
from sandbox.servers import origin_server
from tests.loader import loader_rig

OK = b"HTTP/1.1 200 OK\r\n"


def trickle(first: bytes, each: bytes, pause: float) -> Callable[[socket.socket], None]:
    """Send something, then the same bytes at a pause for ever."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        ended = threading.Event()
        while not ended.wait(pause):
            connection.sendall(each)

    return answer


ANSWERS = {
    "continues": trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
    "slow continues": trickle(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
    "a status line at a byte": trickle(b"HTTP/1.1 200 ", b"O", 0.1),
    "headers at a byte": trickle(OK + b"X: ", b"x", 0.1),
    "a body at a byte": trickle(OK + b"Content-Length: 9999999\r\n\r\n", b"x", 0.1),
    "a body without a length at a byte": trickle(OK + b"Connection: close\r\n\r\n", b"x", 0.1),
    "a chunk of no length": trickle(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"-1\r\nx", 0),
    "trailers": trickle(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: x\r\n" * 500, 0),
    "a size of a chunk": trickle(OK + b"Transfer-Encoding: chunked\r\n\r\n1;x=", b"x", 0.1),
}


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Answer each connection so, after its request, until the end of the block."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            answer(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/f.bin"
        server.shutdown(socket.SHUT_RDWR)
        accepting.join()


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_origin_that_never_comes_to_an_end_is_given_up(rig: loader_rig.Rig, kind: str):
    with serving(ANSWERS[kind]) as url:
        run = rig.load(url, patience=2, timeout=0.5)
    assert "did not answer in time" in run.error or "broke the connection off" in run.error


class Endless(http_client.Client):
    """A client whose every answer is a page that has another one behind it."""

    pages = 0

    def body(self, url: str, *_: Any, **__: Any) -> http_client.Body:
        self.pages += 1
        headers = email.message.Message()
        text = f'<{url.partition("?")[0]}?cursor={self.pages}>; rel="next"'
        headers["Link"] = text
        content = json.dumps({"sha": "0" * 40, "id": "a/b"} if "/revision/" in url else [])
        if "list-type" in url:
            content = (
                "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>"
                f"{self.pages}</NextContinuationToken></ListBucketResult>"
            )
        return http_client.Body(content.encode(), headers, 200, url)


@pytest.mark.parametrize(
    ("source", "problem"),
    [("s3://bucket/set/", "does not list it as S3 does"), ("hf://datasets/a/b", "is not a Hub")],
)
def test_a_listing_whose_pages_have_no_end_is_given_up(source: str, problem: str):
    url = "http://127.0.0.1:1"
    task = tasks.Task("x", "v", "", sources=(tasks.Source(source),), endpoint=url, hub=url)
    client = Endless(1)
    with pytest.raises(failure.Failure, match=problem):
        list(expansion.expand(task, client))
    assert 1000 < client.pages < 1100


def test_a_slow_reader_is_no_slow_origin(rig: loader_rig.Rig, served: origin_server.Origin):
    faults = origin_server.Faults(delay_seconds=0.3, bytes_per_second=400_000)
    url = served.put("f.bin", b"x" * 500_000, faults=faults)
    assert rig.load(url, timeout=0.5).result.bytes == 500_000
