"""Charms that mount the file system on their machines, over the relation filesystem."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.aws import aws_cloud
from sandbox.juju import related_charms
from sandbox.stage import APPLICATION, Stage
from tests.sandbox import aws_rig as rig

CLIENT = "filesystem-client"
ENDPOINT = f"{APPLICATION}:filesystem"


@pytest.fixture
def stage() -> Iterator[Stage]:
    with aws_cloud.Cloud.start(aws_cloud.Latencies.real().scaled(0.0005)) as cloud:
        yield Stage(cloud)


def deploy_clients(stage: Stage, *zones: str) -> None:
    stage.model.deploy(
        related_charms.FilesystemClientCharm,
        related_charms.FILESYSTEM_CLIENT,
        units=len(zones),
        zones=zones,
    )


def only(stage: Stage) -> str:
    (made,) = stage.cloud.file_systems()
    return made.id


def mounted(stage: Stage, number: int = 0) -> str:
    return stage.status(f"{CLIENT}/{number}").message


def test_machines_of_no_cluster_get_mount_targets_and_mount_the_root(stage: Stage) -> None:
    deploy_clients(stage, "us-east-1a", "us-east-1c")
    stage.deploy(units=2)
    assert mounted(stage) == "nothing to mount"
    stage.model.relate(ENDPOINT, CLIENT)
    name = f"{only(stage)}.efs.us-east-1.amazonaws.com"
    assert stage.model.databag(ENDPOINT, APPLICATION) == {"endpoint": f"nfs://({name})/"}
    assert mounted(stage, 0) == mounted(stage, 1) == f"{name}:/"
    zones = {target.zone for target in stage.cloud.mount_targets()}
    assert zones == {"us-east-1a", "us-east-1c"}
    for unit in ("filesystem-client/0", "filesystem-client/1"):
        instance = stage.model.world.unit(unit).instance
        assert stage.cloud.mount(name, instance.id, ["nfsvers=4.1"]).is_dir()


def test_a_machine_of_a_further_zone_gets_a_mount_target_and_the_others_stay(
    stage: Stage,
) -> None:
    deploy_clients(stage, "us-east-1a")
    stage.deploy()
    stage.model.relate(ENDPOINT, CLIENT)
    before = stage.model.databag(ENDPOINT, APPLICATION)
    stage.model.add_unit(CLIENT, zones=["us-east-1b"])
    assert stage.model.databag(ENDPOINT, APPLICATION) == before
    assert {each.zone for each in stage.cloud.mount_targets()} == {"us-east-1a", "us-east-1b"}
    assert mounted(stage, 1) == mounted(stage, 0)


def test_teardown_waits_until_nobody_mounts_the_file_system_over_a_relation(stage: Stage) -> None:
    deploy_clients(stage, "us-east-1a")
    stage.deploy()
    stage.model.relate(ENDPOINT, CLIENT)
    name = only(stage)
    refused = stage.run("teardown", confirm=name)
    assert refused.status == "failed"
    assert (
        f"the file system is mounted by {CLIENT}: juju remove-relation {ENDPOINT} {CLIENT}"
        in refused.message
    )
    assert stage.cloud.mount_targets()
    planned = stage.run("teardown", dry_run=True)
    assert f"used by application {CLIENT}" in planned.results["would-delete"]
    stage.model.remove_relation(ENDPOINT, CLIENT)
    assert mounted(stage) == "nothing to mount"
    assert stage.run("teardown", confirm=name, force=True).status == "completed"
    assert not stage.cloud.file_systems()


def test_a_forced_teardown_withdraws_what_is_to_be_mounted_and_setup_tells_the_new_one(
    stage: Stage,
) -> None:
    deploy_clients(stage, "us-east-1a")
    stage.deploy()
    stage.model.relate(ENDPOINT, CLIENT)
    first = only(stage)
    assert stage.run("teardown", confirm=first, force=True).status == "completed"
    assert stage.model.databag(ENDPOINT, APPLICATION) == {}
    assert mounted(stage) == "nothing to mount"
    assert stage.run("setup").status == "completed"
    assert only(stage) != first
    assert mounted(stage) == f"{only(stage)}.efs.us-east-1.amazonaws.com:/"


def test_nothing_is_told_while_a_machine_has_no_mount_target(stage: Stage) -> None:
    deploy_clients(stage, "us-east-1a", "us-east-1b")
    stage.deploy()
    stage.cloud.refuse_zone("us-east-1a")
    stage.model.relate(ENDPOINT, CLIENT)
    assert stage.model.databag(ENDPOINT, APPLICATION) == {}
    assert [each.zone for each in stage.cloud.mount_targets()] == ["us-east-1b"]
    stage.model.remove_unit(f"{CLIENT}/0")
    stage.model.update_status(APPLICATION)
    assert mounted(stage, 1) == f"{only(stage)}.efs.us-east-1.amazonaws.com:/"


def test_a_machine_in_a_zone_that_is_not_served_is_told_nothing_though_others_are(
    stage: Stage,
) -> None:
    stage.model.deploy(
        related_charms.FilesystemClientCharm,
        related_charms.FILESYSTEM_CLIENT,
        "others",
        zones=("us-east-1b",),
    )
    deploy_clients(stage, "us-east-1a")
    stage.deploy()
    stage.model.relate(ENDPOINT, "others")
    assert [each.zone for each in stage.cloud.mount_targets()] == ["us-east-1b"]
    stage.cloud.refuse_zone("us-east-1a")
    stage.model.relate(ENDPOINT, CLIENT)
    assert mounted(stage) == "nothing to mount"


def test_machines_of_another_model_have_no_address_here(stage: Stage) -> None:
    rig.deploy_with_machines(stage, {})
    deploy_clients(stage, "us-east-1a")
    stage.model.relate(ENDPOINT, CLIENT, cross_model=True)
    assert mounted(stage) == f"{only(stage)}.efs.us-east-1.amazonaws.com:/"
