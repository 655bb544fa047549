"""The kubelet's connection to the API server: plain JSON, and a watch that can be closed."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

import lightkube

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_TIMEOUT = 10
_TEMPORARY = (http.client.TOO_MANY_REQUESTS, *range(500, 600))
"""The statuses of a server that is starting or overloaded."""


class ApiError(Exception):
    """A request that the API server refused.

    Args:
        status: The HTTP status.
        message: The server's message.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(Exception):
    """An API server that does not answer, or asks to retry later."""


class KubeletClient:
    """A thread-safe client of the API server.

    Args:
        client: The client whose server and credentials are used.

    Attributes:
        address: The host name and the port of the API server.
    """

    def __init__(self, client: lightkube.Client) -> None:
        config = client.config
        user = config.user
        if user is None or user.client_cert is None or user.client_key is None:
            raise ValueError("the kubelet needs a client certificate")
        server = urllib.parse.urlsplit(config.cluster.server)
        self.address = (server.hostname or "", server.port or 443)
        self._context = ssl.create_default_context(cafile=config.cluster.certificate_auth)
        self._context.load_cert_chain(user.client_cert, user.client_key)
        self._idle: queue.LifoQueue[http.client.HTTPSConnection] = queue.LifoQueue()
        self._watching: http.client.HTTPSConnection | None = None
        self._closed = False

    def get(self, path: str, **parameters: str) -> Object:
        """Return an object or a list."""
        return self._request("GET", f"{path}?{urllib.parse.urlencode(parameters)}")

    def post(self, path: str, body: Object) -> Object:
        """Create an object."""
        return self._request("POST", path, body)

    def patch(self, path: str, body: Object, kind: str = MERGE) -> Object:
        """Change an object."""
        return self._request("PATCH", path, body, kind)

    def delete(self, path: str, body: Object) -> None:
        """Delete an object, with the options in `body`."""
        self._request("DELETE", path, body)

    def watch(self, path: str, **parameters: str) -> Iterator[tuple[str, Object]]:
        """Yield the changes of a list until the server ends the watch or `close` is called."""
        query = urllib.parse.urlencode({**parameters, "watch": "true"})
        connection = self._connection()
        self._watching = connection
        try:
            connection.request("GET", f"{path}?{query}")
            response = connection.getresponse()
            if connection.sock:
                connection.sock.settimeout(None)  # a watch may be silent for long
            if response.status != http.client.OK:
                raise ApiError(response.status, response.read().decode())
            while not self._closed and (line := response.readline()):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 0), event["object"]["message"])
                yield event["type"], event["object"]
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(str(error)) from error
        finally:
            self._watching = None
            connection.close()

    def close(self) -> None:
        """End the watch, and close the connections."""
        self._closed = True
        watching = self._watching
        if watching and watching.sock:
            with contextlib.suppress(OSError):  # the watch may end at the same time
                # Closing the socket would not wake the reading thread; after SSLSocket.shutdown
                # that thread would read the last data without decrypting them.
                socket.socket.shutdown(watching.sock, socket.SHUT_RDWR)
        self._close_idle()

    def _request(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        try:
            connection, fresh = self._idle.get_nowait(), False
        except queue.Empty:
            connection, fresh = self._connection(), True
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": kind})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            if not fresh:
                # The server may have closed idle connections: do not reuse any of them.
                self._close_idle()
                return self._request(method, path, body, kind)
            raise UnreachableError(str(error)) from error
        if self._closed:
            connection.close()
        else:
            self._idle.put(connection)
        result: Object = json.loads(answer) if answer.startswith(b"{") else {}
        if response.status >= http.client.BAD_REQUEST:
            message = result.get("message", answer.decode(errors="replace"))
            if response.status in _TEMPORARY:
                raise UnreachableError(message)
            raise ApiError(response.status, message)
        return result

    def _close_idle(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _connection(self) -> http.client.HTTPSConnection:
        host, port = self.address
        return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT, context=self._context)
