"""Save small records that outlive Jobs and pods: a ConfigMap each, in the charm's namespace."""

from __future__ import annotations

from typing import Any

from lightkube.resources import core_v1

import problems
from cluster import client, manifests, objects
from cluster.jobs import job_observe

_KEY = "record"


def read_all(cluster: client.Cluster, kind: str) -> dict[str, str]:
    """Return the content of all records of a kind, by their names: one call.

    Args:
        cluster: The cluster.
        kind: The kind, as in "dataset".
    """
    found = cluster.own(core_v1.ConfigMap, {job_observe.KIND: kind})
    return {_name(each): _content(each) for each in found if _name(each)}


def list_own(cluster: client.Cluster) -> list[objects.Reference]:
    """Return the references to all records.

    Args:
        cluster: The cluster.
    """
    return [objects.reference(each) for each in cluster.own(core_v1.ConfigMap) if _name(each)]


def find(cluster: client.Cluster, kind: str, name: str) -> str | None:
    """Return the content of one record; None where there is none.

    Args:
        cluster: The cluster.
        kind: Its kind.
        name: Its name.
    """
    found = cluster.find_own(core_v1.ConfigMap, f"{kind}-{name}")
    return None if found is None else _content(found)


def save(cluster: client.Cluster, kind: str, name: str, content: str) -> None:
    """Save a record, in place of one of its name.

    Args:
        cluster: The cluster.
        kind: Its kind.
        name: Its name.
        content: Its content: nothing that is secret.
    """
    manifest = manifests.render(
        "record",
        name=f"{kind}-{name}",
        namespace=cluster.namespace,
        labels={**cluster.labels, job_observe.KIND: kind},
        record=content,
    )
    resource = manifests.resource(manifest)
    try:
        client.repeat(lambda: cluster.apply(resource))
    except problems.Blocked:
        found = cluster.find_own(core_v1.ConfigMap, f"{kind}-{name}")
        if found is None or not found.immutable:
            raise
        # Somebody forbade to change it for good: only a new one can take its place.
        cluster.remove(objects.reference(found))
        client.repeat(lambda: cluster.apply(resource))


def delete(cluster: client.Cluster, kind: str, name: str) -> None:
    """Delete a record, if there is one.

    Args:
        cluster: The cluster.
        kind: Its kind.
        name: Its name.
    """
    found = cluster.find_own(core_v1.ConfigMap, f"{kind}-{name}")
    if found is not None:
        cluster.remove(objects.reference(found))


def _name(config_map: Any) -> str:
    """Return the name of a record; "" for a ConfigMap that is none: its kind is in its name."""
    kind = objects.labels_of(config_map).get(job_observe.KIND, "")
    prefix, name = f"{kind}-", objects.name(config_map)
    return name.removeprefix(prefix) if kind and name.startswith(prefix) else ""


def _content(config_map: Any) -> str:
    data: dict[str, str] = config_map.data or {}
    return data.get(_KEY, "")
