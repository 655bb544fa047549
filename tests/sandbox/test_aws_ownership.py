"""What is the charm's in an account that others use too: only that is changed or deleted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import ops
import pytest

import identity
import problems
from app import setup
from aws import obstacles, ownership, resources, session, teardown
from sandbox.aws import aws_cloud as sandbox_aws
from sandbox.juju import charm_files, model_state
from sandbox.stage import APPLICATION, Stage
from tests.sandbox import aws_rig as rig

OWN_TAGS = ownership.to_list(ownership.tags(rig.OWNER, {}))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[sandbox_aws.Cloud]:
    with rig.started(monkeypatch, sandbox_aws.Latencies.none()) as running:
        yield running


@pytest.fixture
def bare() -> Iterator[Stage]:
    with rig.stage_without_cluster() as stage:
        yield stage


def make_group(
    cloud: sandbox_aws.Cloud, vpc_id: str = "", *, tags: list[Any] = OWN_TAGS, **changes: str
) -> str:
    """Make a group as somebody does who copied all or a part of the charm's."""
    params = {
        "GroupName": ownership.group_name(rig.OWNER),
        "Description": ownership.GROUP_DESCRIPTION,
        "VpcId": vpc_id or cloud.vpc_id,
        **changes,
    }
    specified = [{"ResourceType": "security-group", "Tags": tags}] if tags else []
    made = rig.admin(cloud).ec2.create_security_group(**params, TagSpecifications=specified)
    return made["GroupId"]


def exists(cloud: sandbox_aws.Cloud, group_id: str) -> bool:
    return group_id in {group.id for group in cloud.security_groups()}


def is_blocked(stage: Stage, *words: str) -> model_state.Status:
    status = stage.status()
    assert status.name == "blocked", status
    assert all(word in status.message for word in words), status
    assert len(status.message) <= 120, status
    return status


# --- Security groups that look like ours


@pytest.mark.parametrize(
    "changes",
    [
        {"GroupName": "copied-by-a-tool"},
        {"GroupName": ownership.group_name(rig.OWNER) + "-copy"},
        {"GroupName": "efs", "Description": "copied by a tool"},
    ],
)
def test_a_group_with_copied_tags_is_told_and_never_deleted(
    cloud: sandbox_aws.Cloud, changes: dict[str, str]
) -> None:
    copy = make_group(cloud, **changes)
    outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a")))
    key = resources.ResourceKey(rig.OWNER, record=rig.recorded(outcome))

    found = rig.standing(cloud, key)
    lines = rig.torn_down(cloud, key)

    assert outcome.security_group_id != copy
    assert not [line for line in lines if copy in line]
    assert [line for line in teardown.spared(found) if copy in line]
    assert [group.id for group in cloud.security_groups() if exists(cloud, copy)] != []
    assert not exists(cloud, outcome.security_group_id)


@pytest.mark.parametrize("known", [True, False])
def test_a_copy_in_another_vpc_is_not_ours_though_all_of_it_is_equal(
    cloud: sandbox_aws.Cloud, known: bool
) -> None:
    outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a")))
    copy = make_group(cloud, cloud.add_vpc().id)
    record = rig.recorded(outcome) if known else resources.ResourceRecord()
    key = resources.ResourceKey(rig.OWNER, record=record)

    rig.torn_down(cloud, key)

    assert exists(cloud, copy)
    assert not exists(cloud, outcome.security_group_id)
    # Even when nothing of ours stands any more, a record tells them apart.
    if known:
        assert rig.torn_down(cloud, key) == []
        assert exists(cloud, copy)


def test_two_groups_of_which_nothing_tells_which_is_ours_both_stay(
    cloud: sandbox_aws.Cloud,
) -> None:
    groups = [make_group(cloud), make_group(cloud, cloud.add_vpc().id)]
    assert rig.torn_down(cloud) == []
    assert all(exists(cloud, group) for group in groups)
    told = " ".join(teardown.spared(rig.standing(cloud)))
    assert all(group in told for group in groups)


def test_the_group_of_a_hook_that_was_killed_before_it_recorded_anything_is_deleted(
    cloud: sandbox_aws.Cloud,
) -> None:
    group = make_group(cloud)
    assert rig.torn_down(cloud) == [f"deleted security group {group}"]


