"""List all objects in a namespace, of every kind that the API server knows, by their metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import problems
from cluster import errors

if TYPE_CHECKING:
    from cluster import client

_PAGE = 500
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
# What Kubernetes itself puts into every namespace, by resource and name.
_EVERYWHERE = {("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")}
# Resources and API groups that only report on others.
_REPORTS = {"events", "events.events.k8s.io"}
_REPORTING_GROUP = "apis/metrics.k8s.io/"
_JOB = "Job"

_Answer = TypeVar("_Answer")


@dataclasses.dataclass(frozen=True)
class FoundObject:
    """An object in the namespace.

    Attributes:
        resource: Its resource as kubectl names it, as in "jobs.batch".
        name: Its name.
        uid: Its uid.
        owners: The kinds and uids of the objects that own it.
    """

    resource: str
    name: str
    uid: str
    owners: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """Return its name as kubectl takes it."""
        return f"{self.resource}/{self.name}"


@dataclasses.dataclass(frozen=True)
class NamespaceContents:
    """The objects in a namespace.

    Attributes:
        objects: Those that could be listed, except what Kubernetes itself puts there.
        unknown: The resources and API versions that could not be listed.
    """

    objects: tuple[FoundObject, ...]
    unknown: tuple[str, ...]


def observe(cluster: client.Cluster, namespace: str) -> NamespaceContents:
    """List a namespace: a call for each API version, and one for each resource.

    Args:
        cluster: The cluster.
        namespace: The namespace.
    """
    paths: dict[str, str] = {}
    unknown: list[str] = []
    for version in _versions(cluster):
        known = _try(_resources, cluster, version)
        if known is None:
            unknown.append(version.removeprefix("apis/"))
        # A resource that several versions have is listed once.
        paths = {**(known or {}), **paths}
    found: list[FoundObject] = []
    for resource, path in sorted(paths.items()):
        listed = _try(_list, cluster, path.format(namespace=namespace), resource)
        if listed is None:
            unknown.append(resource)
        found += listed or []
    return NamespaceContents(tuple(found), tuple(unknown))


def find_foreign(contents: NamespaceContents, removed: Collection[str]) -> list[str]:
    """Return the titles of the objects that stay when ours are gone.

    What belongs to Jobs that are gone goes with them: Kubernetes collects it.

    Args:
        contents: The contents of our namespace.
        removed: The uids of our objects that are deleted, or would be.
    """
    left = [each for each in contents.objects if each.uid not in removed]
    there = {each.uid for each in left}

    def goes(found: FoundObject) -> bool:
        return bool(found.owners) and all(
            kind == _JOB and uid not in there for kind, uid in found.owners
        )

    titles = [each.title for each in left if not goes(each)]
    return [*titles, *(f"{each} (it cannot be listed)" for each in contents.unknown)]


def _versions(cluster: client.Cluster) -> Iterator[str]:
    """Yield the paths of all API versions, of a group the preferred one first."""
    core: dict[str, Any] = cluster.read("api") or {}
    yield from (f"api/{version}" for version in core.get("versions", []))
    groups: dict[str, Any] = cluster.read("apis") or {}
    for group in groups.get("groups", []):
        preferred: str = group.get("preferredVersion", {}).get("groupVersion", "")
        versions: list[str] = [each["groupVersion"] for each in group.get("versions", [])]
        for version in sorted(versions, key=preferred.__ne__):
            if not (path := f"apis/{version}").startswith(_REPORTING_GROUP):
                yield path


def _try(read: Callable[..., _Answer], *arguments: Any) -> _Answer | None:
    """Return what was read; None where the API server refuses, or asks a server that is down."""
    try:
        return read(*arguments)
    except errors.UnreachableError:
        raise
    except problems.Problem:
        return None


def _resources(cluster: client.Cluster, version: str) -> dict[str, str]:
    """Return the paths of the resources of a version that can be listed in a namespace."""
    answer: dict[str, Any] = cluster.read(version) or {}
    paths: dict[str, str] = {}
    _, _, group_version = version.partition("/")
    group = group_version.rpartition("/")[0]
    for each in answer.get("resources", []):
        name = f"{each['name']}.{group}" if group else each["name"]
        if each.get("namespaced") and "list" in each.get("verbs", []) and name not in _REPORTS:
            paths[name] = f"{version}/namespaces/{{namespace}}/{each['name']}"
    return paths


def _list(cluster: client.Cluster, path: str, resource: str) -> list[FoundObject]:
    found: list[FoundObject] = []
    following: dict[str, str] = {}
    while True:
        page: dict[str, Any] = cluster.read(path, accept=_METADATA, limit=_PAGE, **following) or {}
        items: list[dict[str, Any]] = page.get("items") or []
        found += [_object(resource, each.get("metadata") or {}) for each in items]
        metadata: dict[str, str] = page.get("metadata") or {}
        following = {"continue": metadata.get("continue", "")}
        if not following["continue"]:
            return [each for each in found if (resource, each.name) not in _EVERYWHERE]


def _object(resource: str, metadata: Mapping[str, Any]) -> FoundObject:
    owners: list[dict[str, str]] = metadata.get("ownerReferences") or []
    return FoundObject(
        resource=resource,
        name=metadata.get("name", ""),
        uid=metadata.get("uid", ""),
        owners=tuple((each.get("kind", ""), each.get("uid", "")) for each in owners),
    )
