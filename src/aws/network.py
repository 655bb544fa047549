"""Observe the network: the VPC, its subnets, the security group, the instances. Read only."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import problems
from aws import errors, ownership

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import identity
    from aws import session

NFS_PORT = 2049
_MAX_FILTER_VALUES = 200


@dataclasses.dataclass(frozen=True)
class Subnet:
    """A subnet of the VPC that has IPv4 addresses.

    Attributes:
        id: Its id.
        zone: The name of its availability zone.
        cidr: Its address range.
        free: The number of free addresses.
    """

    id: str
    zone: str
    cidr: str
    free: int


@dataclasses.dataclass(frozen=True)
class Instance:
    """The network properties of an EC2 instance."""

    id: str
    vpc_id: str
    subnet_id: str
    addresses: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule of a security group: protocol, port range and one source that is let in.

    Attributes:
        protocol: tcp, udp, ...; -1 for all protocols.
        from_port: The first port; None where the protocol has none.
        to_port: The last port.
        source: A CIDR, or the id of a security group or prefix list.
    """

    protocol: str
    from_port: int | None
    to_port: int | None
    source: str

    @classmethod
    def nfs(cls, cidr: str) -> Rule:
        """Return the rule for NFS from a range of addresses, the only kind in use."""
        return cls("tcp", NFS_PORT, NFS_PORT, cidr)

    @classmethod
    def from_permission(cls, permission: Mapping[str, Any]) -> list[Rule]:
        """Return the rules in an EC2 permission, which has many sources."""
        sources = [
            *(entry.get("CidrIp") for entry in permission.get("IpRanges", [])),
            *(entry.get("CidrIpv6") for entry in permission.get("Ipv6Ranges", [])),
            *(entry.get("GroupId") for entry in permission.get("UserIdGroupPairs", [])),
            *(entry.get("PrefixListId") for entry in permission.get("PrefixListIds", [])),
        ]
        ports = permission.get("FromPort"), permission.get("ToPort")
        return [cls(permission.get("IpProtocol", "-1"), *ports, source) for source in sources]

    def to_permission(self) -> dict[str, Any]:
        """Return the rule as an EC2 permission."""
        permission: dict[str, Any] = {"IpProtocol": self.protocol}
        if self.from_port is not None:
            permission |= {"FromPort": self.from_port, "ToPort": self.to_port}
        if self.source.startswith("sg-"):
            permission["UserIdGroupPairs"] = [{"GroupId": self.source}]
        elif self.source.startswith("pl-"):
            permission["PrefixListIds"] = [{"PrefixListId": self.source}]
        elif ":" in self.source:
            permission["Ipv6Ranges"] = [{"CidrIpv6": self.source}]
        else:
            permission["IpRanges"] = [{"CidrIp": self.source}]
        return permission


@dataclasses.dataclass(frozen=True)
class SecurityGroup:
    """A security group that has the application's name or tags."""

    id: str
    vpc_id: str
    tags: Mapping[str, str]
    rules: frozenset[Rule]


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
    group: SecurityGroup | None
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
        named = find_groups(aws, {"group-name": ownership.group_name(owner)})
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


def find_groups(aws: session.Aws, filters: Mapping[str, str]) -> list[SecurityGroup]:
    """Return the security groups that match the filters."""
    pages = aws.ec2.get_paginator("describe_security_groups").paginate(
        Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()]
    )
    return [
        SecurityGroup(
            id=group.get("GroupId", ""),
            vpc_id=group.get("VpcId", ""),
            tags=ownership.from_list(group.get("Tags", [])),
            rules=frozenset(
                rule
                for permission in group.get("IpPermissions", [])
                for rule in Rule.from_permission(permission)
            ),
        )
        for page in pages
        for group in page["SecurityGroups"]
    ]


def find_own_groups(aws: session.Aws, owner: identity.Owner) -> list[SecurityGroup]:
    """Return the application's security groups in all VPCs."""
    with errors.translated("look at the security groups"):
        return find_groups(
            aws,
            {
                f"tag:{ownership.MODEL_TAG}": owner.model_uuid,
                f"tag:{ownership.APPLICATION_TAG}": owner.application,
            },
        )


def read_interface_groups(
    aws: session.Aws, interface_ids: Collection[str]
) -> dict[str, frozenset[str]]:
    """Return the security groups of each existing network interface."""
    if not interface_ids:
        return {}
    with errors.translated("look at the mount targets' interfaces"):
        pages = aws.ec2.get_paginator("describe_network_interfaces").paginate(
            Filters=[{"Name": "network-interface-id", "Values": sorted(interface_ids)}]
        )
        return {
            interface.get("NetworkInterfaceId", ""): frozenset(
                group.get("GroupId", "") for group in interface.get("Groups", [])
            )
            for page in pages
            for interface in page["NetworkInterfaces"]
        }


def _subnets(aws: session.Aws, vpc_id: str) -> Iterator[Subnet]:
    pages = aws.ec2.get_paginator("describe_subnets").paginate(
        Filters=[{"Name": "vpc-id", "Values": [vpc_id]}]
    )
    for page in pages:
        for subnet in page["Subnets"]:
            # Without a CIDR block it is IPv6 only; on an Outpost it cannot have a mount target.
            if subnet.get("CidrBlock") and not subnet.get("OutpostArn"):
                yield Subnet(
                    id=subnet.get("SubnetId", ""),
                    zone=subnet.get("AvailabilityZone", ""),
                    cidr=subnet.get("CidrBlock", ""),
                    free=subnet.get("AvailableIpAddressCount", 0),
                )


def _instances(aws: session.Aws, name: str, values: list[str]) -> Iterator[Instance]:
    pages = aws.ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": name, "Values": values}],
        PaginationConfig={"PageSize": 1000},
    )
    for page in pages:
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
                    ),
                )


def _sorted(instances: Iterator[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda instance: instance.id)


def _chunks(values: list[str]) -> Iterator[list[str]]:
    """Split the values into as few filters as EC2 allows."""
    for start in range(0, len(values), _MAX_FILTER_VALUES):
        yield values[start : start + _MAX_FILTER_VALUES]
