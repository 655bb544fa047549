"""Users of the file system whose volumes the charm did not make: named before anything is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import lightkube
import pytest
import tenacity
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1, storage_v1

from cluster import ownership
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage

NAMESPACE = "research"


@pytest.fixture
def loaded(stage: Stage) -> Iterator[Stage]:
    """Return a stage on which data set flowers is published, with a namespace of a tenant."""
    with origin_server.Origin.start() as server:
        stage.settle()
        done = stage.run("create-dataset", name="flowers", source=server.put("rose.txt", b"red"))
        assert done.results.get("state") == "published", done
        stage.create_namespace(NAMESPACE)
        yield stage


def marks(stage: Stage) -> dict[str, str]:
    return {ownership.MODEL: stage.model.uuid, ownership.APPLICATION: APPLICATION}


def ours(stage: Stage) -> dict[str, str]:
    """Return the resource version of each object with our labels."""
    wide: tuple[Any, ...] = (core_v1.Namespace, core_v1.PersistentVolume, storage_v1.StorageClass)
    narrow: tuple[Any, ...] = (core_v1.PersistentVolumeClaim, core_v1.ConfigMap, batch_v1.Job)
    found = [each for kind in wide for each in stage.kube.list(kind, labels=marks(stage))]
    found += [
        each
        for kind in narrow
        for each in stage.kube.list(kind, namespace="*", labels=marks(stage))
    ]
    return {each.metadata.uid: each.metadata.resourceVersion for each in found}


def server_name(stage: Stage) -> str:
    (only,) = stage.cloud.file_systems()
    return f"{only.id}.efs.us-east-1.amazonaws.com"


@tenacity.retry(
    wait=tenacity.wait_fixed(0.1),
    stop=tenacity.stop_after_delay(10),
    retry=tenacity.retry_if_exception_type(lightkube.ApiError),
    reraise=True,
)
def start_pod(
    stage: Stage, volume: models.Volume, *, sub_path: str = "", name: str = "reader"
) -> None:
    """Start a pod of a tenant with this volume; it may wait for its mount for ever."""
    mount = models.VolumeMount(name="data", mountPath="/data", subPath=sub_path or None)
    container = models.Container(
        name="main",
        image="docker.io/library/busybox:1",
        command=["sleep", "600"],
        volumeMounts=[mount],
    )
    spec = models.PodSpec(
        automountServiceAccountToken=False,
        terminationGracePeriodSeconds=0,
        containers=[container],
        volumes=[volume],
    )
    metadata = meta_v1.ObjectMeta(name=name, namespace=NAMESPACE)
    stage.kube.create(core_v1.Pod(metadata=metadata, spec=spec))


def inline(server: str, path: str = "/") -> models.Volume:
    return models.Volume(name="data", nfs=models.NFSVolumeSource(server=server, path=path))


def claimed() -> models.Volume:
    source = models.PersistentVolumeClaimVolumeSource(claimName="data")
    return models.Volume(name="data", persistentVolumeClaim=source)


def make_volume(stage: Stage, **source: Any) -> None:
    """Make a static volume and a claim that is bound to it."""
    reference = models.ObjectReference(namespace=NAMESPACE, name="data")
    spec = models.PersistentVolumeSpec(
        accessModes=["ReadWriteMany"],
        capacity={"storage": "1Gi"},
        persistentVolumeReclaimPolicy="Retain",
        storageClassName="",
        claimRef=reference,
        **source,
    )
    volume = core_v1.PersistentVolume(metadata=meta_v1.ObjectMeta(name="theirs"), spec=spec)
    claim = core_v1.PersistentVolumeClaim(
        metadata=meta_v1.ObjectMeta(name="data", namespace=NAMESPACE),
        spec=models.PersistentVolumeClaimSpec(
            accessModes=["ReadWriteMany"],
            storageClassName="",
            volumeName="theirs",
            resources=models.VolumeResourceRequirements(requests={"storage": "1Gi"}),
        ),
    )
    stage.kube.create(volume)
    stage.kube.create(claim)


def await_running(stage: Stage) -> None:
    deadline = time.monotonic() + 30
    while True:
        status = stage.kube.get(core_v1.Pod, "reader", namespace=NAMESPACE).status
        if status and status.phase == "Running":
            return
        assert time.monotonic() < deadline, status
        time.sleep(0.1)


def static_nfs(stage: Stage, server: str) -> None:
    make_volume(stage, nfs=models.NFSVolumeSource(server=server, path="/"))
    start_pod(stage, claimed())


def by_name_in_the_pod(stage: Stage) -> None:
    start_pod(stage, inline(server_name(stage)))
    await_running(stage)


def by_address_in_the_pod(stage: Stage) -> None:
    start_pod(stage, inline(stage.cloud.mount_targets()[0].address))


def by_a_static_volume(stage: Stage) -> None:
    static_nfs(stage, server_name(stage))
    await_running(stage)


def by_a_static_volume_of_one_zone(stage: Stage) -> None:
    static_nfs(stage, f"us-east-1b.{server_name(stage)}")


def by_a_static_volume_with_an_address(stage: Stage) -> None:
    static_nfs(stage, stage.cloud.mount_targets()[0].address)


def by_the_efs_driver(stage: Stage) -> None:
    (only,) = stage.cloud.file_systems()
    source = models.CSIPersistentVolumeSource(
        driver="efs.csi.aws.com", volumeHandle=f"{only.id}::fsap-0123456789abcdef0"
    )
    make_volume(stage, csi=source)
    start_pod(stage, claimed())


IN_THE_POD = [by_name_in_the_pod, by_address_in_the_pod]
VOLUMES = [
    *(by_a_static_volume, by_a_static_volume_of_one_zone, by_a_static_volume_with_an_address),
    by_the_efs_driver,
]


@pytest.mark.parametrize("mounted", [*IN_THE_POD, *VOLUMES], ids=lambda each: each.__name__)
def test_users_whose_volumes_are_not_ours_are_named_before_anything_is_done(
    loaded: Stage, mounted: Any
) -> None:
    mounted(loaded)
    (only,) = loaded.cloud.file_systems()
    before = ours(loaded)
    loaded.cloud.reset_calls()
    refused = loaded.run("delete-dataset", name="flowers")
    assert refused.status == "failed"
    assert "in use by pod research/reader" in refused.message
    refused = loaded.run("teardown", confirm=only.id)
    assert refused.status == "failed"
    users = ["pod research/reader"]
    users += ["volume theirs (claim research/data)"] if mounted in VOLUMES else []
    assert refused.message == (
        f"nothing was deleted: others use the file system, too: delete {', '.join(users)}, "
        "or set force=true"
    )
    planned = loaded.run("teardown", dry_run=True).results["would-delete"].splitlines()
    assert planned[: len(users)] == [f"used by {each}" for each in users]
    assert (loaded.volume() / "datasets/flowers/rose.txt").read_bytes() == b"red"
    assert loaded.writes() == []
    assert ours(loaded) == before
    loaded.model.update_status()
    assert loaded.status().name == "active"


def test_forced_the_users_stay_without_their_data(loaded: Stage) -> None:
    by_a_static_volume(loaded)
    done = loaded.run("delete-dataset", name="flowers", force=True)
    assert done.results.get("state") == "deleted", done
    (only,) = loaded.cloud.file_systems()
    done = loaded.run("teardown", confirm=only.id, force=True)
    assert done.status == "completed", done
    assert done.results["deleted"].startswith("used by pod research/reader\n")
    assert loaded.cloud.file_systems() == ()
    pod = loaded.kube.get(core_v1.Pod, "reader", namespace=NAMESPACE)
    volume = loaded.kube.get(core_v1.PersistentVolume, "theirs")
    assert pod.metadata and volume.metadata
    assert not pod.metadata.deletionTimestamp
    assert not volume.metadata.deletionTimestamp


def test_only_what_reaches_the_data_set_prevents_its_deletion(loaded: Stage) -> None:
    server = server_name(loaded)
    for path, sub_path in (
        ("/datasets", ""),
        ("/datasets/flowers", ""),
        ("/", "datasets/flowers"),
    ):
        start_pod(loaded, inline(server, path), sub_path=sub_path)
        refused = loaded.run("delete-dataset", name="flowers")
        assert "in use by pod research/reader" in refused.message, (path, sub_path)
        loaded.kube.delete(core_v1.Pod, "reader", namespace=NAMESPACE, grace_period=0)
    start_pod(loaded, inline(server, "/datasets"), sub_path="trees")
    start_pod(loaded, inline(server), sub_path="home", name="another")
    assert loaded.run("delete-dataset", name="flowers").status == "completed"


def test_a_pod_with_our_labels_in_another_namespace_prevents_deletion_too(loaded: Stage) -> None:
    start_pod(loaded, inline(server_name(loaded)))
    body = {"metadata": {"labels": marks(loaded)}}
    loaded.kube.patch(core_v1.Pod, "reader", body, namespace=NAMESPACE)
    refused = loaded.run("delete-dataset", name="flowers")
    assert "in use by pod research/reader" in refused.message


def test_a_volume_without_a_pod_is_a_user_too(loaded: Stage) -> None:
    make_volume(loaded, nfs=models.NFSVolumeSource(server=server_name(loaded), path="/"))
    (only,) = loaded.cloud.file_systems()
    refused = loaded.run("teardown", confirm=only.id)
    assert "delete volume theirs (claim research/data), or set force=true" in refused.message
    loaded.kube.delete(core_v1.PersistentVolumeClaim, "data", namespace=NAMESPACE)
    loaded.kube.delete(core_v1.PersistentVolume, "theirs")
    assert loaded.run("teardown", confirm=only.id).status == "completed"


def test_users_of_other_servers_prevent_nothing(loaded: Stage) -> None:
    static_nfs(loaded, "nfs.example.internal")
    assert loaded.run("delete-dataset", name="flowers").status == "completed"
    (only,) = loaded.cloud.file_systems()
    assert loaded.run("teardown", confirm=only.id).status == "completed"
