"""List all objects in a namespace, of every kind that the API server knows, by their metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

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
# The owners with which an object goes, by API group and kind: our Jobs, our Deployment with its
# replica sets, and their pods, for which networks keep objects of their own.
_GOING_OWNERS = (("batch", "Job"), ("apps", "Deployment"), ("apps", "ReplicaSet"), ("", "Pod"))
# The longest chain: a replica set, its pod, and what belongs to the pod.
_LONGEST_CHAIN = 3

_Answer = TypeVar("_Answer")


@dataclasses.dataclass(frozen=True)
class ObjectOwner:
    """An owner of an object, as its owner references name it.

    Attributes:
        group: The API group of its kind; "" for the core group.
        kind: Its kind.
        uid: Its uid.
    """

    group: str
    kind: str
    uid: str


@dataclasses.dataclass(frozen=True)
class FoundObject:
    """An object in the namespace.

    Attributes:
        resource: Its resource as kubectl names it, as in "jobs.batch".
        name: Its name.
        uid: Its uid.
        owners: The objects that own it.
    """

    resource: str
    name: str
    uid: str
    owners: tuple[ObjectOwner, ...] = ()

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


# What is read of the API server's answers, and of those of servers that extend it.


class _Owner(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    uid: str = ""


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    owner_references: list[_Owner] | None = None


class _Item(msgspec.Struct):
    metadata: _Metadata


class _PageMetadata(msgspec.Struct, rename={"following": "continue"}):
    following: str = ""


class _Page(msgspec.Struct):
    items: list[_Item] | None = None
    metadata: _PageMetadata = msgspec.field(default_factory=_PageMetadata)


class _Resource(msgspec.Struct):
    name: str
    namespaced: bool = False
    verbs: list[str] | None = None


class _Resources(msgspec.Struct):
    resources: list[_Resource] | None = None


def observe(cluster: client.Cluster, namespace: str) -> NamespaceContents:
    """List a namespace: a call for each API version, and one for each resource.

    Args:
        cluster: The cluster.
        namespace: The namespace.
    """
    paths: dict[str, str] = {}
    unknown: list[str] = []
    for version in _versions(cluster):
        known = _try(cluster, _resources, version, namespace)
        if known is None:
            unknown.append(version.removeprefix("apis/"))
        # A resource that several versions have is listed once.
        paths = {**(known or {}), **paths}
    found: list[FoundObject] = []
    for resource, path in sorted(paths.items()):
        listed = _try(cluster, _list, path, resource)
        if listed is None:
            unknown.append(resource)
        found += listed or []
    return NamespaceContents(tuple(found), tuple(unknown))


def find_foreign(contents: NamespaceContents, removed: Collection[str]) -> list[str]:
    """Return the titles of the objects that stay when ours are gone.

    What belongs to Jobs that are gone, or to their pods, goes with them: Kubernetes collects it.

    Args:
        contents: The contents of our namespace.
        removed: The uids of our objects that are deleted, or would be.
    """
    left = [each for each in contents.objects if each.uid not in removed]
    # First the pods of the Jobs and the replica sets go, then what belongs to them.
    for _ in range(_LONGEST_CHAIN):
        there = {each.uid for each in left}
        left = [each for each in left if not _goes(each, there)]
    titles = [each.title for each in left]
    return [*titles, *(f"{each} (it cannot be listed)" for each in contents.unknown)]


def _goes(found: FoundObject, there: Collection[str]) -> bool:
    """Return whether Kubernetes collects an object, since all its owners are gone."""
    return bool(found.owners) and all(
        (owner.group, owner.kind) in _GOING_OWNERS and owner.uid not in there
        for owner in found.owners
    )


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


def _try(cluster: client.Cluster, read: Callable[..., _Answer], *arguments: str) -> _Answer | None:
    """Return what was read; None where only this cannot be read.

    The API server refuses it, or hands the question on to a server that extends it and is down,
    mute, or answers something else.
    """
    try:
        return read(cluster, *arguments)
    except errors.UnreachableError:
        cluster.check_namespace()
        return None
    except problems.Problem:
        return None


def _resources(cluster: client.Cluster, version: str, namespace: str) -> dict[str, str]:
    """Return the paths of the lists of a namespace, by the resources of a version."""
    answer = _read(cluster, version, _Resources)
    paths: dict[str, str] = {}
    _, _, group_version = version.partition("/")
    group = group_version.rpartition("/")[0]
    for each in answer.resources or []:
        name = f"{each.name}.{group}" if group else each.name
        if each.namespaced and "list" in (each.verbs or []) and name not in _REPORTS:
            paths[name] = f"{version}/namespaces/{namespace}/{each.name}"
    return paths


def _list(cluster: client.Cluster, path: str, resource: str) -> list[FoundObject]:
    found: list[FoundObject] = []
    following: dict[str, str] = {}
    while True:
        page = _read(cluster, path, _Page, accept=_METADATA, limit=_PAGE, **following)
        found += [_object(resource, each.metadata) for each in page.items or []]
        following = {"continue": page.metadata.following}
        if not following["continue"]:
            return [each for each in found if (resource, each.name) not in _EVERYWHERE]


def _read(
    cluster: client.Cluster,
    path: str,
    kind: type[_Answer],
    *,
    accept: str = "application/json",
    **parameters: str | int,
) -> _Answer:
    answer: Any = cluster.read(path, accept=accept, **parameters)
    with errors.translated(f"read {path}"):
        return msgspec.convert({} if answer is None else answer, kind)


def _object(resource: str, metadata: _Metadata) -> FoundObject:
    owners = metadata.owner_references or []
    return FoundObject(
        resource=resource,
        name=metadata.name,
        uid=metadata.uid,
        owners=tuple(
            ObjectOwner(each.api_version.rpartition("/")[0], each.kind, each.uid)
            for each in owners
        ),
    )
