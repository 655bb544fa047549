"""kube-control and certificates: the way into the cluster, and the manifests we publish."""

from __future__ import annotations

import functools
import ipaddress
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import ops
import pydantic
from ops.interface_kube_control import model, requires

import identity
import problems

logger = logging.getLogger(__name__)

ENDPOINT = "kube-control"
CERTIFICATES = "certificates"
# We make cluster-wide objects (persistent volumes, storage classes): no narrower group of Charmed
# Kubernetes may.
GROUP = "system:masters"
MANIFESTS = "kubernetes_manifests"


# The library logs what it could not parse, and that may be a token.
logging.getLogger("KubeControlRequirer").setLevel(logging.CRITICAL)


class _Requirer(requires.KubeControlRequirer):
    """The library's requirer, but for how it merges the provider's units.

    It lets the last of an unordered set of units win, and a unit that is not the leader may
    publish an empty `creds`.
    """

    @functools.cached_property
    def _data(self) -> model.Data:
        merged: dict[str, str] = {}
        if relation := self.relation:
            for unit in sorted(relation.units, key=lambda unit: unit.name):
                merged.update({k: v for k, v in relation.data[unit].items() if v})
        if not merged:
            raise requires.RelationNotReady("no unit has published anything yet")
        return model.Data.model_validate(merged)


class ControlPlane:
    """The control plane as its relations show it to this unit.

    Args:
        charm: The charm whose endpoints these are.
    """

    def __init__(self, charm: ops.CharmBase) -> None:
        self._charm = charm
        # Schema 1 lets the provider keep our credentials in Juju secrets. Juju 2.9 has none: asked
        # for schema 1 there, the provider's hook fails.
        schemas = "0,1" if charm.model.juju_version.has_secrets else "0"
        self._requirer = _Requirer(charm, ENDPOINT, schemas=schemas)

    @property
    def relation(self) -> ops.Relation | None:
        """The kube-control relation, if there is one; one that is being removed is none."""
        return self._charm.model.get_relation(ENDPOINT)

    def request(self) -> None:
        """Ask for a user of our own. Every unit asks: any of them may lead one day."""
        if self.relation is not None:
            self._requirer.set_auth_request(  # pyright: ignore[reportUnknownMemberType]
                self._charm.unit.name, GROUP
            )

    def access(self) -> identity.ClusterAccess:
        """What it takes to reach the cluster's API.

        Raises:
            problems.Waiting: The control plane has not sent it all yet.
            problems.Blocked: There is no relation, or nothing that brings a certificate authority.
        """
        if self.relation is None:
            raise problems.Blocked(f"juju relate {self._app}:{ENDPOINT} kubernetes-control-plane")
        if not self._requirer.is_ready:
            raise problems.Waiting("waiting for the control plane to send its address")
        endpoints = self._requirer.get_api_endpoints()
        try:
            user = self._charm.unit.name
            credentials = self._requirer.get_auth_credentials(user)  # pyright: ignore
            ca = self._ca()
        except (ops.ModelError, pydantic.ValidationError) as error:
            # A secret that is published but not granted yet: the library lets it through.
            logger.info("the cluster's credentials can not be read yet: %s", type(error).__name__)
            raise problems.Waiting("waiting for the control plane to grant its secrets") from None
        if not endpoints:
            raise problems.Waiting("waiting for the control plane to send its address")
        if credentials is None:
            raise problems.Waiting("waiting for the control plane to send credentials")
        # Charmed Kubernetes hands everyone the admin's own token as client_token; kubelet_token is
        # ours alone, and revoked when we leave. Canonical Kubernetes may leave it empty.
        token = credentials["kubelet_token"] or credentials["client_token"]
        if not token:
            raise problems.Waiting("waiting for the control plane to send credentials")
        return identity.ClusterAccess(endpoint=endpoints[0].rstrip("/"), ca=ca, token=token)

    def addresses(self) -> Iterator[str]:
        """The private addresses of the control plane's units."""
        if self.relation is not None:
            yield from unit_addresses(self.relation)

    def publish(self, manifests: Sequence[dict[str, Any]]) -> None:
        """Show the manifests to people and other tools: we apply them ourselves."""
        if self.relation is None:
            return
        bag = self.relation.data[self._charm.app]
        text = json.dumps(manifests, sort_keys=True)
        if bag.get(MANIFESTS, "[]") != text:
            bag[MANIFESTS] = text

    def _ca(self) -> str:
        if sent := self._requirer.get_ca_certificate():
            return sent.decode()
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
    """The private address of each unit at the other end.

    Across models Juju hands out public addresses, under both names: those are in no subnet, and
    the Nodes that the API server lists stand in for them.
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
