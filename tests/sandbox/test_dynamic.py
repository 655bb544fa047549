"""Claims of a class that get a directory of their own: the provisioner, its volumes, its end."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable

import lightkube
import pytest
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import apps_v1, core_v1, rbac_authorization_v1, storage_v1

from sandbox.stage import APPLICATION, Stage
from tests.sandbox import test_isolation

CLASS = f"{APPLICATION}-dynamic"


def until(condition: Callable[[], bool], what: str) -> None:
    for _ in range(150):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within 15 s: {what}")


def ask_for(stage: Stage, name: str, namespace: str = "default") -> None:
    """Create a claim of the class."""
    spec = models.PersistentVolumeClaimSpec(
        storageClassName=CLASS,
        accessModes=["ReadWriteMany"],
        resources=models.VolumeResourceRequirements(requests={"storage": "5Gi"}),
    )
    metadata = meta_v1.ObjectMeta(name=name, namespace=namespace)
    stage.kube.create(core_v1.PersistentVolumeClaim(metadata=metadata, spec=spec))


def volume_of(stage: Stage, claim: str, namespace: str = "default") -> core_v1.PersistentVolume:
    """Return the volume of a claim, once it is bound."""

    def bound() -> bool:
        found = stage.claim(namespace, claim)
        return bool(found.status and found.status.phase == "Bound")

    until(bound, f"claim {claim} is bound")
    spec = stage.claim(namespace, claim).spec
    assert spec
    assert spec.volumeName
    return stage.kube.get(core_v1.PersistentVolume, spec.volumeName)


def exists(stage: Stage, kind: type, name: str, namespace: str | None = None) -> bool:
    try:
        stage.kube.get(kind, name, namespace=namespace)
    except lightkube.ApiError as error:
        assert error.status.code == 404
        return False
    return True


@pytest.fixture
def dynamic(stage: Stage) -> Stage:
    stage.settle(config={"dynamic": True})
    status = stage.status()
    assert status.name == "active", status
    return stage


def test_a_claim_of_the_class_gets_its_own_directory_which_goes_with_it(dynamic: Stage) -> None:
    dynamic.create_namespace("research")
    ask_for(dynamic, "scratch")
    ask_for(dynamic, "scratch", "research")
    volume, other = volume_of(dynamic, "scratch"), volume_of(dynamic, "scratch", "research")
    assert volume.spec
    assert volume.spec.mountOptions
    assert "hard" in volume.spec.mountOptions
    written = test_isolation.run(dynamic, "default", "echo mine > /data/x", claim="scratch")
    assert written == ("Succeeded", "")
    seen = test_isolation.run(dynamic, "research", "ls -A /data", claim="scratch")
    assert seen == ("Succeeded", "")
    parent = dynamic.volume() / ".aws-efs" / "dynamic"
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    seen = test_isolation.run(dynamic, "default", "ls /data/.aws-efs/dynamic")
    assert seen[0] == "Failed", "a claim on the whole file system leads to it"
    names = {each.name for each in parent.iterdir()}
    assert names == {
        f"{namespace}-scratch-{each.metadata and each.metadata.name}"
        for namespace, each in (("default", volume), ("research", other))
    }
    dynamic.kube.delete(core_v1.PersistentVolumeClaim, "scratch", namespace="default")
    until(lambda: len(list(parent.iterdir())) == 1, "the directory is gone")
    assert volume.metadata
    name = volume.metadata.name or ""
    until(lambda: not exists(dynamic, core_v1.PersistentVolume, name), "the volume is gone")


def test_a_steady_hook_writes_nothing(dynamic: Stage) -> None:
    kinds = (apps_v1.Deployment, core_v1.ServiceAccount)
    before = [
        dynamic.kube.get(kind, "provisioner", namespace=APPLICATION).metadata for kind in kinds
    ]
    dynamic.model.update_status(APPLICATION)
    after = [
        dynamic.kube.get(kind, "provisioner", namespace=APPLICATION).metadata for kind in kinds
    ]
    assert [each and each.managedFields for each in after] == [
        each and each.managedFields for each in before
    ]


def test_options_that_are_taken_back_leave_the_provisioner(stage: Stage) -> None:
    options = {
        "tolerations": "pool=loaders:NoSchedule",
        "pod-labels": "team=vision",
        "pod-annotations": "example.com/team=vision",
    }
    stage.settle(config={"dynamic": True, **options})
    found = stage.kube.get(apps_v1.Deployment, "provisioner", namespace=APPLICATION).to_dict()
    pod = found["spec"]["template"]
    assert pod["spec"]["tolerations"]
    assert pod["metadata"]["labels"]["team"] == "vision"
    assert pod["metadata"]["annotations"] == {"example.com/team": "vision"}
    stage.model.config(APPLICATION, dict.fromkeys(options, ""))
    stage.model.update_status(APPLICATION)
    found = stage.kube.get(apps_v1.Deployment, "provisioner", namespace=APPLICATION).to_dict()
    pod = found["spec"]["template"]
    assert "tolerations" not in pod["spec"]
    assert "team" not in pod["metadata"]["labels"]
    assert "annotations" not in pod["metadata"]
    assert stage.status().name == "active", stage.status()


def test_its_user_may_make_volumes_and_little_else(dynamic: Stage) -> None:
    wide = f"{APPLICATION}-{dynamic.model.uuid[:8]}-provisioner"
    role = dynamic.kube.get(rbac_authorization_v1.ClusterRole, wide)
    allowed = {
        (resource, verb)
        for rule in role.rules or []
        for resource in rule.resources or []
        for verb in rule.verbs
    }
    reads = {"get", "list", "watch"}
    assert allowed == {
        *(("persistentvolumes", verb) for verb in {*reads, "create", "delete"}),
        *(("persistentvolumeclaims", verb) for verb in reads),
        *(("storageclasses", verb) for verb in reads),
        ("events", "create"),
        ("events", "patch"),
    }


def test_another_server_reaches_the_provisioner_which_does_not_hold_the_claim(
    dynamic: Stage,
) -> None:
    dynamic.model.config(APPLICATION, {"server": "address"})
    dynamic.model.update_status(APPLICATION)
    status = dynamic.status()
    assert status.name == "active", status
    ask_for(dynamic, "scratch")
    spec = volume_of(dynamic, "scratch").spec
    assert spec
    assert spec.nfs
    assert spec.nfs.server[0].isdecimal()


def test_turned_off_it_is_gone_and_its_volumes_go_on(dynamic: Stage) -> None:
    ask_for(dynamic, "scratch")
    name = volume_of(dynamic, "scratch").metadata
    assert name
    dynamic.model.config(APPLICATION, {"dynamic": False})
    assert dynamic.status().name == "active", dynamic.status()
    assert not exists(dynamic, apps_v1.Deployment, "provisioner", APPLICATION)
    assert not exists(dynamic, storage_v1.StorageClass, CLASS)
    wide = f"{APPLICATION}-{dynamic.model.uuid[:8]}-provisioner"
    assert not exists(dynamic, rbac_authorization_v1.ClusterRole, wide)
    assert not exists(dynamic, rbac_authorization_v1.ClusterRoleBinding, wide)
    written = test_isolation.run(dynamic, "default", "echo on > /data/x", claim="scratch")
    assert written == ("Succeeded", "")


def test_a_teardown_names_its_volumes_and_changes_nothing(dynamic: Stage) -> None:
    ask_for(dynamic, "scratch")
    name = volume_of(dynamic, "scratch").metadata
    assert name
    (made,) = dynamic.cloud.file_systems()
    refused = dynamic.run("teardown", confirm=made.id)
    assert refused.message.startswith("nothing was deleted: dynamic volumes are left: delete ")
    assert refused.message.endswith(f"volume {name.name} (claim default/scratch)")
    assert exists(dynamic, apps_v1.Deployment, "provisioner", APPLICATION)
    dynamic.kube.delete(core_v1.PersistentVolumeClaim, "scratch", namespace="default")
    until(lambda: not exists(dynamic, core_v1.PersistentVolume, name.name or ""), "it is gone")
    planned = str(dynamic.run("teardown", dry_run=True).results)
    assert f"would delete storage class {CLASS}" in planned
    assert "stays in the cluster" not in planned, planned
    done = dynamic.run("teardown", confirm=made.id)
    assert done.status == "completed", done.message
    assert "stays in the cluster" not in str(done.results), done.results
    assert not exists(dynamic, storage_v1.StorageClass, CLASS)
    assert not exists(dynamic, core_v1.Namespace, APPLICATION)


def test_a_class_of_the_name_that_is_somebody_elses_is_left_alone(stage: Stage) -> None:
    metadata = meta_v1.ObjectMeta(name=CLASS)
    theirs = storage_v1.StorageClass(provisioner="example.com/theirs", metadata=metadata)
    stage.kube.create(theirs)
    stage.settle(config={"dynamic": True})
    assert stage.status().message == (
        f"storage class {CLASS} exists and is not ours: juju config {APPLICATION} storage-class=…"
    )
    assert stage.kube.get(storage_v1.StorageClass, CLASS).provisioner == "example.com/theirs"


def test_a_provisioner_that_does_not_run_is_told_with_its_cause(stage: Stage) -> None:
    image = "registry.invalid/nfs-subdir-external-provisioner:v4"
    stage.settle(config={"dynamic": True, "dynamic-image": image})
    status = stage.status()
    assert status.name == "blocked", status
    assert (
        f"does not reach the image's registry: check its network, or juju config {APPLICATION} "
        "dynamic-image=…"
    ) in status.message
