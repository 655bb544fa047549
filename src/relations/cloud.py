"""Read the cloud's region, credentials, secrets and proxies from Juju."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping

import ops

import identity
import problems

logger = logging.getLogger(__name__)

# A zone begins with its region's name: us-east-1a; the Local Zone us-east-1-bos-1a.
_ZONE = re.compile(r"([a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2})(?:[a-z]|-[a-z0-9-]+)")


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
        match = _ZONE.fullmatch(zone)
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
        return _credentials(credential.attributes, "juju update-credential", "the credential")

    def secret(
        self, uri: str, *, option: str, otherwise: str = "use signed URLs, or a public source"
    ) -> dict[str, str]:
        """Return the content of a secret that the user granted to the application.

        Args:
            uri: The secret's URI or bare id.
            option: The option or parameter that names it, for the message.
            otherwise: What to do where Juju has no secrets, for the message.

        Raises:
            problems.Blocked: It does not exist, or is not granted.
        """
        if not self._charm.model.juju_version.has_secrets:
            raise problems.Blocked(f"{option}: this Juju version has no secrets: {otherwise}")
        try:
            return self._charm.model.get_secret(id=uri).get_content(refresh=True)
        except ops.ModelError:
            raise problems.Blocked(
                f"{option}: the secret cannot be read: juju grant-secret <its name> "
                f"{self._charm.app.name}"
            ) from None

    def _from_secret(self, uri: str) -> identity.AwsCredentials:
        content = self.secret(
            uri, option="credentials", otherwise="leave it empty, and run juju trust"
        )
        return _credentials(
            content, "juju update-secret <its name> ...", "credentials: the secret"
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


def _credentials(content: Mapping[str, str], command: str, title: str) -> identity.AwsCredentials:
    """Return the access key in a secret or credential; the ends of lines in files are no part.

    Raises:
        problems.Blocked: A key is missing, or has characters that no request can carry.
    """
    names = ("access-key", "secret-key", "session-token")
    keys = {name: str(content.get(name) or "").strip() for name in names}
    if missing := [name for name in names[:2] if not keys[name]]:
        raise problems.Blocked(f"{title} has no {' and no '.join(missing)}: {command}")
    for name, value in keys.items():
        if not re.fullmatch("[!-~]*", value):
            raise problems.Blocked(f"{title}'s {name} has blanks or other characters: {command}")
    return identity.AwsCredentials(*(keys[name] for name in names))


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
