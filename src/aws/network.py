"""Observe the network: the VPC, its subnets, the instances. Read only."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING

import problems
from aws import answers, errors, security_groups

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import identity
    from aws import session

_MAX_FILTER_VALUES = 200
# The states of an IPv6 block that a subnet does not have, or is about to lose.
_GONE = ("associating", "disassociating", "disassociated", "failing", "failed")


@dataclasses.dataclass(frozen=True)
class Subnet:
    """A subnet of the VPC that has IPv4 addresses.

    Attributes:
        id: Its id.
        zone: The name of its availability zone.
        cidr: Its address range.
        free: The number of free addresses.
        ipv6_cidrs: Its IPv6 address ranges; none if it is not dual-stack.
    """

    id: str
    zone: str
    cidr: str
    free: int
    ipv6_cidrs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Instance:
    """The network properties of an EC2 instance."""

    id: str
    vpc_id: str
    subnet_id: str
    addresses: frozenset[str]
    groups: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class Network:
    """The VPC of the mount targets, existing or planned.

    Attributes:
        vpc_id: Its id.
        subnets: Its subnets, sorted by id.
        group: The security group in it that has the application's name.
        dns_support: Whether its DNS resolver is enabled.
        dns_hostnames: Whether its DNS resolves the names of mount targets.
        instances: The instances of units and nodes that were found, in any VPC.
    """

    vpc_id: str
    subnets: tuple[Subnet, ...]
    group: security_groups.SecurityGroup | None
    dns_support: bool
    dns_hostnames: bool
    instances: tuple[Instance, ...]


def observe(
    aws: session.Aws,
    owner: identity.Owner,
    *,
    instances: tuple[Instance, ...],
    vpc_id: str,
) -> Network:
    """Observe one VPC, with four API calls.

    Raises:
        problems.Blocked: There is no such VPC, or it has no subnet.
    """
    with errors.translated("look at the network"):
        subnets = tuple(sorted(_subnets(aws, vpc_id), key=lambda subnet: subnet.id))
        if not subnets:
            raise problems.Blocked(
                f"no VPC {vpc_id} with a subnet in {aws.region}: correct the option vpc"
            )
        named = security_groups.find_named(aws, owner)
        support = aws.ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsSupport")
        names = aws.ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute="enableDnsHostnames")
    return Network(
        vpc_id=vpc_id,
        subnets=subnets,
        group=next((group for group in named if group.vpc_id == vpc_id), None),
        dns_support=support["EnableDnsSupport"].get("Value", False),
        dns_hostnames=names["EnableDnsHostnames"].get("Value", False),
        instances=instances,
    )


def find_instances(
    aws: session.Aws,
    owner: identity.Owner,
    *,
    instance_ids: Collection[str],
    addresses: Collection[str],
) -> tuple[Instance, ...]:
    """Return the instances of nodes and units.

    Nodes name their instances. Without nodes there are only addresses, which are not unique
    across VPCs: they are searched among the instances that Juju tagged with the model's uuid.
    Where none of these has such an address (the units belong to another model), all instances of
    the model are returned: they at least show the VPC.
    """
    with errors.translated("look at the instances"):
        if instance_ids:
            chosen = sorted(instance_ids)
            return tuple(
                _sorted(
                    instance
                    for chunk in _chunks(chosen)
                    for instance in _instances(aws, "instance-id", chunk)
                )
            )
        of_model = _sorted(_instances(aws, "tag:juju-model-uuid", [owner.model_uuid]))
    matching = tuple(each for each in of_model if each.addresses & set(addresses))
    return matching or tuple(of_model)


def _subnets(aws: session.Aws, vpc_id: str) -> Iterator[Subnet]:
    pages = aws.ec2.get_paginator("describe_subnets").paginate(
        Filters=[{"Name": "vpc-id", "Values": [vpc_id]}]
    )
    for page in answers.bounded(pages):
        for subnet in page["Subnets"]:
            # Without a CIDR block it is IPv6 only; on an Outpost it cannot have a mount target.
            if (cidr := subnet.get("CidrBlock")) and not subnet.get("OutpostArn"):
                yield Subnet(
                    id=subnet.get("SubnetId", ""),
                    zone=subnet.get("AvailabilityZone", ""),
                    cidr=_checked_cidr(cidr),
                    free=subnet.get("AvailableIpAddressCount", 0),
                    ipv6_cidrs=tuple(
                        each.get("Ipv6CidrBlock", "")
                        for each in subnet.get("Ipv6CidrBlockAssociationSet", [])
                        if each.get("Ipv6CidrBlockState", {}).get("State") not in _GONE
                    ),
                )


def _checked_cidr(cidr: str) -> str:
    try:
        ipaddress.IPv4Network(cidr)
    except ValueError:
        raise answers.UnreadableAnswerError(kind=f"CidrBlock {cidr!r:.20}") from None
    return cidr


def _instances(aws: session.Aws, name: str, values: list[str]) -> Iterator[Instance]:
    pages = aws.ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": name, "Values": values}],
        PaginationConfig={"PageSize": 1000},
    )
    for page in answers.bounded(pages):
        for reservation in page["Reservations"]:
            for instance in reservation.get("Instances", []):
                if not instance.get("VpcId"):
                    continue  # it is terminated
                interfaces = instance.get("NetworkInterfaces", [])
                yield Instance(
                    id=instance.get("InstanceId", ""),
                    vpc_id=instance.get("VpcId", ""),
                    subnet_id=instance.get("SubnetId", ""),
                    addresses=frozenset(
                        {instance.get("PrivateIpAddress", "")}
                        | {
                            address.get("PrivateIpAddress", "")
                            for interface in interfaces
                            for address in interface.get("PrivateIpAddresses", [])
                        }
                        - {""}
                    ),
                    groups=frozenset(
                        group.get("GroupId", "") for group in instance.get("SecurityGroups", [])
                    ),
                )


def _sorted(instances: Iterator[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda instance: instance.id)


def _chunks(values: list[str]) -> Iterator[list[str]]:
    """Split the values into as few filters as EC2 allows."""
    for start in range(0, len(values), _MAX_FILTER_VALUES):
        yield values[start : start + _MAX_FILTER_VALUES]
