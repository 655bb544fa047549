"""The route to a URL: direct, or through the environment's proxy."""

from __future__ import annotations

import base64
import dataclasses
import urllib.parse
import urllib.request
from collections.abc import Mapping

from ..base import failure, urls


@dataclasses.dataclass(frozen=True)
class Route:
    """A route to a URL.

    Attributes:
        scheme: The protocol to use with `connect_to`; https goes through the tunnel, if any.
        connect_to: Host and port to connect to.
        target: The target in the request line.
        headers: The request's headers for a proxy.
        proxied: Whether `connect_to` is a proxy.
        tunnel_to: Host and port that a proxy connects to; empty for none.
        tunnel_headers: The headers of the CONNECT request.
    """

    scheme: str
    connect_to: str
    target: str
    headers: Mapping[str, str]
    proxied: bool = False
    tunnel_to: str = ""
    tunnel_headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def key(self) -> tuple[str, str]:
        """Return a key that is the same for requests that can share a connection."""
        return self.connect_to, f"{self.scheme} {self.tunnel_to}"


def from_environment() -> Mapping[str, str]:
    """Return the environment's proxies; finding them takes as long as half a request."""
    return urllib.request.getproxies()


def find_route(url: str, known: Mapping[str, str]) -> Route:
    """Return the route to a URL.

    Args:
        url: The URL.
        known: The proxies, as `from_environment` returns them.

    Raises:
        Failure: The proxy for it is not a URL; the text does not repeat it.
    """
    parts = urllib.parse.urlsplit(url)
    host = urls.host_of(url)
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    proxy = known.get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(host):
        return Route(parts.scheme, host, path, {})
    try:
        through = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        (through.hostname or "").encode("idna")
    except ValueError:
        raise failure.Failure(
            f"the model's proxy for {parts.scheme} is not a URL: correct it by juju model-config"
        ) from None
    headers = _login(through)
    connect_to = through.netloc.rpartition("@")[2]
    if parts.scheme == "https":
        tunnel_to = host if parts.port else f"{host}:443"
        return Route("https", connect_to, path, {}, True, tunnel_to, headers)
    return Route("http", connect_to, f"http://{host}{path}", headers, True)


def _login(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
