"""What there is, and what there shall be, of volumes and claims: plain values, no client."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import identity


@dataclasses.dataclass(frozen=True)
class DesiredVolumes:
    """What the user asked for.

    Attributes:
        server: The file system's DNS name.
        capacity: What each volume says it holds. EFS itself has no size.
        claim_capacity: What each claim asks for.
        claim_name: The claims' name.
        namespaces: Where there shall be a claim.
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
    """A volume and the claim that is bound to it: what one namespace shall have.

    Attributes:
        namespace: The claim's namespace.
        claim: The claim's name.
        volume: The volume's name.
        storage_class: The class that both name.
        capacity: What the volume holds.
        request: What the claim asks for.
        own: Whether it is the one for our Jobs.
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
        sound: Whether what can not be changed in it is as we make it.
        expands: Whether it allows claims to grow.
    """

    name: str
    sound: bool = True
    expands: bool = True


@dataclasses.dataclass(frozen=True)
class ObservedVolume:
    """A volume that is ours.

    Attributes:
        name: Its name.
        server: The NFS server.
        storage_class: Its class.
        mount_options: Its NFS options.
        capacity: What it says it holds.
        policy: Its reclaim policy.
        namespace: The namespace of the claim that it is for.
        claim: That claim's name.
        claim_uid: The claim that it is bound to, or was; "" for none yet.
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
        capacity: What its status says it has, "" until it is bound.
        request: What it asks for.
        storage_class: Its class.
        volume: The volume that it names.
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
        """Whether pods can use it."""
        return self.phase == "Bound" and not self.deleting


@dataclasses.dataclass(frozen=True)
class ObservedVolumes:
    """What is ours in the cluster, and the namespaces that matter.

    Attributes:
        namespaces: By name: those that exist of the wanted ones and our own.
        storage_classes: Our storage classes.
        volumes: Our volumes.
        claims: Our claims.
        users: The pods that use a claim, by its namespace and name; None where nobody looked.
    """

    namespaces: Mapping[str, ObservedNamespace] = dataclasses.field(
        default_factory=dict[str, ObservedNamespace]
    )
    storage_classes: tuple[ObservedStorageClass, ...] = ()
    volumes: tuple[ObservedVolume, ...] = ()
    claims: tuple[ObservedClaim, ...] = ()
    users: Mapping[tuple[str, str], tuple[str, ...]] | None = None


def desired_pairs(wanted: DesiredVolumes, owner: identity.Owner) -> Iterator[DesiredPair]:
    """The volumes and claims that there shall be, our own first.

    Args:
        wanted: What the user asked for.
        owner: Who we are.
    """
    # No class, no size worth changing: neither config nor a quota ever disturbs our Jobs' claim.
    yield DesiredPair(
        namespace=owner.application,
        claim=own_claim_name(owner),
        volume=volume_name(owner, owner.application),
        storage_class="",
        capacity="1Gi",
        request="1Gi",
        own=True,
    )
    for namespace in wanted.namespaces:
        yield DesiredPair(
            namespace=namespace,
            claim=wanted.claim_name,
            volume=volume_name(owner, namespace),
            storage_class=wanted.storage_class,
            capacity=wanted.capacity,
            request=wanted.claim_capacity,
        )


def own_claim_name(owner: identity.Owner) -> str:
    """The name of the claim that our Jobs mount, in the namespace named after the application.

    Args:
        owner: Who we are.
    """
    return owner.application


def volume_name(owner: identity.Owner, namespace: str) -> str:
    """The name of the volume for a namespace's claim: volumes of all models share one cluster.

    Args:
        owner: Who we are.
        namespace: The namespace.
    """
    return f"{owner.application}-{owner.short_model}-{namespace}"


def format_pods(pods: Sequence[str]) -> str:
    """Pods as a message names them: the first two, and how many more.

    Args:
        pods: Their names.
    """
    more = f" and {len(pods) - 2} more" if len(pods) > 2 else ""
    return f"pod {', '.join(pods[:2])}{more}"