@pytest.mark.parametrize(
    "changes", [{"Description": "copied by a tool"}, {"tags": [{"Key": "Name", "Value": "n"}]}]
)
def test_a_group_with_our_name_that_is_not_ours_blocks_and_stays(
    cloud: sandbox_aws.Cloud, changes: dict[str, Any]
) -> None:
    theirs = make_group(cloud, **changes)
    with pytest.raises(problems.Blocked, match=f"{theirs} has this application's name but not"):
        rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a")))
    rig.torn_down(cloud)
    assert exists(cloud, theirs)


def test_a_copied_mark_of_a_teardown_stops_nobody(cloud: sandbox_aws.Cloud) -> None:
    marked = [*OWN_TAGS, {"Key": ownership.STATE_TAG, "Value": ownership.TEARING_DOWN}]
    make_group(cloud, tags=marked, GroupName="copied-by-a-tool")
    assert rig.reconciled(cloud, rig.make_desired()).life_cycle == "available"


# --- Accounts


def test_credentials_of_another_account_are_blocked_and_both_are_named(bare: Stage) -> None:
    (made,) = bare.cloud.file_systems()
    other, key = bare.cloud.add_account()
    bare.model.update_credential(key)
    bare.cloud.reset_calls()
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"of account {other}", f"{made.id} is in {bare.cloud.account_id}")
    for action, params in (
        ("setup", {}),
        ("teardown", {"confirm": made.id}),
        ("teardown", {"dry_run": True}),
    ):
        done = bare.run(action, **params)
        assert done.status == "failed", done
        assert other in done.message and bare.cloud.account_id in done.message
    assert bare.writes() == []
    bare.model.update_credential(bare.cloud.credentials)
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"{made.id} ready in us-east-1")


def test_a_file_system_with_our_token_in_another_account_is_not_taken_for_ours(
    bare: Stage,
) -> None:
    _, key = bare.cloud.add_account()
    bare.model.update_credential(key)
    owner = identity.Owner(bare.model.uuid, APPLICATION)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bare.cloud.environ().items():
            patch.setenv(name, value)
        session.connect(bare.cloud.region, key, {}).efs.create_file_system(
            CreationToken=ownership.creation_token(owner),
            Tags=ownership.to_list(ownership.tags(owner, {})),
        )
    bare.cloud.reset_calls()
    bare.model.update_status(APPLICATION)
    is_blocked(bare, "the credentials are of account")
    assert bare.writes() == []


def test_after_a_teardown_another_account_may_be_used(bare: Stage) -> None:
    (made,) = bare.cloud.file_systems()
    assert bare.run("teardown", confirm=made.id, force=True).status == "completed"
    _, key = bare.cloud.add_account()
    bare.model.update_credential(key)
    # The machines are in the first account: there the charm finds no VPC, but a new file system.
    assert bare.run("setup").status == "completed"
    is_blocked(bare, "no instance of these units found")


# --- Confirmation


@pytest.mark.parametrize("confirm", ["", "fs-00000000000000000"])
def test_a_lost_file_system_has_to_be_confirmed_too(bare: Stage, confirm: str) -> None:
    (lost,) = bare.cloud.file_systems()
    lose(bare)
    bare.cloud.reset_calls()
    refused = bare.run("teardown", confirm=confirm, force=True)
    assert refused.status == "failed"
    assert f"{lost.id}, which is gone from AWS" in refused.message
    assert refused.message.endswith(f"confirm={lost.id}")
    assert bare.writes() == []
    assert bare.run("teardown", confirm=lost.id, force=True).status == "completed"
    is_blocked(bare, "torn down")


def lose(stage: Stage) -> None:
    """Delete the file system as somebody else does."""
    efs = rig.administrator(stage, "efs")
    for target in stage.cloud.mount_targets():
        efs.delete_mount_target(MountTargetId=target.id)
    stage.cloud.skip(600)
    for system in stage.cloud.file_systems():
        efs.delete_file_system(FileSystemId=system.id)
    stage.cloud.skip(600)
    assert stage.cloud.file_systems() == ()


def test_the_status_of_a_lost_file_system_leads_to_adoption(bare: Stage) -> None:
    (lost,) = bare.cloud.file_systems()
    lose(bare)
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"{lost.id} is gone from AWS", "file-system-id", "setup", "teardown")


# --- Obstacles


def refused(stage: Stage, *words: str) -> None:
    """Run a teardown that is refused before anything is written."""
    (system,) = (each for each in stage.cloud.file_systems() if each.tags)
    before = stage.status()
    stage.cloud.reset_calls()
    done = stage.run("teardown", confirm=system.id, force=True)
    assert done.status == "failed", done
    assert all(word in done.message for word in words), done
    assert stage.writes() == []
    assert stage.status() == before
    stage.model.update_status(APPLICATION)
    assert stage.status() == before


