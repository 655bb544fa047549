"""The charms on the other end of the charm's relations, on their own libraries.

The library of filesystem-client is in no package: its charm here reads what the interface's
documentation says. The others publish what the real ones publish, and no more: no CA over
kube-control in Charmed Kubernetes, credentials from the leader only, the admin token as every
client token.
"""

from __future__ import annotations

import abc
import dataclasses
import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import ops
from ops import interface_kube_control

from sandbox.juju import charm_files, substrate

CONTROL_PLANE = charm_files.Metadata(
    {
        "name": "kubernetes-control-plane",
        "provides": {"kube-control": {"interface": "kube-control"}},
        "peers": {"peer": {"interface": "kube-masters"}},
    }
)
WORKER = charm_files.Metadata(
    {
        "name": "kubernetes-worker",
        "requires": {"kube-control": {"interface": "kube-control", "limit": 1}},
    }
)
EASYRSA = charm_files.Metadata(
    {"name": "easyrsa", "provides": {"client": {"interface": "tls-certificates"}}}
)
SELF_SIGNED = charm_files.Metadata(
    {
        "name": "self-signed-certificates",
        "provides": {"certificates": {"interface": "tls-certificates"}},
    }
)
FILESYSTEM_CLIENT = charm_files.Metadata(
    {
        "name": "filesystem-client",
        "requires": {"filesystem": {"interface": "filesystem_info", "limit": 1}},
    }
)
_RELATION_EVENTS = ("created", "joined", "changed", "departed", "broken")
_LIFE_EVENTS = ("install", "leader_elected", "config_changed", "start", "update_status")


class ReconcilingCharm(ops.CharmBase):
    """A charm that handles every event in the same way."""

    endpoint: ClassVar[str]

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        relation = self.on[self.endpoint]
        events = [getattr(self.on, name) for name in _LIFE_EVENTS]
        events += [getattr(relation, f"relation_{name}") for name in _RELATION_EVENTS]
        for event in events:
            framework.observe(event, self._on_any)

    @abc.abstractmethod
    def reconcile(self) -> None:
        """Publish the relation data."""

    def _on_any(self, _: ops.EventBase) -> None:
        self.reconcile()
        self.unit.status = ops.ActiveStatus("ready")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The data shared by the units of a control plane.

    Attributes:
        plane: The control plane.
        ca_over: The relation over which clients get the cluster's CA.
        endpoints: The API servers that each unit publishes, by its number; by default the plane.
        tokens: The issued tokens by user; a second request returns the same token.
    """

    plane: substrate.ModelPlane
    ca_over: Literal["certificates", "secret"]
    endpoints: Mapping[int, Sequence[str]] = dataclasses.field(
        default_factory=dict[int, "Sequence[str]"]
    )
    tokens: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    def token(self, user: str, group: str) -> str:
        """Return the user's own token."""
        if user not in self.tokens:
            self.tokens[user] = self.plane.token(user, [group])
        return self.tokens[user]

    def revoke(self, user: str) -> None:
        """Revoke a user's token."""
        if user in self.tokens:
            self.plane.revoke(self.tokens.pop(user))


class ControlPlaneCharm(ReconcilingCharm):
    """The kube-control side of kubernetes-control-plane."""

    endpoint = "kube-control"
    cluster: ClassVar[Cluster]

    def reconcile(self) -> None:
        """Publish the cluster; the leader also issues tokens and revokes unused ones."""
        # The library has no types.
        control = cast("Any", interface_kube_control).KubeControlProvides(self)
        cluster = self.cluster
        number = int(self.unit.name.rpartition("/")[2])
        control.set_api_endpoints(cluster.endpoints.get(number, [cluster.plane.endpoint]))
        control.set_cluster_name(f"kubernetes-{self.model.uuid[:8]}")
        control.set_default_cni("calico")
        control.set_dns_address("10.152.183.10")
        control.set_dns_domain("cluster.local")
        control.set_dns_enabled(True)
        control.set_dns_port(53)
        control.set_has_external_cloud_provider(False)
        control.set_image_registry("registry.invalid")
        control.set_labels([])
        control.set_taints([])
        if not self.unit.is_leader():
            control.clear_creds()
            return
        # The library never publishes a CA whose secret it created before there was a relation.
        if cluster.ca_over == "secret" and control.relations:
            control.set_ca_certificate(cluster.plane.ca)
        for request in control.auth_requests:
            control.sign_auth_request(request, **self._tokens(request))
        for user, _ in control.closed_auth_creds():
            cluster.revoke(user)

    def _tokens(self, request: Any) -> dict[str, str]:
        """Issue the tokens that this kind of control plane issues."""
        own = self.cluster.token(request.user, request.group)
        if self.cluster.ca_over == "secret":
            return {"client_token": own, "kubelet_token": "", "proxy_token": ""}
        proxy = self.cluster.token("system:kube-proxy", "system:node-proxier")
        admin = self.cluster.plane.admin_token
        return {"client_token": admin, "kubelet_token": own, "proxy_token": proxy}


