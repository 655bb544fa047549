"""What is there: the VPC, its subnets, our security group, the machines. It only looks."""

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
_MOST_FILTER_VALUES = 200


@dataclasses.dataclass(frozen=True)
class Subnet:
    """A subnet of the VPC that has IPv4 addresses.

    Attributes:
        id: Its id.
        zone: The name of its availability zone.
        cidr: Its addresses.
        free: How many of them are free.
    """

    id: str
    zone: str
    cidr: str
    free: int


@dataclasses.dataclass(frozen=True)
class Instance:
    """A machine, as far as the network matters."""

    id: str
    vpc_id: str
    subnet_id: str
    addresses: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One thing that a security group lets in: a protocol, a range of ports, and one source.

    Attributes:
        protocol: tcp, udp, ...; -1 for all.
        from_port: The first port; None where the protocol has none.
        to_port: The last port.
        source: A CIDR, a group's id or a prefix list's.
    """

    protocol: str
    from_port: int | None
    to_port: int | None
    source: str

    @classmethod
    def nfs(cls, cidr: str) -> Rule:
        """NFS from these addresses: the only kind of rule that we make."""
        return cls("tcp", NFS_PORT, NFS_PORT, cidr)

    @classmethod
    def read(cls, permission: Mapping[str, Any]) -> list[Rule]:
        """The rules in what EC2 calls a permission, which has many sources."""
        sources = [
            *(entry.get("CidrIp") for entry in permission.get("IpRanges", [])),
            *(entry.get("CidrIpv6") for entry in permission.get("Ipv6Ranges", [])),
            *(entry.get("GroupId") for entry in permission.get("UserIdGroupPairs", [])),
            *(entry.get("PrefixListId") for entry in permission.get("PrefixListIds", [])),
        ]
        ports = permission.get("FromPort"), permission.get("ToPort")
        return [cls(permission.get("IpProtocol", "-1"), *ports, source) for source in sources]

    def permission(self) -> dict[str, Any]:
        """The rule as EC2 takes it."""
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
    """A security group that has our name or our tags."""

    id: str
    vpc_id: str
    tags: Mapping[str, str]
    rules: frozenset[Rule]


@dataclasses.dataclass(frozen=True)
class Network:
    """The VPC that the file system is, or will be, mounted in.

    Attributes:
        vpc_id: Its id.
        subnets: Its subnets, in the order of their ids.
        group: The security group in it that has our name.
        dns_support: Whether its resolver answers.
        dns_hostnames: Whether it knows the mount targets' names.
        instances: The units' and nodes' machines that were found, in any VPC.
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
    """Look at one VPC, in four reads.

    Raises:
        problems.Blocked: There is no such VPC, or it has no subnet.
    """
    with errors.translated("look at the network"):
        subnets = tuple(sorted(_subnets(aws, vpc_id), key=lambda subnet: subnet.id))
        if not subnets:
            raise problems.Blocked(
                f"{vpc_id} has no subnet in {aws.region}, if it exists: correct the option vpc"
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
    """The machines of nodes and units.

    Nodes name their instances. Without nodes there are only addresses, which repeat across VPCs:
    so they are looked for among the machines that Juju tagged with this model's uuid. Where none
    of them has such an address (the units are of another model), all the model's machines are the
    answer: they tell the VPC at least.
    """
    with errors.translated("look at the instances"):
        if instance_ids:
            chosen = sorted(instance_ids)
            return tuple(
                _sorted(
                    found
                    for part in _chunks(chosen)
                    for found in _instances(aws, "instance-id", part)
                )
            )
        of_model = _sorted(_instances(aws, "tag:juju-model-uuid", [owner.model_uuid]))
    return tuple(one for one in of_model if one.addresses & set(addresses)) or tuple(of_model)


def find_groups(aws: session.Aws, filters: Mapping[str, str]) -> list[SecurityGroup]:
    """The security groups that match."""
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
                for rule in Rule.read(permission)
            ),
        )
        for page in pages
        for group in page["SecurityGroups"]
    ]


def find_own_groups(aws: session.Aws, owner: identity.Owner) -> list[SecurityGroup]:
    """The security groups that we made, in whatever VPC."""
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
    """The security groups of each interface that exists."""
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
            # One without is for IPv6 only; one on an Outpost takes no mount target.
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


def _sorted(found: Iterator[Instance]) -> list[Instance]:
    return sorted(found, key=lambda instance: instance.id)


def _chunks(values: list[str]) -> Iterator[list[str]]:
    """The values in as few filters as EC2 allows."""
    for start in range(0, len(values), _MOST_FILTER_VALUES):
        yield values[start : start + _MOST_FILTER_VALUES]
