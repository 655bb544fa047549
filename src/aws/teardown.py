"""Delete the mount targets, the file system and the security group.

Each part deletes what is left at that time, so that an interrupted teardown can be run again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import polling
import problems
from aws import errors, file_system, network, ownership, steps

if TYPE_CHECKING:
    from collections.abc import Callable

    import identity
    from aws import resources, session

logger = logging.getLogger(__name__)

_MARK = ((ownership.STATE_TAG, ownership.TEARING_DOWN),)


def mark(aws: session.Aws, owner: identity.Owner) -> None:
    """Tag the resources, so that no reconcile of any leader creates them again."""
    for resource_id, tags in _own_resources(aws, owner):
        if ownership.missing_tags(tags, dict(_MARK)):
            steps.Tag(resource_id, _MARK).apply(aws)


def unmark(aws: session.Aws, owner: identity.Owner) -> None:
    """Remove that tag from the resources that are left."""
    for resource_id, tags in _own_resources(aws, owner):
        if ownership.STATE_TAG in tags:
            steps.Untag(resource_id, (ownership.STATE_TAG,)).apply(aws)


def teardown(
    aws: session.Aws,
    owner: identity.Owner,
    *,
    report: Callable[[str], None],
    timeout_seconds: float,
    dry_run: bool = False,
) -> list[str]:
    """Delete all resources of an application in a region.

    Args:
        aws: The region.
        owner: The application.
        report: Called with a line for each resource when it is gone.
        timeout_seconds: The time that AWS gets to delete them all.
        dry_run: Only report the resources that would be deleted.

    Returns:
        The reported lines.

    Raises:
        problems.Problem: Resources are left; another run deletes those.
    """
    lines: list[str] = []

    def log_deleted(resource: str) -> None:
        lines.append(f"{'would delete' if dry_run else 'deleted'} {resource}")
        logger.info("%s", lines[-1])
        report(lines[-1])

    deadline = time.monotonic() + timeout_seconds
    if not dry_run:
        mark(aws, owner)
    existing = file_system.find(aws, owner)
    if existing and dry_run:
        for target in file_system.list_mount_targets(aws, existing.id):
            log_deleted(_title(target))
        log_deleted(f"file system {existing.id}")
    elif existing:
        _delete_mount_targets(aws, existing, log_deleted, deadline)
        _delete_file_system(aws, owner, existing, log_deleted, deadline)
    for group in network.find_own_groups(aws, owner):
        if not dry_run:
            _delete_group(aws, group, deadline)
        log_deleted(f"security group {group.id}")
    return lines


def _own_resources(aws: session.Aws, owner: identity.Owner) -> list[tuple[str, dict[str, str]]]:
    """Return the ids and tags of the application's resources."""
    existing = file_system.find(aws, owner)
    tagged = [(existing.id, dict(existing.tags))] if existing else []
    return tagged + [(group.id, dict(group.tags)) for group in network.find_own_groups(aws, owner)]


def _title(target: resources.MountTarget) -> str:
    return f"mount target {target.id} ({target.zone})"


def _delete_mount_targets(
    aws: session.Aws,
    existing: resources.FileSystem,
    log_deleted: Callable[[str], None],
    deadline: float,
) -> None:
    left: dict[str, str] = {}

    def gone() -> bool:
        targets = file_system.list_mount_targets(aws, existing.id)
        for target in targets:
            left.setdefault(target.id, _title(target))
            # One that is still being created is deleted in a later round.
            if target.life_cycle not in ("creating", "deleting"):
                _delete(
                    lambda target=target: aws.efs.delete_mount_target(MountTargetId=target.id),
                    f"delete {target.id}",
                )
        for target_id in sorted(left.keys() - {target.id for target in targets}):
            log_deleted(left.pop(target_id))
        return not targets

    if not polling.poll(gone, bool, deadline - time.monotonic()):
        raise problems.Waiting(
            f"AWS is still deleting the mount targets of {existing.id}: run teardown again"
        )


def _delete_file_system(
    aws: session.Aws,
    owner: identity.Owner,
    existing: resources.FileSystem,
    log_deleted: Callable[[str], None],
    deadline: float,
) -> None:
    def gone() -> bool:
        current = file_system.find(aws, owner)
        if current and current.life_cycle != "deleting":
            _delete(
                lambda: aws.efs.delete_file_system(FileSystemId=current.id),
                f"delete {current.id}",
            )
        return current is None

    if not polling.poll(gone, bool, deadline - time.monotonic()):
        raise problems.Waiting(f"AWS is still deleting {existing.id}: run teardown again")
    log_deleted(f"file system {existing.id}")


def _delete_group(aws: session.Aws, group: network.SecurityGroup, deadline: float) -> None:
    # AWS releases the network interfaces of mount targets some time after their deletion.
    def gone() -> bool:
        return _delete(
            lambda: aws.ec2.delete_security_group(GroupId=group.id), f"delete {group.id}"
        )

    if not polling.poll(gone, bool, deadline - time.monotonic()):
        raise problems.Waiting(
            f"{group.id} is still used by a network interface or another group: run teardown again"
        )


_GONE = {"FileSystemNotFound", "MountTargetNotFound", "InvalidGroup.NotFound"}
_NOT_YET = {"DependencyTimeout", "DependencyViolation", "FileSystemInUse"}


def _delete(call: Callable[[], object], operation: str) -> bool:
    """Ask AWS to delete a resource; return False if it has to be asked again.

    A resource that is gone already is no error: the reply to an earlier call may have been lost.
    """
    try:
        with errors.translated(operation):
            call()
    except problems.Problem as problem:
        code = errors.error_code(problem)
        if code in _NOT_YET:
            logger.debug("not yet: %s", problem.message)
            return False
        if code not in _GONE:
            raise
    return True
