"""EFS's calls on replications, which moto lacks: a file system is in one of them at most."""

from __future__ import annotations

import secrets
from typing import Any

from sandbox.aws import aws_resources, efs_file_systems

Answer = aws_resources.Answer
Params = aws_resources.Params
Refused = aws_resources.Refused
Region = aws_resources.Region


def create(region: Region, params: Params) -> Answer:
    """Implement CreateReplicationConfiguration to a new file system."""
    source = region.file_system(params["SourceFileSystemId"])
    if region.account.replication(source.file_system_id):
        raise Refused(
            "ReplicationAlreadyExists", "The file system is part of a replication already.", 409
        )
    there = region.account.region(params["Destinations"][0].get("Region") or region.name)
    _, made = efs_file_systems.create(there, {"CreationToken": secrets.token_hex(16)})
    replication = aws_resources.Replication(
        source.file_system_id, region.name, made["FileSystemId"], there.name
    )
    region.account.replications.append(replication)
    return 200, _described(region, replication)


def describe(region: Region, params: Params) -> Answer:
    """Implement DescribeReplicationConfigurations."""
    file_system_id = params.get("FileSystemId")
    found = region.account.replications
    if file_system_id:
        region.file_system(file_system_id)
        one = region.account.replication(file_system_id)
        if one is None:
            raise Refused(
                "ReplicationNotFound", f"'{file_system_id}' is not part of a replication.", 404
            )
        found = [one]
    return 200, {"Replications": [_described(region, each) for each in found]}


def delete(region: Region, params: Params) -> Answer:
    """Implement DeleteReplicationConfiguration; the destination can be written afterwards."""
    one = region.account.replication(params["SourceFileSystemId"])
    if one is None or one.source_id != params["SourceFileSystemId"]:
        raise Refused("ReplicationNotFound", "There is no such replication.", 404)
    region.account.replications.remove(one)
    return 204, {}


def _described(region: Region, replication: aws_resources.Replication) -> dict[str, Any]:
    arn = f"arn:{region.partition}:elasticfilesystem:{replication.source_region}"
    arn += f":{region.account_id}:file-system/{replication.source_id}"
    return {
        "SourceFileSystemId": replication.source_id,
        "SourceFileSystemRegion": replication.source_region,
        "SourceFileSystemArn": arn,
        "OriginalSourceFileSystemArn": arn,
        "CreationTime": 0,
        "Destinations": [
            {
                "Status": "ENABLED",
                "FileSystemId": replication.destination_id,
                "Region": replication.destination_region,
            }
        ],
    }
