"""Values for desired and observed volumes and claims; no client."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import problems
from cluster.volumes import volume_names

if TYPE_CHECKING:
    import identity
    from cluster import objects

# The kind, namespace and name of an object.
Key = tuple[str, str, str]

# The directories of the file system: the one of each namespace, and that of the data sets.
ROOT, NAMESPACES, DATASETS = "/", "/namespaces", "/datasets"
_OWN_SIZE = "1Gi"


@dataclasses.dataclass(frozen=True)
class DesiredVolumes:
    """The volumes and claims that the options ask for.

    Attributes:
        server: The file system's DNS name, or the address of a mount target.
        capacity: The nominal capacity of each volume. EFS itself has no size.
        claim_capacity: The request of each claim.
        claim_name: The claims' name.
        namespaces: The namespaces that get a claim.
        storage_class: The name of our storage class.
        mount_options: The volumes' NFS options.
        addresses: The addresses of the mount targets. They are kept with our Jobs' volume, so that
            volumes of others that name an address are known as users of the file system.
        file_system: The file system's id; it is kept with our Jobs' volume, whose server may be
            an address.
        isolated: Whether each namespace has a directory of its own, and a second, read-only claim
            with the data sets; else each claim has the whole file system.
    """

    server: str
    capacity: str
    claim_capacity: str
    claim_name: str
    namespaces: tuple[str, ...]
    storage_class: str
    mount_options: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    file_system: str = ""
    isolated: bool = False


@dataclasses.dataclass(frozen=True)
class DesiredPair:
    """A desired volume of one namespace and the claim that is bound to it.

    Attributes:
        namespace: The claim's namespace.
        claim: The claim's name.
        volume: The volume's name.
        storage_class: The class of both.
        capacity: The volume's capacity.
        request: The claim's request.
        own: Whether it is the pair for our Jobs.
        addresses: The addresses that are kept with the volume.
        file_system: The file system that is kept with it.
        path: The directory of the file system that the volume shows.
        view: Whether it is the read-only pair with the data sets.
    """

    namespace: str
    claim: str
    volume: str
    storage_class: str
    capacity: str
    request: str
    own: bool = False
    addresses: tuple[str, ...] = ()
    file_system: str = ""
    path: str = ROOT
    view: bool = False

    @property
    def group(self) -> str:
        """Return what its steps and problems are grouped by."""
        return volume_names.group(self.namespace, view=self.view)


@dataclasses.dataclass(frozen=True)
class ObservedNamespace:
    """A namespace that exists.

    Attributes:
        name: Its name.
        ours: Whether it carries our marks.
        labelled: Whether it carries all our labels.
        terminating: Whether it is being deleted.
        enforce: The pod security level that it enforces.
        labels: Its labels.
    """

    name: str
    ours: bool = False
    labelled: bool = True
    terminating: bool = False
    enforce: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


@dataclasses.dataclass(frozen=True)
class ObservedStorageClass:
    """A storage class that is ours.

    Attributes:
        name: Its name.
        matches: Whether its immutable fields are as we make them.
        expands: Whether it allows claims to grow.
        labelled: Whether it carries all our labels, and its own name.
    """

    name: str
    matches: bool = True
    expands: bool = True
    labelled: bool = True


@dataclasses.dataclass(frozen=True)
class ObservedVolume:
    """A volume that is ours.

    Attributes:
        name: Its name.
        server: The NFS server.
        storage_class: Its class.
        mount_options: Its NFS options.
        capacity: Its nominal capacity.
        policy: Its reclaim policy.
        namespace: The namespace that it was made for, as its name has it.
        claim: The name of its claim; "" if it names none in that namespace.
        claim_uid: The uid of the claim that it is or was bound to; "" for none yet.
        deleting: Whether it is being deleted.
        labelled: Whether it carries all our labels.
        addresses: The addresses that are kept with it.
        file_system: The file system that is kept with it.
        path: The directory of the file system that it shows.
        view: Whether it was made for the read-only claim with the data sets.
        vacant: Whether it names no claim at all, since somebody removed the reference.
        elsewhere: The claim in another namespace that somebody gave it to; "" for none.
    """

    name: str
    server: str
    storage_class: str
    mount_options: tuple[str, ...]
    capacity: str
    policy: str
    namespace: str
    claim: str
    claim_uid: str = ""
    deleting: bool = False
    labelled: bool = True
    addresses: tuple[str, ...] = ()
    file_system: str = ""
    path: str = ROOT
    view: bool = False
    vacant: bool = False
    elsewhere: str = ""

    @property
    def group(self) -> str:
        """Return what its steps and problems are grouped by."""
        return volume_names.group(self.namespace, view=self.view)


@dataclasses.dataclass(frozen=True)
class ObservedClaim:
    """A claim in a namespace of one of our volumes, which asks for that volume.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        phase: Pending, Bound or Lost.
        capacity: The capacity in its status, "" until it is bound.
        request: Its request.
        storage_class: Its class.
        volume: The volume in its spec.
        uid: Its uid.
        deleting: Whether it is being deleted.
        ours: Whether the volume names it with its uid, or names it and was never bound. If not,
            it may only be bound: it was made again, or its volume was.
        labelled: Whether it carries all our labels.
        view: Whether its volume is the read-only one with the data sets.
    """

    namespace: str
    name: str
    phase: str
    capacity: str
    request: str = ""
    storage_class: str = ""
    volume: str = ""
    uid: str = ""
    deleting: bool = False
    ours: bool = True
    labelled: bool = True
    view: bool = False

    @property
    def group(self) -> str:
        """Return what its steps and problems are grouped by."""
        return volume_names.group(self.namespace, view=self.view)

    @property
    def bound(self) -> bool:
        """Tell whether pods can use it."""
        return self.phase == "Bound" and not self.deleting


_Grouped = TypeVar("_Grouped", ObservedVolume, ObservedClaim)


@dataclasses.dataclass(frozen=True)
class ObservedVolumes:
    """Our objects in the cluster, and the namespaces of the desired claims.

    Attributes:
        namespaces: The existing ones of the desired namespaces and our own, by name.
        storage_classes: Our storage classes.
        volumes: Our volumes.
        claims: The claims that ask for one of our volumes, each in the volume's namespace.
        users: The pods that use a claim, by its namespace and name; None if not observed.
        references: The references to those of these objects that are ours.
    """

    namespaces: Mapping[str, ObservedNamespace] = dataclasses.field(
        default_factory=dict[str, ObservedNamespace]
    )
    storage_classes: tuple[ObservedStorageClass, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()
    claims: tuple[ObservedClaim, ...] = ()
    users: Mapping[tuple[str, str], tuple[str, ...]] | None = None
    references: Mapping[Key, objects.Reference] = dataclasses.field(
        default_factory=dict[Key, "objects.Reference"]
    )

    @functools.cached_property
    def own_claims(self) -> tuple[ObservedClaim, ...]:
        """Return the claims that are ours."""
        return tuple(claim for claim in self.claims if claim.ours)

    @functools.cached_property
    def volumes_by_group(self) -> Mapping[str, Sequence[ObservedVolume]]:
        """Return our volumes by the group of their claim."""
        return _by_group(self.volumes)

    @functools.cached_property
    def claims_by_group(self) -> Mapping[str, Sequence[ObservedClaim]]:
        """Return the claims that ask for our volumes, by group."""
        return _by_group(self.claims)


def _by_group(observed: Iterable[_Grouped]) -> Mapping[str, Sequence[_Grouped]]:
    found = collections.defaultdict[str, list[_Grouped]](list)
    for each in observed:
        found[each.group].append(each)
    return dict(found)


def desired_pairs(desired: DesiredVolumes, owner: identity.Owner) -> Iterator[DesiredPair]:
    """Yield the desired pairs of volume and claim, our own first.

    Args:
        desired: The desired volumes.
        owner: The application.
    """
    # Neither options nor quotas affect our Jobs' claim: it has no class, and a fixed size.
    yield DesiredPair(
        namespace=owner.application,
        claim=volume_names.own_claim_name(owner),
        volume=volume_names.volume_name(owner, owner.application),
        storage_class="",
        capacity=_OWN_SIZE,
        request=_OWN_SIZE,
        own=True,
        addresses=desired.addresses,
        file_system=desired.file_system,
    )
    for namespace in desired.namespaces:
        yield DesiredPair(
            namespace=namespace,
            claim=desired.claim_name,
            volume=volume_names.volume_name(owner, namespace),
            storage_class=desired.storage_class,
            capacity=desired.capacity,
            request=desired.claim_capacity,
            path=f"{NAMESPACES}/{namespace}" if desired.isolated else ROOT,
        )
        if desired.isolated:
            yield DesiredPair(
                namespace=namespace,
                claim=volume_names.view_claim_name(desired.claim_name),
                volume=volume_names.volume_name(owner, namespace, view=True),
                storage_class=desired.storage_class,
                capacity=_OWN_SIZE,
                request=_OWN_SIZE,
                path=DATASETS,
                view=True,
            )


def given_away(volume: str, claim: str) -> problems.Blocked:
    """Return the problem that a volume of ours is bound to a claim in another namespace.

    Args:
        volume: The volume's name.
        claim: The claim's namespace and name.
    """
    return problems.Blocked(f"volume {volume} was given to claim {claim}: delete that claim")


def format_pods(pods: Sequence[str]) -> str:
    """Return pods as a message names them: the first two, and the number of others.

    Args:
        pods: Their names.
    """
    return f"pod {problems.name_some(pods, 2)}"
