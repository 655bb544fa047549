"""The steps of a plan: each is one change in AWS, made with one API call.

A step may be applied twice, since replies get lost: AWS then answers the second call with an
error, and the caller observes the resources again before it trusts that error.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from aws import errors, lifecycle, ownership, security_groups

if TYPE_CHECKING:
    from aws import session

logger = logging.getLogger(__name__)

Tags = tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class CreateFileSystem:
    """A step that creates the file system."""

    token: str
    performance_mode: str
    throughput_mode: str
    encrypted: bool
    kms_key: str
    tags: Tags
    throughput_mibps: int = 0
    backup: str = ""
    zone: str = ""

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        request: dict[str, Any] = {
            "CreationToken": self.token,
            "PerformanceMode": self.performance_mode,
            "ThroughputMode": self.throughput_mode,
            "Encrypted": self.encrypted,
            "Tags": ownership.to_list(dict(self.tags)),
        }
        if self.throughput_mibps:
            request["ProvisionedThroughputInMibps"] = self.throughput_mibps
        if self.kms_key:
            request["KmsKeyId"] = self.kms_key
        if self.backup:
            request["Backup"] = self.backup == "true"
        if self.zone:
            request["AvailabilityZoneName"] = self.zone
        with errors.translated("create the file system"):
            created = aws.efs.create_file_system(**request)
        logger.info("created file system %s", created["FileSystemId"])


@dataclasses.dataclass(frozen=True)
class ChangeThroughput:
    """A step that changes the file system's throughput mode, or its provisioned throughput."""

    file_system_id: str
    mode: Any
    mibps: int = 0

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        request: dict[str, Any] = {"ThroughputMode": self.mode}
        if self.mibps:
            request["ProvisionedThroughputInMibps"] = self.mibps
        with errors.translated("change the throughput mode"):
            aws.efs.update_file_system(FileSystemId=self.file_system_id, **request)
        logger.info("changed throughput mode of %s to %s", self.file_system_id, self.mode)


@dataclasses.dataclass(frozen=True)
class PutBackupPolicy:
    """A step that turns the file system's automatic backups on or off."""

    file_system_id: str
    words: str

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        with errors.translated("set the backup policy", option="backup"):
            aws.efs.put_backup_policy(
                FileSystemId=self.file_system_id,
                BackupPolicy={"Status": "ENABLED" if self.words == "true" else "DISABLED"},
            )
        logger.info("set backup of %s to %s", self.file_system_id, self.words)


@dataclasses.dataclass(frozen=True)
class PutLifecycleConfiguration:
    """A step that sets when files move between storage classes, or removes those policies."""

    file_system_id: str
    words: str

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        with errors.translated("set the lifecycle policies", option="lifecycle"):
            aws.efs.put_lifecycle_configuration(
                FileSystemId=self.file_system_id,
                LifecyclePolicies=lifecycle.to_policies(self.words),
            )
        logger.info("set lifecycle of %s to %s", self.file_system_id, self.words)


@dataclasses.dataclass(frozen=True)
class Tag:
    """A step that sets tags on the file system or on the security group."""

    resource_id: str
    tags: Tags

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        tags = ownership.to_list(dict(self.tags))
        with errors.translated(f"tag {self.resource_id}"):
            if self.resource_id.startswith("fs-"):
                aws.efs.tag_resource(ResourceId=self.resource_id, Tags=tags)
            else:
                aws.ec2.create_tags(Resources=[self.resource_id], Tags=tags)
        logger.info("tagged %s: %s", self.resource_id, ", ".join(dict(self.tags)))


@dataclasses.dataclass(frozen=True)
class Untag:
    """A step that removes tags from the file system or from the security group."""

    resource_id: str
    keys: tuple[str, ...]

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        with errors.translated(f"untag {self.resource_id}"):
            if self.resource_id.startswith("fs-"):
                aws.efs.untag_resource(ResourceId=self.resource_id, TagKeys=self.keys)
            else:
                aws.ec2.delete_tags(
                    Resources=[self.resource_id], Tags=[{"Key": key} for key in self.keys]
                )
        logger.info("untagged %s: %s", self.resource_id, ", ".join(self.keys))


@dataclasses.dataclass(frozen=True)
class CreateGroup:
    """A step that creates the security group, which allows no traffic yet."""

    vpc_id: str
    name: str
    tags: Tags

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        with errors.translated("create the security group"):
            created = aws.ec2.create_security_group(
                VpcId=self.vpc_id,
                GroupName=self.name,
                Description=ownership.GROUP_DESCRIPTION,
                TagSpecifications=[
                    {
                        "ResourceType": "security-group",
                        "Tags": ownership.to_list(dict(self.tags)),
                    }
                ],
            )
        logger.info("created security group %s", created["GroupId"])


@dataclasses.dataclass(frozen=True)
class Allow:
    """A step that allows NFS from address ranges in the security group."""

    group_id: str
    cidrs: tuple[str, ...]

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        permissions: Any = [security_groups.Rule.nfs(cidr).to_permission() for cidr in self.cidrs]
        with errors.translated("add rules to the security group"):
            aws.ec2.authorize_security_group_ingress(
                GroupId=self.group_id, IpPermissions=permissions
            )
        logger.info("allowed NFS to %s from %s", self.group_id, ", ".join(self.cidrs))


@dataclasses.dataclass(frozen=True)
class Revoke:
    """A step that removes rules from the security group."""

    group_id: str
    rules: tuple[security_groups.Rule, ...]

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        permissions: Any = [rule.to_permission() for rule in self.rules]
        with errors.translated("remove rules from the security group"):
            aws.ec2.revoke_security_group_ingress(GroupId=self.group_id, IpPermissions=permissions)
        logger.info("removed from %s: %s", self.group_id, self.describe())

    def describe(self) -> str:
        """Return the rules in words."""
        return ", ".join(rule.describe() for rule in self.rules)


@dataclasses.dataclass(frozen=True)
class CreateMountTarget:
    """A step that creates the mount target of a zone."""

    file_system_id: str
    zone: str
    subnet_id: str
    group_id: str
    dual_stack: bool = False

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        request: dict[str, Any] = {"IpAddressType": "DUAL_STACK"} if self.dual_stack else {}
        with errors.translated(f"create a mount target in {self.zone}"):
            created = aws.efs.create_mount_target(
                FileSystemId=self.file_system_id,
                SubnetId=self.subnet_id,
                SecurityGroups=[self.group_id],
                **request,
            )
        logger.info("created mount target %s in %s", created["MountTargetId"], self.zone)


@dataclasses.dataclass(frozen=True)
class SetGroups:
    """A step that sets the security groups of a mount target."""

    mount_target_id: str
    groups: tuple[str, ...]

    def apply(self, aws: session.Aws) -> None:
        """Make the change."""
        with errors.translated(f"set the security groups of {self.mount_target_id}"):
            aws.efs.modify_mount_target_security_groups(
                MountTargetId=self.mount_target_id, SecurityGroups=self.groups
            )
        logger.info("set the groups of %s to %s", self.mount_target_id, ", ".join(self.groups))


POLICIES = (PutBackupPolicy, PutLifecycleConfiguration)
# A failure of one of these affects its own zone or setting only. All other steps are required.
SEPARABLE = (ChangeThroughput, CreateMountTarget, SetGroups, *POLICIES)
Step: TypeAlias = (
    CreateFileSystem
    | Tag
    | Untag
    | CreateGroup
    | Allow
    | Revoke
    | ChangeThroughput
    | CreateMountTarget
    | SetGroups
    | PutBackupPolicy
    | PutLifecycleConfiguration
)
