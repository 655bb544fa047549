"""From what is wanted and what is found to the next steps: pure functions, no I/O.

A plan holds what can be done now: what needs the id of something that is not there yet, or a file
system that is still being created, is planned when that has been observed. Its rules:

- One mount target for each zone that has units or nodes. One that exists stays, with its subnet,
  even when its zone has lost its last unit: it costs nothing, and deleting it breaks the mounts of
  pods that we may not know of.
- The security group lets NFS in from the subnets that units and nodes are in. A subnet that was
  let in stays so while its zone has a mount target, for the same reason: when a relation is cut or
  the API server is down, pods are out of our sight but still read and write. Whatever else
  somebody added to our group is taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import problems
from aws import network, ownership, placement, steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws import resources

_BUSY = ("creating", "updating", "deleting")
_SHOWN = 3


def plan(
    wanted: resources.DesiredFileSystem, observed: resources.ObservedFileSystem
) -> list[steps.Step]:
    """What to do now, in this order; nothing when all is as it should be, or on its way.

    Raises:
        problems.Problem: What is found must not be touched, or cannot become what is wanted.
    """
    planned = _plan_file_system(wanted, observed.file_system)
    if observed.network:
        placed = placement.place(wanted, observed.network, observed.mount_targets)
        planned += _plan_group(wanted, observed.network, placed, observed.mount_targets)
        planned += _plan_mount_targets(observed, observed.network, placed)
    return planned


def is_pending(observed: resources.ObservedFileSystem) -> bool:
    """Whether AWS is still at work on something that is worth waiting for."""
    return is_busy(observed.file_system) or any(
        is_busy(target) for target in observed.mount_targets
    )


def is_busy(one: resources.FileSystem | resources.MountTarget | None) -> bool:
    """Whether AWS is still at work on this one."""
    return one is not None and one.life_cycle in _BUSY


def find_problems(
    wanted: resources.DesiredFileSystem, observed: resources.ObservedFileSystem
) -> list[problems.Problem]:
    """What is wrong, does not stop the rest, and is not ours to mend."""
    told: list[problems.Problem] = []
    if refused := ownership.refused_keys(wanted.tags):
        told.append(
            problems.Blocked(
                f"tag {refused[0]:.60} is reserved or one too many: take it out of the option tags"
            )
        )
    for target in observed.mount_targets:
        if target.life_cycle == "error":
            told.append(
                problems.Blocked(
                    f"{target.zone}: its mount target failed: aws efs delete-mount-target "
                    f"--mount-target-id {target.id}"
                )
            )
        elif is_busy(target):
            told.append(
                problems.Waiting(f"{target.zone}: mount target {target.id} is {target.life_cycle}")
            )
    if observed.network:
        placed = placement.place(wanted, observed.network, observed.mount_targets)
        told += _unit_problems(observed.network, placed)
        if placed.new and observed.file_system and is_busy(observed.file_system):
            found = observed.file_system
            told.append(
                problems.Waiting(
                    f"{', '.join(placed.new)}: no mount target while {found.id} is "
                    f"{found.life_cycle}"
                )
            )
        told += _dns_problems(observed.network)
    return told


def _plan_file_system(
    wanted: resources.DesiredFileSystem, found: resources.FileSystem | None
) -> list[steps.Step]:
    tags = ownership.tags(wanted.owner, wanted.tags)
    if found is None:
        _check_new(wanted)
        return [
            steps.CreateFileSystem(
                token=ownership.creation_token(wanted.owner),
                performance_mode=wanted.performance_mode,
                throughput_mode=wanted.throughput_mode,
                encrypted=wanted.encrypted,
                kms_key=wanted.kms_key,
                tags=_pairs(tags),
            )
        ]
    _check_found(wanted, found)
    planned = _plan_tags(found.id, found.tags, tags)
    if found.throughput_mode != wanted.throughput_mode and found.life_cycle == "available":
        planned.append(steps.ChangeThroughput(found.id, wanted.throughput_mode))
    return planned


def _check_new(wanted: resources.DesiredFileSystem) -> None:
    if wanted.known_id:
        raise problems.Blocked(
            f"{wanted.known_id} is on record but gone from AWS: "
            "run teardown, or setup for an empty one"
        )


def _check_found(wanted: resources.DesiredFileSystem, found: resources.FileSystem) -> None:
    ownership.check(wanted.owner, found.id, found.tags)
    ownership.check_not_tearing_down(found.id, found.tags)
    if wanted.known_id not in ("", found.id):
        raise problems.Blocked(
            f"{wanted.known_id} is on record, AWS has {found.id}: run teardown to begin anew"
        )
    if found.life_cycle == "deleting" and not wanted.known_id:
        raise problems.Waiting(f"{found.id} is being deleted: a new one follows when it is gone")
    if found.life_cycle in ("deleting", "error"):
        raise problems.Blocked(
            f"{found.id} is in state {found.life_cycle}: run teardown to begin anew"
        )
    _check_fixed("performance-mode", wanted.performance_mode, found.performance_mode, found.id)
    _check_fixed(
        "encrypted", str(wanted.encrypted).lower(), str(found.encrypted).lower(), found.id
    )
    # AWS tells a key by its ARN; which key an alias means only KMS knows, and may change.
    key = wanted.kms_key
    if key and "alias/" not in key and not found.kms_key.endswith(key):
        _check_fixed("kms-key", key, found.kms_key, found.id)


def _check_fixed(option: str, wanted: str, found: str, file_system_id: str) -> None:
    if wanted != found:
        raise problems.Blocked(
            f"{option} is {wanted} but {file_system_id} was made with {found}: "
            "set it back, or teardown first"
        )


def _plan_group(
    wanted: resources.DesiredFileSystem,
    there: network.Network,
    placed: placement.Placement,
    targets: tuple[resources.MountTarget, ...],
) -> list[steps.Step]:
    tags = ownership.tags(wanted.owner, wanted.tags)
    group = there.group
    if group is None:
        name = ownership.group_name(wanted.owner)
        return [steps.CreateGroup(there.vpc_id, name, _pairs(tags))]
    ownership.check(wanted.owner, group.id, group.tags)
    ownership.check_not_tearing_down(group.id, group.tags)
    planned = _plan_tags(group.id, group.tags, tags)
    needed = {network.Rule.nfs(subnet.cidr) for subnet in placed.used}
    served = {target.zone for target in targets}
    kept = {network.Rule.nfs(subnet.cidr) for subnet in there.subnets if subnet.zone in served}
    if missing := needed - group.rules:
        planned.append(steps.Allow(group.id, tuple(sorted(rule.source for rule in missing))))
    if foreign := group.rules - needed - kept:
        planned.append(steps.Revoke(group.id, tuple(sorted(foreign, key=str))))
    return planned


def _plan_mount_targets(
    observed: resources.ObservedFileSystem, there: network.Network, placed: placement.Placement
) -> list[steps.Step]:
    found, group = observed.file_system, there.group
    if found is None or group is None:
        return []
    planned: list[steps.Step] = []
    if found.life_cycle == "available":
        planned += [
            steps.CreateMountTarget(found.id, zone, subnet.id, group.id)
            for zone, subnet in placed.new.items()
            if subnet
        ]
    # Groups that somebody added to a mount target stay: so a user lets in a host from elsewhere.
    planned += [
        steps.SetGroups(target.id, tuple(sorted(target.groups | {group.id})))
        for target in observed.mount_targets
        if target.life_cycle == "available"
        and target.groups is not None
        and group.id not in target.groups
    ]
    return planned


def _plan_tags(
    resource_id: str, present: Mapping[str, str], wanted: Mapping[str, str]
) -> list[steps.Step]:
    # First away with the old ones: their keys are remembered in a tag that the new ones overwrite.
    planned: list[steps.Step] = []
    if obsolete := ownership.obsolete_keys(present, wanted):
        planned.append(steps.Untag(resource_id, obsolete))
    if missing := ownership.missing_tags(present, wanted):
        planned.append(steps.Tag(resource_id, _pairs(missing)))
    return planned


def _unit_problems(there: network.Network, placed: placement.Placement) -> list[problems.Problem]:
    told: list[problems.Problem] = []
    if placed.away:
        told.append(
            problems.Blocked(
                f"units are in {', '.join(placed.away)} but mount targets in {there.vpc_id}: "
                "relate units of one VPC"
            )
        )
    if placed.strays:
        more = ", …" if len(placed.strays) > _SHOWN else ""
        shown = ", ".join(placed.strays[:_SHOWN]) + more
        told.append(
            problems.Blocked(
                f"{shown}: in no subnet of {there.vpc_id}: set vpc, or remove those units"
            )
        )
    told += [
        problems.Blocked(
            f"{zone}: no subnet of {there.vpc_id} has a free address: free one, or add a subnet"
        )
        for zone, subnet in placed.new.items()
        if subnet is None
    ]
    return told


def _dns_problems(there: network.Network) -> list[problems.Problem]:
    """What keeps mount targets' names from resolving."""
    flags = {"support": there.dns_support, "hostnames": there.dns_hostnames}
    return [
        problems.Blocked(
            f"DNS {flag} off: aws ec2 modify-vpc-attribute "
            f"--vpc-id {there.vpc_id} --enable-dns-{flag}"
        )
        for flag, on in flags.items()
        if not on
    ]


def _pairs(tags: Mapping[str, str]) -> steps.Tags:
    return tuple(sorted(tags.items()))
