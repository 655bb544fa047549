"""The desired and the observed AWS resources as plain values; no I/O."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import identity
    import problems
    from aws import network, security_groups


@dataclasses.dataclass(frozen=True)
class ResourceRecord:
    """What the application recorded of its AWS resources, to notice the loss of one.

    Attributes:
        file_system_id: The file system, which must not be replaced by an empty one; "" for none.
        account_id: The AWS account that it is in.
        adopted: Whether the user named it in the option file-system-id.
        security_groups: The ids of the application's security groups.
        throughput: The throughput that the charm set last, as `format_throughput` has it.
        policies_set: The policies that the charm set last, as `DesiredFileSystem` has them.
        policies_seen: The policies as they were read last, in the same words.
        policies_seen_at: The time of that, in seconds of the epoch.
    """

    file_system_id: str = ""
    account_id: str = ""
    adopted: bool = False
    security_groups: tuple[str, ...] = ()
    throughput: str = ""
    policies_set: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    policies_seen: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    policies_seen_at: int = 0


@dataclasses.dataclass(frozen=True)
class ResourceKey:
    """What identifies the resources of an application.

    Attributes:
        owner: The application.
        option: The option file-system-id: the file system to adopt; "" for one of its own.
        record: What it recorded.
    """

    owner: identity.Owner
    option: str = ""
    record: ResourceRecord = dataclasses.field(default_factory=ResourceRecord)

    @property
    def adopted_id(self) -> str:
        """Return the file system that is adopted, never deleted; "" where it is the charm's own.

        A record counts more than the option, which may name another file system by now.
        """
        recorded = self.record.file_system_id
        if not recorded:
            return self.option
        return recorded if self.record.adopted or self.option == recorded else ""

    @property
    def changed(self) -> bool:
        """Return whether the option names another file system than the recorded one."""
        return bool(self.record.file_system_id) and self.option != self.adopted_id


@dataclasses.dataclass(frozen=True)
class DesiredFileSystem:
    """The file system that the configuration and the relations ask for.

    Attributes:
        key: What identifies it, and the security group.
        performance_mode: generalPurpose or maxIO; fixed at creation.
        zone: The zone of a One Zone file system, "" for a regional one; fixed at creation.
        throughput_mode: elastic, bursting or provisioned.
        encrypted: Whether it is encrypted at rest; fixed at creation.
        kms_key: The KMS key to encrypt it with, by id, ARN or alias; "" for AWS's own.
        tags: The user's tags.
        vpc_id: The option vpc; "" for the VPC of the instances.
        allow_cidrs: The option allow-cidrs: ranges that the security group allows, too.
        addresses: The private addresses of the related units and of the nodes.
        instance_ids: The instances of the nodes.
        throughput_mibps: The throughput of the mode provisioned; 0 for the others.
        node_zones: The availability zones of the nodes, as far as the cluster tells them.
        by_name: Whether it is mounted by its DNS name.
        node_instances: The instances of nodes by the nodes' addresses, which may be of a network
            of Juju's own, such as fan, that AWS does not know.
        policies: The options backup and lifecycle, by their names, if they are set.
        dual_stack: Whether new mount targets get an IPv6 address, too.
    """

    key: ResourceKey
    performance_mode: str
    throughput_mode: str
    encrypted: bool
    kms_key: str
    tags: Mapping[str, str]
    vpc_id: str
    allow_cidrs: frozenset[str]
    addresses: frozenset[str]
    instance_ids: frozenset[str]
    throughput_mibps: int = 0
    zone: str = ""
    node_zones: frozenset[str] = frozenset()
    by_name: bool = True
    node_instances: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    policies: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    dual_stack: bool = False

    @property
    def owner(self) -> identity.Owner:
        """Return the application."""
        return self.key.owner

    @property
    def throughput(self) -> str:
        """Return its throughput in words."""
        return format_throughput(self.throughput_mode, self.throughput_mibps)

    @property
    def mounted(self) -> bool:
        """Return whether there are units or nodes to mount it."""
        return bool(self.addresses or self.instance_ids)


@dataclasses.dataclass(frozen=True)
class FileSystem:
    """An EFS file system.

    Attributes:
        id: Its id.
        account_id: The AWS account that owns it.
        life_cycle: creating, available, updating, deleting, deleted or error.
        performance_mode: generalPurpose or maxIO.
        throughput_mode: elastic, bursting or provisioned.
        encrypted: Whether it is encrypted at rest.
        kms_key: The ARN of the KMS key; "" where it is not encrypted.
        size_bytes: The size that AWS last metered.
        tags: Its tags.
        zone: The zone of a One Zone file system; "" for a regional one.
        throughput_mibps: The throughput of the mode provisioned; 0 for the others.
        replica: Whether a replication writes to it, and nobody else can.
    """

    id: str
    account_id: str
    life_cycle: str
    performance_mode: str
    throughput_mode: str
    encrypted: bool
    kms_key: str
    size_bytes: int
    tags: Mapping[str, str]
    zone: str = ""
    replica: bool = False
    throughput_mibps: float = 0

    @property
    def throughput(self) -> str:
        """Return its throughput in words."""
        return format_throughput(self.throughput_mode, self.throughput_mibps)


@dataclasses.dataclass(frozen=True)
class MountTarget:
    """A mount target: the file system's network interface in one zone.

    Attributes:
        id: Its id.
        zone: The name of its availability zone.
        subnet_id: The subnet of its address.
        vpc_id: That subnet's VPC.
        address: Its IPv4 address; the IPv6 one where it has no other.
        life_cycle: creating, available, updating, deleting, deleted or error.
        interface_id: Its network interface; "" until it has one.
        groups: The interface's security groups; None if it has no interface yet.
        ipv6_address: Its IPv6 address; "" without one.
    """

    id: str
    zone: str
    subnet_id: str
    vpc_id: str
    address: str
    life_cycle: str
    interface_id: str
    groups: frozenset[str] | None
    ipv6_address: str = ""

    @property
    def mountable(self) -> bool:
        """Tell whether nodes can mount its address: an update does not affect mounts."""
        return self.life_cycle in ("available", "updating")


@dataclasses.dataclass(frozen=True)
class ObservedPolicies:
    """The policies that the options ask for, as AWS shows them or showed them within the hour.

    Attributes:
        seen: Each policy in the words of its option, by the option's name, as far as it is known.
        seen_at: The time of the observation, in seconds of the epoch.
        problems: The problems of reading them, which do not stop the rest.
    """

    seen: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    seen_at: int = 0
    problems: tuple[problems.Problem, ...] = ()


@dataclasses.dataclass(frozen=True)
class ObservedFileSystem:
    """The file system, its mount targets and their network as AWS shows them.

    Attributes:
        file_system: The adopted file system, or else the one with the application's creation
            token.
        mount_targets: Its mount targets, sorted by zone; not observed where there are no units or
            nodes to mount it.
        network: The VPC of the mount targets; None where there are no units or nodes.
        other_groups: The security groups of mount targets that the charm did not create, by id.
        policies: Its policies, as far as options ask for them.
    """

    file_system: FileSystem | None
    mount_targets: tuple[MountTarget, ...] = ()
    network: network.Network | None = None
    other_groups: Mapping[str, security_groups.SecurityGroup] = dataclasses.field(
        default_factory=dict[str, "security_groups.SecurityGroup"]
    )
    policies: ObservedPolicies = dataclasses.field(default_factory=ObservedPolicies)


def format_throughput(mode: str, mibps: float) -> str:
    """Return a throughput in words: `elastic`, or `provisioned 128`.

    Args:
        mode: The throughput mode.
        mibps: The throughput in MiB/s of the mode provisioned.
    """
    return f"{mode} {mibps:g}" if mode == "provisioned" else mode
