"""Plan the next steps in AWS from the desired and the observed state; no I/O.

A plan contains the steps that are possible now. Steps that need a resource which does not exist
yet, or is still being created, are planned once that resource has been observed. The rules:

- One mount target for each zone that has units or nodes. An existing one stays, with its subnet,
  even when its zone has lost its last unit: it costs nothing, and deleting it breaks the mounts of
  pods that the charm may not know of.
- The security group allows NFS from the subnets of units and nodes. A subnet that was allowed
  stays allowed while its zone has a mount target, for the same reason: when a relation is removed
  or the API server is down, the charm does not see the pods, but they still read and write. It
  also allows the ranges of the option allow-cidrs. All other rules that somebody added to the
  charm's group are removed.
- An adopted file system itself is never changed, nor is a mount target that somebody else created.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import problems
from aws import adoption, lookup, ownership, placement, policies, security_groups, steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws import network, resources

_BUSY = ("creating", "updating", "deleting")


def plan(
    desired: resources.DesiredFileSystem, observed: resources.ObservedFileSystem
) -> list[steps.Step]:
    """Return the next steps in their order; none when AWS is as desired or still working on it.

    Raises:
        problems.Problem: The observed resources must not be touched, or cannot become as desired.
    """
    planned = _plan_file_system(desired, observed.file_system, observed.policies)
    if observed.network:
        placed = place(desired, observed, observed.network)
        _check_dual_stack(desired, observed, observed.network, placed)
        planned += _plan_group(desired, observed.network, placed, observed.mount_targets)
        planned += _plan_mount_targets(desired, observed, observed.network, placed)
    return planned


def place(
    desired: resources.DesiredFileSystem,
    observed: resources.ObservedFileSystem,
    vpc: network.Network,
) -> placement.Placement:
    """Return where units and nodes are, and the subnets for new mount targets."""
    placed = placement.place(desired, vpc, observed.mount_targets)
    return placement.within_zone(placed, observed.file_system.zone if observed.file_system else "")


def is_pending(observed: resources.ObservedFileSystem) -> bool:
    """Return whether AWS is still working on the file system or a mount target."""
    return is_busy(observed.file_system) or any(
        is_busy(target) for target in observed.mount_targets
    )


def is_busy(resource: resources.FileSystem | resources.MountTarget | None) -> bool:
    """Return whether AWS is still working on this resource."""
    return resource is not None and resource.life_cycle in _BUSY


def _plan_file_system(
    desired: resources.DesiredFileSystem,
    file_system: resources.FileSystem | None,
    observed: resources.ObservedPolicies,
) -> list[steps.Step]:
    if file_system is None:
        _check_new(desired.key)
        return [
            steps.CreateFileSystem(
                token=ownership.creation_token(desired.owner),
                performance_mode=desired.performance_mode,
                throughput_mode=desired.throughput_mode,
                encrypted=desired.encrypted,
                kms_key=desired.kms_key,
                throughput_mibps=desired.throughput_mibps,
                backup=desired.policies.get("backup", ""),
                zone=desired.zone,
                tags=_pairs(ownership.tags(desired.owner, desired.tags)),
            )
        ]
    _check_existing(desired.key, file_system)
    if desired.key.adopted_id:
        return []
    _check_fixed_options(desired, file_system)
    tags = ownership.tags(desired.owner, desired.tags)
    planned = _plan_tags(file_system.id, file_system.tags, tags)
    if (
        file_system.throughput != desired.throughput
        and file_system.life_cycle == "available"
        and not is_throughput_of_others(desired, file_system)
    ):
        planned.append(
            steps.ChangeThroughput(
                file_system.id, desired.throughput_mode, desired.throughput_mibps
            )
        )
    return planned + policies.plan(desired, file_system, observed)


def is_throughput_of_others(
    desired: resources.DesiredFileSystem, file_system: resources.FileSystem
) -> bool:
    """Return whether somebody changed the throughput after the charm had set the desired one."""
    set_before = desired.key.record.throughput == desired.throughput
    return set_before and file_system.throughput != desired.throughput


def _check_new(key: resources.ResourceKey) -> None:
    if key.record.file_system_id:
        raise problems.Blocked(
            f"{key.record.file_system_id} is gone from AWS: adopt a restored one "
            "(file-system-id), run setup for an empty one, or teardown"
        )
    if key.adopted_id:
        raise problems.Blocked(
            f"no file system {key.adopted_id} in this account and region: correct file-system-id"
        )


def _check_existing(key: resources.ResourceKey, file_system: resources.FileSystem) -> None:
    known_id = key.record.file_system_id
    if lookup.is_unrecorded(key, file_system):
        raise problems.Blocked(
            f"{known_id} is gone, {file_system.id} has its token: adopt it (file-system-id, "
            "setup) or delete it"
        )
    if not key.adopted_id:
        ownership.check(key.owner, file_system.id, file_system.tags)
        ownership.check_not_tearing_down(file_system.id, file_system.tags)
    elif ownership.STATE_TAG in file_system.tags:
        raise problems.Blocked(
            f"{file_system.id} is marked by a teardown of its own application: adopt another one"
        )
    if file_system.life_cycle in ("deleting", "error"):
        if file_system.life_cycle == "deleting" and not known_id and not key.adopted_id:
            raise problems.Waiting(
                f"{file_system.id} is being deleted: a new one follows when it is gone"
            )
        raise problems.Blocked(
            f"{file_system.id} is in state {file_system.life_cycle}: run teardown to start over"
        )


def _check_fixed_options(
    desired: resources.DesiredFileSystem, file_system: resources.FileSystem
) -> None:
    _check_fixed(
        "performance-mode", desired.performance_mode, file_system.performance_mode, file_system.id
    )
    _check_fixed(
        "availability-zone", desired.zone or "none", file_system.zone or "none", file_system.id
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


def _check_dual_stack(
    desired: resources.DesiredFileSystem,
    observed: resources.ObservedFileSystem,
    vpc: network.Network,
    placed: placement.Placement,
) -> None:
    """Refuse dual-stack where a zone cannot have it, or has a mount target without IPv6.

    Where mount targets are in use already, a further zone without IPv6 is a problem of that zone
    alone, which the diagnosis tells.
    """
    if not desired.dual_stack:
        return
    own = tuple(adoption.own_targets(desired.key, vpc.group, observed.mount_targets))
    for target in own:
        if target.mountable and not target.ipv6_address:
            raise problems.Blocked(
                f"{target.zone} has a mount target without IPv6, which cannot be changed: set "
                "ip-address-type=ipv4, or teardown first"
            )
    lacking = without_ipv6(desired, vpc, placed)
    if lacking and not own:
        raise next(iter(lacking.values()))


def without_ipv6(
    desired: resources.DesiredFileSystem, vpc: network.Network, placed: placement.Placement
) -> dict[str, problems.Problem]:
    """Return the problems of zones that need a dual-stack mount target and cannot have one.

    Args:
        desired: The desired file system.
        vpc: The VPC.
        placed: Where mount targets are needed.

    Returns:
        The problems by zone; none without dual-stack.
    """
    if not desired.dual_stack:
        return {}
    able = {subnet.zone for subnet in vpc.subnets if subnet.ipv6_cidrs}
    return {
        zone: problems.Blocked(
            f"no subnet of {zone} has an IPv6 block: add one, or set ip-address-type=ipv4"
        )
        for zone in placed.new
        if zone not in able
    }


def _plan_group(
    desired: resources.DesiredFileSystem,
    vpc: network.Network,
    placed: placement.Placement,
    targets: tuple[resources.MountTarget, ...],
) -> list[steps.Step]:
    group = vpc.group
    # Zones are added to the record only: another leader may be creating a mount target just now.
    zones = set(ownership.recorded_zones(group.tags) or ()) if group else set[str]()
    zones |= {target.zone for target in adoption.own_targets(desired.key, group, targets)}
    zones |= {zone for zone, subnet in placed.new.items() if subnet}
    tags = ownership.group_tags(desired.owner, desired.tags, zones)
    if group is None:
        name = ownership.group_name(desired.owner)
        return [steps.CreateGroup(vpc.vpc_id, name, _pairs(tags))]
    ownership.check_group(desired.owner, group)
    ownership.check_not_tearing_down(group.id, group.tags)
    planned = _plan_tags(group.id, group.tags, tags)
    nfs = security_groups.Rule.nfs
    needed = {nfs(subnet.cidr) for subnet in placed.used} | set(map(nfs, desired.allow_cidrs))
    if desired.dual_stack:
        needed |= {nfs(cidr) for subnet in placed.used for cidr in subnet.ipv6_cidrs}
    served = {target.zone for target in targets}
    kept = {nfs(subnet.cidr) for subnet in vpc.subnets if subnet.zone in served}
    # As long as mount targets have IPv6 addresses, nodes may use them, whatever the option is.
    dual_stack = {target.zone for target in targets if target.ipv6_address}
    kept |= {
        nfs(cidr)
        for subnet in vpc.subnets
        if subnet.zone in dual_stack
        for cidr in subnet.ipv6_cidrs
    }
    if missing := needed - group.rules:
        planned.append(steps.Allow(group.id, tuple(sorted(rule.source for rule in missing))))
    if foreign := group.rules - needed - kept:
        planned.append(steps.Revoke(group.id, tuple(sorted(foreign, key=repr))))
    return planned


def _plan_mount_targets(
    desired: resources.DesiredFileSystem,
    observed: resources.ObservedFileSystem,
    vpc: network.Network,
    placed: placement.Placement,
) -> list[steps.Step]:
    file_system, group = observed.file_system, vpc.group
    if file_system is None or group is None:
        return []
    planned: list[steps.Step] = []
    if file_system.life_cycle == "available":
        planned += [
            steps.CreateMountTarget(
                file_system.id, zone, subnet.id, group.id, dual_stack=desired.dual_stack
            )
            for zone, subnet in placed.new.items()
            if subnet
        ]
    # Groups that somebody added to a mount target stay: users allow further hosts that way.
    planned += [
        steps.SetGroups(target.id, tuple(sorted(target.groups | {group.id})))
        for target in adoption.own_targets(desired.key, group, observed.mount_targets)
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


def _pairs(tags: Mapping[str, str]) -> steps.Tags:
    return tuple(sorted(tags.items()))
