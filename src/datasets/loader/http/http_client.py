"""HTTP requests over connections that are kept, and what their failure means: come again, or not.

It speaks http and https and nothing else, through the environment's proxies, and verifies
certificates. No text of an exception is passed on: those can carry URLs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Generator, Mapping
from email import message as email_message
from typing import Any

from ..base import failure, urls
from . import proxies, responses

USER_AGENT = "aws-efs-loader/1"
MOST_REDIRECTS = 10
# Of an answer that says no: enough to see what it says.
REFUSAL_BYTES = 4096
REDIRECTS = {301, 302, 303, 307, 308}
# What a connection answers with that the other side had closed while nobody used it.
STALE = (http.client.BadStatusLine, ConnectionResetError, BrokenPipeError)

Signer = Callable[[str, str], Mapping[str, str]]
NOTHING: Mapping[str, Any] = {}

RetryLater = responses.RetryLater
Refused = responses.Refused


@dataclasses.dataclass(frozen=True)
class Body:
    """A small answer that was read to its end.

    Attributes:
        content: Its bytes.
        headers: Its headers.
        status: Its status.
        url: Where it came from in the end.
    """

    content: bytes
    headers: email_message.Message
    status: int
    url: str


class Response:
    """An answer whose body is still to be read.

    Attributes:
        status: Its status.
        headers: Its headers.
        url: Where it came from in the end.
    """

    def __init__(self, answer: Any, url: str, give_back: Callable[[bool], None]) -> None:
        self._answer = answer
        self._give_back = give_back
        self.status: int = answer.status
        self.headers: email_message.Message = answer.headers
        self.url = url

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at the most; none at the end.

        Raises:
            RetryLater: The connection is in trouble.
        """
        with translated(self.url):
            return self._answer.read(count)

    def readinto(self, buffer: memoryview) -> int:
        """Reads the next bytes into a buffer; how many there were, 0 at the end.

        Raises:
            RetryLater: The connection is in trouble.
        """
        with translated(self.url):
            return self._answer.readinto(buffer)

    def close(self) -> None:
        """Ends it; the connection is kept if all was read."""
        whole = self._answer.isclosed()
        self._answer.close()
        self._give_back(whole)


class Client:
    """Asks origins. One serves many threads.

    Args:
        timeout_seconds: How long one look at the network may take.
        signers: What signs requests, by name: gets method and URL, returns headers.
        refused: By the same names, what a user is told to do where a request is refused.
    """

    def __init__(
        self,
        timeout_seconds: float,
        signers: Mapping[str, Signer] = NOTHING,
        refused: Mapping[str, str] = NOTHING,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._signers = signers
        self._proxies = proxies.from_environment()
        self._refused = refused
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._context: ssl.SSLContext | None = None

    def check(self) -> None:
        """Raises a failure where nothing more is wanted of it."""
        if self._closed:
            raise failure.stopped()

    def request(
        self,
        url: str,
        headers: Mapping[str, str] = NOTHING,
        *,
        auth: str = "",
        method: str = "GET",
    ) -> Response:
        """Asks for a URL and returns the answer, with nothing of its body read.

        Args:
            url: The URL: http or https.
            headers: Further headers.
            auth: The name of the signer; its headers go to this URL's own host only.
            method: The method.

        Raises:
            RetryLater: The origin or the way to it is in trouble.
            Refused: The origin will not serve this.
            Failure: It can not be done.
        """
        self.check()
        first = urllib.parse.urlsplit(url)
        for _ in range(MOST_REDIRECTS):
            parts = urllib.parse.urlsplit(url)
            own = (parts.scheme, parts.netloc) == (first.scheme, first.netloc)
            signed = self._signers[auth](method, url) if auth and own else NOTHING
            response = self._exchange(method, url, {**headers, **signed})
            if response.status in REDIRECTS and "Location" in response.headers:
                response.close()
                url = responses.redirected(url, response.headers["Location"])
            elif response.status >= 300:
                raise self._refusal(response, url, auth)
            else:
                return response
        raise responses.circle(url)

    def body(
        self,
        url: str,
        headers: Mapping[str, str] = NOTHING,
        *,
        auth: str = "",
        limit_bytes: int,
        patience_seconds: float,
    ) -> Body:
        """A small answer, whole; what is in trouble is asked again.

        Args:
            url: The URL.
            headers: Further headers.
            auth: The name of the signer.
            limit_bytes: How long it may be.
            patience_seconds: How long the origin may be in trouble.

        Raises:
            Refused: The origin will not serve this.
            Failure: It is too long, or the origin stays in trouble.
        """
        backoff = responses.Backoff(url, patience_seconds)
        while True:
            try:
                return self._body(url, headers, auth, limit_bytes)
            except RetryLater as trouble:  # noqa: PERF203 - a request costs more
                backoff.wait(trouble)

    def _body(self, url: str, headers: Mapping[str, str], auth: str, limit_bytes: int) -> Body:
        with contextlib.closing(self.request(url, headers, auth=auth)) as response:
            content = bytearray()
            while chunk := response.read(2**16):
                content += chunk
                if len(content) > limit_bytes:
                    raise failure.Failure(
                        f"{urls.redact(url)} answers with more than {limit_bytes} bytes, where a "
                        "list was expected: check the source"
                    )
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and len(content) < int(length):
                raise RetryLater("breaks off in the middle")
            return Body(bytes(content), response.headers, response.status, response.url)

    def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> Response:
        """One request and the head of its answer, on a connection that is open if there is one."""
        whole = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        with translated(url):
            route = proxies.find_route(url, self._proxies)
            whole.update(route.headers)
            while kept := self._take(route.key):
                with contextlib.suppress(*STALE):
                    return self._ask(kept, method, url, route, whole)
            return self._ask(self._connect(route), method, url, route, whole)
        raise AssertionError  # not reached: for the type checker

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        route: proxies.Route,
        headers: Mapping[str, str],
    ) -> Response:
        try:
            connection.request(method, route.target, headers=headers)
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return Response(answer, url, lambda whole: self._keep(route.key, connection, whole))

    def _take(self, key: tuple[str, str]) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def _keep(
        self, key: tuple[str, str], connection: http.client.HTTPConnection, whole: bool
    ) -> None:
        """Keeps a connection for the next request, if it stands where that can begin."""
        with self._lock:
            if whole and not self._closed:
                self._idle.setdefault(key, []).append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Ends the connections that nobody uses; those in use end when they are given back."""
        with self._lock:
            self._closed = True
            idle = [connection for each in self._idle.values() for connection in each]
            self._idle = {}
        for connection in idle:
            connection.close()

    def _connect(self, route: proxies.Route) -> http.client.HTTPConnection:
        timeout = self._timeout_seconds
        if route.scheme == "http":
            return http.client.HTTPConnection(route.connect_to, timeout=timeout)
        with self._lock:
            self._context = self._context or ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            route.connect_to, timeout=timeout, context=self._context
        )
        if route.tunnel_to:
            connection.set_tunnel(route.tunnel_to, headers=dict(route.tunnel_headers))
        return connection

    def _refusal(self, response: Response, url: str, auth: str) -> Exception:
        with contextlib.closing(response):
            try:
                content = response.read(REFUSAL_BYTES)
            except RetryLater:
                content = b""
        return responses.refusal(
            response.status, response.headers, content, url, self._refused.get(auth, "")
        )


@contextlib.contextmanager
def translated(url: str) -> Generator[None]:
    """Turns what the network raises into RetryLater or Failure."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise responses.trouble(error, urllib.parse.urlsplit(url).hostname) from None
