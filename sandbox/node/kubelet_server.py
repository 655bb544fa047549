"""The kubelet's HTTPS server, from which the API server fetches containers' logs."""

from __future__ import annotations

import http.server
import pathlib
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable

from sandbox.base import certificates
from sandbox.node import pod_container, pod_lifecycle

Finder = Callable[[str, str], "pod_lifecycle.Pod | None"]
"""A function that finds a pod by namespace and name."""

_LOGS = re.compile(r"^/containerLogs/([^/]+)/([^/]+)/([^/]+)$")
_BLOCK = 1 << 16
_FOLLOW_SECONDS = 0.05


class Server:
    """The server of all nodes of the sandbox.

    Args:
        find: The function that finds the pods.
        pair: The server's certificate, which the API server verifies.
        authority: The file of the authority that signed the API server's client certificate.
    """

    def __init__(self, find: Finder, pair: certificates.KeyPair, authority: pathlib.Path) -> None:
        class Handler(_Handler):
            finder = staticmethod(find)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pair.certificate, pair.key)
        # Each request's own thread does the handshake: a slow client must not block the others.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    finder: Finder

    def do_GET(self) -> None:
        """Answer with a container's log, or with the kubelet's error message."""
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        match = _LOGS.match(url.path)
        if match is None:
            self._refuse(404, "404 page not found")
            return
        namespace, name, container_name = match.groups()
        pod = self.finder(namespace, name)
        container = pod.container(container_name) if pod else None
        previous = query.get("previous") == "true"
        if pod is None:
            self._refuse(404, f'pod "{name}" does not exist')
        elif container is None:
            self._refuse(404, f'container "{container_name}" not found in pod "{name}"')
        elif (log := container.log(previous=previous)) is None:
            where = f'container "{container_name}" in pod "{name}"'
            message = f"{where} is waiting to start: {_waiting_message(container.waiting)}"
            if previous:
                message = f"previous terminated {where} not found"
            self._refuse(400, message)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self._send(log, container, query)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing: the client sees the result."""

    def _refuse(self, status: int, message: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(message.encode())))
        self.end_headers()
        self.wfile.write(message.encode())

    def _send(
        self, log: pathlib.Path, container: pod_container.Container, query: dict[str, str]
    ) -> None:
        left = int(query.get("limitBytes", 1 << 62))
        with log.open("rb") as file:
            if "tailLines" in query:
                lines = file.read().splitlines(keepends=True)
                file.seek(sum(map(len, lines[: max(0, len(lines) - int(query["tailLines"]))])))
            while left > 0:
                ended = container.process is None or query.get("follow") != "true"
                block = file.read(min(_BLOCK, left))
                left -= len(block)
                self.wfile.write(block)
                if not block and ended:
                    return
                if not block:
                    time.sleep(_FOLLOW_SECONDS)


def _waiting_message(reason: str) -> str:
    return {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
