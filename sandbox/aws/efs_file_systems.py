"""EFS's calls on file systems: life cycles, valid combinations of modes, and limits."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from moto.efs import models as efs_models

from sandbox.aws import aws_resources, efs_policies

if TYPE_CHECKING:
    from moto.efs.models import FileSystem

Answer = aws_resources.Answer
Params = aws_resources.Params
Refused = aws_resources.Refused
Region = aws_resources.Region

DAY_SECONDS = 24 * 3600
FRESH_BYTES = 6144  # the metered size of an empty file system on AWS
MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
MAX_TOKEN = 64


def create(region: Region, params: Params) -> Answer:
    """Implement CreateFileSystem."""
    token = str(params.get("CreationToken", ""))
    if not 1 <= len(token) <= MAX_TOKEN:
        raise Refused("BadRequest", f"CreationToken must have 1 to {MAX_TOKEN} characters.")
    for other in region.efs.file_systems_by_id.values():
        if other.creation_token == token:
            raise Refused(
                "FileSystemAlreadyExists",
                f"File system '{other.file_system_id}' already exists with creation token "
                f"'{token}'",
                409,
                {"FileSystemId": other.file_system_id},
            )
    performance = str(params.get("PerformanceMode") or "generalPurpose")
    throughput = _throughput_mode(params, performance, "bursting")
    zone = _one_zone(region, params, performance)
    tags = {tag["Key"]: tag["Value"] for tag in aws_resources.entries(params, "Tags")}
    check_tags(tags, len(tags))
    created = efs_models.FileSystem(
        region.account_id,
        region.name,
        token,
        f"fs-{secrets.token_hex(9)[1:]}",  # moto's own ids are shorter than AWS's
        region.efs,
        performance_mode=performance,
        encrypted=bool(params.get("Encrypted")),
        kms_key_id=kms_key(region, params),
        throughput_mode=throughput,
        provisioned_throughput_in_mibps=params.get("ProvisionedThroughputInMibps", 0),
        availability_zone_name=zone,
        backup=False,  # see efs_policies
    )
    system = cast("FileSystem", created)  # moto's own __new__ hides the type
    system.life_cycle_state = "creating"
    region.account.has_efs_role = True
    region.efs.file_systems_by_id[system.file_system_id] = system
    region.efs.creation_tokens.add(token)
    region.efs.tag_resource(system.file_system_id, tags)
    if params.get("Backup", bool(zone)):
        efs_policies.turn_backup(region, system.file_system_id, on=True)
    region.timeline.after(region.latencies.file_system_seconds, lambda: _settle(system))
    return 201, _described(region, system)


def describe(region: Region, params: Params) -> Answer:
    """Implement DescribeFileSystems."""
    token, file_system_id = params.get("CreationToken"), params.get("FileSystemId")
    if token and file_system_id:
        raise Refused("BadRequest", "Either a creation token or a file system id, not both.")
    if file_system_id:
        systems = [region.file_system(file_system_id)]
    else:
        all_systems = region.efs.file_systems_by_id.values()
        systems = [each for each in all_systems if token in (None, "", each.creation_token)]
    described = [_described(region, each) for each in systems]
    return 200, aws_resources.page("FileSystems", described, params)


def update(region: Region, params: Params) -> Answer:
    """Implement UpdateFileSystem, which moto lacks."""
    system = region.file_system(params["FileSystemId"])
    aws_resources.require_available(system)
    throughput = _throughput_mode(params, system.performance_mode, system.throughput_mode)
    before = system.provisioned_throughput_in_mibps
    rate = params.get("ProvisionedThroughputInMibps") or before
    if throughput != system.throughput_mode or rate < before:
        changed = region.throughput_changed_at.get(system.file_system_id)
        if changed is not None and region.timeline.now() - changed < DAY_SECONDS:
            raise Refused(
                "TooManyRequests",
                "The throughput mode of a file system can be changed, or its provisioned "
                "throughput decreased, once in 24 hours.",
                429,
            )
        region.throughput_changed_at[system.file_system_id] = region.timeline.now()
    system.throughput_mode = throughput
    system.provisioned_throughput_in_mibps = rate if throughput == "provisioned" else 0
    system.life_cycle_state = "updating"
    region.timeline.after(region.latencies.file_system_update_seconds, lambda: _settle(system))
    return 202, _described(region, system)


def delete(region: Region, params: Params) -> Answer:
    """Implement DeleteFileSystem."""
    system = region.file_system(params["FileSystemId"])
    if system.number_of_mount_targets:
        raise Refused(
            "FileSystemInUse",
            f"File system '{system.file_system_id}' is in use: it has "
            f"{system.number_of_mount_targets} mount targets.",
            409,
        )
    # AWS's user guide wants them deleted first; its API reference does not say so.
    if region.efs.describe_access_points(None, system.file_system_id):
        raise Refused(
            "FileSystemInUse",
            f"File system '{system.file_system_id}' is in use: it has access points.",
            409,
        )
    if region.account.replication(system.file_system_id):
        raise Refused(
            "FileSystemInUse",
            f"File system '{system.file_system_id}' is part of a replication configuration.",
            409,
        )
    if system.life_cycle_state != "deleting":
        system.life_cycle_state = "deleting"
        region.timeline.after(
            region.latencies.file_system_deletion_seconds,
            lambda: region.efs.delete_file_system(system.file_system_id),
        )
    return 204, {}


def check_tags(tags: Mapping[str, str], total: int) -> None:
    """Refuse tags that AWS refuses.

    Args:
        tags: The tags to set.
        total: The resulting number of tags.
    """
    for key, value in tags.items():
        reserved = key.lower().startswith("aws:")
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE or reserved:
            raise Refused("BadRequest", f"Invalid tag: {key!r}.")
    if total > MAX_TAGS:
        raise Refused("BadRequest", f"A resource can have at most {MAX_TAGS} tags.")


def _throughput_mode(params: Params, performance: str, current: str) -> str:
    """Return the requested throughput mode; refuse it if it does not fit the other parameters."""
    throughput = str(params.get("ThroughputMode") or current)
    rate = params.get("ProvisionedThroughputInMibps")
    if performance not in ("generalPurpose", "maxIO"):
        raise Refused("BadRequest", f"Invalid performance mode: {performance}.")
    if throughput not in ("bursting", "provisioned", "elastic"):
        raise Refused("BadRequest", f"Invalid throughput mode: {throughput}.")
    if throughput == "elastic" and performance == "maxIO":
        raise Refused("BadRequest", "Elastic throughput is not supported with maxIO.")
    if throughput == "provisioned" and not rate and current != "provisioned":
        raise Refused("BadRequest", "Mode provisioned needs ProvisionedThroughputInMibps.")
    if rate and throughput != "provisioned":
        raise Refused("BadRequest", f"ProvisionedThroughputInMibps is not for mode {throughput}.")
    return throughput


def _one_zone(region: Region, params: Params, performance: str) -> str:
    """Return the zone of a One Zone file system; "" for a regional one."""
    zone = str(params.get("AvailabilityZoneName") or "")
    if zone and performance == "maxIO":
        raise Refused("BadRequest", "Mode maxIO is not supported on One Zone file systems.")
    if zone in region.unsupported_zones:
        raise Refused(
            "UnsupportedAvailabilityZone", f"The availability zone '{zone}' is not supported."
        )
    return zone


def kms_key(region: Region, params: Params) -> str:
    """Return the ARN of the key, which AWS reports whatever name was given."""
    key = str(params.get("KmsKeyId") or "")
    if not params.get("Encrypted") or ":key/" in key:
        return key
    if not key or "alias/" in key:
        alias = key[key.find("alias/") :] if key else "alias/aws/elasticfilesystem"
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{region.account_id}/{region.name}/{alias}"))
    return f"arn:aws:kms:{region.name}:{region.account_id}:key/{key}"


def _settle(system: FileSystem) -> None:
    if system.life_cycle_state in ("creating", "updating"):
        system.life_cycle_state = "available"


def _described(region: Region, system: FileSystem) -> dict[str, Any]:
    """Return a file system's description with its metered size."""
    described = system.info_json()
    root = region.directory(system.file_system_id)
    described["SizeInBytes"]["Value"] = FRESH_BYTES + _size(root)
    if system.throughput_mode != "provisioned":
        del described["ProvisionedThroughputInMibps"]
    replication = region.account.replication(system.file_system_id)
    replica = replication and replication.destination_id == system.file_system_id
    protection = "REPLICATING" if replica else "ENABLED"
    described["FileSystemProtection"] = {"ReplicationOverwriteProtection": protection}
    return {name: value for name, value in described.items() if value not in (None, "")}


def _size(root: pathlib.Path) -> int:
    """Return the size of the files in a directory, while pods may write and delete there."""
    total = 0
    for directory, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(OSError):
                total += pathlib.Path(directory, name).lstat().st_size
    return total
