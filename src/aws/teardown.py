"""Delete the mount targets, the file system and the security group that the charm created.

Each part deletes what is left at that time, so that an interrupted teardown can be run again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import polling
import problems
from aws import errors, lookup, ownership, security_groups, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from aws import inventory, resources, session

logger = logging.getLogger(__name__)

# The vault of the plan by which AWS makes EFS's automatic backups.
BACKUP_VAULT = "aws/efs/automatic-backup-vault"
_MARK = ((ownership.STATE_TAG, ownership.TEARING_DOWN),)


def mark(aws: session.Aws, standing: inventory.Inventory) -> None:
    """Tag the resources, so that no reconcile of any leader creates them again."""
    for resource_id, tags in _own_resources(standing, standing.own_file_system):
        if ownership.missing_tags(tags, dict(_MARK)):
            steps.Tag(resource_id, _MARK).apply(aws)


def unmark(aws: session.Aws, standing: inventory.Inventory) -> None:
    """Remove that tag from the resources that are left."""
    # Whoever adopts what the application had created before keeps it so.
    marked = standing.file_system
    if marked and not ownership.is_ours(standing.key.owner, marked.tags):
        marked = None
    for resource_id, tags in _own_resources(standing, marked):
        if ownership.STATE_TAG in tags:
            steps.Untag(resource_id, (ownership.STATE_TAG,)).apply(aws)


def plan(standing: inventory.Inventory) -> list[str]:
    """Return a line for each resource that a teardown deletes, in its order."""
    file_system = standing.own_file_system
    return [
        *(_title(target) for target in standing.own_targets),
        *([f"file system {file_system.id}"] if file_system else []),
        *(f"security group {group.id}" for group in standing.groups),
    ]


def spared(standing: inventory.Inventory) -> list[str]:
    """Return a line for each resource that a teardown leaves alone though it seems concerned."""
    lines = [
        f"stays: security group {group.id}, it has the tags or the name of this application's "
        "but is another one"
        for group in standing.look_alikes
    ]
    if unrecorded := standing.unrecorded:
        lines.append(
            f"stays: file system {unrecorded.id}, it has the creation token of "
            f"{standing.key.record.file_system_id} but is another one"
        )
    if own := standing.own_id:
        lines.append(
            f"stays: recovery points of {own} in AWS Backup, if it has some: see the vault "
            f"{BACKUP_VAULT}, where the option backup has them made"
        )
    if standing.file_system and standing.key.adopted_id:
        lines.append(f"stays: file system {standing.file_system.id}, it was adopted")
        lines += [f"stays: {_title(target)}" for target in standing.other_targets]
    return lines


def teardown(
    aws: session.Aws,
    standing: inventory.Inventory,
    *,
    report: Callable[[str], None],
    timeout_seconds: float,
) -> None:
    """Delete all resources of an application in a region.

    Args:
        aws: The region.
        standing: The resources.
        report: Called with a line for each resource when it is gone.
        timeout_seconds: The time that AWS gets to delete them all.

    Raises:
        problems.Problem: Resources are left; another run deletes those.
    """

    def log_deleted(resource: str) -> None:
        logger.info("deleted %s", resource)
        report(f"deleted {resource}")

    deadline = time.monotonic() + timeout_seconds
    if standing.file_system:
        _delete_mount_targets(aws, standing, standing.file_system, log_deleted, deadline)
    if standing.own_file_system:
        _delete_file_system(aws, standing.own_file_system.id, log_deleted, deadline)
    for group in standing.groups:
        _delete_group(aws, group.id, deadline)
        log_deleted(f"security group {group.id}")


def _own_resources(
    standing: inventory.Inventory, file_system: resources.FileSystem | None
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield the ids and tags of the file system and the application's security groups."""
    if file_system:
        yield file_system.id, file_system.tags
    for group in standing.groups:
        yield group.id, group.tags


def _title(target: resources.MountTarget) -> str:
    return f"mount target {target.id} ({target.zone})"


def _delete_mount_targets(
    aws: session.Aws,
    standing: inventory.Inventory,
    file_system: resources.FileSystem,
    log_deleted: Callable[[str], None],
    deadline: float,
) -> None:
    left = {target.id: _title(target) for target in standing.own_targets}

    def gone() -> bool:
        targets = [
            target
            for target in lookup.list_mount_targets(aws, file_system.id, with_groups=False)
            if target.id in left
        ]
        for target in targets:
            # One that is still being created is deleted in a later round.
            if target.life_cycle not in ("creating", "deleting"):
                _delete(
                    lambda target=target: aws.efs.delete_mount_target(MountTargetId=target.id),
                    f"delete {target.id}",
                    lambda target=target: target.id in _target_ids(aws, file_system.id),
                )
        for target_id in sorted(left.keys() - {target.id for target in targets}):
            log_deleted(left.pop(target_id))
        return not targets

    if left and not polling.poll(gone, bool, deadline - time.monotonic()):
        raise problems.Waiting(
            f"AWS is still deleting the mount targets of {file_system.id}: run teardown again"
        )


def _target_ids(aws: session.Aws, file_system_id: str) -> set[str]:
    return {
        target.id for target in lookup.list_mount_targets(aws, file_system_id, with_groups=False)
    }


def _delete_file_system(
    aws: session.Aws,
    file_system_id: str,
    log_deleted: Callable[[str], None],
    deadline: float,
) -> None:
    def gone() -> bool:
        current = lookup.find_by_id(aws, file_system_id)
        if current and current.life_cycle != "deleting":
            _delete(
                lambda: aws.efs.delete_file_system(FileSystemId=file_system_id),
                f"delete {file_system_id}",
                lambda: lookup.find_by_id(aws, file_system_id) is not None,
            )
        return current is None

    if not polling.poll(gone, bool, deadline - time.monotonic()):
        raise problems.Waiting(f"AWS is still deleting {file_system_id}: run teardown again")
    log_deleted(f"file system {file_system_id}")


def _delete_group(aws: session.Aws, group_id: str, deadline: float) -> None:
    def exists() -> bool:
        with errors.translated("look at the security groups"):
            return bool(security_groups.find(aws, {"group-id": [group_id]}))

    # AWS releases the network interfaces of mount targets some time after their deletion.
    def gone() -> bool:
        return _delete(
            lambda: aws.ec2.delete_security_group(GroupId=group_id), f"delete {group_id}", exists
        )

    if not polling.poll(gone, bool, deadline - time.monotonic()):
        raise problems.Waiting(
            f"{group_id} is still used by a network interface or another group: run teardown again"
        )


_GONE = {"FileSystemNotFound", "MountTargetNotFound", "InvalidGroup.NotFound"}
_NOT_YET = {"DependencyTimeout", "DependencyViolation", "FileSystemInUse"}


def _delete(call: Callable[[], object], operation: str, exists: Callable[[], bool]) -> bool:
    """Ask AWS to delete a resource; return False if it has to be asked again.

    A resource that is gone already is no error: the reply to an earlier call may have been lost,
    and botocore has asked again. A policy that goes by tags then denies it: what is gone has none.

    Args:
        call: The request.
        operation: The operation, for the message.
        exists: Look up whether the resource is there.
    """
    try:
        with errors.translated(operation):
            call()
    except problems.Problem as problem:
        code = errors.error_code(problem)
        if code in _NOT_YET:
            logger.debug("not yet: %s", problem.message)
            return False
        if code not in _GONE and exists():
            raise
    return True
