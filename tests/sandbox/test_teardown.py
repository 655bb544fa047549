from __future__ import annotations

import threading
from typing import Any

import boto3
import pytest
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import core_v1, storage_v1

import charm
from sandbox.stage import Stage

ORDER = ["job", "claim", "volume", "storage", "namespace", "mount", "file", "security"]


def file_system(stage: Stage) -> str:
    (only,) = stage.cloud.file_systems()
    return only.id


def our_groups(stage: Stage) -> list[str]:
    return [group.name for group in stage.cloud.security_groups() if "efs" in group.name]


def world(stage: Stage) -> list[Any]:
    """Return everything that a teardown could change, in AWS and in the cluster."""
    kinds = (core_v1.Namespace, core_v1.PersistentVolume, storage_v1.StorageClass)
    objects = [each.metadata for kind in kinds for each in stage.kube.list(kind)]
    objects += [
        each.metadata for each in stage.kube.list(core_v1.PersistentVolumeClaim, namespace="*")
    ]
    return [
        stage.cloud.file_systems(),
        stage.cloud.mount_targets(),
        stage.cloud.security_groups(),
        sorted((meta.uid, meta.resourceVersion) for meta in objects if meta),
    ]


def assert_nothing_is_left(stage: Stage) -> None:
    assert stage.cloud.file_systems() == ()
    assert stage.cloud.mount_targets() == ()
    assert our_groups(stage) == []
    assert list(stage.kube.list(core_v1.PersistentVolume)) == []
    assert list(stage.kube.list(core_v1.PersistentVolumeClaim, namespace="*")) == []
    assert list(stage.kube.list(storage_v1.StorageClass)) == []
    assert "aws-efs" not in {
        each.metadata.name for each in stage.kube.list(core_v1.Namespace) if each.metadata
    }


def delete_pod(stage: Stage, name: str = "reader") -> None:
    stage.kube.delete(core_v1.Pod, name, namespace="default", grace_period=0)


def test_a_dry_run_lists_what_would_go_in_order_and_deletes_nothing(stage: Stage) -> None:
    stage.settle()
    before = world(stage)
    stage.cloud.reset_calls()
    done = stage.run("teardown", dry_run=True)
    assert done.status == "completed", done
    *lines, kept = done.results["would-delete"].splitlines()
    assert kept.startswith(f"stays: recovery points of {file_system(stage)} in AWS Backup")
    assert all(line.startswith("would delete ") for line in lines)
    kinds = [line.split()[2] for line in lines]
    assert kinds == sorted(kinds, key=ORDER.index)
    assert {*kinds, "job"} == {*ORDER}  # the probes leave no Job
    assert f"would delete file system {file_system(stage)}" in lines
    assert stage.writes() == []
    assert world(stage) == before


@pytest.mark.parametrize("confirm", ["", "fs-00000000000000000"])
def test_unconfirmed_it_is_refused_with_what_would_be_lost(stage: Stage, confirm: str) -> None:
    stage.settle()
    before = world(stage)
    stage.cloud.reset_calls()
    refused = stage.run("teardown", confirm=confirm) if confirm else stage.run("teardown")
    made = file_system(stage)
    assert refused.status == "failed"
    assert f"nothing was deleted: teardown permanently deletes {made}" in refused.message
    assert "bytes as AWS last metered" in refused.message
    assert refused.message.endswith(f"confirm={made}")
    assert stage.writes() == []
    assert world(stage) == before
    assert stage.status().name == "active"


