"""The IAM actions that the charm's AWS credentials must allow."""

from __future__ import annotations

EFS_ACTIONS = (
    "elasticfilesystem:CreateFileSystem",
    "elasticfilesystem:CreateMountTarget",
    "elasticfilesystem:DeleteFileSystem",
    "elasticfilesystem:DeleteMountTarget",
    "elasticfilesystem:DescribeFileSystems",
    "elasticfilesystem:DescribeMountTargets",
    "elasticfilesystem:ModifyMountTargetSecurityGroups",
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
"""All actions that the credentials need; docs/reference/iam-policy.md is generated from it."""
