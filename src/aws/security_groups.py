"""Observe security groups: their rules, and the network interfaces that are in them. Read only."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from aws import answers, errors, ownership

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import identity
    from aws import session

NFS_PORT = 2049


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule of a security group: protocol, port range and one source that is let in.

    Attributes:
        protocol: tcp, udp, ...; -1 for all protocols.
        from_port: The first port; None where the protocol has none.
        to_port: The last port.
        source: A CIDR, or the id of a security group or prefix list.
        account_id: The account of that security group; "" for other sources.
    """

    protocol: str
    from_port: int | None
    to_port: int | None
    source: str
    account_id: str = ""

    @classmethod
    def nfs(cls, cidr: str) -> Rule:
        """Return the rule for NFS from a range of addresses, the only kind in use."""
        return cls("tcp", NFS_PORT, NFS_PORT, cidr)

    @classmethod
    def from_permission(cls, permission: Mapping[str, Any]) -> list[Rule]:
        """Return the rules in an EC2 permission, which has many sources."""
        pairs = permission.get("UserIdGroupPairs", [])
        sources = [
            *((entry["CidrIp"], "") for entry in permission.get("IpRanges", [])),
            *((entry["CidrIpv6"], "") for entry in permission.get("Ipv6Ranges", [])),
            *((entry["GroupId"], entry.get("UserId", "")) for entry in pairs),
            *((entry["PrefixListId"], "") for entry in permission.get("PrefixListIds", [])),
        ]
        ports = permission.get("FromPort"), permission.get("ToPort")
        return [cls(permission.get("IpProtocol", "-1"), *ports, *source) for source in sources]

    def to_permission(self) -> dict[str, Any]:
        """Return the rule as an EC2 permission."""
        permission: dict[str, Any] = {"IpProtocol": self.protocol}
        if self.from_port is not None:
            permission |= {"FromPort": self.from_port, "ToPort": self.to_port}
        if self.source.startswith("sg-"):
            pair = {"GroupId": self.source, "UserId": self.account_id}
            permission["UserIdGroupPairs"] = [{key: text for key, text in pair.items() if text}]
        elif self.source.startswith("pl-"):
            permission["PrefixListIds"] = [{"PrefixListId": self.source}]
        elif ":" in self.source:
            permission["Ipv6Ranges"] = [{"CidrIpv6": self.source}]
        else:
            permission["IpRanges"] = [{"CidrIp": self.source}]
        return permission

    def describe(self) -> str:
        """Return the rule in words: "tcp 22 from 0.0.0.0/0"."""
        protocol = "all traffic" if self.protocol == "-1" else self.protocol
        if self.from_port is None:
            ports = ""
        elif self.from_port == self.to_port:
            ports = f" {self.from_port}"
        else:
            ports = f" {self.from_port}-{self.to_port}"
        return f"{protocol}{ports} from {self.source}"

    def covers_nfs(self) -> bool:
        """Return whether the rule's protocol and ports include those of NFS."""
        if self.protocol == "-1":
            return True
        if self.protocol != "tcp" or self.from_port is None or self.to_port is None:
            return False
        return self.from_port <= NFS_PORT <= self.to_port


@dataclasses.dataclass(frozen=True)
class SecurityGroup:
    """A security group.

    Attributes:
        id: Its id.
        vpc_id: Its VPC.
        name: Its name, unique in the VPC; it cannot be changed.
        description: Its description; it cannot be changed.
        tags: Its tags.
        rules: Its rules for incoming traffic.
    """

    id: str
    vpc_id: str
    name: str
    description: str
    tags: Mapping[str, str]
    rules: frozenset[Rule]


@dataclasses.dataclass(frozen=True)
class Interface:
    """A network interface.

    Attributes:
        id: Its id.
        description: Its description, which the service that made it has set.
        of_service: Whether an AWS service made it, as EFS does for mount targets.
    """

    id: str
    description: str
    of_service: bool


def find(aws: session.Aws, filters: Mapping[str, Collection[str]]) -> list[SecurityGroup]:
    """Return the security groups that match all the filters, each by one of its values."""
    pages = aws.ec2.get_paginator("describe_security_groups").paginate(
        Filters=[{"Name": name, "Values": sorted(values)} for name, values in filters.items()]
    )
    return [
        SecurityGroup(
            id=group.get("GroupId", ""),
            vpc_id=group.get("VpcId", ""),
            name=group.get("GroupName", ""),
            description=group.get("Description", ""),
            tags=ownership.from_list(group.get("Tags", [])),
            rules=frozenset(
                rule
                for permission in group.get("IpPermissions", [])
                for rule in Rule.from_permission(permission)
            ),
        )
        for page in answers.bounded(pages)
        for group in page["SecurityGroups"]
    ]


def find_tagged(aws: session.Aws, owner: identity.Owner) -> list[SecurityGroup]:
    """Return the security groups in all VPCs that carry the application's tags, ours or not."""
    with errors.translated("look at the security groups"):
        return find(
            aws,
            {
                f"tag:{ownership.MODEL_TAG}": [owner.model_uuid],
                f"tag:{ownership.APPLICATION_TAG}": [owner.application],
            },
        )


def find_named(aws: session.Aws, owner: identity.Owner) -> list[SecurityGroup]:
    """Return the security groups in all VPCs that have the application's name, ours or not."""
    with errors.translated("look at the security groups"):
        return find(aws, {"group-name": [ownership.group_name(owner)]})


def find_naming(aws: session.Aws, group_id: str) -> list[SecurityGroup]:
    """Return the security groups with a rule, in or out, whose other end is this group."""
    with errors.translated("look at the security groups"):
        found = find(aws, {"ip-permission.group-id": [group_id]})
        found += find(aws, {"egress.ip-permission.group-id": [group_id]})
    return list({group.id: group for group in found if group.id != group_id}.values())


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
            for page in answers.bounded(pages)
            for interface in page["NetworkInterfaces"]
        }


def find_interfaces(aws: session.Aws, group_id: str) -> list[Interface]:
    """Return the network interfaces that are in a security group."""
    with errors.translated("look at the network interfaces"):
        pages = aws.ec2.get_paginator("describe_network_interfaces").paginate(
            Filters=[{"Name": "group-id", "Values": [group_id]}]
        )
        return [
            Interface(
                id=interface.get("NetworkInterfaceId", ""),
                description=interface.get("Description", ""),
                of_service=interface.get("RequesterManaged", False),
            )
            for page in answers.bounded(pages)
            for interface in page["NetworkInterfaces"]
        ]
