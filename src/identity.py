"""Who we are to the cloud and the cluster: the owner of all we make, and the keys we were lent."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Owner:
    """The application whose resources these are: AWS tags and Kubernetes labels name it.

    Attributes:
        model_uuid: The Juju model's uuid.
        application: The application's name in that model.
    """

    model_uuid: str
    application: str

    @property
    def short_model(self) -> str:
        """The model uuid's first eight characters, for names that people read."""
        return self.model_uuid[:8]


@dataclasses.dataclass(frozen=True)
class AwsCredentials:
    """An access key, as lent by a Juju secret or by the cloud's own credential."""

    access_key: str = dataclasses.field(repr=False)
    secret_key: str = dataclasses.field(repr=False)
    session_token: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class ClusterAccess:
    """What it takes to reach the Kubernetes API.

    Attributes:
        endpoint: The API server's URL.
        ca: The certificate authority that its certificate is verified with, in PEM.
        token: The bearer token.
    """

    endpoint: str
    ca: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(repr=False)
