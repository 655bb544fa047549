"""Find the problems in AWS that the charm cannot solve itself; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

import problems
from aws import adoption, ownership, plan, policies

if TYPE_CHECKING:
    from aws import network, placement, resources

_MAX_NAMED_ADDRESSES = 3


def find_problems(
    desired: resources.DesiredFileSystem, observed: resources.ObservedFileSystem
) -> list[problems.Problem]:
    """Return the problems that do not stop the rest and that the charm cannot solve itself."""
    found = _tag_problems(desired)
    found += policies.find_problems(desired, observed.file_system, observed.policies)
    for target in observed.mount_targets:
        if target.life_cycle == "error":
            found.append(
                problems.Blocked(
                    f"{target.zone}: its mount target failed: aws efs delete-mount-target "
                    f"--mount-target-id {target.id}"
                )
            )
        elif plan.is_busy(target):
            found.append(
                problems.Waiting(f"{target.zone}: mount target {target.id} is {target.life_cycle}")
            )
    file_system = observed.file_system
    if file_system and file_system.replica:
        found.append(
            problems.Blocked(
                f"{file_system.id} is the destination of a replication, so it is read-only: "
                "delete the replication"
            )
        )
    if observed.network:
        placed = plan.place(desired, observed, observed.network)
        found += _unit_problems(observed.network, placed)
        if not _is_served_by_address(desired, observed):
            found += _zone_problems(desired, observed.network, placed)
            found += _one_zone_problems(file_system, placed)
        found += adoption.find_problems(desired, observed, placed)
        if placed.new and file_system and plan.is_busy(file_system):
            found.append(
                problems.Waiting(
                    f"{', '.join(placed.new)}: no mount target while {file_system.id} is "
                    f"{file_system.life_cycle}"
                )
            )
        if desired.by_name:
            found += _dns_problems(observed.network)
    return found


def _tag_problems(desired: resources.DesiredFileSystem) -> list[problems.Problem]:
    found: list[problems.Problem] = []
    if reserved := ownership.reserved_keys(desired.tags):
        found.append(
            problems.Blocked(
                f"tag {reserved[0]:.60} has a reserved prefix: remove it from the option tags"
            )
        )
    if excess := ownership.excess_keys(desired.tags):
        limit = ownership.MOST_USER_TAGS
        found.append(
            problems.Blocked(
                f"tag {excess[0]:.60} is not set, at most {limit} fit: shorten the option tags"
            )
        )
    return found


def _unit_problems(vpc: network.Network, placed: placement.Placement) -> list[problems.Problem]:
    found: list[problems.Problem] = []
    if placed.other_vpcs:
        found.append(
            problems.Blocked(
                f"units are in {', '.join(placed.other_vpcs)} but mount targets in {vpc.vpc_id}: "
                "relate units of one VPC"
            )
        )
    if placed.unplaced and not placed.used:
        more = ", …" if len(placed.unplaced) > _MAX_NAMED_ADDRESSES else ""
        shown = ", ".join(placed.unplaced[:_MAX_NAMED_ADDRESSES]) + more
        found.append(
            problems.Blocked(
                f"{shown}: in no subnet of {vpc.vpc_id}: set vpc, or remove those units"
            )
        )
    return found


def _is_served_by_address(
    desired: resources.DesiredFileSystem, observed: resources.ObservedFileSystem
) -> bool:
    """Tell whether machines of all zones mount one target, so that no zone needs its own."""
    return not desired.by_name and any(target.mountable for target in observed.mount_targets)


def _zone_problems(
    desired: resources.DesiredFileSystem, vpc: network.Network, placed: placement.Placement
) -> list[problems.Problem]:
    """Return the problems of zones that cannot have a mount target."""
    found: list[problems.Problem] = [
        problems.Blocked(
            f"{zone} is a Local or Wavelength Zone, which EFS has no mount target in: move its "
            "workers"
        )
        for zone in placed.without_efs
    ]
    lacking = plan.without_ipv6(desired, vpc, placed)
    found += lacking.values()
    found += [
        problems.Blocked(
            f"{zone}: no subnet of {vpc.vpc_id} has a free address: free one, or add a subnet"
        )
        for zone, subnet in placed.new.items()
        if subnet is None and zone not in lacking
    ]
    return found


def _one_zone_problems(
    file_system: resources.FileSystem | None, placed: placement.Placement
) -> list[problems.Problem]:
    """Return the problem of machines outside the zone of a One Zone file system."""
    zone = file_system.zone if file_system else ""
    outside = sorted({subnet.zone for subnet in placed.used} - {zone})
    if file_system is None or not zone or not outside:
        return []
    return [
        problems.Blocked(
            f"{file_system.id} is in {zone} only, not in {', '.join(outside)}: set the option "
            "server=address, or move workers"
        )
    ]


def _dns_problems(vpc: network.Network) -> list[problems.Problem]:
    """Return the problems that keep the names of mount targets from resolving."""
    flags = {"support": vpc.dns_support, "hostnames": vpc.dns_hostnames}
    return [
        problems.Blocked(
            f"DNS {flag} off: aws ec2 modify-vpc-attribute "
            f"--vpc-id {vpc.vpc_id} --enable-dns-{flag}"
        )
        for flag, on in flags.items()
        if not on
    ]
