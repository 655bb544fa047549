"""Save small records that outlive Jobs and pods: a ConfigMap each, in the charm's namespace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lightkube.resources import core_v1

from cluster import client, manifests, objects
from cluster.jobs import job_observe

_KEY = "record"


def read_all(cluster: client.Cluster, kind: str) -> dict[str, dict[str, Any]]:
    """Return all records of a kind, by their names: one call.

    Args:
        cluster: The cluster.
        kind: The kind, as in "dataset".
    """
    found = cluster.ours(core_v1.ConfigMap, {job_observe.KIND: kind})
    named = {objects.name(each).removeprefix(f"{kind}-"): _read_fields(each) for each in found}
    return {name: fields for name, fields in named.items() if fields}


def find(cluster: client.Cluster, kind: str, name: str) -> dict[str, Any] | None:
    """Return one record; None where there is none.

    Args:
        cluster: The cluster.
        kind: Its kind.
        name: Its name.
    """
    found = cluster.find(core_v1.ConfigMap, f"{kind}-{name}", cluster.namespace)
    return _read_fields(found) or None if found is not None and cluster.owns(found) else None


def save(cluster: client.Cluster, kind: str, name: str, fields: Mapping[str, Any]) -> None:
    """Save a record, in place of one of its name.

    Args:
        cluster: The cluster.
        kind: Its kind.
        name: Its name.
        fields: Its content: nothing that is secret.
    """
    manifest = manifests.render(
        "record",
        name=f"{kind}-{name}",
        namespace=cluster.namespace,
        labels={**cluster.labels, job_observe.KIND: kind},
        record=json.dumps(fields, sort_keys=True),
    )
    cluster.apply(manifests.resource(manifest), known=False)


def delete(cluster: client.Cluster, kind: str, name: str) -> None:
    """Delete a record, if there is one.

    Args:
        cluster: The cluster.
        kind: Its kind.
        name: Its name.
    """
    if find(cluster, kind, name) is not None:
        cluster.delete(core_v1.ConfigMap, f"{kind}-{name}", cluster.namespace)


def _read_fields(config_map: Any) -> dict[str, Any]:
    """Return the content of a record; nothing if it is damaged, so that it is made again."""
    data: dict[str, str] = config_map.data or {}
    try:
        fields: Any = json.loads(data.get(_KEY, ""))
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}  # pyright: ignore[reportUnknownVariableType]
