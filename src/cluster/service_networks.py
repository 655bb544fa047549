"""Find the networks that the addresses of the cluster's services are in."""

from __future__ import annotations

import ipaddress

from lightkube.resources import core_v1, networking_v1

from cluster import connection

# Kubernetes gives this name to its first range, and to the Service of its API.
_DEFAULT = "kubernetes"
# Before 1.33 the API does not tell the range. Its own Service has the range's first address, and
# no usual range is smaller than this.
_LEAST_BITS = {4: 24, 6: 112}


def find(cluster: connection.Connection) -> tuple[str, ...]:
    """Return the networks of the cluster's services, as far as the API tells them.

    Args:
        cluster: The cluster.
    """
    if cluster.find(networking_v1.ServiceCIDR, _DEFAULT):
        ranges = cluster.select(networking_v1.ServiceCIDR, {})
        return tuple(cidr for each in ranges for cidr in (each.spec and each.spec.cidrs) or [])
    service = cluster.find(core_v1.Service, _DEFAULT, "default")
    known = (service and service.spec and service.spec.clusterIPs) or []
    return tuple(filter(None, map(_around, known)))


def _around(address: str) -> str:
    """Return the network around an address; "" for what is none, as that of a headless Service."""
    try:
        bits = _LEAST_BITS[ipaddress.ip_address(address).version]
    except ValueError:
        return ""
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
