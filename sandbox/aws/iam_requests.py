"""The permissions that each call needs, with resources and condition keys.

They are those of AWS's service authorization reference, and of EFS's API reference for the calls
that EFS makes on the caller's behalf.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sandbox.aws import aws_resources, efs_file_systems, iam_policy

Authorization = iam_policy.Authorization
Params = aws_resources.Params
Region = aws_resources.Region

EFS_SERVICE = "elasticfilesystem.amazonaws.com"
_VIA_EFS = {"aws:ViaAWSService": "true"}


def needed(
    region: Region, service: str, operation: str, params: Params
) -> Iterator[Authorization]:
    """Yield what the caller must be allowed for a call.

    Args:
        region: The region of the call.
        service: "efs", "ec2" or "sts".
        operation: The operation's name.
        params: Its parameters.
    """
    if service == "efs":
        yield from _EFS.get(operation, _on_file_system)(region, operation, params)
    elif service == "ec2":
        yield from _EC2.get(operation, _on_anything)(region, operation, params)


# --- EFS


def _create_file_system(region: Region, operation: str, params: Params) -> Iterator[Authorization]:
    tags = {tag["Key"]: tag["Value"] for tag in aws_resources.entries(params, "Tags")}
    requested = _tag_keys("aws:RequestTag", tags)
    yield Authorization(f"elasticfilesystem:{operation}", "*", requested)
    if tags:
        created = {**requested, "elasticfilesystem:CreateAction": operation}
        arn = _file_system_arn(region, "*")
        yield Authorization("elasticfilesystem:TagResource", arn, created)
    if not region.account.has_efs_role:
        role = f"role/aws-service-role/{EFS_SERVICE}/AWSServiceRoleForAmazonElasticFileSystem"
        arn = f"arn:{region.partition}:iam::{region.account_id}:{role}"
        context = {"iam:AWSServiceName": EFS_SERVICE}
        yield Authorization("iam:CreateServiceLinkedRole", arn, context)
    # The policy of AWS's own key lets everybody use it through EFS.
    if params.get("KmsKeyId"):
        via = {"kms:ViaService": f"elasticfilesystem.{region.name}.{region.dns_suffix}"}
        key = efs_file_systems.kms_key(region, params)
        for action in ("DescribeKey", "CreateGrant", "GenerateDataKeyWithoutPlaintext"):
            yield Authorization(f"kms:{action}", key, via)


def _create_mount_target(
    region: Region, operation: str, params: Params
) -> Iterator[Authorization]:
    yield from _on_file_system(region, operation, params)
    yield Authorization("ec2:DescribeSubnets")
    yield Authorization("ec2:DescribeNetworkInterfaces")
    for resource in (
        "network-interface/*",
        f"subnet/{params.get('SubnetId')}",
        *(f"security-group/{each}" for each in aws_resources.entries(params, "SecurityGroups")),
    ):
        yield Authorization("ec2:CreateNetworkInterface", _ec2_arn(region, resource), _VIA_EFS)


def _delete_mount_target(
    region: Region, operation: str, params: Params
) -> Iterator[Authorization]:
    yield from _on_file_system(region, operation, params)
    arn = _ec2_arn(region, "network-interface/*")
    yield Authorization("ec2:DeleteNetworkInterface", arn, _VIA_EFS)


def _modify_groups(region: Region, operation: str, params: Params) -> Iterator[Authorization]:
    yield from _on_file_system(region, operation, params)
    arn = _ec2_arn(region, "network-interface/*")
    yield Authorization("ec2:ModifyNetworkInterfaceAttribute", arn, _VIA_EFS)


def _tag_file_system(region: Region, operation: str, params: Params) -> Iterator[Authorization]:
    tags = {tag["Key"]: tag["Value"] for tag in aws_resources.entries(params, "Tags")}
    for each in _on_file_system(region, operation, params):
        context = {**each.context, **_tag_keys("aws:RequestTag", tags)}
        yield Authorization(each.action, each.resource, context)


def _on_file_system(region: Region, operation: str, params: Params) -> Iterator[Authorization]:
    """Yield the operation itself: its resource is a file system, also for mount targets."""
    target = region.efs.mount_targets_by_id.get(params.get("MountTargetId", ""))
    file_system_id = target.file_system_id if target else _file_system_id(params)
    tags: dict[str, str] = {}
    if file_system_id in region.efs.file_systems_by_id:
        listed = region.efs.list_tags_for_resource(file_system_id)
        tags = {tag["Key"]: tag["Value"] for tag in listed}
    yield Authorization(
        f"elasticfilesystem:{operation}",
        _file_system_arn(region, file_system_id or "*"),
        _tag_keys("aws:ResourceTag", tags),
    )


def _file_system_id(params: Params) -> str:
    names = ("FileSystemId", "ResourceId", "SourceFileSystemId")
    return next((params[name] for name in names if params.get(name)), "")


def _file_system_arn(region: Region, file_system_id: str) -> str:
    prefix = f"arn:{region.partition}:elasticfilesystem:{region.name}:{region.account_id}"
    return f"{prefix}:file-system/{file_system_id}"


# --- EC2


def _create_group(region: Region, operation: str, params: Params) -> Iterator[Authorization]:
    keys = [re.fullmatch(r"(TagSpecification\.1\.Tag\.\d+)\.Key", name) for name in params]
    tags = {params[key[0]]: params.get(f"{key[1]}.Value", "") for key in keys if key}
    requested = _tag_keys("aws:RequestTag", tags)
    group = _ec2_arn(region, "security-group/*")
    yield Authorization(f"ec2:{operation}", group, requested)
    vpc = params.get("VpcId", "*")
    yield Authorization(f"ec2:{operation}", _ec2_arn(region, f"vpc/{vpc}"), _tags(region, vpc))
    if tags:
        yield Authorization("ec2:CreateTags", group, {**requested, "ec2:CreateAction": operation})


def _on_group(region: Region, operation: str, params: Params) -> Iterator[Authorization]:
    group = params.get("GroupId", "*")
    arn = _ec2_arn(region, f"security-group/{group}")
    yield Authorization(f"ec2:{operation}", arn, _tags(region, group))


def _on_tags(region: Region, operation: str, params: Params) -> Iterator[Authorization]:
    keys = [re.fullmatch(r"(Tag\.\d+)\.Key", name) for name in params]
    tags = {params[key[0]]: params.get(f"{key[1]}.Value", "") for key in keys if key}
    for name in params:
        if re.fullmatch(r"ResourceId\.\d+", name):
            resource = params[name]
            kind = "security-group" if resource.startswith("sg-") else "other"
            arn = _ec2_arn(region, f"{kind}/{resource}")
            context = {**_tags(region, resource), **_tag_keys("aws:RequestTag", tags)}
            yield Authorization(f"ec2:{operation}", arn, context)


def _on_anything(_: Region, operation: str, __: Params) -> Iterator[Authorization]:
    """Yield the operation itself, which a caller makes directly and on no certain resource."""
    yield Authorization(f"ec2:{operation}", "*", {"aws:ViaAWSService": "false"})


def _tags(region: Region, resource_id: str) -> dict[str, str]:
    """Return the condition keys for the tags of an EC2 resource; none if it does not exist."""
    described: Any = region.ec2.describe_tags(filters={"resource-id": [resource_id]})
    return _tag_keys("aws:ResourceTag", {tag["key"]: tag["value"] for tag in described})


def _ec2_arn(region: Region, resource: str) -> str:
    return f"arn:{region.partition}:ec2:{region.name}:{region.account_id}:{resource}"


def _tag_keys(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}/{key}": value for key, value in tags.items()}


_Rule = Callable[[Region, str, Params], Iterator[Authorization]]
_EFS: Mapping[str, _Rule] = {
    "CreateFileSystem": _create_file_system,
    "CreateMountTarget": _create_mount_target,
    "DeleteMountTarget": _delete_mount_target,
    "ModifyMountTargetSecurityGroups": _modify_groups,
    "TagResource": _tag_file_system,
}
_EC2: Mapping[str, _Rule] = {
    "AuthorizeSecurityGroupIngress": _on_group,
    "CreateSecurityGroup": _create_group,
    "CreateTags": _on_tags,
    "DeleteSecurityGroup": _on_group,
    "DeleteTags": _on_tags,
    "RevokeSecurityGroupIngress": _on_group,
}
