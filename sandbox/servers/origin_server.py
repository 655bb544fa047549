"""An HTTP origin on loopback that serves what a test puts there, and fails as the test asks it to.

It knows nothing of who reads from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http
import http.server
import pathlib
import re
import threading
import time
import urllib.parse
from collections.abc import Generator, Mapping

CHUNK_BYTES = 2**16


@dataclasses.dataclass(frozen=True)
class Faults:
    """How the origin misbehaves for one path; by default it does not.

    Attributes:
        status: Answers this instead of the content...
        status_times: ...this many times; None for ever.
        drop_after: Drops the connection after this many bytes of a body...
        drop_times: ...this many times; None for ever.
        ranges: Whether a part can be asked for.
        validators: Whether it says which version of the content it serves.
        length: Whether it says how long the content is.
        delay_seconds: Waits before it answers.
        hold_after: Stops after this many bytes of a body, until `release` is called.
        bytes_per_second: Serves each connection no faster; None for as fast as it goes.
        most_at_once: Serves so many at once, and answers 503 to the others; None for all.
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
    most_at_once: int | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that came.

    Attributes:
        target: What was asked for: a path with its query; from a proxy's client, a whole URL.
        headers: Its headers, names in lower case.
        status: What was answered.
    """

    target: str
    headers: Mapping[str, str]
    status: int


@dataclasses.dataclass
class _Resource:
    """What is served at one path, and which of its faults are used up."""

    content: bytes | pathlib.Path
    headers: Mapping[str, str]
    faults: Faults
    tag: str
    open: int = 0
    happened: dict[str, int] = dataclasses.field(default_factory=dict[str, int])

    @property
    def size(self) -> int:
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size

    def span(self, headers: Mapping[str, str]) -> tuple[int, int] | None:
        """The first and the last byte that are asked for; None where all of it is to be sent."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        same = headers.get("if-range", self.tag) == self.tag
        if not found or not same or not self.faults.ranges:
            return None
        return int(found[1]), min(int(found[2] or self.size), self.size - 1)

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
    """The running server.

    Attributes:
        url: Where it listens, without a slash at its end.
        requests: What came so far.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._resources: dict[str, _Resource] = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Generator[Origin]:
        """Runs an origin until the end of the block."""
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
        """Serves something, instead of what was there.

        Args:
            path: Where, without a slash at its beginning.
            content: The bytes, or the file that holds them.
            headers: Headers that go with it, such as Content-Type.
            faults: How it misbehaves.

        Returns:
            Its URL.
        """
        # A file is taken for the same as long as its name and size are.
        seed = content if isinstance(content, bytes) else str(content).encode()
        resource = _Resource(content, headers or {}, faults or Faults(), "")
        resource.tag = f'"{hashlib.sha256(seed + str(resource.size).encode()).hexdigest()[:16]}"'
        with self._lock:
            self._resources[f"/{path}"] = resource
        return f"{self.url}/{urllib.parse.quote(path)}"

    def redirect(self, path: str, target: str) -> str:
        """Sends whoever asks for a path elsewhere, and returns its URL."""
        return self.put(path, b"", headers={"Location": target}, faults=Faults(status=302))

    def release(self) -> None:
        """Lets go of what is held, now and from now on."""
        self._released.set()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One connection."""

            protocol_version = "HTTP/1.1"
            # A body would wait 40 ms for the acknowledgement of its headers.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):
                    origin._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing: `requests` has it all."""

        return Handler

    def _answer(self, connection: http.server.BaseHTTPRequestHandler) -> None:
        with self._lock:
            resource = self._resources.get(path_of(connection.path))
        faults = resource.faults if resource else Faults()
        time.sleep(faults.delay_seconds)
        headers = {name.lower(): value for name, value in connection.headers.items()}
        span = None
        if resource is None:
            status = http.HTTPStatus.NOT_FOUND
        elif faults.status and self._happens(resource, "refused", faults.status_times):
            status = http.HTTPStatus(faults.status)
        elif faults.most_at_once is not None and resource.open >= faults.most_at_once:
            status = http.HTTPStatus.SERVICE_UNAVAILABLE
        else:
            span = resource.span(headers)
            status = http.HTTPStatus.PARTIAL_CONTENT if span else http.HTTPStatus.OK
        with self._lock:
            self.requests.append(Request(connection.path, headers, status))
        connection.send_response(status)
        extra = resource.headers if resource else dict[str, str]()
        for name, value in extra.items():
            connection.send_header(name, value)
        if resource and status in {http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT}:
            with self._lock:
                resource.open += 1
            try:
                self._send(connection, resource, span)
            finally:
                with self._lock:
                    resource.open -= 1
        else:
            connection.send_header("Content-Length", "0")
            connection.end_headers()

    def _send(
        self,
        connection: http.server.BaseHTTPRequestHandler,
        resource: _Resource,
        span: tuple[int, int] | None,
    ) -> None:
        faults = resource.faults
        size = resource.size
        start, last = span or (0, size - 1)
        if faults.validators:
            connection.send_header("ETag", resource.tag)
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
        if faults.drop_after is not None and self._happens(resource, "dropped", faults.drop_times):
            end = min(end, start + faults.drop_after)
            connection.close_connection = True
        sent = 0
        for chunk in resource.chunks(start, end):
            if faults.hold_after is not None and sent >= faults.hold_after:
                self._released.wait()
            sent += len(chunk)
            connection.wfile.write(
                chunk if faults.length else b"%x\r\n%s\r\n" % (len(chunk), chunk)
            )
            if faults.bytes_per_second:
                time.sleep(len(chunk) / faults.bytes_per_second)
        if not faults.length and end == last + 1:
            connection.wfile.write(b"0\r\n\r\n")

    def _happens(self, resource: _Resource, kind: str, times: int | None) -> bool:
        """Whether a fault is still to happen; it counts as having happened."""
        with self._lock:
            happened = resource.happened.get(kind, 0)
            resource.happened[kind] = happened + 1
        return times is None or happened < times


def path_of(target: str) -> str:
    """The path in what a request asks for, which may be a whole URL."""
    return urllib.parse.unquote(urllib.parse.urlsplit(target).path)
