"""Read the cloud's region, credentials, secrets and proxies from Juju."""

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
        charm: The charm.
    """

    def __init__(self, charm: ops.CharmBase) -> None:
        self._charm = charm

    def region(self, option: str) -> str:
        """Return the region of the option, or else of the model.

        Raises:
            problems.Blocked: Neither is known.
        """
        # Without trust there is no cloud spec, but the machine's zone contains the region.
        zone = os.environ.get("JUJU_AVAILABILITY_ZONE", "")
        match = re.fullmatch(r"([a-z]{2}(?:-[a-z]+)+-\d)[a-z]", zone)
        if region := option or self._spec_region() or (match[1] if match else ""):
            return region
        raise problems.Blocked(
            f"the region is not known: juju config {self._charm.app.name} region=us-east-1, "
            "or juju trust"
        )

    def credentials(self, option: str) -> identity.AwsCredentials | None:
        """Return the access key from the secret in the option, or else the model's credential.

        Returns:
            None where botocore finds credentials itself: the machine's instance profile.

        Raises:
            problems.Blocked: The secret cannot be read, or lacks a key.
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
        """Return the content of a secret that the user granted to the application.

        Args:
            uri: The secret's URI or bare id.
            option: The option or parameter that names it, for the message.

        Raises:
            problems.Blocked: It does not exist, or is not granted.
        """
        if not self._charm.model.juju_version.has_secrets:
            raise problems.Blocked(
                f"{option}: this Juju version has no secrets: leave it empty, and run juju trust"
            )
        try:
            return self._charm.model.get_secret(id=uri).get_content(refresh=True)
        except ops.ModelError:
            raise problems.Blocked(
                f"{option}: the secret cannot be read: juju grant-secret <its name> "
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
            logger.debug("no access to the model's credential: the application is not trusted")
            return None

    def _spec_region(self) -> str:
        spec = self._spec
        return (spec.region or "") if spec else ""


def proxies() -> dict[str, str]:
    """Return the model's proxies for charms: http, https and no_proxy, as far as they are set."""
    settings = {
        "http": os.environ.get("JUJU_CHARM_HTTP_PROXY", ""),
        "https": os.environ.get("JUJU_CHARM_HTTPS_PROXY", ""),
        "no_proxy": os.environ.get("JUJU_CHARM_NO_PROXY", ""),
    }
    return {name: value for name, value in settings.items() if value}


def proxy_environment() -> dict[str, str]:
    """Return the proxies as environment variables for a pod that downloads."""
    names = {"http": "http_proxy", "https": "https_proxy", "no_proxy": "no_proxy"}
    return {names[name]: value for name, value in proxies().items()}
