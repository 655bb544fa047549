"""A file system that the charm did not create: used as usual, and never changed or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lightkube.resources import core_v1

from sandbox.aws import aws_cloud as sandbox_aws
from sandbox.juju import kubernetes_bundle, model_state
from sandbox.stage import APPLICATION, Stage
from tests.sandbox import aws_rig as rig

ADOPTABLE = [{"Key": "aws-efs/adoptable", "Value": ""}, {"Key": "team", "Value": "storage"}]
ZONES = rig.ZONES


@pytest.fixture
def bare() -> Iterator[Stage]:
    """Set up a cloud without a cluster, and nothing deployed."""
    with sandbox_aws.Cloud.start(sandbox_aws.Latencies.real().scaled(0.0005)) as cloud:
        yield Stage(cloud)


def make_file_system(
    stage: Stage, *zones: str, groups: tuple[str, ...] = (), **params: Any
) -> str:
    """Make a file system as terraform does, with mount targets in some zones."""
    efs = rig.administrator(stage, "efs")
    params = {"CreationToken": f"theirs-{len(stage.cloud.file_systems())}", **params}
    made = efs.create_file_system(**{"Tags": ADOPTABLE, **params})["FileSystemId"]
    stage.cloud.skip(60)
    for zone in zones:
        chosen = {"SecurityGroups": list(groups)} if groups else {}
        subnet = stage.cloud.subnets[zone]
        efs.create_mount_target(FileSystemId=made, SubnetId=subnet, **chosen)
    stage.cloud.skip(600)
    return made


def make_group(stage: Stage, *cidrs: str) -> str:
    ec2 = rig.administrator(stage, "ec2")
    made = ec2.create_security_group(
        GroupName="theirs", Description="theirs", VpcId=stage.cloud.vpc_id
    )["GroupId"]
    for cidr in cidrs:
        ec2.authorize_security_group_ingress(
            GroupId=made, IpProtocol="tcp", FromPort=2049, ToPort=2049, CidrIp=cidr
        )
    return made


def deploy(stage: Stage, file_system_id: str, **config: Any) -> None:
    rig.deploy_with_machines(stage, {"file-system-id": file_system_id, **config})


def system(stage: Stage, file_system_id: str) -> sandbox_aws.FileSystem:
    (found,) = (each for each in stage.cloud.file_systems() if each.id == file_system_id)
    return found


def our_groups(stage: Stage) -> list[sandbox_aws.SecurityGroup]:
    return [group for group in stage.cloud.security_groups() if "aws-efs" in group.name]


def is_blocked(stage: Stage, *words: str) -> model_state.Status:
    status = stage.status()
    assert status.name == "blocked", status
    assert all(word in status.message for word in words), status
    assert len(status.message) <= 120, status
    return status


def ready(stage: Stage, file_system_id: str) -> None:
    is_blocked(stage, f"{file_system_id} ready in us-east-1; next: juju relate")


# --- Use it


def test_an_adopted_file_system_is_mounted_in_each_zone_and_not_changed(bare: Stage) -> None:
    made = make_file_system(bare, PerformanceMode="maxIO", ThroughputMode="bursting")
    before = system(bare, made)
    deploy(bare, made, tags="team=ours")
    ready(bare, made)
    (group,) = our_groups(bare)
    assert {(each.zone, each.security_groups) for each in bare.cloud.mount_targets(made)} == {
        (zone, (group.id,)) for zone in ZONES
    }
    assert bare.cloud.file_systems() == (before,)
    assert group.tags["team"] == "ours"
    bare.cloud.reset_calls()
    bare.model.update_status()
    assert bare.writes() == []
    reads, _ = bare.cloud.counts()
    assert reads <= 8


def test_mount_targets_that_exist_are_used_as_they_are(bare: Stage) -> None:
    theirs = make_group(bare, "172.31.0.0/16")
    made = make_file_system(bare, *ZONES[:2], groups=(theirs,))
    before = bare.cloud.mount_targets(made)
    deploy(bare, made)
    ready(bare, made)
    after = bare.cloud.mount_targets(made)
    assert set(before) < set(after)
    assert [each.zone for each in after if each not in before] == [ZONES[2]]


def test_a_mount_target_that_does_not_let_us_in_is_told_with_the_missing_rule(
    bare: Stage,
) -> None:
    theirs = make_group(bare, "10.0.0.0/8")
    made = make_file_system(bare, ZONES[0], groups=(theirs,))
    before = bare.cloud.mount_targets(made)
    deploy(bare, made)
    status = is_blocked(bare, f"{ZONES[0]}: {theirs} of its mount target does not allow tcp 2049")
    assert set(before) < set(bare.cloud.mount_targets(made))
    cidr = status.message.partition("from ")[2].partition(":")[0]
    rig.administrator(bare, "ec2").authorize_security_group_ingress(
        GroupId=theirs, IpProtocol="tcp", FromPort=2049, ToPort=2049, CidrIp=cidr
    )
    bare.model.update_status(APPLICATION)
    ready(bare, made)


def test_a_rule_for_the_machines_group_lets_us_in(bare: Stage) -> None:
    theirs = make_group(bare)
    made = make_file_system(bare, *ZONES, groups=(theirs,))
    deploy(bare, made)
    (model,) = (g for g in bare.cloud.security_groups() if g.name == f"juju-{bare.model.uuid}")
    is_blocked(bare, "does not allow tcp 2049")
    rig.administrator(bare, "ec2").authorize_security_group_ingress(
        GroupId=theirs,
        IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": model.id}]}],
    )
    bare.model.update_status(APPLICATION)
    ready(bare, made)


def test_a_one_zone_file_system_serves_its_zone_and_the_others_are_named(bare: Stage) -> None:
    made = make_file_system(bare, AvailabilityZoneName=ZONES[1])
    deploy(bare, made)
    assert [each.zone for each in bare.cloud.mount_targets(made)] == [ZONES[1]]
    is_blocked(bare, f"{made} is in {ZONES[1]} only", ZONES[0], ZONES[2])


def test_the_destination_of_a_replication_is_reported_as_read_only(bare: Stage) -> None:
    source = make_file_system(bare)
    efs = rig.administrator(bare, "efs")
    made = efs.create_replication_configuration(
        SourceFileSystemId=source, Destinations=[{"Region": "us-east-1"}]
    )["Destinations"][0]["FileSystemId"]
    efs.tag_resource(ResourceId=made, Tags=ADOPTABLE)
    bare.cloud.skip(60)
    deploy(bare, made)
    is_blocked(bare, f"{made} is the destination of a replication, so it is read-only")


@pytest.mark.parametrize(
    "value", ["fs-1", "fsap-0123456789abcdef0", "fs-0123456789ABCDEF0", "a b"]
)
def test_what_is_no_file_system_s_id_is_refused(bare: Stage, value: str) -> None:
    deploy(bare, value)
    is_blocked(bare, "file-system-id ", "use the id of an EFS file system")
    assert bare.cloud.calls == []


def test_a_file_system_that_does_not_exist_is_told_and_none_is_created(bare: Stage) -> None:
    deploy(bare, "fs-0123456789abcdef0")
    is_blocked(bare, "no file system fs-0123456789abcdef0 in this account and region")
    assert bare.cloud.file_systems() == ()
    assert our_groups(bare) == []
    made = make_file_system(bare)
    bare.model.config(APPLICATION, {"file-system-id": made})
    ready(bare, made)


def test_a_file_system_that_its_owner_did_not_offer_is_refused_by_the_policy(bare: Stage) -> None:
    made = make_file_system(bare, Tags=[{"Key": "team", "Value": "storage"}])
    deploy(bare, made)
    is_blocked(bare, "AWS denies elasticfilesystem:CreateMountTarget")
    efs = rig.administrator(bare, "efs")
    efs.tag_resource(ResourceId=made, Tags=ADOPTABLE)
    bare.model.update_status(APPLICATION)
    ready(bare, made)


# --- Change it


def test_another_file_system_on_a_live_system_is_blocked_with_the_ways_out(bare: Stage) -> None:
    theirs = make_file_system(bare)
    rig.deploy_with_machines(bare, {})
    (own,) = (each.id for each in bare.cloud.file_systems() if each.id != theirs)
    bare.cloud.reset_calls()
    bare.model.config(APPLICATION, {"file-system-id": theirs})
    is_blocked(bare, f"file-system-id is {theirs} but {own} is in use", "set it back", "teardown")
    refused = bare.run("setup")
    assert refused.status == "failed"
    assert f"{own} is in use" in refused.message
    assert bare.writes() == []
    bare.model.reset(APPLICATION, "file-system-id")
    ready(bare, own)
    # The other way out: the old one goes, then the new one is adopted.
    bare.model.config(APPLICATION, {"file-system-id": theirs})
    done = bare.run("teardown", confirm=own, force=True)
    assert done.status == "completed", done
    assert [each.id for each in bare.cloud.file_systems()] == [theirs]
    assert bare.run("setup").results == {"file-system": theirs}
    ready(bare, theirs)


@pytest.mark.parametrize("value", ["", "another"])
def test_an_adopted_file_system_cannot_be_exchanged_either(bare: Stage, value: str) -> None:
    made, another = make_file_system(bare), make_file_system(bare)
    deploy(bare, made)
    bare.cloud.reset_calls()
    wanted = another if value else ""
    bare.model.config(APPLICATION, {"file-system-id": wanted})
    is_blocked(bare, f"file-system-id is {wanted or 'empty'} but {made} is in use")
    assert bare.run("setup").status == "failed"
    assert bare.writes() == []
    bare.model.config(APPLICATION, {"file-system-id": made})
    ready(bare, made)
    # Whatever the option says by then: what was adopted is never deleted.
    bare.model.config(APPLICATION, {"file-system-id": wanted})
    assert bare.run("teardown", confirm=made, force=True).status == "completed"
    assert {each.id for each in bare.cloud.file_systems()} == {made, another}


def test_what_the_charm_created_and_never_recorded_is_not_left_behind(bare: Stage) -> None:
    theirs = make_file_system(bare)
    # The hook is killed after it has created a file system, and the option is set then.
    bare.model.kill_next_hook(after="CreateFileSystem")
    bare.deploy()
    (own,) = (each.id for each in bare.cloud.file_systems() if each.id != theirs)
    bare.model.world.applications[APPLICATION].config["file-system-id"] = theirs
    bare.model.resolve()
    is_blocked(bare, f"{own} was created already: unset file-system-id")
    assert bare.cloud.mount_targets() == ()


def test_one_s_own_file_system_may_be_adopted_and_is_kept_from_then_on(bare: Stage) -> None:
    rig.deploy_with_machines(bare, {})
    (own,) = bare.cloud.file_systems()
    bare.model.config(APPLICATION, {"file-system-id": own.id})
    ready(bare, own.id)
    done = bare.run("teardown", confirm=own.id, force=True)
    assert done.status == "completed", done
    assert [each.id for each in bare.cloud.file_systems()] == [own.id]
    assert bare.cloud.mount_targets() == ()
    assert our_groups(bare) == []


def test_a_restored_file_system_is_adopted_after_the_old_one_was_lost(bare: Stage) -> None:
    rig.deploy_with_machines(bare, {})
    (lost,) = bare.cloud.file_systems()
    efs = rig.administrator(bare, "efs")
    for target in bare.cloud.mount_targets():
        efs.delete_mount_target(MountTargetId=target.id)
    bare.cloud.skip(600)
    efs.delete_file_system(FileSystemId=lost.id)
    bare.cloud.skip(600)
    # AWS Backup restores tags, too: by these alone the new one is not taken for the old one.
    restored = make_file_system(
        bare, Tags=[{"Key": key, "Value": value} for key, value in lost.tags.items()]
    )
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"{lost.id} is gone from AWS: adopt a restored one (file-system-id)")
    bare.model.config(APPLICATION, {"file-system-id": restored})
    is_blocked(bare, f"{lost.id} is gone from AWS", restored, "run setup to adopt it")
    assert bare.run("setup").results == {"file-system": restored}
    ready(bare, restored)
    done = bare.run("teardown", confirm=restored, force=True)
    assert done.status == "completed", done
    assert [each.id for each in bare.cloud.file_systems()] == [restored]


def test_a_lost_adopted_file_system_is_reported_and_none_is_created(bare: Stage) -> None:
    made = make_file_system(bare)
    deploy(bare, made)
    efs = rig.administrator(bare, "efs")
    for target in bare.cloud.mount_targets():
        efs.delete_mount_target(MountTargetId=target.id)
    bare.cloud.skip(600)
    efs.delete_file_system(FileSystemId=made)
    bare.cloud.skip(600)
    bare.model.update_status(APPLICATION)
    is_blocked(bare, f"{made} is gone from AWS")
    bare.model.reset(APPLICATION, "file-system-id")
    is_blocked(bare, f"{made} is gone from AWS, file-system-id is empty: run setup to create one")
    assert bare.cloud.file_systems() == ()
    assert bare.run("setup").status == "completed"
    assert len(bare.cloud.file_systems()) == 1


# --- Take it down


def test_teardown_removes_what_we_made_and_keeps_the_rest(bare: Stage) -> None:
    theirs = make_group(bare, "172.31.0.0/16")
    made = make_file_system(bare, ZONES[0], groups=(theirs,))
    before = bare.cloud.mount_targets(made)
    deploy(bare, made)
    (group,) = our_groups(bare)
    refused = bare.run("teardown")
    assert refused.status == "failed"
    assert f"teardown takes {made} from the cluster and keeps its data" in refused.message
    planned = bare.run("teardown", dry_run=True).results["would-delete"].splitlines()
    done = bare.run("teardown", confirm=made, force=True)
    assert done.status == "completed", done
    lines = done.results["deleted"].splitlines()
    assert len([line for line in lines if line.startswith("deleted mount target")]) == 2
    assert f"deleted security group {group.id}" in lines
    assert f"stays: file system {made}, it was adopted" in lines
    assert not [line for line in lines if "recovery points" in line]
    assert f"stays: mount target {before[0].id} ({ZONES[0]})" in lines
    deleted = {line.removeprefix("deleted ") for line in lines if line.startswith("deleted ")}
    assert {line.removeprefix("would delete ") for line in planned} >= deleted
    assert bare.cloud.mount_targets(made) == before
    assert our_groups(bare) == []
    assert system(bare, made).tags == {tag["Key"]: tag["Value"] for tag in ADOPTABLE}
    is_blocked(bare, "torn down")


def test_a_user_who_adds_our_group_to_a_mount_target_of_theirs_keeps_it(bare: Stage) -> None:
    theirs = make_group(bare)
    made = make_file_system(bare, ZONES[0], groups=(theirs,))
    (target,) = bare.cloud.mount_targets(made)
    deploy(bare, made)
    (group,) = our_groups(bare)
    efs = rig.administrator(bare, "efs")
    efs.modify_mount_target_security_groups(
        MountTargetId=target.id, SecurityGroups=[theirs, group.id]
    )
    bare.model.update_status(APPLICATION)
    ready(bare, made)
    refused = bare.run("teardown", confirm=made, force=True)
    assert refused.status == "failed"
    assert f"{target.id})) is in {group.id}: take it out of that group" in refused.message
    assert len(bare.cloud.mount_targets(made)) == 3
    efs.modify_mount_target_security_groups(MountTargetId=target.id, SecurityGroups=[theirs])
    assert bare.run("teardown", confirm=made, force=True).status == "completed"
    assert [each.id for each in bare.cloud.mount_targets(made)] == [target.id]


def test_a_mount_target_that_the_owner_replaced_by_their_own_stays(bare: Stage) -> None:
    theirs = make_group(bare, "172.31.0.0/16")
    made = make_file_system(bare)
    deploy(bare, made)
    ours = next(each for each in bare.cloud.mount_targets(made) if each.zone == ZONES[0])
    efs = rig.administrator(bare, "efs")
    efs.delete_mount_target(MountTargetId=ours.id)
    bare.cloud.skip(600)
    replaced = efs.create_mount_target(
        FileSystemId=made, SubnetId=ours.subnet_id, SecurityGroups=[theirs]
    )["MountTargetId"]
    bare.cloud.skip(600)
    bare.model.update_status(APPLICATION)
    ready(bare, made)
    (seen,) = (each for each in bare.cloud.mount_targets(made) if each.id == replaced)
    assert seen.security_groups == (theirs,)
    assert bare.run("teardown", confirm=made, force=True).status == "completed"
    assert [each.id for each in bare.cloud.mount_targets(made)] == [replaced]


@pytest.mark.parametrize("call", ["DeleteMountTarget", "DeleteSecurityGroup", "CreateTags"])
def test_killed_anywhere_nothing_is_rebuilt_and_the_next_run_ends_clean(
    bare: Stage, call: str
) -> None:
    made = make_file_system(bare)
    deploy(bare, made)
    bare.model.kill_next_hook(after=call)
    assert bare.run("teardown", confirm=made, force=True).status == "failed"
    bare.cloud.reset_calls()
    bare.model.update_status(APPLICATION)
    assert bare.writes() == []
    is_blocked(bare, "teardown")
    done = bare.run("teardown", confirm=made, force=True)
    assert done.status == "completed", done
    assert bare.cloud.mount_targets() == ()
    assert our_groups(bare) == []
    assert system(bare, made).state == "available"


@pytest.mark.parametrize("call", ["DeleteMountTarget", "DeleteSecurityGroup"])
def test_setup_cancels_an_interrupted_teardown(bare: Stage, call: str) -> None:
    made = make_file_system(bare)
    deploy(bare, made)
    bare.model.kill_next_hook(after=call)
    assert bare.run("teardown", confirm=made, force=True).status == "failed"
    assert bare.run("setup").results == {"file-system": made}
    ready(bare, made)
    assert sorted(each.zone for each in bare.cloud.mount_targets(made)) == list(ZONES)


# --- In a cluster


def test_an_adopted_file_system_serves_the_cluster_with_its_root_as_it_was(stage: Stage) -> None:
    made = make_file_system(stage, ZONES[0], groups=(make_group(stage, "172.31.0.0/16"),))
    (stage.cloud.directory(made) / "kept").write_text("data")
    stage.cloud.directory(made).chmod(0o750)
    kubernetes_bundle.deploy(stage.model)
    stage.deploy(config={"file-system-id": made})
    stage.relate()
    status = stage.status()
    assert status.name == "active", status
    assert f"{made} in us-east-1: 3 zones, 3 nodes proven" in status.message
    assert stage.cloud.directory(made).stat().st_mode & 0o7777 == 0o750
    # With this policy, Kubernetes deletes the files of a volume whose claim is deleted.
    policy = {"spec": {"persistentVolumeReclaimPolicy": "Recycle"}}
    for volume in stage.kube.list(core_v1.PersistentVolume):
        assert volume.metadata and volume.metadata.name
        stage.kube.patch(core_v1.PersistentVolume, volume.metadata.name, policy)
    done = stage.run("teardown", confirm=made)
    assert done.status == "completed", done
    assert [each.zone for each in stage.cloud.mount_targets(made)] == [ZONES[0]]
    assert (stage.cloud.directory(made) / "kept").read_text() == "data"
    assert list(stage.kube.list(core_v1.PersistentVolume)) == []
    assert our_groups(stage) == []


def test_a_mount_target_that_does_not_let_us_in_blocks_the_cluster_with_its_name(
    stage: Stage,
) -> None:
    theirs = make_group(stage, "10.0.0.0/8")
    made = make_file_system(stage, ZONES[0], groups=(theirs,))
    kubernetes_bundle.deploy(stage.model)
    stage.deploy(config={"file-system-id": made})
    stage.relate()
    is_blocked(stage, f"{ZONES[0]}: {theirs} of its mount target does not allow tcp 2049")