@pytest.mark.parametrize(
    "call", ["delete", "DeleteMountTarget", "DeleteFileSystem", "DeleteSecurityGroup"]
)
def test_killed_anywhere_nothing_is_rebuilt_and_the_next_run_ends_clean(
    stage: Stage, call: str
) -> None:
    stage.settle()
    made = file_system(stage)
    stage.model.kill_next_hook(after=call)
    assert stage.run("teardown", confirm=made).status == "failed"
    left = world(stage)
    stage.cloud.reset_calls()
    stage.model.update_status()
    assert stage.writes() == []
    assert stage.status().name == "blocked"
    assert "teardown" in stage.status().message
    assert len(world(stage)[3]) <= len(left[3])
    done = stage.run("teardown", confirm=made)
    assert done.status == "completed", done
    assert_nothing_is_left(stage)
    assert stage.status().message.startswith("torn down: ")


def test_another_leader_finishes_what_a_killed_one_began(stage: Stage) -> None:
    stage.settle(units=2)
    made = file_system(stage)
    stage.model.kill_next_hook(after="DeleteMountTarget")
    assert stage.run("teardown", unit="aws-efs/0", confirm=made).status == "failed"
    stage.model.set_leader("aws-efs/1")
    assert stage.cloud.file_systems() != ()
    refused = stage.run("teardown", unit="aws-efs/0", confirm=made)
    assert refused.message == "aws-efs/0 is not the leader: run it on aws-efs/leader"
    done = stage.run("teardown", confirm=made)
    assert done.status == "completed", done
    assert_nothing_is_left(stage)
    stage.model.update_status()
    assert_nothing_is_left(stage)


def test_a_pod_that_uses_the_claim_is_named_and_without_it_teardown_continues(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charm, "TEARDOWN_TIMEOUT_SECONDS", 2)
    stage.settle()
    made = file_system(stage)
    stage.hold_claim()
    refused = stage.run("teardown", confirm=made)
    assert refused.status == "failed"
    assert refused.message == ("claims are in use: delete pod default/reader, then run it again")
    assert refused.log == ("waiting until these pods are gone: pod default/reader",)
    assert stage.status().name == "waiting"
    assert stage.status().message.startswith("teardown has not begun: claims are in use: delete")
    claim = stage.claim("default")
    assert claim.metadata and claim.metadata.deletionTimestamp is None
    assert len(stage.cloud.mount_targets()) == 3
    delete_pod(stage)
    monkeypatch.setattr(charm, "TEARDOWN_TIMEOUT_SECONDS", 60)
    assert stage.run("teardown", confirm=made).status == "completed"
    assert_nothing_is_left(stage)


def stopped(stage: Stage) -> str:
    status = stage.status()
    assert status.name == "blocked", status
    assert len(status.message) <= 120
    return status.message


def test_a_teardown_that_fails_after_the_cluster_says_that_this_part_is_gone(stage: Stage) -> None:
    stage.settle()
    made = file_system(stage)
    stage.cloud.deny("elasticfilesystem:DeleteFileSystem")
    done = stage.run("teardown", confirm=made)
    assert done.status == "failed"
    assert "AWS denies elasticfilesystem:DeleteFileSystem" in done.message
    standing, _, gone = stopped(stage).partition(" left; ")
    assert standing.startswith(f"teardown stopped: {made}, sg-")
    assert gone.startswith("3 mount targets, cluster objects gone")
    stage.model.update_status()
    assert stopped(stage).startswith(f"teardown of {made}, sg-")
    assert "3 mount targets gone" in stopped(stage)
    stage.cloud.allow("elasticfilesystem:DeleteFileSystem")
    assert stage.run("teardown", confirm=made).status == "completed"
    assert_nothing_is_left(stage)


def test_a_pod_that_ends_meanwhile_is_waited_for(stage: Stage) -> None:
    stage.settle()
    stage.hold_claim()
    timer = threading.Timer(1.5, delete_pod, [stage])
    timer.start()
    done = stage.run("teardown", confirm=file_system(stage))
    timer.join()
    assert done.status == "completed", done
    assert_nothing_is_left(stage)


