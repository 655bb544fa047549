"""An HTTP origin on loopback that serves a test's content, with the faults that the test sets.

It knows nothing of its clients.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http
import http.server
import itertools
import pathlib
import re
import threading
import time
import urllib.parse
from collections.abc import Generator, Iterator, Mapping

CHUNK_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Faults:
    """The faults of one path; by default none.

    Attributes:
        status: The status to answer instead of the content.
        status_times: The number of such answers; None for all.
        drop_after: The number of bytes of a body after which the connection is dropped.
        drop_times: The number of drops; None for all.
        ranges: Whether range requests are supported.
        validators: Whether responses have an ETag.
        length: Whether responses have a Content-Length.
        delay_seconds: The delay of each response.
        hold_after: The number of bytes of a body after which it waits for `release`.
        bytes_per_second: The limit of each connection; None for no limit.
        max_concurrent: The number of concurrent responses; None for no limit.
        busy_status: The status of more concurrent responses.
        notices_after_seconds: The time until it notices that a response has ended.
        range_status: The status of range requests; 200 to send everything, though the response
            promises ranges. None to support them.
        range_body: "shifted" or "whole" for ranges with other bytes than they say.
        backends: The number of backends, which answer in turn; each has an ETag of its own.
        answers: The number of responses with content, after which there is only 403; None for all.
        range_answers: The same of responses with a range.
    """

    status: int = 0
    status_times: int | None = None
    drop_after: int | None = None
    drop_times: int | None = 1
    ranges: bool = True
    validators: bool = True
    length: bool = True
    delay_seconds: float = 0
    hold_after: int | None = None
    bytes_per_second: float | None = None
    max_concurrent: int | None = None
    busy_status: int = http.HTTPStatus.SERVICE_UNAVAILABLE
    notices_after_seconds: float = 0
    range_status: int | None = None
    range_body: str = ""
    backends: int = 1
    answers: int | None = None
    range_answers: int | None = None


@dataclasses.dataclass(frozen=True)
class OriginRequest:
    """A received request.

    Attributes:
        target: The request target: a path with a query, or a whole URL from a proxy's client.
        headers: The headers, with lower-case names.
        status: The status of the response.
    """

    target: str
    headers: Mapping[str, str]
    status: int


@dataclasses.dataclass
class _Resource:
    """The content of one path, its faults, and how often each has occurred."""

    content: bytes | pathlib.Path
    headers: Mapping[str, str]
    faults: Faults
    tag: str
    open: int = 0
    occurred: dict[str, int] = dataclasses.field(default_factory=dict[str, int])

    @property
    def size(self) -> int:
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size

    def next_tag(self) -> str:
        """Return the ETag of the backend that answers next."""
        backend = self.occurred.get("tags", 0) % self.faults.backends
        self.occurred["tags"] = backend + 1
        return f'{self.tag[:-1]}-{backend}"' if backend else self.tag

    def span(self, headers: Mapping[str, str], tag: str) -> tuple[int, int] | None:
        """Return the first and last byte of a range request; None to send everything."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        same = headers.get("if-range", tag) == tag
        if not match or not same or not self.faults.ranges or self.faults.range_status:
            return None
        return int(match[1]), min(int(match[2] or self.size), self.size - 1)

    def chunks(self, start: int, end: int) -> Generator[bytes]:
        if isinstance(self.content, bytes):
            for at in range(start, end, CHUNK_BYTES):
                yield self.content[at : min(end, at + CHUNK_BYTES)]
            return
        with self.content.open("rb") as file:
            file.seek(start)
            while chunk := file.read(min(CHUNK_BYTES, end - file.tell())):
                yield chunk


