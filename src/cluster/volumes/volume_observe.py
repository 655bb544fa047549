"""Observe our volumes and claims, and the pods that use them, in a fixed number of calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightkube.resources import core_v1, storage_v1

import problems
from cluster import client, objects, ownership
from cluster.volumes import volume_names, volume_resources

if TYPE_CHECKING:
    import identity

ENFORCE = "pod-security.kubernetes.io/enforce"
# The annotation of our Jobs' volume that has the addresses of the mount targets.
ADDRESSES = "aws-efs/mount-target-addresses"

# Kubeflow Notebooks 2 mounts no claim without it. Its first version, and trainers, take any claim.
FOR_NOTEBOOKS = {"notebooks.kubeflow.org/can-mount": "true"}

_NAME = "kubernetes.io/metadata.name"
# The most namespaces that are asked for by name. The names are in a URL, and proxies in front of
# API servers refuse more than 8 KiB; for more namespaces, all are listed.
_MOST_NAMED = 50


@dataclasses.dataclass(frozen=True)
class ClaimUser:
    """A pod and the claims that it mounts.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        claims: The names of the claims that it mounts.
        ours: Whether it is the pod of a Job of ours, or of the provisioner.
    """

    namespace: str
    name: str
    claims: frozenset[str]
    ours: bool


def observe(
    cluster: client.Cluster,
    namespaces: Iterable[str],
    *,
    claims: Iterable[str] = (),
    storage_class: str = "",
) -> volume_resources.ObservedVolumes:
    """Observe our volumes: four calls, whatever the number of namespaces.

    There is one more call for each further name that claims of ours have.

    Args:
        cluster: The cluster.
        namespaces: The names of the namespaces to look up.
        claims: The names of the desired claims.
        storage_class: The name of the desired class.
    """
    owner = cluster.owner
    mark = ownership.mark(owner)
    wanted = set(namespaces)
    by_name = {_NAME: wanted} if len(wanted) <= _MOST_NAMED else {}
    found_namespaces = [
        each for each in cluster.select(core_v1.Namespace, by_name) if objects.name(each) in wanted
    ]
    found_classes = [
        each
        for each in cluster.select(storage_v1.StorageClass, mark)
        if (ownership.names_itself(each) or objects.name(each) == storage_class)
        # That of dynamic volumes goes with their provisioner.
        and each.provisioner != volume_names.provisioner_name(owner)
    ]
    found_volumes = [
        each for each in cluster.select(core_v1.PersistentVolume, mark) if owns_volume(owner, each)
    ]
    volumes = {objects.name(each): _volume(owner, each) for each in found_volumes}
    names = {*claims, *(volume.claim for volume in volumes.values() if volume.claim)}
    found_claims = [
        each
        for name in sorted(names)
        for each in cluster.select(
            core_v1.PersistentVolumeClaim, {}, fields={"metadata.name": name}
        )
        if _asks_for_ours(owner, each)
    ]
    asking = [_claim(owner, each, volumes) for each in found_claims]
    ours = [
        *(each for each in found_namespaces if ownership.is_marked(owner, each)),
        *found_classes,
        *found_volumes,
        *(each for each, claim in zip(found_claims, asking, strict=True) if claim.ours),
    ]
    return volume_resources.ObservedVolumes(
        namespaces={objects.name(each): _namespace(owner, each) for each in found_namespaces},
        storage_classes=tuple(_storage_class(owner, each) for each in found_classes),
        volumes=tuple(volumes.values()),
        claims=tuple(asking),
        references={key(each): each for each in map(objects.reference, ours)},
    )


def claim_labels(owner: identity.Owner, namespace: str) -> dict[str, str]:
    """Return the labels of a claim of ours.

    Args:
        owner: The application.
        namespace: The claim's namespace.
    """
    own = namespace == owner.application
    return ownership.labels(owner) | ({} if own else FOR_NOTEBOOKS)


def owns_volume(owner: identity.Owner, volume: Any) -> bool:
    """Return whether a volume is ours: by its marks, its name, and its kind.

    Args:
        owner: The application.
        volume: The volume.
    """
    return bool(
        ownership.is_marked(owner, volume)
        and volume_names.volume_namespace(owner, objects.name(volume))
        and volume.spec.nfs
    )


def names_elsewhere(owner: identity.Owner, volume: Any) -> str:
    """Return the claim in another namespace that a volume of ours was given to; "" for none.

    Args:
        owner: The application.
        volume: The volume.
    """
    named = volume.spec.claimRef
    made_for = volume_names.volume_namespace(owner, objects.name(volume))
    if named is None or not named.namespace or named.namespace == made_for:
        return ""
    return f"{named.namespace}/{named.name}"


def kept_addresses(owner: identity.Owner, volumes: Iterable[Any]) -> set[str]:
    """Return the addresses of mount targets that are kept with our Jobs' volume.

    Args:
        owner: The application.
        volumes: Volumes, ours and others.
    """
    ours = (_volume(owner, each) for each in volumes if owns_volume(owner, each))
    return {address for volume in ours for address in volume.addresses}


def find_own_server(cluster: client.Cluster) -> str:
    """Return the server of our Jobs' volume; "" where there is no such volume.

    Args:
        cluster: The cluster.
    """
    owner = cluster.owner
    name = volume_names.volume_name(owner, cluster.namespace)
    volume = cluster.find(core_v1.PersistentVolume, name)
    if volume is None or not owns_volume(owner, volume):
        return ""
    return _volume(owner, volume).server


def check_own_claim(cluster: client.Cluster, file_system_id: str) -> None:
    """Refuse to go on unless our Jobs' claim is bound to our volume, of the given file system.

    Args:
        cluster: The cluster.
        file_system_id: The file system.

    Raises:
        problems.Waiting: It is not, or not yet.
    """
    owner = cluster.owner
    name = volume_names.own_claim_name(owner)
    volume = cluster.find(
        core_v1.PersistentVolume, volume_names.volume_name(owner, cluster.namespace)
    )
    claim = cluster.find(core_v1.PersistentVolumeClaim, name, cluster.namespace)
    if volume is not None and claim is not None and owns_volume(owner, volume):
        observed = _volume(owner, volume)
        bound = (observed.claim, observed.claim_uid) == (name, objects.meta(claim).uid)
        by_name = volume_names.is_server_of(file_system_id, observed.server)
        by_address = (
            observed.file_system == file_system_id and observed.server in observed.addresses
        )
        if bound and (by_name or by_address):
            return
    raise problems.Waiting(
        f"claim {cluster.namespace}/{name} is not bound to {file_system_id} yet: see juju status"
    )


def list_claim_users(cluster: client.Cluster) -> list[ClaimUser]:
    """Return all pods of the cluster, finished ones included: they keep their claims in use.

    Args:
        cluster: The cluster.
    """
    return [_claim_user(cluster, pod) for pod in cluster.select(core_v1.Pod, {})]


def find_claim_users(cluster: client.Cluster) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the pods that use each claim, by its namespace and name.

    Args:
        cluster: The cluster.
    """
    users: dict[tuple[str, str], tuple[str, ...]] = {}
    for pod in list_claim_users(cluster):
        for claim in pod.claims:
            key = (pod.namespace, claim)
            users[key] = (*users.get(key, ()), pod.name)
    return users


