"""What a model stands on: a cloud's machines, a control plane's tokens, its nodes; and bare ones.

The bare ones serve who asks after Juju's own rules: these need addresses and tokens, but neither
AWS nor Kubernetes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ops import testing

import identity


class Instance(Protocol):
    """A machine of the cloud."""

    @property
    def id(self) -> str:
        """The cloud's name for it."""
        ...

    @property
    def zone(self) -> str:
        """The availability zone that it is in."""
        ...

    @property
    def private_address(self) -> str:
        """Its address in the VPC."""
        ...

    @property
    def public_address(self) -> str:
        """Its address for the world."""
        ...


class Cloud(Protocol):
    """The part of a cloud that Juju uses, as `aws_cloud.Cloud`."""

    @property
    def region(self) -> str:
        """The region that the model is in."""
        ...

    @property
    def credentials(self) -> identity.AwsCredentials:
        """The model's own credential."""
        ...

    @property
    def subnets(self) -> Mapping[str, str]:
        """The subnet of each zone."""
        ...

    def environ(self) -> Mapping[str, str]:
        """The environment that leads a process to this cloud and to no other."""
        ...

    def launch(
        self,
        machine: str,
        zone: str,
        *,
        model_uuid: str,
        units: Sequence[str] = (),
        vpc: Any = None,
    ) -> Any:
        """Start an instance, with Juju's tags and groups; in the default VPC, or in another."""
        ...

    def terminate(self, instance_id: str) -> Any:
        """End an instance."""
        ...

    def destroy_model(self, model_uuid: str) -> Any:
        """Delete what carries the model's tags, as Juju does."""
        ...


class Plane(Protocol):
    """The part of a cluster that the control plane's charm uses, as `ControlPlane`."""

    @property
    def endpoint(self) -> str:
        """The API server's URL."""
        ...

    @property
    def ca(self) -> str:
        """The authority that its certificate is verified with, in PEM."""
        ...

    @property
    def admin_token(self) -> str:
        """The token that may do all."""
        ...

    def token(self, user: str, groups: Sequence[str] = ()) -> str:
        """Issue a token."""
        ...

    def revoke(self, token: str) -> Any:
        """Take a token's rights away."""
        ...


class Nodes(Protocol):
    """The part of a cluster's nodes that the worker's charm uses, as `worker_nodes.Nodes`."""

    def add(self, instance: Any, *, nfs_common: bool = True) -> Any:
        """Register a node that runs on an instance; the answer has its `name`."""
        ...

    def remove(self, name: str) -> Any:
        """Take a node away."""
        ...


@dataclasses.dataclass(frozen=True)
class BareInstance:
    """A machine that is only an address."""

    id: str
    zone: str
    private_address: str
    public_address: str


class BareCloud:
    """Machines with addresses in three zones, and nothing that listens."""

    region = "us-east-1"
    credentials = identity.AwsCredentials("bare-access-key", "bare-secret-key")

    def __init__(self) -> None:
        self.subnets = {f"{self.region}{letter}": f"subnet-{letter}" for letter in "abc"}
        self.instances: dict[str, BareInstance] = {}
        self._launched = 0

    def environ(self) -> Mapping[str, str]:
        """The environment that leads to this cloud: the discard port, where nobody answers."""
        return {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}

    def launch(
        self,
        machine: str,
        zone: str,
        *,
        model_uuid: str,  # noqa: ARG002 - the protocol's; a bare machine carries no tags
        units: Sequence[str] = (),  # noqa: ARG002
        vpc: Any = None,  # noqa: ARG002
    ) -> BareInstance:
        """Start a machine."""
        self._launched += 1
        third, fourth = list(self.subnets).index(zone), self._launched % 250 + 4
        address = f"{self._launched // 250}.{third}.{fourth}"
        instance = BareInstance(f"i-{machine}", zone, f"10.{address}", f"198.{address}")
        self.instances[instance.id] = instance
        return instance

    def terminate(self, instance_id: str) -> None:
        """End a machine."""
        del self.instances[instance_id]

    def destroy_model(self, model_uuid: str) -> None:  # noqa: ARG002 - nothing carries tags
        """End all machines."""
        self.instances.clear()


class BarePlane:
    """A control plane that issues tokens which nobody checks."""

    endpoint = "https://127.0.0.1:6443"
    ca = "-----BEGIN CERTIFICATE-----\nbare\n-----END CERTIFICATE-----\n"
    admin_token = "bare-admin-token"  # noqa: S105 - no control plane knows it

    def __init__(self) -> None:
        self.live: dict[str, str] = {}
        self._issued = 0

    def token(self, user: str, groups: Sequence[str] = ()) -> str:
        """Issue a token."""
        self._issued += 1
        token = f"bare-token-{self._issued}"
        self.live[token] = f"{user} {' '.join(groups)}"
        return token

    def revoke(self, token: str) -> None:
        """Forget a token."""
        self.live.pop(token, None)


def cloud_spec(region: str, keys: identity.AwsCredentials | None) -> testing.CloudSpec:
    """What a trusted charm learns of the cloud; without keys the credential is a role."""
    credential = testing.CloudCredential(
        auth_type="instance-role", attributes={"instance-profile-name": "juju"}
    )
    if keys:
        credential = testing.CloudCredential(
            auth_type="access-key",
            attributes={"access-key": keys.access_key, "secret-key": keys.secret_key},
            redacted=["secret-key"],
        )
    return testing.CloudSpec("ec2", name="aws", region=region, credential=credential)


def proxy_environ(proxies: Mapping[str, str]) -> dict[str, str]:
    """What a hook's environment has of the model's proxies: Juju always sets these."""
    return {
        "JUJU_CHARM_HTTP_PROXY": proxies.get("http", ""),
        "JUJU_CHARM_HTTPS_PROXY": proxies.get("https", ""),
        "JUJU_CHARM_NO_PROXY": proxies.get("no", "127.0.0.1,localhost,::1"),
    }