class Origin:
    """A running origin.

    Attributes:
        url: The origin's URL, without a trailing slash.
        requests: The requests so far.
        limit: The limit of all concurrent responses; only the faults of that kind count.
    """

    def __init__(self) -> None:
        self.limit = Faults()
        self._open = 0
        self.requests: list[OriginRequest] = []
        self._resources: dict[str, _Resource] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Generator[Origin]:
        """Run an origin until the end of the block."""
        origin = cls()
        thread = threading.Thread(
            target=origin._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield origin
        finally:
            origin.release()
            origin._server.shutdown()
            origin._server.server_close()
            thread.join()

    def put(
        self,
        path: str,
        content: bytes | pathlib.Path,
        *,
        headers: Mapping[str, str] | None = None,
        faults: Faults | None = None,
    ) -> str:
        """Set the content of a path.

        Args:
            path: The path, without a leading slash.
            content: The bytes, or a file.
            headers: Additional headers, such as Content-Type.
            faults: The faults of this path.

        Returns:
            The path's URL.
        """
        # A file's tag depends only on its name and size.
        seed = content if isinstance(content, bytes) else str(content).encode()
        resource = _Resource(content, headers or {}, faults or Faults(), "")
        resource.tag = f'"{hashlib.sha256(seed + str(resource.size).encode()).hexdigest()[:16]}"'
        with self._lock:
            self._resources[f"/{path}"] = resource
        return f"{self.url}/{urllib.parse.quote(path)}"

    def redirect(self, path: str, target: str) -> str:
        """Redirect a path to a target, and return the path's URL."""
        return self.put(path, b"", headers={"Location": target}, faults=Faults(status=302))

    def release(self) -> None:
        """Continue all responses that wait because of `hold_after`, now and in future."""
        self._released.set()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """The handler of one connection."""

            protocol_version = "HTTP/1.1"
            # Otherwise a body waits 40 ms for the acknowledgement of its headers.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):
                    origin._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing: `requests` has everything."""

        return Handler

    def _answer(self, connection: http.server.BaseHTTPRequestHandler) -> None:
        with self._lock:
            resource = self._resources.get(path_of(connection.path))
        faults = resource.faults if resource else Faults()
        time.sleep(faults.delay_seconds)
        headers = {name.lower(): value for name, value in connection.headers.items()}
        span, tag = None, resource.next_tag() if resource else ""
        if resource is None:
            status = http.HTTPStatus.NOT_FOUND
        elif faults.status and self._occurs(resource, "refused", faults.status_times):
            status = http.HTTPStatus(faults.status)
        elif faults.max_concurrent is not None and resource.open >= faults.max_concurrent:
            status = http.HTTPStatus(faults.busy_status)
        elif self.limit.max_concurrent is not None and self._open >= self.limit.max_concurrent:
            status = http.HTTPStatus(self.limit.busy_status)
        elif "range" in headers and faults.range_status not in {None, http.HTTPStatus.OK}:
            status = http.HTTPStatus(faults.range_status or 0)
        elif not self._occurs(resource, "answered", faults.answers) or (
            "range" in headers and not self._occurs(resource, "ranges", faults.range_answers)
        ):
            status = http.HTTPStatus.FORBIDDEN
        else:
            span = resource.span(headers, tag)
            status = http.HTTPStatus.PARTIAL_CONTENT if span else http.HTTPStatus.OK
        with self._lock:
            self.requests.append(OriginRequest(connection.path, headers, status))
        connection.send_response(status)
        extra = resource.headers if resource else dict[str, str]()
        for name, value in extra.items():
            connection.send_header(name, value)
        if resource and status in {http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT}:
            with self._lock:
                resource.open += 1
                self._open += 1
            try:
                self._send(connection, resource, span, tag)
            finally:
                self._end(resource)
        else:
            connection.send_header("Content-Length", "0")
            connection.end_headers()

    def _end(self, resource: _Resource) -> None:
        """Count a response as ended, now or after a while."""

        def end() -> None:
            with self._lock:
                resource.open -= 1
                self._open -= 1

        seconds = max(resource.faults.notices_after_seconds, self.limit.notices_after_seconds)
        if seconds:
            timer = threading.Timer(seconds, end)
            timer.daemon = True
            timer.start()
        else:
            end()

    def _send(
        self,
        connection: http.server.BaseHTTPRequestHandler,
        resource: _Resource,
        span: tuple[int, int] | None,
        tag: str,
    ) -> None:
        faults = resource.faults
        size = resource.size
        start, last = span or (0, size - 1)
        if faults.validators:
            connection.send_header("ETag", tag)
        if faults.ranges:
            connection.send_header("Accept-Ranges", "bytes")
        if span:
            connection.send_header("Content-Range", f"bytes {start}-{last}/{size}")
        if faults.length:
            connection.send_header("Content-Length", str(last + 1 - start))
        else:
            connection.send_header("Transfer-Encoding", "chunked")
        connection.end_headers()
        end = last + 1
        if span and faults.range_body:
            start = max(0, start - 1) if faults.range_body == "shifted" else 0
            end = start + last + 1 - span[0]
        if faults.drop_after is not None and self._occurs(resource, "dropped", faults.drop_times):
            end = min(end, start + faults.drop_after)
            connection.close_connection = True
        held_at = end if faults.hold_after is None else min(end, start + faults.hold_after)
        parts = itertools.chain(
            resource.chunks(start, held_at), self._held(resource.chunks(held_at, end))
        )
        for chunk in parts:
            connection.wfile.write(
                chunk if faults.length else b"%x\r\n%s\r\n" % (len(chunk), chunk)
            )
            if faults.bytes_per_second:
                time.sleep(len(chunk) / faults.bytes_per_second)
        if not faults.length and end - start == last + 1 - (span or (0,))[0]:
            connection.wfile.write(b"0\r\n\r\n")

    def _held(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield chunks once `release` was called."""
        for chunk in chunks:
            self._released.wait()
            yield chunk

    def _occurs(self, resource: _Resource, kind: str, times: int | None) -> bool:
        """Count a fault, and return whether it occurs this time."""
        with self._lock:
            occurred = resource.occurred.get(kind, 0)
            resource.occurred[kind] = occurred + 1
        return times is None or occurred < times


def path_of(target: str) -> str:
    """Return the decoded path of a request target, which may be a whole URL."""
    return urllib.parse.unquote(urllib.parse.urlsplit(target).path)
