"""Observe and plan the file system's policies, in the words of their options.

Besides the charm only somebody by hand changes them. So they are read where an option is set:
after a change of these options, and once an hour. What was read is on record.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import problems
from aws import errors, lifecycle, resources, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aws import session

READ_EVERY_SECONDS = 3600
_BACKUP = {"ENABLED": "true", "DISABLED": "false"}
# AWS is about to change the backup policy. It is read again by the next event.
_CHANGING = ("enabling", "disabling")


def observe(
    aws: session.Aws,
    desired: resources.DesiredFileSystem,
    file_system: resources.FileSystem | None,
) -> resources.ObservedPolicies:
    """Return the policies: with one API call for each option that is set, if it is time for that.

    Args:
        aws: The region.
        desired: The desired state.
        file_system: The file system, if there is one.
    """
    record = desired.key.record
    if not desired.policies or desired.key.adopted_id:
        return resources.ObservedPolicies()
    now = int(time.time())
    exists = file_system and file_system.life_cycle in ("available", "updating")
    if not (file_system and exists and _is_due(desired, now)):
        return resources.ObservedPolicies(record.policies_seen, record.policies_seen_at)
    read = {option: _read(aws, file_system.id, option) for option in desired.policies}
    seen = {option: each for option, each in read.items() if isinstance(each, str)}
    failed = tuple(each for each in read.values() if isinstance(each, problems.Problem))
    return resources.ObservedPolicies(seen, 0 if failed else now, failed)


def plan(
    desired: resources.DesiredFileSystem,
    file_system: resources.FileSystem,
    observed: resources.ObservedPolicies,
) -> list[steps.Step]:
    """Return the steps that set the policies; none where somebody else changed them."""
    if file_system.life_cycle != "available":
        return []
    return [
        _STEPS[option](file_system.id, words)
        for option, words in desired.policies.items()
        if observed.seen.get(option, words) not in (words, *_CHANGING)
        and not _is_of_others(desired, observed, option)
        and not _lacks_elastic(words, file_system)
    ]


def find_problems(
    desired: resources.DesiredFileSystem,
    file_system: resources.FileSystem | None,
    observed: resources.ObservedPolicies,
) -> list[problems.Problem]:
    """Return the problems of the policies, which do not stop the rest."""
    found = list(observed.problems)
    words = desired.policies.get("lifecycle", "")
    if file_system and not desired.key.adopted_id and _lacks_elastic(words, file_system):
        found.append(
            problems.Waiting(
                f"option lifecycle: archive needs elastic throughput, {file_system.id} has "
                f"{file_system.throughput}: see throughput-mode"
            )
        )
    return found


def applied(
    desired: resources.DesiredFileSystem, observed: resources.ObservedPolicies
) -> dict[str, str]:
    """Return the policies that the charm set last, which what others set does not change."""
    before = desired.key.record.policies_set
    words = {
        option: words if observed.seen.get(option) == words else before.get(option, "")
        for option, words in desired.policies.items()
        if not desired.key.adopted_id
    }
    return {option: each for option, each in words.items() if each}


def tell_others(
    desired: resources.DesiredFileSystem,
    observed: resources.ObservedPolicies,
    tell: Callable[[str], None],
) -> None:
    """Tell what somebody else set."""
    for option in desired.policies:
        if _is_of_others(desired, observed, option):
            tell(
                f"others set {option} to {observed.seen[option]}: set the option to it, or run "
                "setup to undo it"
            )


def _is_due(desired: resources.DesiredFileSystem, now: int) -> bool:
    record = desired.key.record
    return (
        record.policies_set != desired.policies
        or any(each in _CHANGING for each in record.policies_seen.values())
        or not 0 <= now - record.policies_seen_at < READ_EVERY_SECONDS
    )


def _is_of_others(
    desired: resources.DesiredFileSystem, observed: resources.ObservedPolicies, option: str
) -> bool:
    """Return whether somebody changed the policy after the charm had set the desired one."""
    words = desired.policies[option]
    seen = observed.seen.get(option, words)
    set_before = desired.key.record.policies_set.get(option) == words
    return set_before and seen not in (words, *_CHANGING)


def _lacks_elastic(words: str, file_system: resources.FileSystem) -> bool:
    return lifecycle.needs_elastic(words) and file_system.throughput_mode != "elastic"


def _read(aws: session.Aws, file_system_id: str, option: str) -> str | problems.Problem:
    try:
        return _READERS[option](aws, file_system_id)
    except problems.Problem as problem:
        return problem


def _read_backup(aws: session.Aws, file_system_id: str) -> str:
    try:
        with errors.translated("look at the backup policy", option="backup"):
            answer = aws.efs.describe_backup_policy(FileSystemId=file_system_id)
    except problems.Problem as problem:
        if errors.error_code(problem) == "PolicyNotFound":  # it never had one
            return "false"
        raise
    status = answer["BackupPolicy"]["Status"]
    return _BACKUP.get(status, status.lower())


def _read_lifecycle(aws: session.Aws, file_system_id: str) -> str:
    with errors.translated("look at the lifecycle policies", option="lifecycle"):
        answer = aws.efs.describe_lifecycle_configuration(FileSystemId=file_system_id)
    return lifecycle.to_words(answer["LifecyclePolicies"])


_READERS: Mapping[str, Callable[[session.Aws, str], str]] = {
    "backup": _read_backup,
    "lifecycle": _read_lifecycle,
}
_STEPS: Mapping[str, Callable[[str, str], steps.Step]] = {
    "backup": steps.PutBackupPolicy,
    "lifecycle": steps.PutLifecycleConfiguration,
}
