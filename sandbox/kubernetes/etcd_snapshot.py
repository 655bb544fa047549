"""Read the content of etcd, and restore it without the API server."""

from __future__ import annotations

import base64
import collections
import contextlib
import http.client
import itertools
import json
import ssl
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

# The API server's own keys, which it renews all the time.
_VOLATILE = (
    "/registry/leases/kube-system/apiserver-",
    "/registry/peerserverleases/",
    "/registry/ranges/",
)


class Store:
    """A client of etcd's JSON gateway.

    Args:
        port: etcd's client port on the loopback address.
        context: The TLS context with etcd's authority and a client certificate.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context

    def read(self) -> dict[str, str]:
        """Return the API server's stable keys with their values in base64."""
        key_range = {"key": _coded("/registry/"), "range_end": _coded("/registry0")}
        with contextlib.closing(self._connect()) as connection:
            pairs = _call(connection, "range", key_range).get("kvs", [])
        read = {_decoded(pair["key"]): pair["value"] for pair in pairs}
        return {key: value for key, value in read.items() if not key.startswith(_VOLATILE)}

    def restore(self, values: Mapping[str, str]) -> None:
        """Restore the values of keys that have changed."""
        now = self.read()
        changed = [key for key in values if now.get(key) != values[key]]
        self._change(changed, lambda key: _put(key, values[key]))

    def prune(self, kept: Collection[str]) -> int:
        """Delete all other keys, and return their number."""
        others = self.read().keys() - kept
        # Namespaces first and pods last, so that no controller recreates deleted objects.
        ranks = [[key for key in others if _rank(key) == rank] for rank in range(3)]
        for keys in ranks:
            self._change(keys, _delete)
        return len(others)

    def _change(self, keys: Iterable[str], step: Callable[[str], dict[str, object]]) -> None:
        """Change the keys in as few transactions as possible.

        All keys of a transaction have one revision, and a broken watch resumes after the last
        revision it saw: with two keys of one kind in a transaction it could miss the second.
        """
        kinds: dict[str, list[str]] = collections.defaultdict(list)
        for key in keys:
            kinds[key.split("/")[2]].append(key)
        with contextlib.closing(self._connect()) as connection:
            for each in itertools.zip_longest(*kinds.values()):
                steps = [step(key) for key in each if key is not None]
                _call(connection, "txn", {"success": steps})

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=10, context=self._context
        )


def _call(
    connection: http.client.HTTPSConnection, method: str, request: Mapping[str, object]
) -> dict[str, Any]:
    connection.request("POST", f"/v3/kv/{method}", json.dumps(request))
    response = connection.getresponse()
    body = response.read()
    if response.status != http.client.OK:
        raise OSError(f"etcd answered {response.status} to {method}: {body.decode()}")
    return json.loads(body)


def _rank(key: str) -> int:
    return {"namespaces": 0, "pods": 2}.get(key.split("/")[2], 1)


def _delete(key: str) -> dict[str, object]:
    return {"request_delete_range": {"key": _coded(key)}}


def _put(key: str, value: str) -> dict[str, object]:
    return {"request_put": {"key": _coded(key), "value": value}}


def _coded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()


def _decoded(key: str) -> str:
    return base64.b64decode(key).decode()
