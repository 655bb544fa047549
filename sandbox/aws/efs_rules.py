"""EFS's calls that moto does not implement fully: their table, and the rules on tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from moto.core import exceptions as moto_errors

from sandbox.aws import (
    aws_resources,
    efs_file_systems,
    efs_mount_targets,
    efs_policies,
    efs_replications,
)


def answer(
    region: aws_resources.Region, operation: str, params: aws_resources.Params
) -> aws_resources.Answer | None:
    """Execute a call as EFS does.

    Returns:
        The status and the body, or None if moto answers the call.

    Raises:
        aws_resources.Refused: EFS answers with an error.
    """
    rule = _RULES.get(operation)
    if rule is None:
        return None
    try:
        return rule(region, params)
    except moto_errors.JsonRESTError as error:
        raise aws_resources.Refused(error.error_type, error.message, error.code or 400) from error


def _tag_resource(region: aws_resources.Region, params: aws_resources.Params) -> None:
    system = region.file_system(params["ResourceId"])
    new = {tag["Key"]: tag["Value"] for tag in aws_resources.entries(params, "Tags")}
    old = {tag["Key"] for tag in region.efs.list_tags_for_resource(system.file_system_id)}
    users = {key for key in old | set(new) if not key.startswith("aws:")}
    efs_file_systems.check_tags(new, len(users))


def _check_resource(region: aws_resources.Region, params: aws_resources.Params) -> None:
    region.file_system(params["ResourceId"])


_RULES: Mapping[
    str, Callable[[aws_resources.Region, aws_resources.Params], aws_resources.Answer | None]
] = {
    "CreateFileSystem": efs_file_systems.create,
    "DescribeFileSystems": efs_file_systems.describe,
    "UpdateFileSystem": efs_file_systems.update,
    "DeleteFileSystem": efs_file_systems.delete,
    "PutBackupPolicy": efs_policies.put_backup,
    "DescribeBackupPolicy": efs_policies.describe_backup,
    "PutLifecycleConfiguration": efs_policies.put_lifecycle,
    "DescribeLifecycleConfiguration": efs_policies.describe_lifecycle,
    "CreateMountTarget": efs_mount_targets.create,
    "DescribeMountTargets": efs_mount_targets.describe,
    "DeleteMountTarget": efs_mount_targets.delete,
    "DescribeMountTargetSecurityGroups": efs_mount_targets.describe_groups,
    "ModifyMountTargetSecurityGroups": efs_mount_targets.modify_groups,
    "CreateReplicationConfiguration": efs_replications.create,
    "DescribeReplicationConfigurations": efs_replications.describe,
    "DeleteReplicationConfiguration": efs_replications.delete,
    "TagResource": _tag_resource,
    "UntagResource": _check_resource,
    "ListTagsForResource": _check_resource,
}