def key(reference: objects.Reference) -> volume_resources.Key:
    """Return the kind, namespace and name of an object.

    Args:
        reference: The object.
    """
    return reference.kind.__name__, reference.namespace, reference.name


def _asks_for_ours(owner: identity.Owner, claim: Any) -> bool:
    namespace = claim.metadata.namespace
    return claim.spec.volumeName in {
        volume_names.volume_name(owner, namespace, view=view) for view in (False, True)
    }


# These functions take Any: lightkube leaves labels, capacities and requests untyped.


def _namespace(owner: identity.Owner, namespace: Any) -> volume_resources.ObservedNamespace:
    labels = objects.labels_of(namespace)
    return volume_resources.ObservedNamespace(
        name=namespace.metadata.name,
        ours=ownership.is_marked(owner, namespace),
        labelled=ownership.is_labelled(owner, namespace),
        terminating=namespace.metadata.deletionTimestamp is not None,
        enforce=labels.get(ENFORCE, ""),
        labels=labels,
    )


def _storage_class(owner: identity.Owner, resource: Any) -> volume_resources.ObservedStorageClass:
    fixed = (resource.provisioner, resource.volumeBindingMode, resource.reclaimPolicy)
    return volume_resources.ObservedStorageClass(
        name=resource.metadata.name,
        matches=fixed == ("kubernetes.io/no-provisioner", "Immediate", "Retain"),
        expands=resource.allowVolumeExpansion is True,
        labelled=ownership.is_labelled(owner, resource) and ownership.names_itself(resource),
    )


