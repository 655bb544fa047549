"""The charm with the documented IAM policy, and without each of its permissions."""

from __future__ import annotations

import json

import pytest

from aws import ownership, permissions
from sandbox.aws import aws_cloud
from sandbox.stage import APPLICATION, Stage
from tests.sandbox import aws_rig as rig

OPTIONS = {
    "throughput-mode": "bursting",
    "kms-key": "alias/ours",
    "tags": "team=a",
    "backup": "true",
    "lifecycle": "ia=30d",
}
CHANGES = {"throughput-mode": "elastic", "tags": "squad=b", "backup": "false"}


def live(stage: Stage) -> list[str]:
    """Do everything that needs a permission, and return what the user sees on the way."""
    seen: list[str] = []

    def look() -> None:
        seen.append(stage.status().message)

    rig.deploy_with_machines(stage, OPTIONS)
    look()
    stage.model.update_status()
    look()
    spoil(stage.cloud)
    stage.cloud.skip(25 * 3600)
    stage.model.config(APPLICATION, CHANGES)
    look()
    stage.model.update_status()
    look()
    for system in stage.cloud.file_systems():
        seen.append(stage.run("teardown", confirm=system.id, force=True).message)
        look()
    return seen


def spoil(cloud: aws_cloud.Cloud) -> None:
    """Add a rule to the charm's group, and take a mount target out of it."""
    groups = [group for group in cloud.security_groups() if "aws-efs" in group.name]
    for group in groups:
        rig.allow(cloud, group.id, "0.0.0.0/0", port=22)
    efs = rig.admin(cloud).efs
    for target in cloud.mount_targets()[:1]:
        efs.modify_mount_target_security_groups(MountTargetId=target.id, SecurityGroups=[])


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch):
    scaled = aws_cloud.Latencies.real().scaled(0.0005)
    with rig.started(monkeypatch, scaled) as running:
        yield running


def test_the_policy_suffices_for_the_whole_life_of_a_file_system(cloud: aws_cloud.Cloud) -> None:
    stage = Stage(cloud)
    seen = live(stage)
    assert not [message for message in seen if "denies" in message]
    assert cloud.file_systems() == ()
    assert [group for group in cloud.security_groups() if "aws-efs" in group.name] == []


@pytest.mark.parametrize("action", permissions.IAM_ACTIONS)
def test_a_permission_that_is_missing_is_named(cloud: aws_cloud.Cloud, action: str) -> None:
    cloud.deny(action)
    seen = live(Stage(cloud))
    assert [message for message in seen if f"AWS denies {action}: grant it" in message], seen
    assert not [hook for hook in seen if "Traceback" in hook]


def test_the_policy_is_the_one_of_the_code() -> None:
    assert json.loads(aws_cloud.POLICY.read_text()) == permissions.policy()


def test_each_action_is_allowed_by_a_statement_and_each_change_under_a_condition() -> None:
    allowed: dict[str, list[str]] = {}
    for statement in permissions.policy()["Statement"]:
        for action in statement["Action"]:
            allowed.setdefault(action, []).append(json.dumps(statement.get("Condition", {})))
    assert sorted(allowed) == sorted(permissions.IAM_ACTIONS)
    for action, conditions in allowed.items():
        verb = action.partition(":")[2]
        if verb.startswith("Describe") and not action.startswith("kms:"):
            continue
        # A group is created in a VPC, which is not the charm's.
        unconditional = conditions.count("{}")
        assert unconditional == (1 if verb == "CreateSecurityGroup" else 0), action
        if verb.startswith(("Delete", "Update", "Untag", "Authorize", "Revoke", "Put")):
            tag = f"aws:ResourceTag/{ownership.MODEL_TAG}"
            assert any(tag in each or "aws:ViaAWSService" in each for each in conditions), action
