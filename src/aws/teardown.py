"""The way back: mark what is ours, then delete mount targets, file system and security group.

Every part looks at what is left and deletes that, so that it can be run again after whatever cut
it short.
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
    """Keep every reconcile, of whichever leader, from building up again what goes."""
    for resource_id, tags in _own_resources(aws, owner):
        if ownership.missing_tags(tags, dict(_MARK)):
            steps.Tag(resource_id, _MARK).take(aws)


def unmark(aws: session.Aws, owner: identity.Owner) -> None:
    """Take the mark off again from what is left."""
    for resource_id, tags in _own_resources(aws, owner):
        if ownership.STATE_TAG in tags:
            steps.Untag(resource_id, (ownership.STATE_TAG,)).take(aws)


def teardown(
    aws: session.Aws,
    owner: identity.Owner,
    *,
    say: Callable[[str], None],
    timeout_seconds: float,
    dry_run: bool = False,
) -> list[str]:
    """Delete all that is this application's in this region.

    Args:
        aws: The region.
        owner: Whose it is.
        say: Is told of each thing when it is gone.
        timeout_seconds: How long to wait for AWS to delete it all.
        dry_run: Only tell what would be deleted.

    Returns:
        What was said: a line for each thing that was, or would be, deleted.

    Raises:
        problems.Problem: Something is left; run again, it goes on from there.
    """
    lines: list[str] = []

    def tell(thing: str) -> None:
        lines.append(f"{'would delete' if dry_run else 'deleted'} {thing}")
        logger.info("%s", lines[-1])
        say(lines[-1])

    until = time.monotonic() + timeout_seconds
    if not dry_run:
        mark(aws, owner)
    found = file_system.find(aws, owner)
    if found and dry_run:
        for target in file_system.list_mount_targets(aws, found.id):
            tell(_title(target))
        tell(f"file system {found.id}")
    elif found:
        _delete_mount_targets(aws, found, tell, until)
        _delete_file_system(aws, owner, found, tell, until)
    for group in network.find_own_groups(aws, owner):
        if not dry_run:
            _delete_group(aws, group, until)
        tell(f"security group {group.id}")
    return lines


def _own_resources(aws: session.Aws, owner: identity.Owner) -> list[tuple[str, dict[str, str]]]:
    """The ids and tags of what carries tags of ours."""
    found = file_system.find(aws, owner)
    tagged = [(found.id, dict(found.tags))] if found else []
    return tagged + [(group.id, dict(group.tags)) for group in network.find_own_groups(aws, owner)]


def _title(target: resources.MountTarget) -> str:
    return f"mount target {target.id} ({target.zone})"


def _delete_mount_targets(
    aws: session.Aws, found: resources.FileSystem, tell: Callable[[str], None], until: float
) -> None:
    left: dict[str, str] = {}

    def gone() -> bool:
        targets = file_system.list_mount_targets(aws, found.id)
        for target in targets:
            left.setdefault(target.id, _title(target))
            # One that is still being created goes in a later round, when it is there.
            if target.life_cycle not in ("creating", "deleting"):
                _delete(
                    lambda target=target: aws.efs.delete_mount_target(MountTargetId=target.id),
                    f"delete {target.id}",
                )
        for target_id in sorted(left.keys() - {target.id for target in targets}):
            tell(left.pop(target_id))
        return not targets

    if not polling.poll(gone, bool, until - time.monotonic()):
        raise problems.Waiting(
            f"AWS still deletes the mount targets of {found.id}: run teardown again to go on"
        )


def _delete_file_system(
    aws: session.Aws,
    owner: identity.Owner,
    found: resources.FileSystem,
    tell: Callable[[str], None],
    until: float,
) -> None:
    def gone() -> bool:
        now = file_system.find(aws, owner)
        if now and now.life_cycle != "deleting":
            _delete(lambda: aws.efs.delete_file_system(FileSystemId=now.id), f"delete {now.id}")
        return now is None

    if not polling.poll(gone, bool, until - time.monotonic()):
        raise problems.Waiting(f"AWS still deletes {found.id}: run teardown again to go on")
    tell(f"file system {found.id}")


def _delete_group(aws: session.Aws, group: network.SecurityGroup, until: float) -> None:
    # The interfaces of deleted mount targets are released some time after these are gone.
    def gone() -> bool:
        return _delete(
            lambda: aws.ec2.delete_security_group(GroupId=group.id), f"delete {group.id}"
        )

    if not polling.poll(gone, bool, until - time.monotonic()):
        raise problems.Waiting(
            f"{group.id} is still used, by an interface or another group: run teardown again"
        )


_GONE = {"FileSystemNotFound", "MountTargetNotFound", "InvalidGroup.NotFound"}
_NOT_YET = {"DependencyTimeout", "DependencyViolation", "FileSystemInUse"}


def _delete(call: Callable[[], object], doing: str) -> bool:
    """Ask AWS to delete something; False if it is to be asked again.

    That it is gone already is no error: the reply to the first request may have been lost.
    """
    try:
        with errors.translated(doing):
            call()
    except problems.Problem as problem:
        code = errors.error_code(problem)
        if code in _NOT_YET:
            logger.debug("not yet: %s", problem.message)
            return False
        if code not in _GONE:
            raise
    return True
