"""Check the addresses of hosts after their names are resolved, and connect to a checked one only.

Otherwise whoever writes a redirect or a source list could have the loader publish what only the
node, the cluster or a private network may read. A name can resolve to another address the next
time: so the address that was checked is the one that is connected to.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import threading
import urllib.parse
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ... import protocol
from ..base import failure

if TYPE_CHECKING:
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address
    Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# No origin of data has such an address: unspecified, loopback, link-local, multicast, reserved,
# and those where clouds serve the credentials of a node and its setup. Python's own properties
# differ from version to version.
NEVER = _networks(
    (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",  # Oracle
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::",
        "::1",
        "fd00:ec2::/32",  # EC2 and EKS
        "fd20:ce::254",  # Google
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
PRIVATE = _networks(
    (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "64:ff9b:1::/48",
        "fc00::/7",
    )
)
# IPv6 networks with an IPv4 address in their last 32 bits: mapped, compatible, translated, NAT64.
_WITH_IPV4 = _networks(("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
_6TO4, _TEREDO = _networks(("2002::/16", "2001::/32"))
# AWS's own hosts of S3: inside a VPC they may have private addresses.
AWS_S3 = re.compile(r"(?:[a-z0-9.-]*\.)?s3(?:\.[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")


class AddressPolicy:
    """The addresses that a load may connect to, used by many threads.

    Args:
        named: The hosts that the user named as sources: they may be private.
        services: The hosts of the services that the user named: they may also be in the cluster.
        cluster: The networks of the cluster's services.
    """

    def __init__(
        self,
        named: Collection[str] = (),
        services: Collection[str] = (),
        cluster: Iterable[str] = (),
    ) -> None:
        self._named = {_normal(host) for host in named}
        self._services = {_normal(host) for host in services}
        self._cluster = _networks(cluster)
        api = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        self._never = NEVER + _networks([api] if _is_address(api) else [])
        allowed = os.environ.get(protocol.ALLOWED_NETWORKS, "")
        self._allowed = _networks(filter(None, allowed.split(",")))
        self._lock = threading.Lock()
        self._passed: set[str] = set()
        self._can_resolve = True

    def connect(
        self, host_and_port: tuple[str, int], timeout: float, _source: Any = None
    ) -> socket.socket:
        """Connect to a host, as `socket.create_connection` does, at an address that is allowed.

        Raises:
            Failure: It has no such address.
            OSError: It cannot be reached.
        """
        host, port = host_and_port
        error: OSError | None = None
        for family, address in self._allowed_addresses(host, port):
            made = socket.socket(family, socket.SOCK_STREAM)
            try:
                made.settimeout(timeout)
                made.connect(address)
            except OSError as trouble:
                made.close()
                error = trouble
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise error or OSError("getaddrinfo returned nothing")

    def check(self, host: str) -> None:
        """Check a host that a proxy connects to, as far as its name resolves here.

        Where no name resolves, the proxy alone decides.

        Raises:
            Failure: It has no address that is allowed.
        """
        with self._lock:
            if host in self._passed:
                return
            try:
                flags = 0 if self._can_resolve else socket.AI_NUMERICHOST
                self._allowed_addresses(host, 0, flags)
            except socket.gaierror as error:
                self._can_resolve = error.errno == socket.EAI_NONAME and self._can_resolve
            self._passed.add(host)

    def _allowed_addresses(self, host: str, port: int, flags: int = 0) -> list[tuple[int, Any]]:
        """Return those addresses of a host that are allowed.

        Raises:
            Failure: None is.
            OSError: The host does not resolve.
        """
        allowed: list[tuple[int, Any]] = []
        refusal: failure.Failure | None = None
        resolved = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
        for family, _, _, _, address in resolved:
            found = self._refusal(host, ipaddress.ip_address(str(address[0]).partition("%")[0]))
            if found is None:
                allowed.append((family, address))
            refusal = refusal or found
        if refusal and not allowed:
            raise refusal
        return allowed

    def _refusal(self, host: str, address: Address) -> failure.Failure | None:
        every = tuple(_with_embedded(address))
        if _any_in(every, self._allowed):
            return None
        if _any_in(every, self._never):
            return failure.Failure(
                f"{failure.quote(host)} has the address {address}, which belongs to the node, the "
                "cloud or the cluster itself and serves no data sets: use another source"
            )
        name = _normal(host)
        in_cluster = _any_in(every, self._cluster)
        private = in_cluster or _any_in(every, PRIVATE)
        if not private or name in self._services or AWS_S3.fullmatch(name):
            return None
        if in_cluster or ".svc." in f"{name}.":
            return failure.Failure(
                f"{failure.quote(host)} is in the cluster, at {address}, and is not read: name an "
                "S3 service or a Hub there by endpoint=, or use another source"
            )
        if name in self._named:
            return None
        return failure.Failure(
            f"{failure.quote(host)} has the private address {address}, and only a redirect or a "
            "list names it: give it as source, source-list or endpoint yourself if you trust it"
        )


def hosts(urls: Iterable[str]) -> set[str]:
    """Return the hosts of URLs."""
    return {urllib.parse.urlsplit(url).hostname or "" for url in urls}


def _normal(host: str) -> str:
    return host.lower().rstrip(".")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _any_in(addresses: Iterable[Address], networks: Iterable[Network]) -> bool:
    return any(address in network for address in addresses for network in networks)


def _with_embedded(address: Address) -> Iterator[Address]:
    """Yield an address, and the IPv4 addresses in it that a gateway would forward to."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    bits = int(address)
    if _any_in([address], _WITH_IPV4):
        yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    if address in _6TO4:
        yield ipaddress.IPv4Address(bits >> 80 & 0xFFFFFFFF)
    if address in _TEREDO:
        yield ipaddress.IPv4Address(bits >> 64 & 0xFFFFFFFF)
        yield ipaddress.IPv4Address(~bits & 0xFFFFFFFF)
