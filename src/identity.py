"""The owner of the resources, and the credentials for AWS and the cluster."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Owner:
    """The application that owns the resources, as AWS tags and Kubernetes labels name it.

    Attributes:
        model_uuid: The Juju model's uuid.
        application: The application's name in that model.
    """

    model_uuid: str
    application: str

    @property
    def short_model(self) -> str:
        """Return the first eight characters of the model uuid, for names that people read."""
        return self.model_uuid[:8]


@dataclasses.dataclass(frozen=True)
class AwsCredentials:
    """An AWS access key from a Juju secret or from the cloud's credential."""

    access_key: str = dataclasses.field(repr=False)
    secret_key: str = dataclasses.field(repr=False)
    session_token: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class ClusterAccess:
    """The address and credentials of the Kubernetes API.

    Attributes:
        endpoint: The API server's URL; the first one to try.
        ca: The CA certificates that verify the API server, in PEM.
        token: The bearer token.
        alternatives: The URLs of further API servers of the cluster, to try in this order.
    """

    endpoint: str
    ca: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(repr=False)
    alternatives: tuple[str, ...] = ()
