"""The desired and the observed AWS resources as plain values; no I/O."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import identity
    from aws import network


@dataclasses.dataclass(frozen=True)
class DesiredFileSystem:
    """The file system that the configuration and the relations ask for.

    Attributes:
        owner: The application that owns it.
        performance_mode: generalPurpose or maxIO; fixed at creation.
        throughput_mode: elastic or bursting.
        encrypted: Whether it is encrypted at rest; fixed at creation.
        kms_key: The KMS key to encrypt it with, by id, ARN or alias; "" for AWS's own.
        tags: The user's tags.
        vpc_id: The option vpc; "" for the VPC of the instances.
        addresses: The private addresses of the related units and of the nodes.
        instance_ids: The instances of the nodes.
        known_id: The recorded file system, which must not be replaced by an empty one; "" if none
            is recorded.
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
        """Return whether there are units or nodes to mount it."""
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
        """Return its name for people: the tag Name."""
        return self.tags.get("Name", "")


@dataclasses.dataclass(frozen=True)
class MountTarget:
    """A mount target: the file system's network interface in one zone.

    Attributes:
        id: Its id.
        zone: The name of its availability zone.
        subnet_id: The subnet of its address.
        vpc_id: That subnet's VPC.
        address: Its IPv4 address.
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
    """The file system, its mount targets and their network as AWS shows them.

    Attributes:
        file_system: The file system with the application's creation token.
        mount_targets: Its mount targets, sorted by zone; not observed where there are no units or
            nodes to mount it.
        network: The VPC of the mount targets; None where there are no units or nodes.
    """

    file_system: FileSystem | None
    mount_targets: tuple[MountTarget, ...] = ()
    network: network.Network | None = None
