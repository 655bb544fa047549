"""The way to a URL: straight, or through the environment's proxy."""

from __future__ import annotations

import base64
import dataclasses
import urllib.parse
import urllib.request
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Route:
    """How a URL is reached.

    Attributes:
        scheme: What is spoken with `connect_to`... with https, through the tunnel.
        connect_to: Host and port to connect to.
        target: What the request asks for there.
        headers: What the request tells a proxy.
        tunnel_to: Host and port that a proxy is asked to connect to; empty for none.
        tunnel_headers: What that question tells the proxy.
    """

    scheme: str
    connect_to: str
    target: str
    headers: Mapping[str, str]
    tunnel_to: str = ""
    tunnel_headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def key(self) -> tuple[str, str]:
        """What requests have in common that can use the same connection."""
        return self.connect_to, f"{self.scheme} {self.tunnel_to}"


def from_environment() -> Mapping[str, str]:
    """The environment's proxies; to find them takes as long as half a request."""
    return urllib.request.getproxies()


def find_route(url: str, known: Mapping[str, str]) -> Route:
    """How a URL is reached from here.

    Args:
        url: The URL.
        known: What `from_environment` has found.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    proxy = known.get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(host):
        return Route(parts.scheme, host, path, {})
    through = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    headers = _login(through)
    connect_to = through.netloc.rpartition("@")[2]
    if parts.scheme == "https":
        tunnel_to = host if parts.port else f"{host}:443"
        return Route("https", connect_to, path, {}, tunnel_to, headers)
    return Route("http", connect_to, f"http://{host}{path}", headers)


def _login(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
