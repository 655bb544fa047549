"""List what stands in AWS of an application's resources, and what of its record is gone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import problems
from aws import adoption, errors, lookup, ownership, resources, security_groups

if TYPE_CHECKING:
    from collections.abc import Collection

    from aws import session


@dataclasses.dataclass(frozen=True)
class Inventory:
    """The resources that stand.

    Attributes:
        key: What identifies them.
        file_system: The application's file system, its own or an adopted one.
        own_targets: The mount targets that the charm created, by zone.
        other_targets: Those that somebody else created.
        groups: The application's security groups.
        look_alikes: Security groups with the application's tags or name that are not its own.
        unrecorded: A file system that has the application's creation token while another one is
            on record; None without one.
    """

    key: resources.ResourceKey
    file_system: resources.FileSystem | None
    own_targets: tuple[resources.MountTarget, ...]
    other_targets: tuple[resources.MountTarget, ...]
    groups: tuple[security_groups.SecurityGroup, ...]
    look_alikes: tuple[security_groups.SecurityGroup, ...]
    unrecorded: resources.FileSystem | None = None

    @property
    def own_file_system(self) -> resources.FileSystem | None:
        """Return the file system if the charm created it, so that it may delete it."""
        return None if self.key.adopted_id else self.file_system

    @property
    def own_id(self) -> str:
        """Return the id of the file system that the charm created, also of one that is gone."""
        file_system = self.own_file_system
        recorded = "" if self.key.adopted_id else self.key.record.file_system_id
        return file_system.id if file_system else recorded

    @property
    def target_addresses(self) -> list[str]:
        """Return the addresses of all mount targets, of both kinds; "" for one that is unknown."""
        targets = (*self.own_targets, *self.other_targets)
        return [each for target in targets for each in (target.address, target.ipv6_address)]

    def standing(self) -> list[str]:
        """Return what stands of the application's own resources."""
        file_system = self.own_file_system
        return [
            *([file_system.id] if file_system else []),
            *_counted(len(self.own_targets)),
            *(group.id for group in self.groups),
        ]

    def gone(self) -> list[str]:
        """Return the kinds of what is on record and does not stand any more."""
        record = self.key.record
        recorded = {
            zone for group in self.groups for zone in ownership.recorded_zones(group.tags) or ()
        }
        titles = _counted(len(recorded - {target.zone for target in self.own_targets}))
        if record.file_system_id and self.file_system is None:
            titles.append("file system")
        if record.security_groups and not self.groups:
            titles.append("security group")
        return titles

    def interrupted(self) -> problems.Blocked:
        """Return the problem of a teardown that began and has not ended."""
        standing, gone = ", ".join(self.standing()), ", ".join(self.gone())
        gone = f"; {gone} gone" if gone else ""
        keep = ", or setup to keep it" if self.file_system else ""
        return problems.Blocked(f"teardown of {standing} began{gone}: run it again{keep}")


def observe(aws: session.Aws, key: resources.ResourceKey) -> Inventory:
    """Look up all resources of an application, with at most five API calls.

    Raises:
        problems.Blocked: The file system with the application's token is somebody else's, or the
            credentials are of another account.
    """
    file_system, unrecorded = lookup.find(aws, key), None
    if file_system and lookup.is_unrecorded(key, file_system):
        file_system, unrecorded = None, file_system
    if file_system and not key.adopted_id:
        ownership.check(key.owner, file_system.id, file_system.tags)
    targets = lookup.list_mount_targets(aws, file_system.id) if file_system else ()
    tagged = security_groups.find_tagged(aws, key.owner)
    groups = _select(key, tagged, {target.vpc_id for target in targets})
    named = security_groups.find_named(aws, key.owner)
    similar = {group.id: group for group in (*tagged, *named)}
    ours = [
        target
        for group in groups
        for target in adoption.own_targets(
            key, group, [target for target in targets if target.vpc_id == group.vpc_id]
        )
    ]
    return Inventory(
        key=key,
        file_system=file_system,
        own_targets=tuple(ours),
        other_targets=tuple(target for target in targets if target not in ours),
        groups=groups,
        look_alikes=tuple(group for group in similar.values() if group not in groups),
        unrecorded=unrecorded,
    )


def find_own_groups(
    aws: session.Aws, key: resources.ResourceKey
) -> tuple[security_groups.SecurityGroup, ...]:
    """Return the application's security groups, where it has no mount target."""
    return _select(key, security_groups.find_tagged(aws, key.owner), vpcs=())


def check_group_on_record(aws: session.Aws, key: resources.ResourceKey) -> None:
    """Refuse to create the security group again if the one on record was deleted.

    An adopted file system carries no mark of a teardown. Where that was interrupted after its
    last deletion, only the record tells of it.

    Raises:
        problems.Blocked: No recorded group exists any more.
    """
    recorded = key.record.security_groups
    if not recorded:
        return
    with errors.translated("look at the security groups"):
        existing = security_groups.find(aws, {"group-id": recorded})
    if not existing:
        raise problems.Blocked(
            f"{recorded[-1]} is on record but gone: run teardown to finish that, "
            "or setup to create it again"
        )


def _select(
    key: resources.ResourceKey,
    candidates: Collection[security_groups.SecurityGroup],
    vpcs: Collection[str],
) -> tuple[security_groups.SecurityGroup, ...]:
    """Return the application's own security groups.

    Name, description and tags can all be copied into another VPC. So a group is also in the VPC
    of the mount targets, or on record. Where neither is known, as after a hook that was killed
    before it could record anything, there must be only one.

    Args:
        key: What identifies the application's resources.
        candidates: The groups with its tags.
        vpcs: The VPCs of the mount targets.
    """
    ours = [group for group in candidates if ownership.is_our_group(key.owner, group)]
    recorded = key.record.security_groups
    if not recorded and not vpcs:
        return tuple(ours) if len(ours) == 1 else ()
    return tuple(group for group in ours if group.id in recorded or group.vpc_id in vpcs)


def _counted(mount_targets: int) -> list[str]:
    if not mount_targets:
        return []
    return [f"{mount_targets} mount target{'s'[: mount_targets != 1]}"]