def completed(stage: Stage) -> None:
    (system,) = (each for each in stage.cloud.file_systems() if each.tags)
    done = stage.run("teardown", confirm=system.id, force=True)
    assert done.status == "completed", done


def test_a_replication_is_named_before_anything_is_deleted(bare: Stage) -> None:
    (made,) = bare.cloud.file_systems()
    efs = rig.administrator(bare, "efs")
    efs.create_replication_configuration(
        SourceFileSystemId=made.id, Destinations=[{"Region": "eu-west-1"}]
    )
    refused(bare, "delete-replication-configuration", made.id, "--region us-east-1")
    efs.delete_replication_configuration(SourceFileSystemId=made.id)
    completed(bare)


def test_access_points_are_named_before_anything_is_deleted(bare: Stage) -> None:
    (made,) = bare.cloud.file_systems()
    efs = rig.administrator(bare, "efs")
    points = sorted(
        efs.create_access_point(ClientToken=f"{number}", FileSystemId=made.id)["AccessPointId"]
        for number in range(7)
    )
    refused(bare, ", ".join(points[:5]) + " and 2 more:", f"--access-point-id {points[0]}")
    for point in points[1:]:
        efs.delete_access_point(AccessPointId=point)
    refused(bare, f"access point {points[0]}: aws efs delete-access-point")
    efs.delete_access_point(AccessPointId=points[0])
    completed(bare)


# --- A file system that has our token and our tags, but is not the one on record


def replaced(stage: Stage) -> tuple[str, str]:
    """Put a file system with token and tags of the charm's in its place; return both ids."""
    (lost,) = stage.cloud.file_systems()
    lose(stage)
    owner = identity.Owner(stage.model.uuid, APPLICATION)
    made = rig.administrator(stage, "efs").create_file_system(
        CreationToken=ownership.creation_token(owner),
        Tags=ownership.to_list(ownership.tags(owner, {})),
    )
    stage.cloud.skip(60)
    stage.cloud.reset_calls()
    return lost.id, made["FileSystemId"]


def test_another_file_system_with_our_token_and_tags_is_not_ours(bare: Stage) -> None:
    lost, theirs = replaced(bare)
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"{lost} is gone, {theirs} has its token", "(file-system-id, setup)")
    done = bare.run("setup")
    assert done.status == "failed", done
    assert f"{theirs} has the creation token of {lost} but is another file system" in done.message
    done = bare.run("teardown", confirm=theirs, force=True)
    assert done.status == "failed", done
    assert f"confirm={lost}" in done.message
    assert bare.writes() == []
    assert [each.id for each in bare.cloud.file_systems()] == [theirs]


def test_a_teardown_leaves_another_file_system_with_our_token_and_tags(bare: Stage) -> None:
    lost, theirs = replaced(bare)
    done = bare.run("teardown", confirm=lost, force=True)
    assert done.status == "completed", done
    stays = f"stays: file system {theirs}, it has the creation token of {lost} but is another one"
    assert stays in done.results["deleted"]
    assert [each.id for each in bare.cloud.file_systems()] == [theirs]
    assert not [each for each in bare.cloud.security_groups() if "aws-efs" in each.name]


def test_another_file_system_with_our_token_and_tags_can_be_adopted(bare: Stage) -> None:
    lost, theirs = replaced(bare)
    bare.model.config(APPLICATION, {"file-system-id": theirs})
    is_blocked(bare, f"{lost} is gone from AWS", "run setup to adopt it")
    assert bare.run("setup").status == "completed"
    is_blocked(bare, f"{theirs} ready in us-east-1")
    done = bare.run("teardown", confirm=theirs, force=True)
    assert done.status == "completed", done
    assert [each.id for each in bare.cloud.file_systems()] == [theirs]


