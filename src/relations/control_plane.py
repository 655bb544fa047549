"""Read the cluster's address and credentials from kube-control and certificates."""

from __future__ import annotations

import functools
import ipaddress
import json
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import ops

import identity
import problems

if TYPE_CHECKING:
    from relations import kube_control

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
        return self._charm.model.get_relation(ENDPOINT)

    def request(self) -> None:
        """Request a Kubernetes user for this unit; every unit does, since it may become leader.

        The library would do the same, but importing it costs more than the rest of such a hook.
        """
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

    def access(self) -> identity.ClusterAccess:
        """Return the address and credentials of the cluster's API.

        Raises:
            problems.Waiting: The control plane has not sent all of them yet.
            problems.Blocked: There is no relation, or none that provides the CA certificate.
        """
        if self.relation is None:
            raise problems.Blocked(f"juju relate {self._app}:{ENDPOINT} kubernetes-control-plane")
        import pydantic

        if not self._requirer.is_ready:
            raise problems.Waiting("waiting for the control plane to send its address")
        endpoints = self._requirer.get_api_endpoints()
        try:
            user = self._charm.unit.name
            credentials = self._requirer.get_auth_credentials(user)  # pyright: ignore
            ca = self._ca()
        except (ops.ModelError, pydantic.ValidationError) as error:
            # The library does not catch the error of a secret that is not granted yet.
            logger.info("the cluster's credentials cannot be read yet: %s", type(error).__name__)
            raise problems.Waiting("waiting for the control plane to grant its secrets") from None
        if not endpoints:
            raise problems.Waiting("waiting for the control plane to send its address")
        if credentials is None:
            raise problems.Waiting("waiting for the control plane to send credentials")
        # Charmed Kubernetes sends the admin's token to everybody as client_token; kubelet_token is
        # this unit's own, and revoked with the relation. Canonical Kubernetes may leave it empty.
        token = credentials["kubelet_token"] or credentials["client_token"]
        if not token:
            raise problems.Waiting("waiting for the control plane to send credentials")
        return identity.ClusterAccess(endpoint=endpoints[0].rstrip("/"), ca=ca, token=token)

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

    @functools.cached_property
    def _requirer(self) -> kube_control.Requirer:
        from relations import kube_control

        return kube_control.Requirer(self._charm, ENDPOINT)

    def _ca(self) -> str:
        if certificate := self._requirer.get_ca_certificate():
            return certificate.decode()
        relation = self._charm.model.get_relation(CERTIFICATES)
        if relation is None:
            raise problems.Blocked(
                f"the cluster's CA is missing: juju relate {self._app}:{CERTIFICATES} easyrsa"
            )
        for unit in sorted(relation.units, key=lambda unit: unit.name):
            if ca := relation.data[unit].get("ca"):
                return ca
        raise problems.Waiting(f"waiting for {relation.app.name} to send its CA certificate")

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
