"""Use a file system that the charm did not create, and mount targets that it did not create."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import problems
from aws import lookup, ownership, placement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from aws import network, resources, security_groups, session


def check_option(
    aws: session.Aws, key: resources.ResourceKey, existing: resources.FileSystem | None
) -> None:
    """Refuse to change silently from one file system to another: the data would not follow.

    Args:
        aws: The region.
        key: The option and the record.
        existing: The recorded file system.

    Raises:
        problems.Blocked: The option names another file system than the one in use.
    """
    if key.changed:
        recorded, option = key.record.file_system_id, key.option or "empty"
        if existing is None or lookup.is_unrecorded(key, existing):
            purpose = "adopt it" if key.option else "create one"
            raise problems.Blocked(
                f"{recorded} is gone from AWS, file-system-id is {option}: run setup to {purpose}"
            )
        raise problems.Blocked(
            f"file-system-id is {option} but {recorded} is in use: set it back, or teardown first"
        )
    if key.adopted_id and not key.record.file_system_id:
        made = lookup.find_by_token(aws, key)
        if made and made.id != key.adopted_id and ownership.is_ours(key.owner, made.tags):
            raise problems.Blocked(
                f"{made.id} was created already: unset file-system-id, teardown, set it, setup"
            )


def own_targets(
    key: resources.ResourceKey,
    group: security_groups.SecurityGroup | None,
    targets: Iterable[resources.MountTarget],
) -> tuple[resources.MountTarget, ...]:
    """Return the mount targets that the charm created.

    AWS has no tags for them. So the charm's security group records the zones in which it creates
    one, before it does and only while the zone has none. On an adopted file system the mount
    target must be in that group, too: its owner may have replaced it by one of their own. A user
    who adds the charm's group to a mount target of theirs does not give it away by that.

    Args:
        key: What identifies the application's resources.
        group: The application's security group in the VPC of the mount targets.
        targets: All mount targets of the file system.
    """
    if group is None:
        return ()
    recorded = ownership.recorded_zones(group.tags)

    def is_ours(target: resources.MountTarget) -> bool:
        in_group = target.groups is not None and group.id in target.groups
        if recorded is None:  # somebody removed the tag
            return in_group
        if target.zone not in recorded:
            return False
        return in_group or target.groups is None or not key.adopted_id

    return tuple(target for target in targets if is_ours(target))


def find_problems(
    desired: resources.DesiredFileSystem,
    observed: resources.ObservedFileSystem,
    placed: placement.Placement,
) -> list[problems.Problem]:
    """Return the problems with mount targets that the charm did not create, and does not change.

    Their security groups may not let the cluster in. Rules that name a prefix list, or a group of
    machines that are not known, may do so: the probe shows whether they do.
    """
    if observed.network is None:
        return []
    group = observed.network.group
    ours = {target.id for target in own_targets(desired.key, group, observed.mount_targets)}
    found: list[problems.Problem] = []
    for target in observed.mount_targets:
        groups = target.groups
        if target.id in ours or groups is None or (group and group.id in groups):
            continue
        if ":" in target.address:
            continue  # only the probe shows whether rules for IPv6 let the nodes in
        rules = [
            rule
            for each in groups
            if each in observed.other_groups
            for rule in observed.other_groups[each].rules
        ]
        machines = _machines(desired, observed.network)
        for subnet in sorted(placed.used, key=lambda subnet: subnet.id):
            if subnet.zone == target.zone and not _admits(rules, subnet, machines):
                names = ", ".join(sorted(groups))
                found.append(
                    problems.Blocked(
                        f"{target.zone}: {names} of its mount target does not allow tcp 2049 from "
                        f"{subnet.cidr}: add that rule"
                    )
                )
    return found


def _machines(
    desired: resources.DesiredFileSystem, vpc: network.Network
) -> list[network.Instance]:
    return [
        instance
        for instance in vpc.instances
        if instance.id in desired.instance_ids or instance.addresses & desired.addresses
    ]


def _admits(
    rules: Collection[security_groups.Rule],
    subnet: network.Subnet,
    machines: Iterable[network.Instance],
) -> bool:
    """Return whether the rules let in, or may let in, the machines of a subnet."""
    sources = {rule.source for rule in rules if rule.covers_nfs()}
    ranges = [
        ipaddress.IPv4Network(source, strict=False)
        for source in sources
        if "/" in source and ":" not in source
    ]
    cidr = ipaddress.IPv4Network(subnet.cidr)
    if any(cidr.subnet_of(each) for each in ipaddress.collapse_addresses(ranges)):
        return True
    if any(source.startswith("pl-") for source in sources):
        return True
    here = [machine for machine in machines if machine.subnet_id == subnet.id]
    groups = {source for source in sources if source.startswith("sg-")}
    return bool(groups) and all(machine.groups & groups for machine in here)