def test_a_mount_target_of_somebody_else_is_named_and_used_as_it_is() -> None:
    with sandbox_aws.Cloud.start(sandbox_aws.Latencies.none()) as cloud:
        stage = Stage(cloud)
        stage.deploy()
        (made,) = cloud.file_systems()
        efs = rig.administrator(stage, "efs")
        theirs = efs.create_mount_target(
            FileSystemId=made.id, SubnetId=cloud.subnets["us-east-1a"]
        )["MountTargetId"]
        groups = {each.id: each.security_groups for each in cloud.mount_targets()}
        machines = charm_files.Metadata({"name": "ubuntu"})
        zones = sorted(cloud.subnets)
        stage.model.deploy(ops.CharmBase, machines, units=3, zones=zones)
        stage.model.relate("aws-efs:workers", "ubuntu")
        assert len(cloud.mount_targets()) == 3
        assert {each.id: each.security_groups for each in cloud.mount_targets()}[theirs] == groups[
            theirs
        ]
        is_blocked(stage, "us-east-1a: sg-", "does not allow tcp 2049 from")
        refused(stage, f"{theirs} (us-east-1a)", "that the charm did not create")
        efs.delete_mount_target(MountTargetId=theirs)
        completed(stage)


def test_a_group_that_others_use_is_named_with_its_users(bare: Stage) -> None:
    ec2 = rig.administrator(bare, "ec2")
    (ours,) = (group for group in bare.cloud.security_groups() if "aws-efs" in group.name)
    other = ec2.create_security_group(
        GroupName="other", Description="theirs", VpcId=bare.cloud.vpc_id
    )["GroupId"]
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": ours.id}]}]
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=rule)
    interface = ec2.create_network_interface(
        SubnetId=bare.cloud.subnets["us-east-1a"], Groups=[ours.id], Description="a bastion"
    )["NetworkInterface"]["NetworkInterfaceId"]
    refused(bare, f"a rule of {other} names {ours.id}", f"{interface} (a bastion)")
    ec2.delete_network_interface(NetworkInterfaceId=interface)
    refused(bare, f"a rule of {other} names {ours.id}")
    ec2.revoke_security_group_ingress(GroupId=other, IpPermissions=rule)
    completed(bare)


def test_the_mount_target_of_another_file_system_in_our_group_is_named(
    cloud: sandbox_aws.Cloud,
) -> None:
    outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a")))
    theirs = rig.make_file_system(cloud)
    rig.admin(cloud).efs.create_mount_target(
        FileSystemId=theirs,
        SubnetId=cloud.subnets["us-east-1b"],
        SecurityGroups=[outcome.security_group_id],
    )
    (found,) = obstacles.find(rig.connected(cloud), rig.standing(cloud))
    assert f"EFS mount target for {theirs}" in found.message


def test_interfaces_that_efs_has_not_released_yet_are_no_obstacle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = dataclasses.replace(sandbox_aws.Latencies.none(), interface_release_seconds=60)
    with rig.started(monkeypatch, slow) as cloud:
        outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, *rig.ZONES)))
        key = resources.ResourceKey(rig.OWNER, record=rig.recorded(outcome))
        with pytest.raises(problems.Waiting, match="is still used"):
            rig.torn_down(cloud, key, timeout_seconds=0.5)
        assert cloud.interfaces() != ()
        assert obstacles.find(rig.connected(cloud), rig.standing(cloud, key)) == []


# --- Rules of an operator


def test_a_rule_of_somebody_else_is_revoked_and_told_once_in_the_status(bare: Stage) -> None:
    (group,) = (each for each in bare.cloud.security_groups() if "aws-efs" in each.name)
    good = bare.status()
    rig.administrator(bare, "ec2").authorize_security_group_ingress(
        GroupId=group.id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"revoked tcp 22 from 0.0.0.0/0 in {group.id}", "allow-cidrs")
    (after,) = (each for each in bare.cloud.security_groups() if each.id == group.id)
    assert after.rules == group.rules
    bare.model.update_status(APPLICATION)
    assert bare.status() == good


def test_a_rule_that_names_a_group_is_revoked_too(bare: Stage) -> None:
    ec2 = rig.administrator(bare, "ec2")
    (group,) = (each for each in bare.cloud.security_groups() if "aws-efs" in each.name)
    other = ec2.create_security_group(
        GroupName="other", Description="theirs", VpcId=bare.cloud.vpc_id
    )["GroupId"]
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": other}]}]
    ec2.authorize_security_group_ingress(GroupId=group.id, IpPermissions=rule)
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"revoked all traffic from {other}")
    (after,) = (each for each in bare.cloud.security_groups() if each.id == group.id)
    assert after.rules == group.rules


def test_a_revocation_is_told_though_its_reply_was_lost(bare: Stage) -> None:
    (group,) = (each for each in bare.cloud.security_groups() if "aws-efs" in each.name)
    rig.administrator(bare, "ec2").authorize_security_group_ingress(
        GroupId=group.id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )
    bare.cloud.lose_reply("RevokeSecurityGroupIngress", times=3)
    bare.model.update_status(APPLICATION)
    is_blocked(bare, "revoked tcp 22 from 0.0.0.0/0")


