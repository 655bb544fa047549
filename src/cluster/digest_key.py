"""Keep the key of digests over what may be secret, in a Secret in the charm's namespace.

Such a digest may be read by everybody: without the key nobody can try out what it was made from.
"""

from __future__ import annotations

import base64
import secrets
from typing import Any

from lightkube.resources import core_v1

import problems
from cluster import client, manifests, objects

NAME = "digest-key"
_BYTES = 32


def read(cluster: client.Cluster) -> str:
    """Return the key in hex; make it if there is none.

    Args:
        cluster: The cluster.

    Raises:
        problems.Blocked: The Secret of its name is not ours, or has no key.
    """
    secret = cluster.find_own(core_v1.Secret, NAME)
    if secret is None:
        manifest = manifests.render(
            "key",
            name=NAME,
            namespace=cluster.namespace,
            labels=dict(cluster.labels),
            key=secrets.token_bytes(_BYTES),
        )
        secret = client.repeat(lambda: cluster.apply(manifests.resource(manifest)))
    key = _decode(secret)
    if len(key) != _BYTES:
        raise problems.Blocked(
            f"secret {cluster.namespace}/{NAME} is not the one that we made: delete it, then run "
            "it again"
        )
    return key.hex()


def list_own(cluster: client.Cluster) -> list[objects.Reference]:
    """Return the reference to the key's Secret; none where there is none.

    Args:
        cluster: The cluster.
    """
    secret = cluster.find_own(core_v1.Secret, NAME)
    return [] if secret is None else [objects.reference(secret)]


def _decode(secret: Any) -> bytes:
    data: dict[str, str] = secret.data or {}
    try:
        return base64.b64decode(data.get("key", ""), validate=True)
    except ValueError:
        return b""
