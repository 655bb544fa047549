"""Plan the next steps in AWS from the desired and the observed state; no I/O.

A plan contains the steps that are possible now. Steps that need a resource which does not exist
yet, or is still being created, are planned once that resource has been observed. The rules:

- One mount target for each zone that has units or nodes. An existing one stays, with its subnet,
  even when its zone has lost its last unit: it costs nothing, and deleting it breaks the mounts of
  pods that the charm may not know of.
- The security group allows NFS from the subnets of units and nodes. A subnet that was allowed
  stays allowed while its zone has a mount target, for the same reason: when a relation is removed
  or the API server is down, the charm does not see the pods, but they still read and write. All
  other rules that somebody added to the charm's group are removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import problems
from aws import network, ownership, placement, steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws import resources

_BUSY = ("creating", "updating", "deleting")
_MAX_NAMED_ADDRESSES = 3


def plan(
    desired: resources.DesiredFileSystem, observed: resources.ObservedFileSystem
) -> list[steps.Step]:
    """Return the next steps in their order; none when AWS is as desired or still working on it.

    Raises:
        problems.Problem: The observed resources must not be touched, or cannot become as desired.
    """
    planned = _plan_file_system(desired, observed.file_system)
    if observed.network:
        placed = placement.place(desired, observed.network, observed.mount_targets)
        planned += _plan_group(desired, observed.network, placed, observed.mount_targets)
        planned += _plan_mount_targets(observed, observed.network, placed)
    return planned


def is_pending(observed: resources.ObservedFileSystem) -> bool:
    """Return whether AWS is still working on the file system or a mount target."""
    return is_busy(observed.file_system) or any(
        is_busy(target) for target in observed.mount_targets
    )


def is_busy(resource: resources.FileSystem | resources.MountTarget | None) -> bool:
    """Return whether AWS is still working on this resource."""
    return resource is not None and resource.life_cycle in _BUSY


def find_problems(
    desired: resources.DesiredFileSystem, observed: resources.ObservedFileSystem
) -> list[problems.Problem]:
    """Return the problems that do not stop the rest and that the charm cannot solve itself."""
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
    for target in observed.mount_targets:
        if target.life_cycle == "error":
            found.append(
                problems.Blocked(
                    f"{target.zone}: its mount target failed: aws efs delete-mount-target "
                    f"--mount-target-id {target.id}"
                )
            )
        elif is_busy(target):
            found.append(
                problems.Waiting(f"{target.zone}: mount target {target.id} is {target.life_cycle}")
            )
    if observed.network:
        placed = placement.place(desired, observed.network, observed.mount_targets)
        found += _unit_problems(observed.network, placed)
        if placed.new and observed.file_system and is_busy(observed.file_system):
            file_system = observed.file_system
            found.append(
                problems.Waiting(
                    f"{', '.join(placed.new)}: no mount target while {file_system.id} is "
                    f"{file_system.life_cycle}"
                )
            )
        found += _dns_problems(observed.network)
    return found


def _plan_file_system(
    desired: resources.DesiredFileSystem, file_system: resources.FileSystem | None
) -> list[steps.Step]:
    tags = ownership.tags(desired.owner, desired.tags)
    if file_system is None:
        _check_new(desired)
        return [
            steps.CreateFileSystem(
                token=ownership.creation_token(desired.owner),
                performance_mode=desired.performance_mode,
                throughput_mode=desired.throughput_mode,
                encrypted=desired.encrypted,
                kms_key=desired.kms_key,
                tags=_pairs(tags),
            )
        ]
    _check_existing(desired, file_system)
    planned = _plan_tags(file_system.id, file_system.tags, tags)
    if (
        file_system.throughput_mode != desired.throughput_mode
        and file_system.life_cycle == "available"
    ):
        planned.append(steps.ChangeThroughput(file_system.id, desired.throughput_mode))
    return planned


def _check_new(desired: resources.DesiredFileSystem) -> None:
    if desired.known_id:
        raise problems.Blocked(
            f"{desired.known_id} is on record but gone from AWS: "
            "run teardown, or setup for an empty one"
        )


def _check_existing(
    desired: resources.DesiredFileSystem, file_system: resources.FileSystem
) -> None:
    ownership.check(desired.owner, file_system.id, file_system.tags)
    ownership.check_not_tearing_down(file_system.id, file_system.tags)
    if desired.known_id not in ("", file_system.id):
        raise problems.Blocked(
            f"{desired.known_id} is on record, AWS has {file_system.id}: "
            "run teardown to start over"
        )
    if file_system.life_cycle == "deleting" and not desired.known_id:
        raise problems.Waiting(
            f"{file_system.id} is being deleted: a new one follows when it is gone"
        )
    if file_system.life_cycle in ("deleting", "error"):
        raise problems.Blocked(
            f"{file_system.id} is in state {file_system.life_cycle}: run teardown to start over"
        )
    _check_fixed(
        "performance-mode", desired.performance_mode, file_system.performance_mode, file_system.id
    )
    _check_fixed(
        "encrypted",
        str(desired.encrypted).lower(),
        str(file_system.encrypted).lower(),
        file_system.id,
    )
    # AWS shows a key by its ARN. Only KMS knows the key behind an alias, and that may change.
    key = desired.kms_key
    if key and "alias/" not in key and not file_system.kms_key.endswith(key):
        _check_fixed("kms-key", key, file_system.kms_key, file_system.id)


def _check_fixed(option: str, desired: str, actual: str, file_system_id: str) -> None:
    if desired != actual:
        raise problems.Blocked(
            f"{option} is {desired} but {file_system_id} was made with {actual}: "
            "set it back, or teardown first"
        )


def _plan_group(
    desired: resources.DesiredFileSystem,
    vpc: network.Network,
    placed: placement.Placement,
    targets: tuple[resources.MountTarget, ...],
) -> list[steps.Step]:
    tags = ownership.tags(desired.owner, desired.tags)
    group = vpc.group
    if group is None:
        name = ownership.group_name(desired.owner)
        return [steps.CreateGroup(vpc.vpc_id, name, _pairs(tags))]
    ownership.check(desired.owner, group.id, group.tags)
    ownership.check_not_tearing_down(group.id, group.tags)
    planned = _plan_tags(group.id, group.tags, tags)
    needed = {network.Rule.nfs(subnet.cidr) for subnet in placed.used}
    served = {target.zone for target in targets}
    kept = {network.Rule.nfs(subnet.cidr) for subnet in vpc.subnets if subnet.zone in served}
    if missing := needed - group.rules:
        planned.append(steps.Allow(group.id, tuple(sorted(rule.source for rule in missing))))
    if foreign := group.rules - needed - kept:
        planned.append(steps.Revoke(group.id, tuple(sorted(foreign, key=str))))
    return planned


def _plan_mount_targets(
    observed: resources.ObservedFileSystem, vpc: network.Network, placed: placement.Placement
) -> list[steps.Step]:
    file_system, group = observed.file_system, vpc.group
    if file_system is None or group is None:
        return []
    planned: list[steps.Step] = []
    if file_system.life_cycle == "available":
        planned += [
            steps.CreateMountTarget(file_system.id, zone, subnet.id, group.id)
            for zone, subnet in placed.new.items()
            if subnet
        ]
    # Groups that somebody added to a mount target stay: users allow further hosts that way.
    planned += [
        steps.SetGroups(target.id, tuple(sorted(target.groups | {group.id})))
        for target in observed.mount_targets
        if target.life_cycle == "available"
        and target.groups is not None
        and group.id not in target.groups
    ]
    return planned


def _plan_tags(
    resource_id: str, present: Mapping[str, str], desired: Mapping[str, str]
) -> list[steps.Step]:
    # Remove the old tags first: their keys are kept in a tag that the new tags overwrite.
    planned: list[steps.Step] = []
    if obsolete := ownership.obsolete_keys(present, desired):
        planned.append(steps.Untag(resource_id, obsolete))
    if missing := ownership.missing_tags(present, desired):
        planned.append(steps.Tag(resource_id, _pairs(missing)))
    return planned


def _unit_problems(vpc: network.Network, placed: placement.Placement) -> list[problems.Problem]:
    found: list[problems.Problem] = []
    if placed.other_vpcs:
        found.append(
            problems.Blocked(
                f"units are in {', '.join(placed.other_vpcs)} but mount targets in {vpc.vpc_id}: "
                "relate units of one VPC"
            )
        )
    if placed.unplaced:
        more = ", …" if len(placed.unplaced) > _MAX_NAMED_ADDRESSES else ""
        shown = ", ".join(placed.unplaced[:_MAX_NAMED_ADDRESSES]) + more
        found.append(
            problems.Blocked(
                f"{shown}: in no subnet of {vpc.vpc_id}: set vpc, or remove those units"
            )
        )
    found += [
        problems.Blocked(
            f"{zone}: no subnet of {vpc.vpc_id} has a free address: free one, or add a subnet"
        )
        for zone, subnet in placed.new.items()
        if subnet is None
    ]
    return found


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


def _pairs(tags: Mapping[str, str]) -> steps.Tags:
    return tuple(sorted(tags.items()))
