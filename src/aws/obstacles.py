"""Find what would refuse a teardown in AWS half-way, before anything is deleted. Read only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import problems
from aws import answers, errors, security_groups

if TYPE_CHECKING:
    from aws import inventory, resources, session

# A message names only some access points.
_MOST_NAMED = 5


def find(aws: session.Aws, standing: inventory.Inventory) -> list[problems.Problem]:
    """Return what AWS would refuse, or what somebody else still uses.

    Args:
        aws: The region.
        standing: The resources that a teardown would delete.
    """
    found: list[problems.Problem] = []
    if file_system := standing.own_file_system:
        found += [
            problems.Blocked(
                f"{target.id} ({target.zone}) is a mount target that the charm did not create: "
                f"aws efs delete-mount-target --mount-target-id {target.id}"
            )
            for target in standing.other_targets
        ]
        found += _replications(aws, file_system)
        found += _access_points(aws, file_system)
    for group in standing.groups:
        found += _users(aws, standing, group)
    return found


def _access_points(aws: session.Aws, file_system: resources.FileSystem) -> list[problems.Problem]:
    """Return the access points of the file system: the charm has made none.

    Clients mount by them, and AWS's user guide wants them deleted before the file system.
    """
    with errors.translated("look at the access points"):
        pages = aws.efs.get_paginator("describe_access_points").paginate(
            FileSystemId=file_system.id
        )
        ids = sorted(
            point.get("AccessPointId", "")
            for page in answers.bounded(pages)
            for point in page["AccessPoints"]
            if point.get("LifeCycleState") not in ("deleting", "deleted")
        )
    if not ids:
        return []
    return [
        problems.Blocked(
            f"the charm did not create access point {problems.name_some(ids, _MOST_NAMED)}: "
            f"aws efs delete-access-point --access-point-id {ids[0]}"
        )
    ]


def _replications(aws: session.Aws, file_system: resources.FileSystem) -> list[problems.Problem]:
    """Return the replications that the file system is part of: AWS does not delete it then."""
    try:
        with errors.translated("look at replications"):
            answer = aws.efs.describe_replication_configurations(FileSystemId=file_system.id)
    except problems.Problem as problem:
        if errors.error_code(problem) == "ReplicationNotFound":
            return []
        raise
    return [
        problems.Blocked(
            f"{replication['SourceFileSystemId']} is replicated to "
            f"{', '.join(each['FileSystemId'] for each in replication['Destinations'])}: "
            "aws efs delete-replication-configuration --source-file-system-id "
            f"{replication['SourceFileSystemId']} --region {replication['SourceFileSystemRegion']}"
        )
        for replication in answer.get("Replications", [])
    ]


def _users(
    aws: session.Aws, standing: inventory.Inventory, group: security_groups.SecurityGroup
) -> list[problems.Problem]:
    """Return the others that use the group: AWS does not delete it then."""
    found: list[problems.Problem] = []
    for interface in security_groups.find_interfaces(aws, group.id):
        if _is_own(standing, interface):
            continue
        what = f" ({interface.description})" if interface.description else ""
        found.append(
            problems.Blocked(
                f"network interface {interface.id}{what} is in {group.id}: take it out of that "
                "group"
            )
        )
    found += [
        problems.Blocked(f"a rule of {other.id} names {group.id}: remove that rule")
        for other in security_groups.find_naming(aws, group.id)
    ]
    return found


def _is_own(standing: inventory.Inventory, interface: security_groups.Interface) -> bool:
    """Return whether it is the interface of a mount target of ours, or of one that is deleted.

    EFS names file system and mount target in the interface's description, and releases the
    interface some time after the mount target is gone.
    """
    if interface.id in {target.interface_id for target in standing.own_targets}:
        return True
    known = {standing.key.record.file_system_id}
    if standing.file_system:
        known.add(standing.file_system.id)
    of_file_system = any(
        interface.description.startswith(f"EFS mount target for {file_system_id} ")
        for file_system_id in known
    )
    others = any(target.id in interface.description for target in standing.other_targets)
    return interface.of_service and of_file_system and not others