@dataclasses.dataclass(frozen=True)
class Kubelets:
    """The functions that start and stop the kubelet on a unit's machine."""

    start: Callable[[str], None]
    stop: Callable[[str], None]


class WorkerCharm(ReconcilingCharm):
    """kubernetes-worker: a kubelet, and an ordinary client of the control plane."""

    endpoint = "kube-control"
    kubelets: ClassVar[Kubelets]

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        # The library has no types.
        requirer = cast("Any", interface_kube_control).KubeControlRequirer
        secrets = self.model.juju_version.has_secrets
        self._control = requirer(self, schemas="0,1" if secrets else "0")
        framework.observe(self.on.start, self._on_start)
        framework.observe(self.on.stop, self._on_stop)

    def reconcile(self) -> None:
        """Ask for the kubelet's own token."""
        self._control.set_auth_request(f"system:node:{self.unit.name.replace('/', '-')}")

    def _on_start(self, _: ops.StartEvent) -> None:
        self.kubelets.start(self.unit.name)

    def _on_stop(self, _: ops.StopEvent) -> None:
        self.kubelets.stop(self.unit.name)


@dataclasses.dataclass
class Anchors:
    """The certificates that clients of the cluster have to trust; an authority may renew them.

    Attributes:
        ca: The certificate of the authority that signs, in PEM.
        chain: Those of the authorities above it, in PEM; "" where there are none, or none is sent.
    """

    ca: str
    chain: str = ""


class AuthorityCharm(ReconcilingCharm):
    """easyrsa, which publishes its CA on every relation; or Vault, which adds the chain."""

    endpoint = "client"
    anchors: ClassVar[Anchors]

    def reconcile(self) -> None:
        """Publish the CA."""
        for relation in self.model.relations[self.endpoint]:
            relation.data[self.unit]["ca"] = self.anchors.ca
            relation.data[self.unit]["chain"] = self.anchors.chain


class SigningAuthorityCharm(ReconcilingCharm):
    """self-signed-certificates: its leader answers to signing requests, and to nothing else."""

    endpoint = "certificates"
    anchors: ClassVar[Anchors]
    sign: ClassVar[Callable[[str], str]]

    def reconcile(self) -> None:
        """Answer all requests of each relation's units, in the format of tls-certificates v1."""
        if not self.unit.is_leader():
            return
        chain = [each for each in (self.anchors.ca, self.anchors.chain) if each]
        for relation in self.model.relations[self.endpoint]:
            asked = {
                each["certificate_signing_request"]
                for unit in relation.units
                for each in json.loads(
                    relation.data[unit].get("certificate_signing_requests", "[]")
                )
            }
            answers = [
                {
                    "certificate": type(self).sign(request),
                    "certificate_signing_request": request,
                    "ca": self.anchors.ca,
                    "chain": chain,
                }
                for request in sorted(asked)
            ]
            relation.data[self.app]["certificates"] = json.dumps(answers)


class FilesystemClientCharm(ReconcilingCharm):
    """filesystem-client: its status is the host and the path that it would mount."""

    endpoint = "filesystem"

    def reconcile(self) -> None:
        """Read the URI, as the interface filesystem_info documents it."""
        self._mounted = ""
        for relation in self.model.relations[self.endpoint]:
            uri = relation.data[relation.app].get("endpoint", "") if relation.app else ""
            if not uri:
                continue
            parts = urllib.parse.urlsplit(uri)
            hosts = urllib.parse.unquote(parts.netloc)
            if parts.scheme != "nfs" or not (hosts.startswith("(") and hosts.endswith(")")):
                raise ValueError(f"invalid list of hosts for endpoint {uri}")
            self._mounted = f"{hosts[1:-1]}:{urllib.parse.unquote(parts.path)}"

    def _on_any(self, _: ops.EventBase) -> None:
        self.reconcile()
        if not self._mounted:
            self.unit.status = ops.WaitingStatus("nothing to mount")
            return
        self.unit.status = ops.ActiveStatus(self._mounted)
