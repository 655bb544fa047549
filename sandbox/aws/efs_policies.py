"""EFS's calls on the policies of a file system: its backup policy."""

from __future__ import annotations

from sandbox.aws import aws_resources

Answer = aws_resources.Answer
Params = aws_resources.Params
Refused = aws_resources.Refused
Region = aws_resources.Region

# EFS puts it on a file system with automatic backups; the plan of AWS Backup goes by it.
BACKUP_TAG = "aws:elasticfilesystem:default-backup"


def put_backup(region: Region, params: Params) -> Answer:
    """Implement PutBackupPolicy, which moto lacks."""
    system = region.file_system(params["FileSystemId"])
    policy: Params = params.get("BackupPolicy") or {}
    status = policy.get("Status")
    if status not in ("ENABLED", "DISABLED"):
        raise Refused("ValidationException", f"Invalid status of a backup policy: {status}.")
    aws_resources.require_available(system)
    turn_backup(region, system.file_system_id, on=status == "ENABLED")
    return 200, {"BackupPolicy": {"Status": region.backup_status[system.file_system_id]}}


def describe_backup(region: Region, params: Params) -> Answer:
    """Implement DescribeBackupPolicy: a file system that never had a policy has none."""
    system = region.file_system(params["FileSystemId"])
    status = region.backup_status.get(system.file_system_id)
    if status is None:
        raise Refused("PolicyNotFound", "The file system has no backup policy.", 404)
    return 200, {"BackupPolicy": {"Status": status}}


def turn_backup(region: Region, file_system_id: str, *, on: bool) -> None:
    """Turn the automatic backups of a file system on or off, which takes a while."""
    changing, changed = ("ENABLING", "ENABLED") if on else ("DISABLING", "DISABLED")

    def settle() -> None:
        if region.backup_status[file_system_id] == changing:
            region.backup_status[file_system_id] = changed

    if region.backup_status.get(file_system_id) == changed:
        return
    region.backup_status[file_system_id] = changing
    if on:
        region.efs.tag_resource(file_system_id, {BACKUP_TAG: "enabled"})
    else:
        region.efs.untag_resource(file_system_id, [BACKUP_TAG])
    region.timeline.after(region.latencies.file_system_update_seconds, settle)
