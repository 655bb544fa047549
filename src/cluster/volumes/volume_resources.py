"""Values for desired and observed volumes and claims; no client."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import identity


@dataclasses.dataclass(frozen=True)
class DesiredVolumes:
    """The volumes and claims that the options ask for.

    Attributes:
        server: The file system's DNS name.
        capacity: The nominal capacity of each volume. EFS itself has no size.
        claim_capacity: The request of each claim.
        claim_name: The claims' name.
        namespaces: The namespaces that get a claim.
        storage_class: The name of our storage class.
        mount_options: The volumes' NFS options.
    """

    server: str
    capacity: str
    claim_capacity: str
    claim_name: str
    namespaces: tuple[str, ...]
    storage_class: str
    mount_options: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class DesiredPair:
    """The desired volume of one namespace and the claim that is bound to it.

    Attributes:
        namespace: The claim's namespace.
        claim: The claim's name.
        volume: The volume's name.
        storage_class: The class of both.
        capacity: The volume's capacity.
        request: The claim's request.
        own: Whether it is the pair for our Jobs.
    """

    namespace: str
    claim: str
    volume: str
    storage_class: str
    capacity: str
    request: str
    own: bool = False


@dataclasses.dataclass(frozen=True)
class ObservedNamespace:
    """A namespace that exists.

    Attributes:
        name: Its name.
        ours: Whether it carries our labels.
        terminating: Whether it is being deleted.
        enforce: The pod security level that it enforces.
    """

    name: str
    ours: bool = False
    terminating: bool = False
    enforce: str = ""


@dataclasses.dataclass(frozen=True)
class ObservedStorageClass:
    """A storage class that is ours.

    Attributes:
        name: Its name.
        matches: Whether its immutable fields are as we make them.
        expands: Whether it allows claims to grow.
    """

    name: str
    matches: bool = True
    expands: bool = True


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
        namespace: The namespace of its claim.
        claim: The name of its claim.
        claim_uid: The uid of the claim that it is or was bound to; "" for none yet.
        deleting: Whether it is being deleted.
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


@dataclasses.dataclass(frozen=True)
class ObservedClaim:
    """A claim that is ours.

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

    @property
    def bound(self) -> bool:
        """Tell whether pods can use it."""
        return self.phase == "Bound" and not self.deleting


@dataclasses.dataclass(frozen=True)
class ObservedVolumes:
    """Our objects in the cluster, and the namespaces of the desired claims.

    Attributes:
        namespaces: The existing ones of the desired namespaces and our own, by name.
        storage_classes: Our storage classes.
        volumes: Our volumes.
        claims: Our claims.
        users: The pods that use a claim, by its namespace and name; None if not observed.
    """

    namespaces: Mapping[str, ObservedNamespace] = dataclasses.field(
        default_factory=dict[str, ObservedNamespace]
    )
    storage_classes: tuple[ObservedStorageClass, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()
    claims: tuple[ObservedClaim, ...] = ()
    users: Mapping[tuple[str, str], tuple[str, ...]] | None = None


def desired_pairs(desired: DesiredVolumes, owner: identity.Owner) -> Iterator[DesiredPair]:
    """Yield the desired pairs of volume and claim, our own first.

    Args:
        desired: The desired volumes.
        owner: The application.
    """
    # Neither options nor quotas affect our Jobs' claim: it has no class, and a fixed size.
    yield DesiredPair(
        namespace=owner.application,
        claim=own_claim_name(owner),
        volume=volume_name(owner, owner.application),
        storage_class="",
        capacity="1Gi",
        request="1Gi",
        own=True,
    )
    for namespace in desired.namespaces:
        yield DesiredPair(
            namespace=namespace,
            claim=desired.claim_name,
            volume=volume_name(owner, namespace),
            storage_class=desired.storage_class,
            capacity=desired.capacity,
            request=desired.claim_capacity,
        )


def own_claim_name(owner: identity.Owner) -> str:
    """Return the name of our Jobs' claim, which is in the namespace of the same name.

    Args:
        owner: The application.
    """
    return owner.application


def volume_name(owner: identity.Owner, namespace: str) -> str:
    """Return the name of a namespace's volume; it differs between models that share a cluster.

    Args:
        owner: The application.
        namespace: The namespace.
    """
    return f"{owner.application}-{owner.short_model}-{namespace}"


def format_pods(pods: Sequence[str]) -> str:
    """Return pods as a message names them: the first two, and the number of others.

    Args:
        pods: Their names.
    """
    more = f" and {len(pods) - 2} more" if len(pods) > 2 else ""
    return f"pod {', '.join(pods[:2])}{more}"
