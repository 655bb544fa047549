"""What Juju knows of the cloud: the region, a credential that the user lends us, and proxies."""

from __future__ import annotations

import functools
import logging
import os
import re

import ops

import identity
import problems

logger = logging.getLogger(__name__)


class JujuCloud:
    """The model's cloud as Juju shows it to the charm.

    Args:
        charm: The charm that asks.
    """

    def __init__(self, charm: ops.CharmBase) -> None:
        self._charm = charm

    def region(self, option: str) -> str:
        """The region to use: the option's, else the model's own.

        Raises:
            problems.Blocked: Neither is known.
        """
        # Without trust there is no cloud spec, but the machine's zone tells the region too.
        zone = os.environ.get("JUJU_AVAILABILITY_ZONE", "")
        match = re.fullmatch(r"([a-z]{2}(?:-[a-z]+)+-\d)[a-z]", zone)
        if region := option or self._spec_region() or (match[1] if match else ""):
            return region
        raise problems.Blocked(
            f"the region is not known: juju config {self._charm.app.name} region=us-east-1, "
            "or juju trust"
        )

    def credentials(self, option: str) -> identity.AwsCredentials | None:
        """The access key to use: of the secret in the option, else of the model's credential.

        Returns:
            None where boto's own chain is to find one: the machine's instance profile.

        Raises:
            problems.Blocked: The secret can not be read, or lacks a key.
        """
        if option:
            return self._from_secret(option)
        spec = self._spec
        credential = spec.credential if spec else None
        if credential is None or credential.auth_type != "access-key":
            return None
        return identity.AwsCredentials(
            access_key=credential.attributes["access-key"],
            secret_key=credential.attributes["secret-key"],
        )

    def secret(self, uri: str, *, option: str) -> dict[str, str]:
        """The content of a secret that the user granted us.

        Args:
            uri: The secret's URI or bare id.
            option: The option or parameter that names it, for the message.

        Raises:
            problems.Blocked: It does not exist, or is not granted.
        """
        if not self._charm.model.juju_version.has_secrets:
            raise problems.Blocked(
                f"{option}: this Juju has no secrets: leave it out, juju trust lends a credential"
            )
        try:
            return self._charm.model.get_secret(id=uri).get_content(refresh=True)
        except ops.ModelError:
            raise problems.Blocked(
                f"{option}: the secret can not be read: juju grant-secret <its name> "
                f"{self._charm.app.name}"
            ) from None

    def _from_secret(self, uri: str) -> identity.AwsCredentials:
        content = self.secret(uri, option="credentials")
        missing = [key for key in ("access-key", "secret-key") if not content.get(key)]
        if missing:
            raise problems.Blocked(
                f"credentials: the secret has no {' and no '.join(missing)}: "
                "juju update-secret <its name> ..."
            )
        return identity.AwsCredentials(
            access_key=content["access-key"],
            secret_key=content["secret-key"],
            session_token=content.get("session-token", ""),
        )

    @functools.cached_property
    def _spec(self) -> ops.CloudSpec | None:
        try:
            return self._charm.model.get_cloud_spec()
        except ops.ModelError:
            logger.debug("the model's credential is not for us: juju trust was not given")
            return None

    def _spec_region(self) -> str:
        spec = self._spec
        return (spec.region or "") if spec else ""


def proxies() -> dict[str, str]:
    """The model's proxies, as the charm is to use them: http, https and no_proxy, where set."""
    found = {
        "http": os.environ.get("JUJU_CHARM_HTTP_PROXY", ""),
        "https": os.environ.get("JUJU_CHARM_HTTPS_PROXY", ""),
        "no_proxy": os.environ.get("JUJU_CHARM_NO_PROXY", ""),
    }
    return {name: value for name, value in found.items() if value}


def proxy_environment() -> dict[str, str]:
    """The same as the environment of a pod that downloads."""
    names = {"http": "http_proxy", "https": "https_proxy", "no_proxy": "no_proxy"}
    return {names[name]: value for name, value in proxies().items()}
