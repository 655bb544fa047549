"""EFS's calls on the policies of a file system: of its backups and its storage classes."""

from __future__ import annotations

from sandbox.aws import aws_resources

Answer = aws_resources.Answer
Params = aws_resources.Params
Refused = aws_resources.Refused
Region = aws_resources.Region

# EFS puts it on a file system with automatic backups; the plan of AWS Backup goes by it.
BACKUP_TAG = "aws:elasticfilesystem:default-backup"


_DAYS = frozenset(
    ("AFTER_1_DAY", *(f"AFTER_{days}_DAYS" for days in (7, 14, 30, 60, 90, 180, 270, 365)))
)
_TRANSITIONS = {
    "TransitionToIA": _DAYS,
    "TransitionToArchive": _DAYS,
    "TransitionToPrimaryStorageClass": frozenset({"AFTER_1_ACCESS"}),
}


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


def put_lifecycle(region: Region, params: Params) -> Answer:
    """Implement PutLifecycleConfiguration with its rules; no policies remove all."""
    system = region.file_system(params["FileSystemId"])
    listed: list[dict[str, str]] = aws_resources.entries(params, "LifecyclePolicies")
    found: dict[str, str] = {}
    for policy in listed:
        for name, rule in policy.items():
            if len(policy) != 1 or name in found or rule not in _TRANSITIONS.get(name, ()):
                message = "One or more LifecyclePolicy objects specified are malformed."
                raise Refused("BadRequest", message)
            found[name] = rule
    archive, ia = _days(found, "TransitionToArchive"), _days(found, "TransitionToIA")
    if archive and archive <= ia:
        raise Refused("BadRequest", "TransitionToArchive must be later than TransitionToIA.")
    if archive and (system.throughput_mode, system.performance_mode) != (
        "elastic",
        "generalPurpose",
    ):
        raise Refused("BadRequest", "Archive needs elastic throughput and generalPurpose.")
    aws_resources.require_available(system)
    system.lifecycle_policies = listed
    return 200, {"LifecyclePolicies": listed}


def describe_lifecycle(region: Region, params: Params) -> Answer:
    """Implement DescribeLifecycleConfiguration."""
    system = region.file_system(params["FileSystemId"])
    return 200, {"LifecyclePolicies": system.lifecycle_policies}


def _days(transitions: dict[str, str], name: str) -> int:
    return int(transitions[name].split("_")[1]) if name in transitions else 0


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
