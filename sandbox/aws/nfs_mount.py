"""The result of mount.nfs on an instance: names, security groups, policies and mount options."""

from __future__ import annotations

import ipaddress
import json
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sandbox.aws import aws_resources, iam_policy

if TYPE_CHECKING:
    from moto.ec2.models.instances import Instance
    from moto.efs.models import MountTarget

NFS_PORT = 2049
# What the kernel's client is to a file system policy, and what the sandbox's directories grant it.
_CONTEXT = {"aws:SecureTransport": "false", "elasticfilesystem:AccessedViaMountTarget": "true"}
_MOUNT = "elasticfilesystem:ClientMount"
_ACCESS = ("elasticfilesystem:ClientWrite", "elasticfilesystem:ClientRootAccess")
_KNOWN_OPTION = re.compile(
    "ro|rw|hard|soft|softerr|bg|fg|a?sync|(no)?(atime|diratime|relatime|suid|dev|exec|user|auto)|"
    "(no)?(ac|cto|lock|intr|resvport|sharecache|fsc|rdirplus|migration)|tcp|defaults|_netdev|nofail|"
    r"([rw]size|timeo|retrans|retry|port|ac(reg|dir)(min|max)|actimeo|namlen|minorversion)=\d+|"
    r"(nconnect|max_connect)=\d+|(nfs)?vers=[234](\.\d)?|proto=tcp|sec=sys|"
    r"lookupcache=(all|none|pos(itive)?)|local_lock=(all|flock|posix|none)|(client)?addr=[\d.]+"
)
_UNSUPPORTED_VERSION = re.compile(r"(nfs)?vers=(?!4(\.[01])?$).*")


class MountError(Exception):
    """A failed mount, with exit status 32.

    Args:
        output: The output of mount.nfs.
        seconds: The time that mount.nfs took to fail.
    """

    def __init__(self, output: str, seconds: float = 0) -> None:
        super().__init__(output)
        self.output = output
        self.seconds = seconds


def mount(
    region: aws_resources.Region, server: str, instance_id: str, options: Sequence[str]
) -> pathlib.Path:
    """Return the directory that a server exports to an instance.

    Raises:
        MountError: It cannot be mounted there, or not yet.
    """
    _check_options(options)
    instance = region.instance(instance_id)
    target = _resolve(region, server, instance)
    # mount.nfs tries for two minutes where nothing answers, and where the port is closed.
    seconds = region.latencies.mount_timeout_seconds
    if target is None:
        raise _no_server(region, server, seconds)
    if target.life_cycle_state != "available" or not _admits(region, target, instance):
        raise MountError("mount.nfs: Connection timed out", seconds)
    if not _policy_admits(region, target.file_system_id):
        raise MountError(f"mount.nfs: access denied by server while mounting {server}:/")
    return region.directory(target.file_system_id)


def _check_options(options: Sequence[str]) -> None:
    if not all(_KNOWN_OPTION.fullmatch(option) for option in options):
        raise MountError("mount.nfs: an incorrect mount option was specified")
    if any(_UNSUPPORTED_VERSION.fullmatch(option) for option in options):
        raise MountError("mount.nfs: Protocol not supported")


def _resolve(region: aws_resources.Region, server: str, instance: Instance) -> MountTarget | None:
    """Return the mount target that a name or address resolves to on the instance."""
    vpc = region.ec2.get_vpc(str(instance.vpc_id))
    match = re.fullmatch(rf"(fs-[0-9a-f]+)\.efs\.{region.name}\.{region.dns_suffix}", server)
    for target in region.efs.mount_targets_by_id.values():
        if target.vpc_id != instance.vpc_id:
            continue
        if target.ip_address == server:
            return target
        resolvable_at = region.resolvable_at.get(target.mount_target_id)
        if (
            match is not None
            and target.file_system_id == match[1]
            and target.availability_zone_name == instance.availability_zone
            and vpc.enable_dns_support
            and vpc.enable_dns_hostnames
            and resolvable_at is not None
            and resolvable_at <= region.timeline.now()
        ):
            return target
    return None


def _no_server(region: aws_resources.Region, server: str, seconds: float) -> MountError:
    """Return the error for a name or address that is no mount target's."""
    try:
        ipaddress.ip_address(server)
    except ValueError:
        return MountError(
            f"mount.nfs: Failed to resolve server {server}: Name or service not known"
        )
    interfaces = region.ec2.enis.values()
    if any(each.private_ip_address == server and each.instance for each in interfaces):
        return MountError("mount.nfs: Connection refused", seconds)
    return MountError("mount.nfs: Connection timed out", seconds)


def _admits(region: aws_resources.Region, target: MountTarget, instance: Instance) -> bool:
    """Return whether the mount target's security groups admit the instance on the NFS port."""
    address = ipaddress.ip_address(str(instance.private_ip_address))
    own = {group.id for nic in instance.nics.values() for group in nic.group_set}
    return any(
        _covers_nfs(rule)
        and (
            (rule.ip_range and address in ipaddress.ip_network(rule.ip_range["CidrIp"]))
            or (rule.source_group and rule.source_group["GroupId"] in own)
        )
        for group in region.interface(target).group_set
        for rule in group.ingress_rules
    )


def _policy_admits(region: aws_resources.Region, file_system_id: str) -> bool:
    """Return whether the file system's policy admits a client without TLS and IAM.

    Without a policy, all clients that reach a mount target have full access.
    """
    system = region.efs.file_systems_by_id[file_system_id]
    if not system.file_system_policy:
        return True
    policy = json.loads(system.file_system_policy)

    def grants(action: str) -> bool:
        asked = iam_policy.Authorization(action, system.file_system_arn, _CONTEXT)
        return iam_policy.admits_anonymous(policy, asked)

    if not grants(_MOUNT):
        return False
    if not all(map(grants, _ACCESS)):
        raise ValueError("not implemented: a policy that admits clients, but grants them not all")
    return True


def _covers_nfs(rule: Any) -> bool:
    if str(rule.ip_protocol) == "-1":
        return True
    return rule.ip_protocol == "tcp" and int(rule.from_port) <= NFS_PORT <= int(rule.to_port)
