"""Find the application's file system, by token or id, and its mount targets."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import problems
from aws import answers, errors, ownership, refusals, resources, security_groups

if TYPE_CHECKING:
    from aws import session


def find(aws: session.Aws, key: resources.ResourceKey) -> resources.FileSystem | None:
    """Return the application's file system, with one API call; None where there is none.

    Raises:
        problems.Blocked: The credentials are of another account than the recorded one.
    """
    existing = find_by_id(aws, key.adopted_id) if key.adopted_id else find_by_token(aws, key)
    check_account(aws, key.record, existing)
    return existing


def find_by_id(aws: session.Aws, file_system_id: str) -> resources.FileSystem | None:
    """Return the file system with this id; None where the account has none in the region."""
    return _describe(aws, FileSystemId=file_system_id)


def find_by_token(aws: session.Aws, key: resources.ResourceKey) -> resources.FileSystem | None:
    """Return the file system with the application's creation token; None where there is none."""
    return _describe(aws, CreationToken=ownership.creation_token(key.owner))


def is_unrecorded(key: resources.ResourceKey, found: resources.FileSystem) -> bool:
    """Return whether a file system has the application's creation token, but another one's place.

    Token and tags can be given to any file system when the recorded one is gone, as by whoever
    restores a backup. Only the record tells whether the charm has created it.
    """
    return key.record.file_system_id not in ("", found.id)


def check_account(
    aws: session.Aws, record: resources.ResourceRecord, existing: resources.FileSystem | None
) -> None:
    """Refuse the credentials of another account than the one that has the recorded file system.

    There the file system would seem to be lost, and the next one would be created in that account.

    Args:
        aws: The region.
        record: What the application recorded.
        existing: The file system as AWS shows it. It names its account; where it is not found,
            AWS is asked for the account of the credentials.

    Raises:
        problems.Blocked: They are of another account.
    """
    if not record.account_id:
        return
    account_id = existing.account_id if existing else caller_account(aws)
    if account_id != record.account_id:
        raise problems.Blocked(
            f"the credentials are of account {account_id}, but {record.file_system_id} is in "
            f"{record.account_id}: give credentials of that one"
        )


def caller_account(aws: session.Aws) -> str:
    """Return the account of the credentials; the call needs no permission."""
    with errors.translated("look up the account of the credentials"):
        return aws.sts.get_caller_identity()["Account"]


def list_mount_targets(
    aws: session.Aws, file_system_id: str, *, with_groups: bool = True
) -> tuple[resources.MountTarget, ...]:
    """Return the mount targets of a file system by zone.

    Args:
        aws: The region.
        file_system_id: The file system.
        with_groups: Whether to look up their security groups, with one more call.
    """
    with errors.translated("look at the mount targets"):
        pages = aws.efs.get_paginator("describe_mount_targets").paginate(
            FileSystemId=file_system_id
        )
        targets = [
            resources.MountTarget(
                id=target["MountTargetId"],
                zone=target.get("AvailabilityZoneName", ""),
                subnet_id=target["SubnetId"],
                vpc_id=target.get("VpcId", ""),
                address=target.get("IpAddress") or target.get("Ipv6Address", ""),
                ipv6_address=target.get("Ipv6Address", ""),
                life_cycle=target["LifeCycleState"],
                interface_id=target.get("NetworkInterfaceId", ""),
                groups=None,
            )
            for page in answers.bounded(pages)
            for target in page["MountTargets"]
            if target["LifeCycleState"] != "deleted"
        ]
    targets.sort(key=lambda target: target.zone)
    if not with_groups:
        return tuple(targets)
    groups = security_groups.read_interface_groups(
        aws, [target.interface_id for target in targets if target.interface_id]
    )
    return tuple(
        dataclasses.replace(target, groups=groups.get(target.interface_id)) for target in targets
    )


def _describe(aws: session.Aws, **by: Any) -> resources.FileSystem | None:
    try:
        with errors.translated("look for the file system"):
            answer = aws.efs.describe_file_systems(**by)
    except problems.Problem as problem:
        if errors.error_code(problem) == "FileSystemNotFound":
            return None
        if errors.error_code(problem) in refusals.UNKNOWN_KEYS:
            _check_enabled(aws)
        raise
    for described in answer["FileSystems"]:
        if described["LifeCycleState"] != "deleted":
            protection = described.get("FileSystemProtection", {})
            return resources.FileSystem(
                id=described["FileSystemId"],
                account_id=described["OwnerId"],
                life_cycle=described["LifeCycleState"],
                performance_mode=described["PerformanceMode"],
                throughput_mode=described.get("ThroughputMode", "bursting"),
                encrypted=described.get("Encrypted", False),
                kms_key=described.get("KmsKeyId") or "",
                size_bytes=described["SizeInBytes"]["Value"],
                tags=ownership.from_list(described["Tags"]),
                zone=described.get("AvailabilityZoneName") or "",
                throughput_mibps=described.get("ProvisionedThroughputInMibps") or 0,
                replica=protection.get("ReplicationOverwriteProtection") == "REPLICATING",
            )
    return None


def _check_enabled(aws: session.Aws) -> None:
    """Tell a region that is not enabled from credentials that nobody knows.

    Raises:
        problems.Blocked: It is not enabled for the account.
    """
    with errors.translated("look whether the region is enabled"):
        enabled = aws.is_enabled()
    if not enabled:
        raise problems.Blocked(
            f"{aws.region} is not enabled for this account: aws account enable-region "
            f"--region-name {aws.region}, or set another region"
        )
