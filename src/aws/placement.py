"""Where the units are, and so where mount targets belong: pure functions, no I/O."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import TYPE_CHECKING

import problems

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aws import network, resources


@dataclasses.dataclass(frozen=True)
class Placement:
    """What the units' addresses and machines mean in one VPC.

    Attributes:
        used: The subnets that units and nodes are in.
        new: The subnet for a mount target, for each zone of theirs that has none yet; None if no
            subnet of the zone has a free address.
        strays: The addresses that are in no subnet.
        away: The other VPCs in which units or nodes are.
    """

    used: frozenset[network.Subnet]
    new: Mapping[str, network.Subnet | None]
    strays: tuple[str, ...]
    away: tuple[str, ...]


def place(
    wanted: resources.DesiredFileSystem,
    there: network.Network,
    targets: Collection[resources.MountTarget],
) -> Placement:
    """Find each unit's subnet, and a subnet for each mount target that is missing.

    A machine that is known to be in another VPC does not count, though its address may be one of
    a subnet here too.
    """
    away = [
        machine
        for machine in there.instances
        if machine.vpc_id != there.vpc_id
        and (machine.id in wanted.instance_ids or machine.addresses & wanted.addresses)
    ]
    here = [machine for machine in there.instances if machine.vpc_id == there.vpc_id]
    foreign = _addresses(away) - _addresses(here)
    hosts = {machine.subnet_id for machine in here if machine.id in wanted.instance_ids}
    used = {subnet for subnet in there.subnets if subnet.id in hosts}
    strays: list[str] = []
    ranges = [(ipaddress.IPv4Network(subnet.cidr), subnet) for subnet in there.subnets]
    for address in sorted(wanted.addresses - foreign):
        if ":" in address:
            continue  # mount targets have IPv4 addresses: the machine's other one tells its place
        parsed = _ipv4(address)
        home = next((subnet for cidr, subnet in ranges if parsed and parsed in cidr), None)
        if home:
            used.add(home)
        else:
            strays.append(address)
    return Placement(
        used=frozenset(used),
        new=_new_subnets(used, there.subnets, {target.zone for target in targets}),
        strays=tuple(strays),
        away=tuple(sorted({machine.vpc_id for machine in away})),
    )


def choose_vpc(
    option: str, mounted: Collection[str], machines: Collection[network.Instance]
) -> str:
    """The one VPC that counts: of the mount targets, else the option, else of the machines.

    Args:
        option: The option vpc.
        mounted: The VPC of the mount targets that exist; AWS allows one.
        machines: The units' and nodes' machines.

    Raises:
        problems.Blocked: They do not agree, or there is nothing to tell it by.
    """
    if mounted:
        vpc_id = min(mounted)
        if option and option != vpc_id:
            raise problems.Blocked(
                f"vpc is {option}, mount targets are in {vpc_id}: set it back, or teardown first"
            )
        return vpc_id
    found = sorted({machine.vpc_id for machine in machines})
    if option or len(found) == 1:
        return option or found[0]
    if found:
        raise problems.Blocked(
            f"units are in {' and '.join(found)}, a file system serves one: set the option vpc"
        )
    raise problems.Blocked("no machine of these units was found in the region: set the option vpc")


def _new_subnets(
    used: Collection[network.Subnet], subnets: Collection[network.Subnet], served: set[str]
) -> dict[str, network.Subnet | None]:
    """The units' own subnets first, then the zone's others: to who mounts it they are alike."""
    new: dict[str, network.Subnet | None] = {}
    for zone in sorted({subnet.zone for subnet in used} - served):
        candidates = [subnet for subnet in subnets if subnet.zone == zone and subnet.free > 0]
        new[zone] = min(
            candidates, key=lambda subnet: (subnet not in used, subnet.id), default=None
        )
    return new


def _addresses(machines: Collection[network.Instance]) -> set[str]:
    return {address for machine in machines for address in machine.addresses}


def _ipv4(address: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(address)
    except ValueError:
        return None
