"""The IAM actions that the charm's AWS credentials must allow, and the policy that allows them.

Which action has which resources and condition keys is in AWS's service authorization reference.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from aws import ownership

EFS_ACTIONS = (
    "elasticfilesystem:CreateFileSystem",
    "elasticfilesystem:CreateMountTarget",
    "elasticfilesystem:DeleteFileSystem",
    "elasticfilesystem:DeleteMountTarget",
    "elasticfilesystem:DescribeAccessPoints",
    "elasticfilesystem:DescribeBackupPolicy",
    "elasticfilesystem:DescribeFileSystems",
    "elasticfilesystem:DescribeLifecycleConfiguration",
    "elasticfilesystem:DescribeMountTargets",
    "elasticfilesystem:DescribeReplicationConfigurations",
    "elasticfilesystem:ModifyMountTargetSecurityGroups",
    "elasticfilesystem:PutBackupPolicy",
    "elasticfilesystem:PutLifecycleConfiguration",
    "elasticfilesystem:TagResource",
    "elasticfilesystem:UntagResource",
    "elasticfilesystem:UpdateFileSystem",
)
EC2_ACTIONS = (
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:CreateSecurityGroup",
    "ec2:CreateTags",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteTags",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcAttribute",
    "ec2:RevokeSecurityGroupIngress",
)
# EFS calls these on behalf of the caller: a mount target is a network interface in the caller's
# subnet, and the caller grants EFS the use of their own KMS key (option kms-key).
ON_BEHALF_ACTIONS = (
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:ModifyNetworkInterfaceAttribute",
    "iam:CreateServiceLinkedRole",
    "kms:CreateGrant",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
)
IAM_ACTIONS = (*EFS_ACTIONS, *EC2_ACTIONS, *ON_BEHALF_ACTIONS)
"""All actions that the credentials need."""

# The owner of a file system sets this tag on it, so that the charm may create mount targets.
ADOPTABLE_TAG = "aws-efs/adoptable"

_FILE_SYSTEMS = "arn:*:elasticfilesystem:*:*:file-system/*"
_SECURITY_GROUPS = "arn:*:ec2:*:*:security-group/*"
_SERVICE = "elasticfilesystem.amazonaws.com"

Condition = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Statement:
    """A statement of the policy: it allows actions on resources under a condition."""

    sid: str
    actions: tuple[str, ...]
    resource: str = "*"
    condition: Condition = dataclasses.field(default_factory=Condition)

    def to_json(self) -> dict[str, Any]:
        """Return the statement in IAM's language."""
        statement: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": list(self.actions),
            "Resource": self.resource,
        }
        return {**statement, "Condition": self.condition} if self.condition else statement


def policy() -> dict[str, Any]:
    """Return the policy, the same for all applications of the charm."""
    statements = [each.to_json() for each in _statements()]
    return {"Version": "2012-10-17", "Statement": statements}


def _statements() -> tuple[Statement, ...]:
    ours = {"StringLike": {f"aws:ResourceTag/{ownership.MODEL_TAG}": "*"}}
    new = {"StringLike": {f"aws:RequestTag/{ownership.MODEL_TAG}": "*"}}
    adoptable = {"StringLike": {f"aws:ResourceTag/{ADOPTABLE_TAG}": "*"}}
    looks = tuple(
        action for action in IAM_ACTIONS if ":Describe" in action and "kms:" not in action
    )
    return (
        Statement("Look", looks),
        Statement("CreateFileSystem", ("elasticfilesystem:CreateFileSystem",), "*", new),
        Statement(
            "TagNewFileSystem",
            ("elasticfilesystem:TagResource",),
            _FILE_SYSTEMS,
            {**new, **_created_by("elasticfilesystem", "CreateFileSystem")},
        ),
        Statement(
            "ChangeOwnFileSystem",
            (
                "elasticfilesystem:CreateMountTarget",
                "elasticfilesystem:DeleteFileSystem",
                "elasticfilesystem:DeleteMountTarget",
                "elasticfilesystem:ModifyMountTargetSecurityGroups",
                "elasticfilesystem:PutBackupPolicy",
                "elasticfilesystem:PutLifecycleConfiguration",
                "elasticfilesystem:TagResource",
                "elasticfilesystem:UntagResource",
                "elasticfilesystem:UpdateFileSystem",
            ),
            _FILE_SYSTEMS,
            ours,
        ),
        Statement(
            "MountAdoptedFileSystem",
            ("elasticfilesystem:CreateMountTarget", "elasticfilesystem:DeleteMountTarget"),
            _FILE_SYSTEMS,
            adoptable,
        ),
        Statement("CreateSecurityGroup", ("ec2:CreateSecurityGroup",), _SECURITY_GROUPS, new),
        # A security group is created in a VPC, which has no tags of the charm.
        Statement("CreateSecurityGroupInVpc", ("ec2:CreateSecurityGroup",), "arn:*:ec2:*:*:vpc/*"),
        Statement(
            "TagNewSecurityGroup",
            ("ec2:CreateTags",),
            _SECURITY_GROUPS,
            {**new, **_created_by("ec2", "CreateSecurityGroup")},
        ),
        Statement(
            "ChangeOwnSecurityGroup",
            (
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:CreateTags",
                "ec2:DeleteSecurityGroup",
                "ec2:DeleteTags",
                "ec2:RevokeSecurityGroupIngress",
            ),
            _SECURITY_GROUPS,
            ours,
        ),
        Statement(
            "InterfacesOfMountTargets",
            (
                "ec2:CreateNetworkInterface",
                "ec2:DeleteNetworkInterface",
                "ec2:ModifyNetworkInterfaceAttribute",
            ),
            "*",
            {"Bool": {"aws:ViaAWSService": "true"}},
        ),
        Statement(
            "RoleOfEfs",
            ("iam:CreateServiceLinkedRole",),
            f"arn:*:iam::*:role/aws-service-role/{_SERVICE}/*",
            {"StringEquals": {"iam:AWSServiceName": _SERVICE}},
        ),
        Statement(
            "KeyOfFileSystem",
            ("kms:CreateGrant", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"),
            "arn:*:kms:*:*:key/*",
            {"StringLike": {"kms:ViaService": "elasticfilesystem.*.amazonaws.com*"}},
        ),
    )


def _created_by(service: str, operation: str) -> Condition:
    """Return the condition that the tags are of a resource which this operation creates."""
    return {"StringEquals": {f"{service}:CreateAction": operation}}
