"""Read the cluster's address and credentials from kube-control and certificates."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import ops

import identity
import problems
from relations import certificates, kube_control

logger = logging.getLogger(__name__)

ENDPOINT = "kube-control"
CERTIFICATES = "certificates"
# The charm creates cluster-wide objects (persistent volumes, storage classes). No narrower group
# of Charmed Kubernetes is allowed to do that.
GROUP = "system:masters"
MANIFESTS = "kubernetes_manifests"


class ControlPlane:
    """The control plane as its relations show it to this unit.

    Args:
        charm: The charm.
    """

    def __init__(self, charm: ops.CharmBase) -> None:
        self._charm = charm

    @property
    def relation(self) -> ops.Relation | None:
        """Return the kube-control relation; None without one, or while it is being removed."""
        return self._oldest(ENDPOINT)

    def request(self) -> None:
        """Request a Kubernetes user for this unit; every unit does, since it may become leader."""
        if authority := self._oldest(CERTIFICATES):
            certificates.request(authority, self._charm.unit)
        if self.relation is None:
            return
        # With schema 1 the provider keeps credentials in Juju secrets. Juju 2.9 has no secrets:
        # the provider's hook would fail there.
        schemas = [0, 1] if self._charm.model.juju_version.has_secrets else [0]
        self.relation.data[self._charm.unit].update(
            kubelet_user=self._charm.unit.name,
            auth_group=GROUP,
            schema_vers=json.dumps(schemas),
        )

    def access(self, preferred: str = "") -> identity.ClusterAccess:
        """Return the addresses and credentials of the cluster's API.

        Args:
            preferred: The API server that answered last; it is the first to be tried.

        Raises:
            problems.Waiting: The control plane has not sent all of them yet.
            problems.Blocked: There is no relation, or none that provides the CA certificate.
        """
        if self.relation is None:
            raise problems.Blocked(f"juju relate {self._app}:{ENDPOINT} kubernetes-control-plane")
        sent = kube_control.KubeControl(self._charm, self.relation)
        first, *others = sorted(sent.endpoints(), key=preferred.__ne__)
        token = sent.token(self._charm.unit.name)
        return identity.ClusterAccess(first, self._ca(sent), token, tuple(others))

    def addresses(self) -> Iterator[str]:
        """Yield the private addresses of the control plane's units."""
        if self.relation is not None:
            yield from unit_addresses(self.relation)

    def publish(self, manifests: Sequence[dict[str, Any]]) -> None:
        """Publish the manifests for people and other tools; the charm applies them itself."""
        if self.relation is None:
            return
        bag = self.relation.data[self._charm.app]
        text = json.dumps(manifests, sort_keys=True)
        if bag.get(MANIFESTS, "[]") != text:
            bag[MANIFESTS] = text

    def _ca(self, sent: kube_control.KubeControl) -> str:
        authority = self._oldest(CERTIFICATES)
        try:
            if ca := sent.ca():
                return ca
        except problems.Waiting:
            if authority is None:
                raise
        if authority is None:
            raise problems.Blocked(
                f"the cluster's CA is missing: juju relate {self._app}:{CERTIFICATES} easyrsa"
            )
        return certificates.trusted(authority)

    def _oldest(self, endpoint: str) -> ops.Relation | None:
        """Return the only relation; of several, which Juju should not allow, the oldest."""
        relations = self._charm.model.relations[endpoint]
        return min(relations, key=lambda relation: relation.id, default=None)

    @property
    def _app(self) -> str:
        return self._charm.app.name


def unit_addresses(relation: ops.Relation) -> Iterator[str]:
    """Yield the private address of each remote unit.

    Across models Juju publishes public addresses under both names. They are in no subnet, so they
    are skipped: the addresses of the Nodes are used instead.
    """
    for unit in relation.units:
        bag = relation.data[unit]
        address = bag.get("private-address") or bag.get("ingress-address")
        if address and not _is_public(address):
            yield address


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
