"""What is wanted of AWS and what is found there: plain values, no I/O."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import identity
    from aws import network


@dataclasses.dataclass(frozen=True)
class DesiredFileSystem:
    """What the configuration and the relations ask for.

    Attributes:
        owner: Whose it is.
        performance_mode: generalPurpose or maxIO; fixed at creation.
        throughput_mode: elastic or bursting.
        encrypted: Whether it is encrypted at rest; fixed at creation.
        kms_key: The key to encrypt it with, by id, ARN or alias; "" for AWS's own.
        tags: The user's tags.
        vpc_id: The option vpc; "" to find it by the machines.
        addresses: The private addresses of the related units and of the nodes.
        instance_ids: The nodes' instances.
        known_id: The file system that is on record, which must not be replaced by an empty one;
            "" if there is none.
    """

    owner: identity.Owner
    performance_mode: str
    throughput_mode: str
    encrypted: bool
    kms_key: str
    tags: Mapping[str, str]
    vpc_id: str
    addresses: frozenset[str]
    instance_ids: frozenset[str]
    known_id: str

    @property
    def mounted(self) -> bool:
        """Whether there is anybody to mount it."""
        return bool(self.addresses or self.instance_ids)


@dataclasses.dataclass(frozen=True)
class FileSystem:
    """An EFS file system."""

    id: str
    life_cycle: str
    performance_mode: str
    throughput_mode: str
    encrypted: bool
    kms_key: str
    size_bytes: int
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.tags.get("Name", "")


@dataclasses.dataclass(frozen=True)
class MountTarget:
    """The file system's address in one zone.

    Attributes:
        id: Its id.
        zone: The name of its availability zone.
        subnet_id: The subnet that its address is of.
        vpc_id: That subnet's VPC.
        address: The address.
        life_cycle: creating, available, updating, deleting, deleted or error.
        interface_id: Its network interface; "" until it has one.
        groups: The interface's security groups; None if it has no interface yet.
    """

    id: str
    zone: str
    subnet_id: str
    vpc_id: str
    address: str
    life_cycle: str
    interface_id: str
    groups: frozenset[str] | None


@dataclasses.dataclass(frozen=True)
class ObservedFileSystem:
    """All that was found.

    Attributes:
        file_system: The file system that has our creation token.
        mount_targets: Its mount targets, in the order of their zones; not looked for where nobody
            is there to mount it.
        network: The VPC of the units; None where nobody is there to mount it.
    """

    file_system: FileSystem | None
    mount_targets: tuple[MountTarget, ...] = ()
    network: network.Network | None = None
