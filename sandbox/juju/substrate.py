"""The interfaces of a model to its cloud, control plane and nodes, and minimal implementations.

The minimal ones are for tests of Juju's own rules, which need addresses and tokens, but neither
AWS nor Kubernetes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ops import testing

import identity


class ModelInstance(Protocol):
    """A machine of the cloud."""

    @property
    def id(self) -> str:
        """Return the cloud's id of the machine."""
        ...

    @property
    def zone(self) -> str:
        """Return the availability zone."""
        ...

    @property
    def private_address(self) -> str:
        """Return the address in the VPC."""
        ...

    @property
    def public_address(self) -> str:
        """Return the public address."""
        ...


class ModelCloud(Protocol):
    """The part of a cloud that Juju uses; `aws_cloud.Cloud` implements it."""

    @property
    def region(self) -> str:
        """Return the region of the model."""
        ...

    @property
    def credentials(self) -> identity.AwsCredentials:
        """Return the model's credential."""
        ...

    @property
    def subnets(self) -> Mapping[str, str]:
        """Return the subnet of each zone."""
        ...

    def environ(self) -> Mapping[str, str]:
        """Return the environment that points a process to this cloud only."""
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
        """Launch an instance with Juju's tags and groups, in the default or another VPC."""
        ...

    def terminate(self, instance_id: str) -> Any:
        """Terminate an instance."""
        ...

    def destroy_model(self, model_uuid: str) -> Any:
        """Delete everything with the model's tags, as Juju does."""
        ...


class ModelPlane(Protocol):
    """The part of a cluster that the control plane's charm uses; see `ControlPlane`."""

    @property
    def endpoint(self) -> str:
        """Return the API server's URL."""
        ...

    @property
    def ca(self) -> str:
        """Return the certificate authority of the API server, in PEM."""
        ...

    @property
    def admin_token(self) -> str:
        """Return a token with all permissions."""
        ...

    def token(self, user: str, groups: Sequence[str] = ()) -> str:
        """Issue a token."""
        ...

    def revoke(self, token: str) -> Any:
        """Revoke a token."""
        ...


class ModelNodes(Protocol):
    """The part of a cluster's nodes that the worker's charm uses; see `worker_nodes.Nodes`."""

    def add(self, instance: Any, *, nfs_common: bool = True, cloud_provider: bool = True) -> Any:
        """Register a node on an instance; the result has the node's `name`."""
        ...

    def remove(self, name: str) -> Any:
        """Remove a node."""
        ...


@dataclasses.dataclass(frozen=True)
class BareInstance:
    """A machine that consists of addresses only."""

    id: str
    zone: str
    private_address: str
    public_address: str


class BareCloud:
    """A cloud of machines with addresses in three zones, where nothing listens."""

    region = "us-east-1"
    credentials = identity.AwsCredentials("bare-access-key", "bare-secret-key")

    def __init__(self) -> None:
        self.subnets = {f"{self.region}{letter}": f"subnet-{letter}" for letter in "abc"}
        self.instances: dict[str, BareInstance] = {}
        self._launched = 0

    def environ(self) -> Mapping[str, str]:
        """Return an environment with the discard port as endpoint, where nothing listens."""
        return {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}

    def launch(
        self,
        machine: str,
        zone: str,
        *,
        model_uuid: str,  # noqa: ARG002 - required by the protocol; bare machines have no tags
        units: Sequence[str] = (),  # noqa: ARG002
        vpc: Any = None,  # noqa: ARG002
    ) -> BareInstance:
        """Launch a machine."""
        self._launched += 1
        third, fourth = list(self.subnets).index(zone), self._launched % 250 + 4
        address = f"{self._launched // 250}.{third}.{fourth}"
        instance = BareInstance(f"i-{machine}", zone, f"10.{address}", f"198.{address}")
        self.instances[instance.id] = instance
        return instance

    def terminate(self, instance_id: str) -> None:
        """Terminate a machine."""
        del self.instances[instance_id]

    def destroy_model(self, model_uuid: str) -> None:  # noqa: ARG002 - nothing has tags
        """Terminate all machines."""
        self.instances.clear()


class BarePlane:
    """A control plane whose tokens are never checked."""

    endpoint = "https://127.0.0.1:6443"
    ca = "-----BEGIN CERTIFICATE-----\nbare\n-----END CERTIFICATE-----\n"
    admin_token = "bare-admin-token"  # noqa: S105 - not a secret

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
        """Discard a token."""
        self.live.pop(token, None)


def cloud_spec(region: str, keys: identity.AwsCredentials | None) -> testing.CloudSpec:
    """Return the cloud spec of a trusted charm; without keys the credential is a role."""
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
    """Return the proxy variables of a hook's environment, which Juju always sets."""
    return {
        "JUJU_CHARM_HTTP_PROXY": proxies.get("http", ""),
        "JUJU_CHARM_HTTPS_PROXY": proxies.get("https", ""),
        "JUJU_CHARM_NO_PROXY": proxies.get("no", "127.0.0.1,localhost,::1"),
    }
