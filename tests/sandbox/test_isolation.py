"""Namespaces that are isolated from each other: each claim shows the namespace's own directory."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator

import lightkube
import pytest
import tenacity
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import core_v1

from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage

VIEW = f"{APPLICATION}-datasets"
NAMESPACES = "default research"


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def isolated(stage: Stage) -> Stage:
    stage.create_namespace("research")
    stage.settle(config={"isolation": "namespace", "namespaces": NAMESPACES})
    status = stage.status()
    assert status.name == "active", status
    return stage


@tenacity.retry(
    wait=tenacity.wait_fixed(0.1),
    stop=tenacity.stop_after_delay(10),
    # A new namespace does not have a service account at once.
    retry=tenacity.retry_if_exception_type(lightkube.ApiError),
    reraise=True,
)
def start(
    stage: Stage, namespace: str, script: str, *, claim: str = APPLICATION, sub_path: str = ""
) -> None:
    """Start a pod of uid 1000 that mounts a claim at /data and runs a script."""
    container = models.Container(
        name="main",
        image="docker.io/library/busybox:1",
        command=["sh", "-c", script],
        volumeMounts=[
            models.VolumeMount(name="data", mountPath="/data", subPath=sub_path or None)
        ],
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    source = models.PersistentVolumeClaimVolumeSource(claimName=claim)
    spec = models.PodSpec(
        automountServiceAccountToken=False,
        restartPolicy="Never",
        terminationGracePeriodSeconds=0,
        containers=[container],
        securityContext=models.PodSecurityContext(runAsUser=1000, runAsGroup=1000),
        volumes=[models.Volume(name="data", persistentVolumeClaim=source)],
    )
    metadata = meta_v1.ObjectMeta(name="user", namespace=namespace)
    stage.kube.create(core_v1.Pod(metadata=metadata, spec=spec))


def run(
    stage: Stage, namespace: str, script: str, *, claim: str = APPLICATION, sub_path: str = ""
) -> tuple[str, str]:
    """Run such a pod, delete it, and return its phase and its log."""
    start(stage, namespace, script, claim=claim, sub_path=sub_path)
    for _ in range(200):
        pod = stage.kube.get(core_v1.Pod, "user", namespace=namespace)
        phase = (pod.status and pod.status.phase) or ""
        if phase in {"Succeeded", "Failed"}:
            log = "".join(stage.kube.log("user", namespace=namespace))
            delete(stage, namespace)
            return phase, log
        time.sleep(0.1)
    raise AssertionError("the pod does not end")


def delete(stage: Stage, namespace: str) -> None:
    stage.kube.delete(core_v1.Pod, "user", namespace=namespace, grace_period=0)
    for _ in range(100):
        try:
            stage.kube.get(core_v1.Pod, "user", namespace=namespace)
        except lightkube.ApiError:
            return
        time.sleep(0.1)
    raise AssertionError("the pod is not gone")


def test_a_namespace_writes_in_its_own_directory_and_sees_no_other(isolated: Stage) -> None:
    assert run(isolated, "default", "echo mine > /data/secret") == ("Succeeded", "")
    phase, log = run(isolated, "research", "ls -A /data /data/..; cat /data/secret")
    assert phase == "Failed"
    assert "mine" not in log
    assert "default" not in log
    root = isolated.volume()
    assert (root / "namespaces" / "default" / "secret").read_text() == "mine\n"


def test_the_directories_belong_to_root_and_have_the_modes_of_the_root(isolated: Stage) -> None:
    root = isolated.volume()
    modes = {
        path: stat.S_IMODE((root / path).stat().st_mode)
        for path in ("namespaces", "namespaces/default", "namespaces/research")
    }
    assert modes == {
        "namespaces": 0o755,
        "namespaces/default": 0o1777,
        "namespaces/research": 0o1777,
    }


def test_the_second_claim_shows_the_data_sets_and_nothing_can_be_written_in_it(
    isolated: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", b"red")
    done = isolated.run("create-dataset", name="flowers", source=source)
    assert done.results.get("state") == "published", done
    phase, log = run(isolated, "research", "cat /data/flowers/rose.txt", claim=VIEW)
    assert (phase, log) == ("Succeeded", "red\n")
    phase, log = run(isolated, "research", "touch /data/mine; ls -A /data", claim=VIEW)
    assert "Read-only file system" in log
    assert "mine" not in log.splitlines()
    claim = isolated.claim("research", VIEW)
    assert claim.spec and claim.spec.accessModes == ["ReadOnlyMany"]
    volume = isolated.kube.get(core_v1.PersistentVolume, claim.spec.volumeName or "")
    assert volume.spec and volume.spec.nfs
    assert (volume.spec.nfs.path, volume.spec.nfs.readOnly) == ("/datasets", True)


def test_the_answer_of_show_dataset_mounts_it_through_the_second_claim(
    isolated: Stage, server: origin_server.Origin
) -> None:
    isolated.run("create-dataset", name="flowers", source=server.put("rose.txt", b"red"))
    mount = isolated.run("show-dataset", name="flowers").results["mount"]
    assert f"claimName: {VIEW}\n" in mount
    assert "subPath: flowers\n" in mount
    done = run(isolated, "default", "cat /data/rose.txt", claim=VIEW, sub_path="flowers")
    assert done == ("Succeeded", "red\n")


def test_no_volume_is_there_before_its_directory(stage: Stage) -> None:
    # No node can mount, so no probe makes the directories.
    stage.settle(config={"isolation": "namespace"}, workers={})
    volumes = [v.metadata.name for v in stage.kube.list(core_v1.PersistentVolume) if v.metadata]
    assert [name for name in volumes if name and name.endswith("-aws-efs")] == volumes


def test_a_change_waits_for_the_pods_and_moves_no_data(stage: Stage) -> None:
    stage.settle()
    run(stage, "default", "echo shared > /data/old")
    stage.hold_claim()
    stage.model.config(APPLICATION, {"isolation": "namespace"})
    status = stage.status()
    assert status.name == "waiting", status
    assert "delete pod reader" in status.message
    assert path_of(stage) == "/"

    stage.kube.delete(core_v1.Pod, "reader", namespace="default", grace_period=0)
    stage.model.update_status(APPLICATION)
    assert stage.status().name == "active", stage.status()
    assert path_of(stage) == "/namespaces/default"
    assert run(stage, "default", "ls -A /data") == ("Succeeded", "")
    assert (stage.volume() / "old").read_text() == "shared\n"

    run(stage, "default", "echo own > /data/new")
    stage.model.config(APPLICATION, {"isolation": "shared"})
    assert stage.status().name == "active", stage.status()
    assert run(stage, "default", "cat /data/old /data/namespaces/default/new") == (
        "Succeeded",
        "shared\nown\n",
    )
    names = [each.metadata.name for each in claims(stage) if each.metadata]
    assert names == [APPLICATION]


def claims(stage: Stage) -> list[core_v1.PersistentVolumeClaim]:
    return list(stage.kube.list(core_v1.PersistentVolumeClaim, namespace="default"))


def path_of(stage: Stage) -> str:
    """Return the directory that the claim in the namespace default shows."""
    claim = stage.claim("default")
    volume = stage.kube.get(core_v1.PersistentVolume, (claim.spec and claim.spec.volumeName) or "")
    assert volume.spec and volume.spec.nfs
    return volume.spec.nfs.path


def test_a_directory_that_somebody_else_made_is_not_used(stage: Stage) -> None:
    stage.settle()
    run(stage, "default", "mkdir -m 777 /data/namespaces")
    stage.model.config(APPLICATION, {"isolation": "namespace"})
    status = stage.status()
    assert status.name == "blocked", status
    assert "/namespaces is not ours" in status.message
    assert path_of(stage) == "/"


def test_teardown_removes_both_claims_of_each_namespace(isolated: Stage) -> None:
    (only,) = isolated.cloud.file_systems()
    done = isolated.run("teardown", confirm=only.id)
    assert done.status == "completed", done
    for kind in (core_v1.PersistentVolumeClaim, core_v1.PersistentVolume):
        assert not list(isolated.kube.list(kind, namespace="*" if "Claim" in str(kind) else None))
    assert not isolated.cloud.file_systems()
