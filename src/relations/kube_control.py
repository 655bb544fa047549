"""Read what the units of the control plane published over kube-control, each field by itself.

The relation's own library reads all fields of one unit or none, in no order of the units, logs
those that it cannot parse, and its handler of changed secrets fails on one that is not granted.
"""

from __future__ import annotations

import json
import logging
import re
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import ops

import problems
from relations import certificates

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_MOST_ENDPOINTS = 10
_SECRET_ID = re.compile(r"[\w:/.-]{1,200}", re.ASCII)
_URL = re.compile(r"[!-~]+")
# What a header can carry; more than 16 KiB no API server takes.
_TOKEN = re.compile(r"[!-~]{1,16384}")
_HOST = re.compile(r"[a-z0-9.-]{1,253}|[0-9a-f:.]{2,45}(%[\w.-]+)?", re.ASCII)
_HTTPS = 443


class KubeControl:
    """The data of the kube-control relation.

    Args:
        charm: The charm.
        relation: The relation.
    """

    def __init__(self, charm: ops.CharmBase, relation: ops.Relation) -> None:
        self._model = charm.model
        self._relation = relation
        self._units = sorted(relation.units, key=_by_number)

    def endpoints(self) -> list[str]:
        """Return the URLs of all API servers, in the order of the units that published them.

        Raises:
            problems.Waiting: There is none yet, or none that can be read.
        """
        fields = self._fields("api-endpoints", _endpoints)
        # With one that is encrypted, no other one is worth a token.
        found = list(dict.fromkeys(each for listed in fields for each in listed))
        encrypted = [each for each in found if each.startswith("https://")]
        if not found:
            raise problems.Waiting("waiting for the control plane to send its address")
        return (encrypted or found)[:_MOST_ENDPOINTS]

    def token(self, user: str) -> str:
        """Return the user's token.

        Charmed Kubernetes sends the admin's token to everybody as client_token; kubelet_token is
        this unit's own, and revoked with the relation. Canonical Kubernetes may leave it empty.

        Args:
            user: The name of the user that was asked for.

        Raises:
            problems.Waiting: There is none yet, or none that can be read.
        """
        fields = self._fields("creds", lambda text: self._tokens(text, user))
        for token in (token for tokens in fields for token in tokens):
            return token
        raise problems.Waiting("waiting for the control plane to send credentials")

    def ca(self) -> str:
        """Return the CA certificate; "" where there is none: others send it in another relation.

        Raises:
            problems.Waiting: It is in a secret that cannot be read.
        """

        def read(text: str) -> Iterator[str]:
            content = self._secret(text, "ca-certificate")
            if not certificates.holds_certificate(content):
                raise ValueError("no certificate in its secret")
            yield content

        return "\n".join(
            text for texts in self._fields("ca-certificate-secret-id", read) for text in texts
        )

    def _fields(self, name: str, read: Callable[[str], Iterator[str]]) -> list[list[str]]:
        """Return what could be read of a field of each unit.

        Raises:
            problems.Waiting: Nothing could be read of it, though a unit has sent it.
        """
        found: list[list[str]] = []
        unreadable: list[problems.Problem] = []
        for unit in self._units:
            if not (text := self._relation.data[unit].get(name)):
                continue
            found.append([])
            try:
                for each in read(text):
                    found[-1].append(each)
            except problems.Problem as problem:
                unreadable.append(problem)
            except ValueError as error:
                unreadable.append(problems.Waiting(f"{name} of {unit.name}: {error}"))
        for problem in unreadable:
            logger.warning("%s", problem.message)
        if unreadable and not any(found):
            raise unreadable[0]
        return found

    def _tokens(self, text: str, user: str) -> Iterator[str]:
        users = _parse(text)
        if not isinstance(users, dict):
            raise ValueError("not an object in JSON")
        sent = cast("dict[str, Any]", users).get(user)
        if sent is None:
            return
        if not isinstance(sent, dict):
            raise ValueError("no object for this unit")
        fields = cast("dict[str, Any]", sent)
        secret_id = fields.get("secret-id")
        bad = ""
        for name in ("kubelet_token", "client_token"):
            if isinstance(secret_id, str) and secret_id:
                token = self._secret(secret_id, name.replace("_", "-"))
            else:
                token = fields.get(name) or ""
            if isinstance(token, str) and _TOKEN.fullmatch(token):
                yield token
            elif token:
                bad = bad or f"its {name} is not a token"
        if bad:
            raise ValueError(bad)

    def _secret(self, secret_id: str, key: str) -> str:
        """Return a value of a secret, by its id: a label would be tied to the first secret."""
        if not _SECRET_ID.fullmatch(secret_id):
            raise ValueError("not the id of a secret")
        try:
            content = self._model.get_secret(id=secret_id).get_content(refresh=True)
        except (ops.ModelError, ops.SecretNotFoundError) as error:
            logger.info("a secret of the cluster cannot be read yet: %s", type(error).__name__)
            raise problems.Waiting("waiting for the control plane to grant its secrets") from None
        return content.get(key, "")


def _parse(text: str) -> Any:
    """Return a value in JSON; the errors of the library may quote what it reads."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None


def _by_number(unit: ops.Unit) -> tuple[str, int]:
    application, _, number = unit.name.partition("/")
    return application, int(number)


def _endpoints(text: str) -> Iterator[str]:
    listed = _parse(text)
    if not isinstance(listed, list):
        raise ValueError("not a list in JSON")
    bad = ""
    for each in cast("list[Any]", listed):
        reason = _flaw(each)
        bad = bad or reason
        if not reason:
            scheme, _, rest = str(each).partition(":")
            yield f"{scheme.lower()}:{rest.rstrip('/')}"
    if bad:
        raise ValueError(bad)


def _flaw(url: Any) -> str:
    """Return what keeps a value from being the URL of an API server; "" if nothing does."""
    if not isinstance(url, str):
        return "not a text in its list"
    shown = problems.quote(url)
    try:
        parts = urllib.parse.urlsplit(url)
        host, user = parts.hostname, parts.username
    except ValueError:
        return f"no host in {shown}"
    try:
        port = None if parts.netloc.endswith(":") or parts.port == 0 else parts.port or _HTTPS
    except ValueError:
        port = None
    whole = _URL.fullmatch(url) and not (parts.query or parts.fragment)
    flaws = {
        "a user name in its URL": user is not None,
        f"no https:// in {shown}": parts.scheme not in ("https", "http"),
        f"no host in {shown}": not host,
        f"not the URL of an API server: {shown}": not (whole and _HOST.fullmatch(host or "")),
        f"no port in {shown}": port is None,
    }
    return next((flaw for flaw, found in flaws.items() if found), "")
