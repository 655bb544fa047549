"""Find who uses the file system: volumes and pods, whoever made them.

They are found by the file system's id, which its host names contain, and by the addresses of its
mount targets. What mounts it outside Kubernetes, or by a name of the user's own, is not seen.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import posixpath
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from lightkube.resources import core_v1

import problems
from cluster import objects, ownership
from cluster.volumes import volume_observe

if TYPE_CHECKING:
    import identity
    from cluster import client

_EFS_DRIVER = "efs.csi.aws.com"
# The sources of volumes that name a server or a file system.
_SOURCES = ("nfs", "csi", "flexVolume")
_ENDED = {"Succeeded", "Failed"}
# A message names only some of the users.
_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class UserVolume:
    """A persistent volume on the file system.

    Attributes:
        name: Its name.
        claim: The namespace and name of its claim; None without one.
        directory: The directory of the file system that it shows; "/" also where that is unknown.
        ours: Whether it is ours, and names no claim of another namespace than its own.
    """

    name: str
    claim: tuple[str, str] | None
    directory: str
    ours: bool


@dataclasses.dataclass(frozen=True)
class UserPod:
    """A pod that has the file system mounted; not a pod of our Jobs.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        ours: Whether it uses only volumes of ours.
        directories: The directories of the file system that its containers see.
    """

    namespace: str
    name: str
    ours: bool
    directories: tuple[str, ...]

    @property
    def title(self) -> str:
        """Return its name in our messages."""
        return f"{self.namespace}/{self.name}"


@dataclasses.dataclass(frozen=True)
class FileSystemUsers:
    """The users of the file system.

    Attributes:
        volumes: The persistent volumes on it.
        pods: The pods that have it mounted and have not ended.
    """

    volumes: tuple[UserVolume, ...]
    pods: tuple[UserPod, ...]

    def seeing(self, directories: Sequence[str]) -> list[str]:
        """Return the pods that see one of these directories, a parent or a child of it.

        Args:
            directories: Paths from the file system's root.

        Returns:
            Their namespaces and names, as in "default/reader".
        """
        return sorted(
            pod.title
            for pod in self.pods
            if any(_overlap(seen, each) for seen in pod.directories for each in directories)
        )

    def foreign(self) -> list[str]:
        """Return the volumes that are not ours, and the pods that use others than ours."""
        volumes = (each for each in self.volumes if not each.ours)
        return sorted(
            [
                *(
                    f"volume {each.name}"
                    + (f" (claim {'/'.join(each.claim)})" if each.claim else "")
                    for each in volumes
                ),
                *(f"pod {each.title}" for each in self.pods if not each.ours),
            ]
        )


def observe(
    cluster: client.Cluster, file_system_id: str, addresses: Iterable[str] = ()
) -> FileSystemUsers:
    """Observe the users of a file system: three calls, and one for each further page.

    Args:
        cluster: The cluster.
        file_system_id: The file system.
        addresses: The addresses of its mount targets, besides those that are kept with our Jobs'
            volume.
    """
    volumes = cluster.select(core_v1.PersistentVolume, {})
    claims = cluster.select(core_v1.PersistentVolumeClaim, {})
    pods = cluster.select(core_v1.Pod, {})
    known = volume_observe.kept_addresses(cluster.owner, volumes)
    names = [file_system_id, *addresses, *known]
    return find_users(cluster.owner, names, volumes, claims, pods)


def find_users(
    owner: identity.Owner,
    names: Iterable[str],
    volumes: Iterable[core_v1.PersistentVolume],
    claims: Iterable[core_v1.PersistentVolumeClaim],
    pods: Iterable[core_v1.Pod],
) -> FileSystemUsers:
    """Return the users of a file system among volumes and pods; no I/O.

    A pod keeps what it has mounted, whatever claim its volume names by now: so a claim stands for
    the volume that names it, and for the one that it names.

    Args:
        owner: The application.
        names: The id of the file system, and the addresses of its mount targets.
        volumes: The volumes of the cluster.
        claims: The claims of the cluster.
        pods: The pods of the cluster.
    """
    alternatives = "|".join(map(_alternative, filter(None, names)))
    pattern = re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.IGNORECASE)
    on_it = tuple(_volumes(owner, pattern, volumes))
    by_claim: dict[tuple[str, str] | None, list[UserVolume]] = {}
    for volume in on_it:
        by_claim.setdefault(volume.claim, []).append(volume)
    by_name = {volume.name: volume for volume in on_it}
    for claim in claims:
        named = by_name.get((claim.spec and claim.spec.volumeName) or "")
        key = objects.meta(claim).namespace or "", objects.name(claim)
        if named and named.claim != key:
            by_claim.setdefault(key, []).append(named)
    users: list[UserPod] = []
    for pod in pods:
        ended = pod.status is not None and pod.status.phase in _ENDED
        if ended or (ownership.owns(owner, pod) and objects.job_uid(pod)):
            continue
        if mounted := list(_mounted(pod, by_claim, pattern)):
            users.append(
                UserPod(
                    namespace=objects.meta(pod).namespace or "",
                    name=objects.name(pod),
                    ours=all(volume.ours for _, volume in mounted),
                    directories=tuple(_seen(pod, mounted)),
                )
            )
    return FileSystemUsers(on_it, tuple(users))


def name_some(users: Sequence[str]) -> str:
    """Return users as a message names them: the first ones, and the number of others.

    Args:
        users: Their titles.
    """
    return problems.name_some(users, _MOST_NAMED)


def _volumes(
    owner: identity.Owner, pattern: re.Pattern[str], found: Iterable[Any]
) -> Iterator[UserVolume]:
    for volume in found:
        directory = _directory(volume.spec, pattern, volume.spec.mountOptions or ())
        if directory:
            named = volume.spec.claimRef
            yield UserVolume(
                name=objects.name(volume),
                claim=(named.namespace or "", named.name or "") if named else None,
                directory=directory,
                ours=volume_observe.owns_volume(owner, volume)
                and not volume_observe.names_elsewhere(owner, volume),
            )


def _mounted(
    pod: Any, by_claim: Mapping[tuple[str, str] | None, list[UserVolume]], pattern: re.Pattern[str]
) -> Iterator[tuple[str, UserVolume]]:
    """Yield the names of the pod's volumes that are on the file system, and what they show."""
    namespace, pod_name = objects.meta(pod).namespace or "", objects.name(pod)
    volumes: list[Any] = (pod.spec and pod.spec.volumes) or []
    for volume in volumes:
        claim = ""
        if volume.persistentVolumeClaim:
            claim = volume.persistentVolumeClaim.claimName
        elif volume.ephemeral:
            claim = f"{pod_name}-{volume.name}"
        if claim:
            for each in by_claim.get((namespace, claim), ()):
                yield volume.name, each
        elif directory := _directory(volume, pattern):
            yield volume.name, UserVolume(volume.name, None, directory, ours=False)