def test_ranges_that_are_allowed_get_a_rule_and_lose_it_with_the_option(bare: Stage) -> None:
    (before,) = (each for each in bare.cloud.security_groups() if "aws-efs" in each.name)
    bare.model.config(APPLICATION, {"allow-cidrs": "10.20.0.0/16 192.168.0.0/24"})
    (during,) = (each for each in bare.cloud.security_groups() if "aws-efs" in each.name)
    assert {rule[3] for rule in during.rules - before.rules} == {"10.20.0.0/16", "192.168.0.0/24"}
    assert {rule[:3] for rule in during.rules} == {("tcp", 2049, 2049)}
    bare.cloud.reset_calls()
    bare.model.update_status(APPLICATION)
    assert bare.writes() == []
    bare.model.reset(APPLICATION, "allow-cidrs")
    (after,) = (each for each in bare.cloud.security_groups() if "aws-efs" in each.name)
    assert after.rules == before.rules


# --- The state of a teardown that failed


@pytest.mark.parametrize(
    ("denied", "left", "gone"),
    [
        ("elasticfilesystem:DeleteMountTarget", ["fs-", "3 mount targets", "sg-"], []),
        ("elasticfilesystem:DeleteFileSystem", ["fs-", "sg-"], ["3 mount targets"]),
        ("ec2:DeleteSecurityGroup", ["sg-"], ["3 mount targets", "file system"]),
    ],
)
def test_after_a_failure_the_status_tells_what_stands_and_what_is_gone(
    bare: Stage, denied: str, left: list[str], gone: list[str]
) -> None:
    (made,) = bare.cloud.file_systems()
    bare.cloud.deny(denied)
    done = bare.run("teardown", confirm=made.id, force=True)
    assert done.status == "failed"
    assert f"AWS denies {denied}" in done.message
    for _ in range(2):
        status = is_blocked(bare, "teardown")
        standing, _, rest = status.message.partition(" left" if _ == 0 else " began")
        assert all(word in standing for word in left), status
        assert all(word in rest for word in gone), status
        bare.model.update_status(APPLICATION)
    bare.cloud.allow(denied)
    done = bare.run("teardown", confirm=made.id, force=True)
    assert done.status == "completed", done
    assert bare.cloud.file_systems() == ()


@pytest.mark.parametrize("call", ["DeleteMountTarget", "DeleteFileSystem", "DeleteSecurityGroup"])
def test_a_killed_teardown_is_told_by_the_next_hook_and_continued(bare: Stage, call: str) -> None:
    (made,) = bare.cloud.file_systems()
    bare.model.kill_next_hook(after=call)
    assert bare.run("teardown", confirm=made.id, force=True).status == "failed"
    bare.cloud.reset_calls()
    bare.model.update_status(APPLICATION)
    is_blocked(bare, "teardown")
    assert bare.writes() == []
    assert bare.run("teardown", confirm=made.id, force=True).status == "completed"
    assert bare.cloud.file_systems() == ()
    assert [group for group in bare.cloud.security_groups() if "aws-efs" in group.name] == []


@pytest.mark.parametrize(
    "operation",
    ["DeleteMountTarget", "DeleteFileSystem", "DeleteSecurityGroup", "TagResource", "CreateTags"],
)
@pytest.mark.parametrize("times", [1, 3])
def test_lost_replies_end_no_teardown(
    cloud: sandbox_aws.Cloud, operation: str, times: int
) -> None:
    rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, *rig.ZONES)))
    cloud.lose_reply(operation, times=times)
    try:
        rig.torn_down(cloud)
    except problems.Waiting:  # no reply came at all: the next run continues
        assert times == 3
        rig.torn_down(cloud)
    assert rig.nothing_of_ours(cloud)


def test_setup_is_not_run_against_a_file_system_of_somebody_else(
    cloud: sandbox_aws.Cloud,
) -> None:
    rig.admin(cloud).efs.create_file_system(CreationToken=ownership.creation_token(rig.OWNER))

    class Inputs:
        aws = rig.connected(cloud)
        key = resources.ResourceKey(rig.OWNER)

    with pytest.raises(problems.Blocked, match="but not its tags"):
        setup.prepare(Inputs())  # type: ignore[arg-type]
