"""HTTP client that reuses connections, and raises RetryLater where a retry may help.

It supports only http and https, uses the environment's proxies, and verifies certificates. Texts
of exceptions are not passed on: they can contain URLs.
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
from . import addresses, origins, paced_response, proxies, rate_limits, responses

USER_AGENT = "aws-efs-loader/1"
MOST_REDIRECTS = 10
# The part of a refusal that is read: enough for its error code.
REFUSAL_BYTES = 4096
REDIRECTS = {301, 302, 303, 307, 308}
# The errors of a connection that the other side closed while it was idle.
STALE = (http.client.BadStatusLine, ConnectionResetError, BrokenPipeError)

Signer = Callable[[str, str], Mapping[str, str]]
# Gets a refusal and its URL, and returns it with another sentence.
Explainer = Callable[[responses.Refused, str], failure.Failure]
NOTHING: Mapping[str, Any] = {}

RetryLater = responses.RetryLater
Refused = responses.Refused


@dataclasses.dataclass(frozen=True)
class Body:
    """A small response that was read to its end.

    Attributes:
        content: Its bytes.
        headers: Its headers.
        status: Its status.
        url: Its URL after redirects.
    """

    content: bytes
    headers: email_message.Message
    status: int
    url: str


class Response:
    """A response whose body is still to be read.

    Attributes:
        status: Its status.
        headers: Its headers.
        url: Its URL after redirects.
    """

    def __init__(self, answer: Any, url: str, release: Callable[[bool], None]) -> None:
        self._answer = answer
        self._release = release
        self._on_close: Callable[[], None] = lambda: None
        self.status: int = answer.status
        self.headers: email_message.Message = answer.headers
        self.url = url

    def on_close(self, call: Callable[[], None]) -> None:
        """Have a function called when it is closed."""
        self._on_close = call

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most `count`; none at the end.

        Raises:
            RetryLater: The connection failed.
        """
        with network_errors(self.url):
            return self._answer.read(count)

    def readinto(self, buffer: memoryview) -> int:
        """Read the next bytes into a buffer; return their number, 0 at the end.

        Raises:
            RetryLater: The connection failed.
        """
        with network_errors(self.url):
            return self._answer.readinto(buffer)

    def close(self) -> None:
        """Close it; keep the connection if all was read."""
        complete = self._answer.isclosed()
        self._answer.close()
        self._release(complete)
        on_close, self._on_close = self._on_close, lambda: None
        on_close()


# Gets a URL and the headers of a request for it.
Opener = Callable[[str, Mapping[str, str]], Response]


