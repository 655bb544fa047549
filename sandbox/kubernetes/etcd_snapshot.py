"""Reads what lies in etcd and brings back what lay there, behind the API server's back."""

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

# The API server's own, which it renews all the time.
_VOLATILE = (
    "/registry/leases/kube-system/apiserver-",
    "/registry/peerserverleases/",
    "/registry/ranges/",
)


class Store:
    """Reads and writes etcd's keys through its JSON gateway.

    Args:
        port: etcd's client port on the loopback address.
        context: How to verify etcd, and the certificate that it asks for.
    """

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context

    def read(self) -> dict[str, str]:
        """All that the API server has stored for good: each key, and its value in base64."""
        everything = {"key": _coded("/registry/"), "range_end": _coded("/registry0")}
        with contextlib.closing(self._connect()) as connection:
            found = _call(connection, "range", everything).get("kvs", [])
        read = {_decoded(pair["key"]): pair["value"] for pair in found}
        return {key: value for key, value in read.items() if not key.startswith(_VOLATILE)}

    def put_back(self, values: Mapping[str, str]) -> None:
        """Store these values again, where something else is stored now."""
        now = self.read()
        changed = [key for key in values if now.get(key) != values[key]]
        self._change(changed, lambda key: _put(key, values[key]))

    def prune(self, kept: Collection[str]) -> int:
        """Delete all other keys; returns how many there were."""
        others = self.read().keys() - kept
        # Namespaces first and pods last, so that no controller makes again what is gone.
        ranks = [[key for key in others if _rank(key) == rank] for rank in range(3)]
        for keys in ranks:
            self._change(keys, _delete)
        return len(others)

    def _change(self, keys: Iterable[str], step: Callable[[str], dict[str, object]]) -> None:
        """Change the keys in as few transactions as can be.

        All keys of a transaction have one revision, and a watch that breaks off goes on after the
        revision that it saw last: two of one kind in one transaction could lose it the second.
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
