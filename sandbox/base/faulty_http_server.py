"""A small HTTP server on loopback that can refuse or drop connections; it knows nothing of AWS.

A connection carries one request, so that a closed server leaves no idle thread or socket behind.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import logging
import socket
import socketserver
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class Request:
    """An HTTP request as received.

    Attributes:
        method: The HTTP method.
        path: The path without the query, still encoded.
        query: The query, still encoded.
        headers: The headers, with lower-case names.
        body: The body's bytes.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Reply:
    """An HTTP response.

    Attributes:
        status: Its status.
        body: Its body.
        headers: Its headers, without the length.
        missing_bytes: The bytes that its length promises and the body lacks.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    missing_bytes: int = 0


class FaultyServer:
    """An HTTP server on a free loopback port, with one thread per request.

    Args:
        answer: Returns the reply to a request; None drops the connection without a reply.
    """

    def __init__(self, answer: Callable[[Request], Reply | None]) -> None:
        self._answer = answer
        self._placeholder: socket.socket | None = None
        self._server = _Server(0, answer)
        self.port = self._server.server_port
        self.url = f"http://{HOST}:{self.port}"

    def suspend(self) -> None:
        """Refuse connections from now on, but keep the port."""
        if self._placeholder is None:
            self._server.stop()
            self._placeholder = socket.socket()
            self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._placeholder.bind((HOST, self.port))  # bound, not listening: refuses

    def resume(self) -> None:
        """Accept connections again, on the same port."""
        if self._placeholder is not None:
            self._placeholder.close()
            self._placeholder = None
            self._server = _Server(self.port, self._answer)

    def close(self) -> None:
        """Wait for running requests, and stop for good."""
        self.suspend()
        if self._placeholder is not None:
            self._placeholder.close()


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """The listening socket, its thread, and the threads of running requests.

    The threads are daemons, so that an ending test process does not wait for them.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, answer: Callable[[Request], Reply | None]) -> None:
        super().__init__((HOST, port), _Handler)
        self.answer = answer
        self._requests: set[threading.Thread] = set()
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name=f"http-{self.server_port}", daemon=True
        )
        self._thread.start()

    def server_bind(self) -> None:
        # HTTPServer.server_bind looks up the host name, which may ask a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def process_request_thread(self, request: object, client_address: object) -> None:
        self._requests.add(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._requests.discard(threading.current_thread())

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Log a client that closed the connection before it read the reply."""
        logger.debug("client %s closed the connection early", client_address, exc_info=True)

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        for thread in tuple(self._requests):
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    """The handler of one connection: one request, one reply."""

    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = 30

    def _serve(self) -> None:
        target = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        request = Request(
            method=self.command,
            path=target.path,
            query=target.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length),
        )
        try:
            reply = self.server.answer(request)
        except Exception:
            # A bug of the sandbox must not look like an error of AWS.
            logger.exception("could not answer %s %s", request.method, request.path)
            reply = Reply(500, traceback.format_exc().encode())
        if reply is None:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) + reply.missing_bytes))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: the cloud keeps its own list of calls."""