def test_without_the_cluster_it_is_refused_and_force_lists_what_stays(stage: Stage) -> None:
    stage.settle()
    made = file_system(stage)
    stage.model.remove_relation("aws-efs:kube-control", "kubernetes-control-plane")
    before = world(stage)
    refused = stage.run("teardown", confirm=made)
    assert refused.status == "failed"
    assert refused.message.startswith(
        "nothing was deleted: the cluster is out of reach (juju relate aws-efs:kube-"
    )
    assert "force=true" in refused.message
    assert world(stage) == before
    done = stage.run("teardown", confirm=made, force=True)
    assert done.status == "completed", done
    lines = done.results["deleted"].splitlines()
    assert "stays in the cluster: PersistentVolumeClaim default/aws-efs" in lines
    assert "stays in the cluster: StorageClass aws-efs" in lines
    assert stage.cloud.file_systems() == ()
    assert our_groups(stage) == []
    assert world(stage)[3] == before[3]


def test_what_is_not_ours_stays(stage: Stage) -> None:
    stage.settle()
    ec2 = boto3.client(
        "ec2",
        region_name=stage.cloud.region,
        endpoint_url=stage.cloud.endpoint_url,
        aws_access_key_id=stage.cloud.administrator.access_key,
        aws_secret_access_key=stage.cloud.administrator.secret_key,
    )
    ec2.create_security_group(
        GroupName="efs-of-others", Description="theirs", VpcId=stage.cloud.vpc_id
    )
    ec2.close()
    # The application of the same name in another model.
    labels = {"app.kubernetes.io/managed-by": "juju", "aws-efs/application": "aws-efs"}
    metadata = meta_v1.ObjectMeta(name="theirs", labels={**labels, "aws-efs/model-uuid": "other"})
    stage.kube.create(
        core_v1.PersistentVolume(
            metadata=metadata,
            spec=models.PersistentVolumeSpec(
                accessModes=["ReadWriteMany"],
                capacity={"storage": "1Gi"},
                nfs=models.NFSVolumeSource(path="/", server="nfs.invalid"),
            ),
        )
    )
    stage.kube.create(
        storage_v1.StorageClass(metadata=metadata, provisioner="kubernetes.io/no-provisioner")
    )
    done = stage.run("teardown", confirm=file_system(stage))
    assert done.status == "completed", done
    assert our_groups(stage) == ["efs-of-others"]
    for kind in (core_v1.PersistentVolume, storage_v1.StorageClass):
        assert [each.metadata.name for each in stage.kube.list(kind) if each.metadata] == [
            "theirs"
        ]


def test_never_related_it_needs_no_force(stage: Stage) -> None:
    stage.deploy()
    made = file_system(stage)
    done = stage.run("teardown", confirm=made)
    assert done.status == "completed", done
    assert done.results["deleted"].splitlines() == [
        f"deleted file system {made}",
        f"stays: recovery points of {made} in AWS Backup, if it has some: see the vault "
        "aws/efs/automatic-backup-vault, where the option backup has them made",
    ]
    assert stage.cloud.file_systems() == ()


def test_torn_down_twice_there_is_nothing_left_to_delete(stage: Stage) -> None:
    stage.settle()
    made = file_system(stage)
    assert stage.run("teardown", confirm=made).status == "completed"
    stage.cloud.reset_calls()
    again = stage.run("teardown", confirm=made)
    assert again.status == "completed"
    assert again.results["deleted"] == "nothing"
    assert stage.writes() == []


def test_setup_cancels_an_interrupted_teardown_and_keeps_the_data(stage: Stage) -> None:
    stage.settle()
    made = file_system(stage)
    (stage.volume() / "kept").write_text("data")
    stage.model.kill_next_hook(after="DeleteMountTarget")
    assert stage.run("teardown", confirm=made).status == "failed"
    done = stage.run("setup")
    assert done.results == {"file-system": made}
    assert stage.status().name == "active"
    assert "3 zones, 3 nodes proven" in stage.status().message
    assert (stage.volume() / "kept").read_text() == "data"
    claim = stage.claim("default")
    assert claim.status and claim.status.phase == "Bound"
