"""Small records of ours that outlive Jobs and pods: a ConfigMap each, in the charm's namespace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lightkube.models import meta_v1
from lightkube.resources import core_v1

from cluster import client, objects
from cluster.jobs import job_observe

_KEY = "record"


def read_all(cluster: client.Cluster, kind: str) -> dict[str, dict[str, Any]]:
    """All records of a kind, by their names: one call.

    Args:
        cluster: The cluster.
        kind: What they are of.
    """
    found = cluster.ours(core_v1.ConfigMap, {job_observe.KIND: kind})
    named = {objects.name(each).removeprefix(f"{kind}-"): _read_fields(each) for each in found}
    return {name: fields for name, fields in named.items() if fields}


def find(cluster: client.Cluster, kind: str, name: str) -> dict[str, Any] | None:
    """One record; None where there is none.

    Args:
        cluster: The cluster.
        kind: What it is of.
        name: Its name.
    """
    found = cluster.find(core_v1.ConfigMap, f"{kind}-{name}", cluster.namespace)
    return _read_fields(found) or None if found is not None and cluster.owns(found) else None


def save(cluster: client.Cluster, kind: str, name: str, fields: Mapping[str, Any]) -> None:
    """Keep a record, in place of one of its name.

    Args:
        cluster: The cluster.
        kind: What it is of.
        name: Its name.
        fields: What it says: nothing that is secret.
    """
    config_map = core_v1.ConfigMap(
        metadata=meta_v1.ObjectMeta(
            name=f"{kind}-{name}",
            namespace=cluster.namespace,
            labels={**cluster.labels, job_observe.KIND: kind},
        ),
        data={_KEY: json.dumps(fields, sort_keys=True)},
    )
    cluster.apply(config_map, known=False)


def delete(cluster: client.Cluster, kind: str, name: str) -> None:
    """Remove a record; one that is gone is well, too.

    Args:
        cluster: The cluster.
        kind: What it is of.
        name: Its name.
    """
    if find(cluster, kind, name) is not None:
        cluster.delete(core_v1.ConfigMap, f"{kind}-{name}", cluster.namespace)


def _read_fields(config_map: Any) -> dict[str, Any]:
    """What a record says; nothing where somebody has spoilt it: what it told of is looked at."""
    data: dict[str, str] = config_map.data or {}
    try:
        fields: Any = json.loads(data.get(_KEY, ""))
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}  # pyright: ignore[reportUnknownVariableType]
