"""The directories of data sets on the volume: made before others can make them, or reported."""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
from collections.abc import Iterator

import pytest
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import core_v1

import polling
from sandbox.juju import kubernetes_bundle
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
DIRECTORIES = ("datasets", "datasets/.versions")


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def created(stage: Stage) -> pathlib.Path:
    """Create the file system, without a cluster to probe it from; return its root."""
    kubernetes_bundle.deploy(stage.model)
    stage.deploy()
    return stage.volume()


def ask_for(stage: Stage, sub_path: str, name: str = "early") -> None:
    """Run a pod that mounts a part of the volume."""
    source = models.PersistentVolumeClaimVolumeSource(claimName=APPLICATION)
    mount = models.VolumeMount(name="data", mountPath="/data", subPath=sub_path)
    container = models.Container(
        name="main", image="busybox:1", command=["sleep", "600"], volumeMounts=[mount]
    )
    spec = models.PodSpec(
        automountServiceAccountToken=False,
        containers=[container],
        volumes=[models.Volume(name="data", persistentVolumeClaim=source)],
    )
    metadata = meta_v1.ObjectMeta(name=name, namespace="default")
    stage.kube.create(core_v1.Pod(metadata=metadata, spec=spec))

    def phase() -> str | None:
        status = stage.kube.get(core_v1.Pod, name, namespace="default").status
        return status and status.phase

    assert polling.poll(phase, lambda seen: seen == "Running", 20) == "Running"


def test_the_directories_of_data_sets_exist_before_others_may_write(stage: Stage) -> None:
    root = created(stage)
    assert mode(root) == 0o755
    stage.relate()
    assert stage.status().name == "active"
    assert mode(root) == 0o1777
    for name in DIRECTORIES:
        assert mode(root / name) == 0o755
        assert (root / name).stat().st_uid == os.getuid()


@needs_root
@pytest.mark.parametrize("name", [*DIRECTORIES, ".aws-efs", ".aws-efs/probe"])
def test_a_directory_that_is_somebody_else_s_blocks_until_it_is_gone(
    stage: Stage, name: str
) -> None:
    root = created(stage)
    (root / name).mkdir(parents=True)
    (root / name / "theirs").write_bytes(b"1")
    os.chown(root / name, 1000, 1000)

    stage.relate()

    assert stage.status().name == "blocked"
    assert f"/{name} is not ours: remove it from the volume (uid 1000" in stage.status().message
    assert mode(root) == 0o755, "the root is not opened"
    assert (root / name / "theirs").read_bytes() == b"1"
    shutil.rmtree(root / name)
    stage.model.update_status()
    assert stage.status().name == "active"
    assert mode(root) == 0o1777


def test_empty_directories_that_the_kubelet_has_made_are_taken_over_by_the_probe(
    stage: Stage,
) -> None:
    root = created(stage)
    for path in (root / "datasets", root / "datasets/flowers"):
        path.mkdir()
        path.chmod(0o1777)
    stage.relate()
    assert stage.status().name == "active"
    assert [mode(root / name) for name in DIRECTORIES] == [0o755, 0o755]


@pytest.mark.parametrize("existing", [True, False])
def test_a_pod_that_asks_for_a_data_set_too_early_does_not_keep_it_from_being_made(
    stage: Stage, server: origin_server.Origin, existing: bool
) -> None:
    stage.settle()
    datasets = stage.volume() / "datasets"
    if not existing:
        shutil.rmtree(datasets)
    ask_for(stage, "datasets/flowers")
    assert mode(datasets / "flowers") == 0o1777
    assert mode(datasets) == (0o755 if existing else 0o1777)

    source = server.put("rose.txt", b"red")
    done = stage.run("create-dataset", name="flowers", source=source)

    assert done.results["state"] == "published", done
    assert (datasets / "flowers/rose.txt").read_bytes() == b"red"
    assert (datasets / "flowers").is_symlink()
    assert [mode(stage.volume() / name) for name in DIRECTORIES] == [0o755, 0o755]
    ask_for(stage, "datasets/flowers", "late")


def test_what_an_early_pod_has_written_is_kept_and_named(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    ask_for(stage, "datasets/flowers")
    kept = stage.volume() / "datasets/flowers/result"
    kept.write_bytes(b"1")
    done = stage.run("create-dataset", name="flowers", source=server.put("r", b"red"))
    assert done.status == "failed"
    assert "/datasets/flowers is on the volume already" in done.message
    assert kept.read_bytes() == b"1"


@needs_root
def test_data_sets_that_somebody_else_has_forged_are_not_reported(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    datasets = stage.volume() / "datasets"
    shutil.rmtree(datasets)
    (datasets / ".versions/flowers/v").mkdir(parents=True)
    (datasets / "flowers").symlink_to(".versions/flowers/v")
    for path in (datasets, *datasets.rglob("*")):
        os.chown(path, 1000, 1000, follow_symlinks=False)
    source = server.put("rose.txt", b"red")
    for done in (
        stage.run("create-dataset", name="flowers", source=source),
        stage.run("list-datasets", refresh=True),
        stage.run("verify-dataset", name="flowers"),
        stage.run("delete-dataset", name="flowers", force=True),
    ):
        assert done.status == "failed", done
        assert "/datasets on the volume is not the charm's alone (uid 1000" in done.message
    assert server.requests == []
    assert (datasets / ".versions/flowers/v").is_dir()
