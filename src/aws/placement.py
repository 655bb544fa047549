"""Choose the VPC, and the subnets for mount targets, from where the units are; no I/O."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from typing import TYPE_CHECKING

import problems

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aws import network, resources

# us-east-1a. The names of Local Zones (us-east-1-bos-1a) and Wavelength Zones go on after the
# region's.
_AVAILABILITY_ZONE = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]{1,2}[a-z]")


@dataclasses.dataclass(frozen=True)
class Placement:
    """The subnets of units, nodes and missing mount targets in one VPC.

    Attributes:
        used: The subnets of units and nodes.
        new: The subnet for a new mount target, by zone, for each zone with units or nodes but
            without a mount target; None if no subnet of the zone has a free address.
        without_efs: The zones with units or nodes in which EFS has no mount targets: Local Zones
            and Wavelength Zones.
        zones: The zones of units and nodes, by address and by instance.
        unplaced: The addresses of machines that are in no subnet.
        other_vpcs: The other VPCs that have units or nodes.
    """

    used: frozenset[network.Subnet]
    new: Mapping[str, network.Subnet | None]
    zones: Mapping[str, str]
    unplaced: tuple[str, ...]
    other_vpcs: tuple[str, ...]
    without_efs: tuple[str, ...] = ()


def place(
    desired: resources.DesiredFileSystem,
    vpc: network.Network,
    targets: Collection[resources.MountTarget],
) -> Placement:
    """Find the subnet of each unit, and a subnet for each missing mount target.

    Instances in another VPC are ignored, even where their address is in a subnet of this VPC too.
    """
    outside = [
        instance
        for instance in vpc.instances
        if instance.vpc_id != vpc.vpc_id
        and (instance.id in desired.instance_ids or instance.addresses & desired.addresses)
    ]
    inside = [instance for instance in vpc.instances if instance.vpc_id == vpc.vpc_id]
    foreign = _addresses(outside) - _addresses(inside)
    subnets = {subnet.id: subnet for subnet in vpc.subnets}
    nodes = {
        each.id: subnets[each.subnet_id]
        for each in inside
        if each.id in desired.instance_ids and each.subnet_id in subnets
    }
    used = set(nodes.values())
    zones = {instance_id: subnet.zone for instance_id, subnet in nodes.items()}
    unplaced: list[str] = []
    ranges = [(ipaddress.IPv4Network(subnet.cidr), subnet) for subnet in vpc.subnets]
    for address in sorted(desired.addresses - foreign):
        if not address or ":" in address or desired.node_instances.get(address) in nodes:
            continue  # no or no IPv4 address, or a node's instance tells where it is
        parsed = _ipv4(address)
        subnet = next((subnet for cidr, subnet in ranges if parsed and parsed in cidr), None)
        if subnet:
            used.add(subnet)
            zones[address] = subnet.zone
        else:
            unplaced.append(address)
    served = {target.zone for target in targets}
    fitting = [each for each in vpc.subnets if each.ipv6_cidrs or not desired.dual_stack]
    new = _new_subnets(used, fitting, served)
    without_efs = tuple(zone for zone in new if not _AVAILABILITY_ZONE.fullmatch(zone))
    return Placement(
        used=frozenset(used),
        new={zone: subnet for zone, subnet in new.items() if zone not in without_efs},
        without_efs=without_efs,
        zones=zones,
        unplaced=tuple(unplaced),
        other_vpcs=tuple(sorted({instance.vpc_id for instance in outside})),
    )


def within_zone(placed: Placement, zone: str) -> Placement:
    """Return the placement for a One Zone file system, which has a mount target in its zone only.

    Args:
        placed: The placement for a regional file system.
        zone: The zone of the file system; "" for a regional one.
    """
    if not zone:
        return placed
    new = {each: subnet for each, subnet in placed.new.items() if each == zone}
    return dataclasses.replace(placed, new=new)


def check_region(
    region: str, zones: Collection[str], instances: Collection[network.Instance]
) -> None:
    """Refuse machines of another region, in which nothing of theirs is found.

    Args:
        region: The region of the file system.
        zones: The zones of the nodes, as far as the cluster tells them.
        instances: The instances of units and nodes that were found.

    Raises:
        problems.Blocked: There are no instances here, and all nodes are in zones elsewhere.
    """
    elsewhere = sorted(zone for zone in zones if not zone.startswith(region))
    if instances or not elsewhere or len(elsewhere) < len(zones):
        return
    raise problems.Blocked(
        f"the nodes are in {elsewhere[0]:.40}, not in {region}: set the option region, after a "
        "teardown if there is a file system"
    )


def choose_vpc(
    option: str, mounted: Collection[str], instances: Collection[network.Instance]
) -> str:
    """Return the VPC for mount targets: that of existing ones, the option's, or the instances'.

    Args:
        option: The option vpc.
        mounted: The VPC of the existing mount targets; AWS allows one.
        instances: The instances of units and nodes.

    Raises:
        problems.Blocked: They do not agree, or none of them is known.
    """
    if mounted:
        vpc_id = min(mounted)
        if option and option != vpc_id:
            raise problems.Blocked(
                f"vpc is {option}, mount targets are in {vpc_id}: set it back, or teardown first"
            )
        return vpc_id
    vpcs = sorted({instance.vpc_id for instance in instances})
    if option or len(vpcs) == 1:
        return option or vpcs[0]
    if vpcs:
        raise problems.Blocked(
            f"units are in {' and '.join(vpcs)}, a file system serves one VPC: set the option vpc"
        )
    raise problems.Blocked(
        "no instance of these units found in the region: set the option vpc, or correct region"
    )


def _new_subnets(
    used: Collection[network.Subnet], subnets: Collection[network.Subnet], served: set[str]
) -> dict[str, network.Subnet | None]:
    """Choose a subnet by zone: the units' own if it has free addresses, else any of the zone."""
    new: dict[str, network.Subnet | None] = {}
    for zone in sorted({subnet.zone for subnet in used} - served):
        candidates = [subnet for subnet in subnets if subnet.zone == zone and subnet.free > 0]
        new[zone] = min(
            candidates, key=lambda subnet: (subnet not in used, subnet.id), default=None
        )
    return new


def _addresses(instances: Collection[network.Instance]) -> set[str]:
    return {address for instance in instances for address in instance.addresses}


def _ipv4(address: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(address)
    except ValueError:
        return None
