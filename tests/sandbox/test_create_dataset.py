from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1

from cluster.jobs import job_inputs
from datasets import loader_program
from sandbox.juju import hook_process
from sandbox.servers import origin_server
from sandbox.stage import Stage


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


FLOWERS = archive({"rose.txt": b"red", "deep/tulip.txt": b"yellow"})
CLIMBING = archive({"../../passwd": b"root"})
OTHERS = f"sha256:{hashlib.sha256(b'other').hexdigest()}"


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


def visible(stage: Stage) -> list[str]:
    datasets = stage.volume() / "datasets"
    return sorted(path.name for path in datasets.glob("[!.]*")) if datasets.exists() else []


def jobs(stage: Stage) -> list[batch_v1.Job]:
    found = stage.kube.list(batch_v1.Job, namespace="aws-efs", labels={"aws-efs/kind": "dataset"})
    return list(found)


def test_what_cannot_be_loaded_fails_with_the_loaders_sentence_and_publishes_nothing(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    sources: dict[str, tuple[str, str, str]] = {
        "absent": (f"{server.url}/x.tar.gz", "", "nothing is there; check the source"),
        "page": (server.put("p.tar.gz", b"<!DOCTYPE html><html>no</html>"), "", "is a web page"),
        "cut": (server.put("cut.tar.gz", FLOWERS[:-30]), "", "truncated"),
        "other": (server.put("o.tar.gz", FLOWERS), OTHERS, "checksum"),
        "climbs": (server.put("c.tar.gz", CLIMBING), "", "leads out of it"),
    }
    for name, (source, checksum, _) in sources.items():
        stage.run("create-dataset", name=name, source=source, checksum=checksum, wait=0)
    for name, (source, checksum, message) in sources.items():
        done = stage.run("create-dataset", name=name, source=source, checksum=checksum)
        assert done.status == "failed", (name, done)
        assert done.message.startswith(f"data set {name}: "), done
        assert message in done.message
        assert "Backoff" not in done.message
    assert visible(stage) == []
    assert stage.status().name == "active"


def test_a_source_that_always_fails_is_reported_within_the_actions_default_wait(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    broken = server.put("x", b"", faults=origin_server.Faults(status=500))
    stage.run("create-dataset", name="nowhere", source="https://nowhere.invalid/x", wait=0)
    answers = stage.run("create-dataset", name="broken", source=broken)
    assert answers.status == "failed", answers
    assert "answers 500" in answers.message
    assert "even after 25 seconds: check the source" in answers.message
    named = stage.run("create-dataset", name="nowhere", source="https://nowhere.invalid/x")
    assert named.status == "failed", named
    assert "nowhere.invalid" in named.message
    assert "does not resolve" in named.message
    assert visible(stage) == []


def test_a_load_that_takes_longer_than_wait_returns_its_progress_and_later_its_result(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    slow = server.put("f.tar.gz", FLOWERS, faults=origin_server.Faults(delay_seconds=4))
    first = stage.run("create-dataset", name="flowers", source=slow, wait=2)
    assert first.status == "completed", first
    assert first.results["state"] in {"queued", "preparing", "transferring"}
    assert "run create-dataset again" in first.results["next"]
    assert "kubectl -n aws-efs logs -f --all-containers job/" in first.results["next"]
    assert visible(stage) == []
    second = stage.run("create-dataset", name="flowers", source=slow, wait=60)
    assert second.results["state"] == "published"
    assert visible(stage) == ["flowers"]
    assert len(jobs(stage)) == 1


def test_other_parameters_are_refused_until_overwrite_and_then_replace_it(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    old, new = server.put("old.csv", b"old"), server.put("new.csv", b"new!")
    assert stage.run("create-dataset", name="table", source=old).results["state"] == "published"
    refused = stage.run("create-dataset", name="table", source=new)
    assert refused.status == "failed"
    assert "exists with other parameters" in refused.message
    assert old in refused.message
    assert (stage.volume() / "datasets/table/old.csv").read_bytes() == b"old"
    done = stage.run("create-dataset", name="table", source=new, overwrite=True)
    assert done.results["state"] == "published", done
    published = stage.volume() / "datasets/table"
    assert {path.name: path.read_bytes() for path in published.iterdir()} == {"new.csv": b"new!"}
    again = stage.run("create-dataset", name="table", source=new)
    assert again.results == done.results


def test_a_failed_one_is_tried_again_by_the_same_command(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    late = f"{server.url}/late.csv"
    assert stage.run("create-dataset", name="late", source=late).status == "failed"
    server.put("late.csv", b"here now")
    done = stage.run("create-dataset", name="late", source=late)
    assert done.results["state"] == "published", done
    assert (stage.volume() / "datasets/late/late.csv").read_bytes() == b"here now"


def test_a_plain_file_and_an_archive_that_is_not_to_be_unpacked_stay_as_they_are(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    packed = server.put("f.tar.gz", FLOWERS)
    plain = server.put("iris.csv", b"5.1,3.5")
    stage.run("create-dataset", name="packed", source=packed, unpack=False, wait=0)
    for name, source, unpack in (("plain", plain, True), ("packed", packed, False)):
        done = stage.run("create-dataset", name=name, source=source, unpack=unpack)
        assert done.results["state"] == "published", done
        assert done.results["files"] == "1"
    assert (stage.volume() / "datasets/packed/f.tar.gz").read_bytes() == FLOWERS
    assert (stage.volume() / "datasets/plain/iris.csv").read_bytes() == b"5.1,3.5"


def test_a_pod_that_is_not_root_reads_it_from_the_claim(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    stage.run("create-dataset", name="flowers", source=server.put("f.tar.gz", FLOWERS))
    container = models.Container(
        name="main",
        image="docker.io/library/busybox:1",
        command=["cat", "/data/datasets/flowers/deep/tulip.txt"],
        volumeMounts=[models.VolumeMount(name="data", mountPath="/data")],
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    source = models.PersistentVolumeClaimVolumeSource(claimName="aws-efs", readOnly=True)
    spec = models.PodSpec(
        automountServiceAccountToken=False,
        restartPolicy="Never",
        containers=[container],
        securityContext=models.PodSecurityContext(runAsUser=1000, runAsGroup=1000),
        volumes=[models.Volume(name="data", persistentVolumeClaim=source)],
    )
    metadata = meta_v1.ObjectMeta(name="reader", namespace="default")
    stage.kube.create(core_v1.Pod(metadata=metadata, spec=spec))
    pod = ended(stage, "reader")
    assert pod.status and pod.status.phase == "Succeeded", pod.status
    assert list(stage.kube.log("reader", namespace="default")) == ["yellow\n"]


def ended(stage: Stage, name: str) -> core_v1.Pod:
    for _ in range(200):
        pod = stage.kube.get(core_v1.Pod, name, namespace="default")
        if pod.status and pod.status.phase in {"Succeeded", "Failed"}:
            return pod
        time.sleep(0.1)
    raise AssertionError(f"{name} does not end")


def test_a_loader_image_that_is_not_there_fails_it_with_the_reason_and_the_remedy(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    stage.model.config("aws-efs", {"loader-image": "docker.io/missing/missing:1"})
    source = server.put("iris.csv", b"5.1,3.5")
    stuck = stage.run("create-dataset", name="iris", source=source, wait=4)
    assert stuck.status == "failed", stuck
    assert "iris is stuck: there is no such image: juju config aws-efs loader-im" in stuck.message
    assert "(docker.io/missing/missing:1: not found)" in stuck.message
    assert "juju config aws-efs loader-image=" in stuck.message
    assert visible(stage) == []
    stage.model.reset("aws-efs", "loader-image")
    assert stage.run("create-dataset", name="iris", source=source).status == "completed"


def test_a_custom_loaders_image_that_is_not_there_is_told(stage: Stage) -> None:
    stage.settle()
    missing = {"image": "docker.io/missing/missing:1", "command": "true"}
    stuck = stage.run("create-dataset", name="own", wait=10, **missing)
    assert stuck.status == "failed", stuck
    assert "own is stuck: there is no such image" in stuck.message
    assert "(docker.io/missing/missing:1: not found)" in stuck.message
    shown = stage.run("show-dataset", name="own")
    assert "there is no such image" in shown.results["last-error"], shown
    assert visible(stage) == []


def test_a_create_that_was_interrupted_continues_with_the_same_command(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    source = server.put("iris.csv", b"5.1,3.5")
    stage.model.kill_next_hook(after="apply")
    assert stage.run("create-dataset", name="iris", source=source).status == "failed"
    done = stage.run("create-dataset", name="iris", source=source)
    assert done.status == "completed", done
    assert done.results["state"] == "published"


@pytest.mark.parametrize("queued", [False, True])
def test_a_create_that_was_interrupted_and_met_another_release_continues_with_that(
    stage: Stage, server: origin_server.Origin, monkeypatch: pytest.MonkeyPatch, *, queued: bool
) -> None:
    stage.settle()
    source = server.put("iris.csv", b"5.1,3.5")

    def killed(*_arguments: Any) -> None:
        raise hook_process.Killed

    def admit() -> None:
        resumed = {"spec": {"suspend": False}}
        stage.kube.patch(batch_v1.Job, "dataset-iris", resumed, namespace="aws-efs")

    if queued:
        stage.model.config("aws-efs", {"job-labels": "kueue.x-k8s.io/queue-name=team-a"})
    with monkeypatch.context() as patch:
        patch.setattr(job_inputs, "share_files", killed)
        assert stage.run("create-dataset", name="iris", source=source).status == "failed"
    if queued:
        admit()
    monkeypatch.setattr(loader_program, "MAIN", f"{loader_program.MAIN}# of another release\n")
    loader_program.zipapp.cache_clear()
    try:
        if queued:
            held = stage.run("create-dataset", name="iris", source=source, wait=1)
            assert "the Job waits in queue team-a" in held.message
            admit()
        done = stage.run("create-dataset", name="iris", source=source)
    finally:
        loader_program.zipapp.cache_clear()
    assert done.status == "completed", done
    assert done.results["state"] == "published"


def test_a_load_without_its_program_says_so_and_the_same_command_starts_it_again(
    stage: Stage, server: origin_server.Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.settle()
    source = server.put("iris.csv", b"5.1,3.5")
    # An earlier release resumed such a Job without its files.
    with monkeypatch.context() as patch:
        patch.setattr(job_inputs, "share_files", lambda *_: None)
        stuck = stage.run("create-dataset", name="iris", source=source)
    assert stuck.status == "failed", stuck
    assert "run the action again" in stuck.message
    assert stage.run("create-dataset", name="iris", source=source).status == "completed"


def test_without_a_cluster_it_says_what_to_relate(stage: Stage) -> None:
    stage.deploy()
    refused = stage.run("create-dataset", name="iris", source="https://example.org/iris.csv")
    assert refused.status == "failed"
    assert refused.message == "juju relate aws-efs:kube-control kubernetes-control-plane"


def test_after_teardown_it_says_that_there_is_no_file_system(stage: Stage) -> None:
    stage.settle()
    stage.run("teardown", confirm=stage.cloud.file_systems()[0].id)
    refused = stage.run("create-dataset", name="iris", source="https://example.org/iris.csv")
    assert refused.status == "failed"
    assert "there is no file system" in refused.message
    assert stage.cloud.file_systems() == ()


def test_the_refusal_of_a_teardown_names_the_data_sets(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    stage.run("create-dataset", name="iris", source=server.put("iris.csv", b"5.1,3.5"))
    refused = stage.run("teardown")
    assert refused.status == "failed"
    assert "data sets iris)" in refused.message
    assert visible(stage) == ["iris"]
