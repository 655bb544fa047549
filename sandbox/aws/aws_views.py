"""The resources of the sandbox's AWS as plain values for tests to compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sandbox.aws import aws_resources


@dataclasses.dataclass(frozen=True)
class Vpc:
    """A VPC.

    Attributes:
        id: The VPC's id.
        cidr: Its address range.
        subnets: The id of one subnet per zone.
    """

    id: str
    cidr: str
    subnets: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class FileSystem:
    """An existing file system, including one that is being deleted."""

    id: str
    state: str
    creation_token: str
    performance_mode: str
    throughput_mode: str
    encrypted: bool
    kms_key: str
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class MountTarget:
    """An existing mount target, including one that is being deleted."""

    id: str
    file_system_id: str
    state: str
    zone: str
    subnet_id: str
    vpc_id: str
    address: str
    security_groups: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SecurityGroup:
    """A security group.

    Attributes:
        id: The group's id.
        name: The group's name.
        vpc_id: The id of its VPC.
        tags: The group's tags.
        rules: The ingress rules: protocol, first port, last port, and a CIDR or a group's id.
    """

    id: str
    name: str
    vpc_id: str
    tags: Mapping[str, str]
    rules: frozenset[tuple[str, int | None, int | None, str]]


def file_systems(region: aws_resources.Region) -> tuple[FileSystem, ...]:
    """Return every file system."""
    return tuple(
        FileSystem(
            id=each.file_system_id,
            state=each.life_cycle_state,
            creation_token=each.creation_token,
            performance_mode=each.performance_mode,
            throughput_mode=each.throughput_mode,
            encrypted=each.encrypted,
            kms_key=each.kms_key_id or "",
            tags={
                tag["Key"]: tag["Value"]
                for tag in region.efs.list_tags_for_resource(each.file_system_id)
            },
        )
        for each in region.efs.file_systems_by_id.values()
    )


def mount_targets(region: aws_resources.Region, file_system_id: str) -> tuple[MountTarget, ...]:
    """Return the mount targets of one file system, or of all for ""."""
    return tuple(
        MountTarget(
            id=each.mount_target_id,
            file_system_id=each.file_system_id,
            state=each.life_cycle_state,
            zone=each.availability_zone_name,
            subnet_id=each.subnet_id,
            vpc_id=each.vpc_id,
            address=each.ip_address,
            security_groups=tuple(each.security_groups or ()),
        )
        for each in region.efs.mount_targets_by_id.values()
        if file_system_id in ("", each.file_system_id)
    )


def security_groups(region: aws_resources.Region, vpc_id: str) -> tuple[SecurityGroup, ...]:
    """Return the security groups of one VPC, or of all for "", without the default groups."""
    return tuple(
        SecurityGroup(
            id=each.id,
            name=each.name,
            vpc_id=each.vpc_id or "",
            tags={tag["key"]: tag["value"] for tag in each.get_tags()},
            rules=frozenset(
                (
                    str(rule.ip_protocol),
                    rule.from_port,
                    rule.to_port,
                    rule.ip_range.get("CidrIp") or rule.source_group.get("GroupId", ""),
                )
                for rule in each.ingress_rules
            ),
        )
        for each in region.ec2.describe_security_groups()
        if vpc_id in ("", each.vpc_id) and not each.is_default
    )


def interfaces(region: aws_resources.Region) -> tuple[str, ...]:
    """Return the ids of EFS's network interfaces, including those not yet released."""
    all_interfaces = region.ec2.get_all_network_interfaces()
    return tuple(each.id for each in all_interfaces if each.requester_managed)