def _directory(source: Any, pattern: re.Pattern[str], options: Iterable[str] = ()) -> str:
    """Return the directory of the file system that a volume shows; "" if it is not on it."""
    kinds = [kind for kind in _SOURCES if getattr(source, kind, None)]
    texts = [text for kind in kinds for text in _texts(getattr(source, kind).to_dict())]
    addresses = map(_plain_address, texts)
    if not any(map(pattern.search, [*texts, *addresses, *(options if kinds else ())])):
        return ""
    if source.nfs:
        return _normal(source.nfs.path)
    if kinds == ["csi"] and source.csi.driver == _EFS_DRIVER:
        # file system[:directory[:access point]]; an access point has a directory of its own, and
        # so has the attribute of old volumes.
        _, _, rest = (getattr(source.csi, "volumeHandle", None) or "").partition(":")
        directory, _, access_point = rest.partition(":")
        if not access_point and "path" not in (source.csi.volumeAttributes or {}):
            return _normal(directory)
    return "/"


def _alternative(name: str) -> str:
    """Return the pattern of an id or address; an IPv6 address is no part of a longer one."""
    if ":" not in name:
        return re.escape(name)
    return rf"(?<![0-9a-f]:){re.escape(_plain_address(name) or name)}(?!:[0-9a-f])"


def _plain_address(text: str) -> str:
    """Return an address as AWS writes it; "" for what is none.

    The system's resolver takes an IPv4 address with fewer numbers too, with hexadecimal or octal
    ones, and as a part of an IPv6 address, which may have a zone.
    """
    try:
        address = ipaddress.IPv6Address(text.strip("[]").partition("%")[0])
        return str(address.ipv4_mapped or address)
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(text.rstrip(".")))
    except (OSError, ValueError):
        return ""


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a value that was decoded from JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        nested = cast("dict[str, Any] | list[Any]", value)
        for child in nested.values() if isinstance(nested, dict) else nested:
            yield from _texts(child)


def _seen(pod: Any, mounted: Sequence[tuple[str, UserVolume]]) -> Iterator[str]:
    """Yield the directories of the file system that the containers mount."""
    spec = pod.spec
    containers: list[Any] = [
        *(spec.initContainers or []),
        *spec.containers,
        *(spec.ephemeralContainers or []),
    ]
    for container in containers:
        mounts: list[Any] = container.volumeMounts or []
        for mount in mounts:
            # A subPathExpr is known only up to its first variable.
            expression = (mount.subPathExpr or "").partition("$(")[0].rpartition("/")[0]
            for name, volume in mounted:
                if mount.name == name:
                    yield _normal(f"{volume.directory}/{mount.subPath or expression}")


def _normal(path: str) -> str:
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")


def _overlap(one: str, other: str) -> bool:
    """Return whether two directories are the same, or one is in the other."""
    first, second = (_normal(path).rstrip("/") + "/" for path in (one, other))
    return first.startswith(second) or second.startswith(first)