class Client:
    """An HTTP client, used by many threads.

    Args:
        timeout_seconds: The timeout of one network operation.
        signers: The signers of requests, by name: each gets method and URL, and returns headers.
        explainers: By the same names, the explanations of refused requests.
        policy: The addresses that it may connect to; the default allows no private ones.
        known: What is known about the origins.
        openers: By the schemes of URLs that are not requested over the network, what opens them.

    Attributes:
        origins: What is known about the origins.
    """

    def __init__(
        self,
        timeout_seconds: float,
        signers: Mapping[str, Signer] = NOTHING,
        explainers: Mapping[str, Explainer] = NOTHING,
        policy: addresses.AddressPolicy | None = None,
        known: origins.Origins | None = None,
        *,
        openers: Mapping[str, Opener] = NOTHING,
    ) -> None:
        self._openers = openers
        self.origins = known or origins.Origins()
        self._timeout_seconds = timeout_seconds
        self._policy = policy or addresses.AddressPolicy()
        self._signers = signers
        self._proxies = proxies.from_environment()
        self._explainers = explainers
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._context: ssl.SSLContext | None = None

    def check(self) -> None:
        """Raise a failure if the client is closed."""
        if self._closed:
            raise failure.stopped()

    def backoff(self, url: str) -> origins.Backoff:
        """Return the retries of a URL that are allowed from now on."""
        return origins.Backoff(self.origins, url, self.check)

    def request(
        self,
        url: str,
        headers: Mapping[str, str] = NOTHING,
        *,
        auth: str = "",
        method: str = "GET",
        redirected_from: str = "",
    ) -> Response:
        """Request a URL; return the response with its body unread.

        Args:
            url: The URL: http or https, or one that is opened locally.
            headers: Further headers.
            auth: The name of the signer; its headers are sent to this URL's own host only.
            method: The method.
            redirected_from: The URL that was redirected to it before; empty for none.

        Raises:
            RetryLater: The origin or the network is in trouble.
            Refused: The origin refuses the request.
            Failure: The URL cannot be read.
        """
        self.check()
        first, named = urllib.parse.urlsplit(url), redirected_from or url
        if first.scheme in self._openers:
            return self._openers[first.scheme](url, headers)
        shown = urls.redact_redirected(named, url) if redirected_from else urls.redact(url)
        for _ in range(MOST_REDIRECTS):
            parts = urllib.parse.urlsplit(url)
            own = (parts.scheme, parts.netloc) == (first.scheme, first.netloc)
            signed = self._signers[auth](method, url) if auth and own else NOTHING
            self.origins.wait_for_host(url, self.check)
            response = self._exchange(method, url, {**headers, **signed})
            self._observe_limits(response, url)
            if response.status in REDIRECTS and "Location" in response.headers:
                response.close()
                url = responses.redirect_target(url, response.headers["Location"], shown)
                shown = urls.redact_redirected(named, url)
            elif response.status not in responses.DATA_STATUSES:
                raise self._refusal(response, url, auth, shown)
            elif "Range" not in headers and not responses.is_whole(
                response.status, response.headers
            ):
                response.close()
                raise RetryLater("answers with a part only, though all was asked for")
            else:
                return response
        raise responses.too_many_redirects(shown)

    def body(
        self,
        url: str,
        headers: Mapping[str, str] = NOTHING,
        *,
        auth: str = "",
        limit_bytes: int,
    ) -> Body:
        """Return a small response; retry while the origin is in trouble.

        Args:
            url: The URL.
            headers: Further headers.
            auth: The name of the signer.
            limit_bytes: The largest size allowed.

        Raises:
            Refused: The origin refuses the request.
            Failure: It is too large, or the origin stays in trouble.
        """
        body = self.backoff(url).retried(lambda: self._body(url, headers, auth, limit_bytes))
        self.origins.received()
        return body

    def _body(self, url: str, headers: Mapping[str, str], auth: str, limit_bytes: int) -> Body:
        with contextlib.closing(self.request(url, headers, auth=auth)) as response:
            content = bytearray()
            while chunk := response.read(2**16):
                content += chunk
                if len(content) > limit_bytes:
                    raise failure.Failure(
                        f"{urls.redact(url)} answers with more than {limit_bytes} bytes where a "
                        "list was expected: check the source"
                    )
            if len(content) < (responses.content_length(response.headers) or 0):
                raise RetryLater("breaks off in the middle")
            return Body(bytes(content), response.headers, response.status, response.url)

    def _observe_limits(self, response: Response, url: str) -> None:
        """Send the host no more requests for a while, if its limit is used up."""
        if response.status == http.client.TOO_MANY_REQUESTS:
            seconds = rate_limits.asked_seconds(response.headers)
        else:
            seconds = rate_limits.exhausted_seconds(response.headers)
        # A longer wait is for the one to decide on that is refused.
        if 0 < seconds <= self.origins.patience_seconds:
            self.origins.pause(url, seconds)

    def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> Response:
        """Send a request and read the head of its response, on an idle connection if possible."""
        every = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        with network_errors(url):
            route = proxies.find_route(url, self._proxies)
            every.update(route.headers)
            if route.proxied:
                self._policy.check(urllib.parse.urlsplit(url).hostname or "")
            while idle := self._take_idle(route.key):
                with contextlib.suppress(*STALE):
                    return self._send(idle, method, url, route, every)
            return self._send(self._connect(route), method, url, route, every)
        raise AssertionError  # not reached: for the type checker

    def _send(
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
        return Response(answer, url, lambda complete: self._keep(route.key, connection, complete))

    def _take_idle(self, key: tuple[str, str]) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def _keep(
        self, key: tuple[str, str], connection: http.client.HTTPConnection, complete: bool
    ) -> None:
        """Keep a connection for the next request, if its response was read completely."""
        with self._lock:
            if complete and not self._closed:
                self._idle.setdefault(key, []).append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they are released."""
        with self._lock:
            self._closed = True
            idle = [connection for each in self._idle.values() for connection in each]
            self._idle = {}
        for connection in idle:
            connection.close()

    def _connect(self, route: proxies.Route) -> http.client.HTTPConnection:
        connection = self._new_connection(route)
        connection.response_class = paced_response.PacedResponse
        if not route.proxied:
            # Its own function for that would resolve the host again, unchecked.
            connection.__dict__["_create_connection"] = self._policy.connect
        return connection

    def _new_connection(self, route: proxies.Route) -> http.client.HTTPConnection:
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

    def _refusal(self, response: Response, url: str, auth: str, shown: str) -> Exception:
        with contextlib.closing(response):
            try:
                content = response.read(REFUSAL_BYTES)
            except RetryLater:
                content = b""
        error = responses.refusal(response.status, response.headers, content, shown)
        if isinstance(error, Refused) and auth in self._explainers:
            return self._explainers[auth](error, url)
        return error


@contextlib.contextmanager
def network_errors(url: str) -> Generator[None]:
    """Raise network errors as RetryLater or Failure."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise responses.network_error(error, urllib.parse.urlsplit(url).hostname) from None
