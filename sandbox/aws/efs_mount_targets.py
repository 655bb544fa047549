"""EFS's calls on mount targets: their subnets, life cycles and security groups."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sandbox.aws import aws_resources

if TYPE_CHECKING:
    from moto.ec2.models.subnets import Subnet
    from moto.efs.models import FileSystem, MountTarget

Answer = aws_resources.Answer
Params = aws_resources.Params
Refused = aws_resources.Refused
Region = aws_resources.Region

MAX_GROUPS = 5
IPV4_ONLY, DUAL_STACK = "IPV4_ONLY", "DUAL_STACK"


def create(region: Region, params: Params) -> Answer:
    """Implement CreateMountTarget."""
    system = region.file_system(params["FileSystemId"])
    aws_resources.require_available(system)
    subnet = _subnet(region, params["SubnetId"])
    groups: list[str] = aws_resources.entries(params, "SecurityGroups")
    address: str | None = params.get("IpAddress")
    # Everything is checked before moto acts: moto keeps a mount target that it refused.
    _check_zone(region, system, subnet)
    _check_groups(region, groups, subnet.vpc_id)
    _check_address(region, subnet, address)
    kind = params.get("IpAddressType", IPV4_ONLY)
    _check_address_type(kind, subnet)
    groups = groups or [region.default_group(subnet.vpc_id)]
    target = region.efs.create_mount_target(system.file_system_id, subnet.id, address, groups)
    target.life_cycle_state = "creating"
    if kind == DUAL_STACK:
        number = int(target.mount_target_id[5:9], 16) + 4
        # moto shows each attribute of its mount targets, and has none for this.
        vars(target)["ipv6_address"] = str(_ipv6_network(subnet)[number])
    interface = region.interface(target)
    interface.description = (
        f"EFS mount target for {target.file_system_id} ({target.mount_target_id})"
    )
    interface.requester_managed, interface.status = True, "in-use"
    region.timeline.after(region.latencies.mount_target_seconds, lambda: _settle(region, target))
    return 200, _described(target)


def describe(region: Region, params: Params) -> Answer:
    """Implement DescribeMountTargets."""
    file_system_id, one = params.get("FileSystemId"), params.get("MountTargetId")
    if bool(file_system_id) == bool(one):
        raise Refused("BadRequest", "Must specify exactly one mutually exclusive parameter.")
    if one:
        targets = [region.mount_target(one)]
    else:
        targets = list(region.file_system(str(file_system_id)).iter_mount_targets())
    return 200, aws_resources.page("MountTargets", [_described(each) for each in targets], params)


def delete(region: Region, params: Params) -> Answer:
    """Implement DeleteMountTarget."""
    target = region.mount_target(params["MountTargetId"])
    if target.life_cycle_state != "deleting":
        target.life_cycle_state = "deleting"
        region.resolvable_at.pop(target.mount_target_id, None)
        seconds = region.latencies.mount_target_deletion_seconds
        region.timeline.after(seconds, lambda: _remove(region, target))
    return 204, {}


def describe_groups(region: Region, params: Params) -> Answer:
    """Implement DescribeMountTargetSecurityGroups."""
    target = region.mount_target(params["MountTargetId"])
    _require_available(target)
    return 200, {"SecurityGroups": target.security_groups}


def modify_groups(region: Region, params: Params) -> Answer:
    """Implement ModifyMountTargetSecurityGroups."""
    target = region.mount_target(params["MountTargetId"])
    _require_available(target)
    groups: list[str] = aws_resources.entries(params, "SecurityGroups")
    _check_groups(region, groups, target.vpc_id)
    region.efs.modify_mount_target_security_groups(
        target.mount_target_id, groups or [region.default_group(target.vpc_id)]
    )
    return 204, {}


def _settle(region: Region, target: MountTarget) -> None:
    if target.life_cycle_state == "creating":
        target.life_cycle_state = "available"
        region.resolvable_at[target.mount_target_id] = (
            region.timeline.now() + region.latencies.dns_seconds
        )


def _remove(region: Region, target: MountTarget) -> None:
    # moto's own deletion removes the interface at once; AWS releases it later.
    interface = region.interface(target)
    del region.efs.mount_targets_by_id[target.mount_target_id]
    target.clean_up()
    region.timeline.after(region.latencies.interface_release_seconds, interface.delete)


def _subnet(region: Region, subnet_id: str) -> Subnet:
    for subnets in region.ec2.subnets.values():
        if subnet_id in subnets:
            return subnets[subnet_id]
    raise Refused("SubnetNotFound", f"The subnet ID '{subnet_id}' does not exist")


def _check_zone(region: Region, system: FileSystem, subnet: Subnet) -> None:
    for other in system.iter_mount_targets():
        if other.vpc_id != subnet.vpc_id:
            raise Refused(
                "MountTargetConflict",
                "requested subnet for new mount target is not in the same VPC as existing mount "
                "targets",
                409,
            )
        if other.availability_zone_name == subnet.availability_zone:
            raise Refused("MountTargetConflict", "mount target already exists in this AZ", 409)
    if system.availability_zone_name not in ("", None, subnet.availability_zone):
        raise Refused(
            "AvailabilityZonesMismatch",
            f"The file system is in {system.availability_zone_name}, the subnet is not.",
        )
    if subnet.availability_zone in region.unsupported_zones:
        raise Refused(
            "UnsupportedAvailabilityZone",
            f"The availability zone '{subnet.availability_zone}' is not supported.",
        )


def _check_groups(region: Region, groups: Sequence[str], vpc_id: str) -> None:
    if len(groups) > MAX_GROUPS:
        raise Refused(
            "SecurityGroupLimitExceeded",
            "The maximum number of security groups per interface has been reached.",
        )
    for group in groups:
        if group not in region.ec2.groups[vpc_id]:
            raise Refused("SecurityGroupNotFound", f"The security group '{group}' does not exist")


def _check_address(region: Region, subnet: Subnet, address: str | None) -> None:
    if subnet.available_ip_address_count < 1:
        raise Refused(
            "NoFreeAddressesInSubnet",
            f"The specified subnet '{subnet.id}' does not have enough free addresses.",
            409,
        )
    if address is None:
        return
    if ipaddress.ip_address(address) not in subnet.cidr:
        raise Refused("BadRequest", "Address does not fall within the subnet's address range")
    interfaces = region.ec2.get_all_network_interfaces()
    if address in {each.private_ip_address for each in interfaces if each.subnet is subnet}:
        raise Refused("IpAddressInUse", f"The IP address '{address}' is in use", 409)


def _check_address_type(kind: str, subnet: Subnet) -> None:
    """Check what the API's page on CreateMountTarget says of each type of address."""
    dual_stack = bool(subnet.ipv6_cidr_block_associations)
    if kind == DUAL_STACK and not dual_stack:
        raise Refused("BadRequest", f"The subnet '{subnet.id}' is not a dual-stack subnet.")
    if kind not in {IPV4_ONLY, DUAL_STACK}:
        # All subnets here have IPv4, and an IPv6-only mount target needs one without.
        raise Refused("BadRequest", f"{kind} is not supported in the subnet '{subnet.id}'.")


def _ipv6_network(subnet: Subnet) -> ipaddress.IPv6Network:
    associations: Any = subnet.ipv6_cidr_block_associations
    return ipaddress.IPv6Network(next(iter(associations.values()))["ipv6CidrBlock"])


def _require_available(target: MountTarget) -> None:
    if target.life_cycle_state != "available":
        raise Refused(
            "IncorrectMountTargetState",
            f"Mount target '{target.mount_target_id}' is {target.life_cycle_state}.",
            409,
        )


def _described(target: MountTarget) -> dict[str, Any]:
    described = target.info_json()
    del described["SecurityGroups"]  # EFS has a separate call for these
    return described