def _volume(owner: identity.Owner, volume: Any) -> volume_resources.ObservedVolume:
    spec = volume.spec
    namespace = volume_names.volume_namespace(owner, volume.metadata.name)
    named = spec.claimRef if spec.claimRef and spec.claimRef.namespace == namespace else None
    addresses = objects.annotations_of(volume).get(ADDRESSES, "")
    return volume_resources.ObservedVolume(
        name=volume.metadata.name,
        server=spec.nfs.server if spec.nfs else "",
        storage_class=spec.storageClassName or "",
        mount_options=tuple(spec.mountOptions or ()),
        capacity=objects.storage(spec.capacity),
        policy=spec.persistentVolumeReclaimPolicy or "",
        namespace=namespace,
        claim=(named and named.name) or "",
        claim_uid=(named and named.uid) or "",
        deleting=volume.metadata.deletionTimestamp is not None,
        labelled=ownership.is_labelled(owner, volume),
        addresses=tuple(filter(None, addresses.split(","))),
        file_system=objects.annotations_of(volume).get(ownership.FILE_SYSTEM, ""),
        path=spec.nfs.path if spec.nfs else "",
        view=volume_names.is_view(volume.metadata.name),
        vacant=spec.claimRef is None,
        elsewhere=names_elsewhere(owner, volume),
    )


def _claim(
    owner: identity.Owner, claim: Any, volumes: Mapping[str, volume_resources.ObservedVolume]
) -> volume_resources.ObservedClaim:
    spec, status = claim.spec, claim.status
    volume = volumes.get(spec.volumeName)
    labels = claim_labels(owner, claim.metadata.namespace)
    return volume_resources.ObservedClaim(
        namespace=claim.metadata.namespace,
        name=claim.metadata.name,
        phase=(status and status.phase) or "Pending",
        capacity=objects.storage(status and status.capacity),
        request=objects.storage(spec.resources and spec.resources.requests),
        storage_class=spec.storageClassName or "",
        volume=spec.volumeName or "",
        uid=claim.metadata.uid,
        deleting=claim.metadata.deletionTimestamp is not None,
        ours=bool(
            volume
            and volume.claim == claim.metadata.name
            and volume.claim_uid in ("", claim.metadata.uid)
        ),
        labelled=labels.items() <= objects.labels_of(claim).items(),
        view=volume_names.is_view(spec.volumeName or ""),
    )


def _claim_user(cluster: client.Cluster, pod: core_v1.Pod) -> ClaimUser:
    sources = [v.persistentVolumeClaim for v in (pod.spec and pod.spec.volumes) or []]
    return ClaimUser(
        namespace=objects.meta(pod).namespace or "",
        name=objects.name(pod),
        claims=frozenset(source.claimName for source in sources if source),
        ours=cluster.owns(pod) and bool(objects.job_uid(pod) or objects.replica_set_uid(pod)),
    )
