"""List, show, verify and delete, also after a new leader and without the Jobs."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1
from lightkube.types import CascadeType

from cluster.jobs import job_inputs
from sandbox.juju import hook_process
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage
from tests.sandbox.waiting import until

ROSE, TULIP = b"red", b"yellow"
# Large enough that a held answer leaves a part of it.
LARGE = bytes(range(256)) * 2**14
# An action may observe any of these states.
IN_PROGRESS = {"queued", "preparing", "transferring"}


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def settled(stage: Stage) -> Stage:
    stage.settle(units=2)
    return stage


def create(stage: Stage, name: str, *sources: str, **params: Any) -> Any:
    return stage.run("create-dataset", name=name, source=" ".join(sources), **params)


def published(stage: Stage, name: str, *sources: str, **params: Any) -> dict[str, str]:
    done = create(stage, name, *sources, **params)
    assert done.status == "completed", done
    assert done.results["state"] == "published", done
    return done.results


def begin_large(stage: Stage, server: origin_server.Origin) -> str:
    """Begin to load `large`, whose origin holds its second half; return its source."""
    half = origin_server.Faults(hold_after=len(LARGE) // 2, ranges=False)
    source = server.put("large.bin", LARGE, faults=half)
    create(stage, "large", source, wait=0)
    until(lambda: "%" in shown(stage, "large").get("progress", ""))
    return source


def listed(stage: Stage, **params: Any) -> list[list[str]]:
    done = stage.run("list-datasets", **params)
    assert done.status == "completed", done
    return [re.split(r"  +", line) for line in done.results["datasets"].splitlines()[1:]]


def shown(stage: Stage, name: str) -> dict[str, str]:
    done = stage.run("show-dataset", name=name)
    assert done.status == "completed", done
    return done.results


def index(stage: Stage) -> dict[str, dict[str, Any]]:
    found = stage.kube.list(
        core_v1.ConfigMap, namespace=APPLICATION, labels={"aws-efs/kind": "dataset"}
    )
    records = {(each.metadata and each.metadata.name) or "": each.data or {} for each in found}
    return {name: json.loads(data["record"]) for name, data in records.items()}


def named(stage: Stage, kind: Any) -> set[str]:
    return {
        (each.metadata and each.metadata.name) or ""
        for each in stage.kube.list(kind, namespace=APPLICATION)
    }


def delete_job(stage: Stage, name: str) -> None:
    stage.kube.delete(batch_v1.Job, name, namespace=APPLICATION, cascade=CascadeType.FOREGROUND)
    until(lambda: name not in named(stage, batch_v1.Job))


def delete_index(stage: Stage, name: str) -> None:
    stage.kube.delete(core_v1.ConfigMap, f"dataset-{name}", namespace=APPLICATION)


def read_by(
    stage: Stage,
    name: str,
    *,
    sub_path: str,
    claim: str = APPLICATION,
    command: str = "sleep 600",
    phase: str = "Running",
    restart_policy: str = "Never",
) -> None:
    mount = models.VolumeMount(
        name="data", mountPath="/data", subPath=sub_path or None, readOnly=True
    )
    container = models.Container(
        name="main",
        image="docker.io/library/busybox:1",
        command=command.split(maxsplit=2),
        terminationMessagePolicy="FallbackToLogsOnError",
        volumeMounts=[mount],
    )
    source = models.PersistentVolumeClaimVolumeSource(claimName=claim)
    spec = models.PodSpec(
        automountServiceAccountToken=False,
        restartPolicy=restart_policy,
        containers=[container],
        volumes=[models.Volume(name="data", persistentVolumeClaim=source)],
    )
    metadata = meta_v1.ObjectMeta(name=name, namespace="default")
    stage.kube.create(core_v1.Pod(metadata=metadata, spec=spec))

    def is_there() -> bool:
        status = stage.kube.get(core_v1.Pod, name, namespace="default").status
        return bool(status and status.phase == phase)

    until(is_there)


def entries(stage: Stage) -> list[str]:
    """Return all paths in the data sets' directory, hidden ones too, except the lock."""
    found = (stage.volume() / "datasets").rglob("*")
    paths = (str(path.relative_to(stage.volume() / "datasets")) for path in found)
    return sorted(path for path in paths if path not in {".versions", ".versions/.lock"})


# --- list and show


def test_without_data_sets_the_list_says_how_to_make_one(settled: Stage) -> None:
    done = settled.run("list-datasets")
    assert done.results == {
        "datasets": "none: run create-dataset to load one",
        "count": "0",
    }
    for action in ("show-dataset", "verify-dataset", "delete-dataset"):
        refused = settled.run(action, name="flowers")
        assert refused.status == "failed", (action, refused)
        assert "there is no data set flowers" in refused.message, (action, refused)
    assert index(settled) == {}


def test_the_list_has_each_data_set_and_failed_ones_too(
    settled: Stage, server: origin_server.Origin
) -> None:
    rose = server.put("rose.txt", ROSE)
    published(settled, "flowers", rose, server.put("tulip.txt", TULIP))
    assert create(settled, "absent", f"{server.url}/x").status == "failed"
    absent, flowers = listed(settled)
    assert absent[:4] == ["absent", "failed", "-", "-"]
    assert flowers[:4] == ["flowers", "published", "9 bytes", "2"]
    assert flowers[4].endswith(" s")
    assert flowers[5] == f"{rose} {server.url}/tulip.txt"


def test_what_is_shown_has_a_mount_that_works(
    settled: Stage, server: origin_server.Origin
) -> None:
    published(settled, "flowers", server.put("rose.txt", ROSE))
    results = shown(settled, "flowers")
    assert results["state"] == "published"
    assert (results["files"], results["bytes"], results["size"]) == ("1", "3", "3 bytes")
    assert results["path"] == "/datasets/flowers"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", results["published"])
    assert "last-error" not in results
    assert results["storage-uri"] == f"pvc://aws-efs{results['path']}"
    mount = yaml.safe_load(results["mount"])
    claim = mount["volumes"][0]["persistentVolumeClaim"]["claimName"]
    read_by(
        settled,
        "reader",
        sub_path=mount["containers"][0]["volumeMounts"][0]["subPath"],
        claim=claim,
    )


# --- during a load


def test_a_running_load_shows_its_progress_in_numbers(
    settled: Stage, server: origin_server.Origin
) -> None:
    # A smaller file is written once all of it has arrived, and nothing counts before.
    content = LARGE * 4
    half = origin_server.Faults(hold_after=len(content) // 2, ranges=False)
    source = server.put("large.bin", content, faults=half)
    first = create(settled, "large", source, wait=0)
    assert first.results["state"] in IN_PROGRESS, first
    progress = re.compile(r"transferring: \[#+-+\] [1-9]\d* % \(\d+\.\d of 16\.8 MB\), 0 files")

    def transferring() -> dict[str, str]:
        results = shown(settled, "large")
        return results if progress.match(results.get("progress", "")) else {}

    results = until(transferring)
    assert results["state"] == "transferring"
    assert re.match(r"0: transferring: \[#+-+\] \d+ % .* \(on ip-", results["pods"]), results
    again = create(settled, "large", source, wait=0)
    assert again.results["state"] == "transferring"
    assert int(again.results["percent"]) in range(1, 100)
    assert progress.match(again.results["progress"])
    assert "run create-dataset again" in again.results["next"]
    ((name, state, *_),) = listed(settled)
    assert name == "large"
    assert re.fullmatch(r"transferring \[#+-+\] \d+ %", state)
    server.release()
    assert published(settled, "large", source)["bytes"] == str(len(content))


def test_several_pods_share_the_work_and_one_of_them_publishes(
    settled: Stage, server: origin_server.Origin
) -> None:
    sources = [server.put(f"{number}.txt", b"x" * number) for number in range(1, 9)]
    done = published(settled, "many", *sources, parallelism=3, wait=120)
    assert (done["files"], done["bytes"]) == ("8", "36")
    job = settled.kube.get(batch_v1.Job, "dataset-many", namespace=APPLICATION)
    assert job.spec and job.spec.template.spec
    assert (job.spec.completionMode, job.spec.completions, job.spec.parallelism) == (
        "Indexed",
        3,
        3,
    )
    pod = job.spec.template.spec
    spread = [each.topologyKey for each in pod.topologySpreadConstraints or ()]
    assert spread == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    (resources,) = (each.resources for each in pod.containers)
    assert resources
    assert resources.requests == {"cpu": "100m", "memory": "256Mi"}
    assert resources.limits == {"memory": "1Gi"}
    until(lambda: (seen := job_status(settled, "dataset-many")) and seen.succeeded == 3)
    states = [json.loads(text)["state"] for text in last_words(settled, "dataset-many")]
    assert states.count("published") >= 1
    assert set(states) <= {"published", "done"}, last_words(settled, "dataset-many")
    assert shown(settled, "many")["parallelism"] == "3"


def job_status(stage: Stage, name: str) -> Any:
    return stage.kube.get(batch_v1.Job, name, namespace=APPLICATION).status


def last_words(stage: Stage, job: str) -> list[str]:
    labels = {"batch.kubernetes.io/job-name": job}
    found: list[str] = []
    for pod in stage.kube.list(core_v1.Pod, namespace=APPLICATION, labels=labels):
        assert pod.status and pod.status.containerStatuses
        ended = pod.status.containerStatuses[0].state
        assert ended and ended.terminated
        found.append(ended.terminated.message or "")
    return found


def test_a_missing_source_fails_its_load_at_once_and_is_reported(
    settled: Stage, server: origin_server.Origin
) -> None:
    sources = [server.put("rose.txt", ROSE), f"{server.url}/none.txt"]
    began = time.monotonic()
    failed = create(settled, "many", *sources, parallelism=2, wait=120)
    assert failed.status == "failed"
    assert "nothing is there" in failed.message
    status = job_status(settled, "dataset-many")
    assert status.failedIndexes
    # No retry: a retry takes at least ten seconds.
    assert time.monotonic() - began < 60
    results = shown(settled, "many")
    assert results["state"] == "failed"
    assert "failed: " in results["pods"]
    assert settled.run("delete-dataset", name="many").status == "completed"
    assert entries(settled) == []


def test_a_pod_that_the_cluster_evicts_does_not_count_as_a_failure(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = begin_large(settled, server)
    (pod,) = (name for name in named(settled, core_v1.Pod) if name.startswith("dataset-large"))
    metadata = meta_v1.ObjectMeta(name=pod, namespace=APPLICATION)
    settled.kube.create(core_v1.PodEviction(metadata=metadata), pod, namespace=APPLICATION)
    until(lambda: pod not in named(settled, core_v1.Pod))
    server.release()
    assert published(settled, "large", source, wait=120)["bytes"] == str(len(LARGE))
    assert not job_status(settled, "dataset-large").failed


def test_a_load_goes_on_elsewhere_when_its_node_is_lost_while_its_container_runs_on(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = begin_large(settled, server)
    # It keeps in the index what it sees.
    assert create(settled, "large", source, wait=0).results["state"] == "transferring"
    (name,) = (each for each in named(settled, core_v1.Pod) if each.startswith("dataset-large"))
    pod = settled.kube.get(core_v1.Pod, name, namespace=APPLICATION)
    assert pod.spec and pod.spec.nodeName
    node = pod.spec.nodeName
    settled.nodes.stop_kubelet(node)
    results = shown(settled, "large")
    assert results["state"] == "transferring"
    assert "the log of pod 0 cannot be read now: is its node up?" in results["progress"]
    settled.kube.delete(core_v1.Node, node)
    settled.nodes.collect_orphans(node)
    until(lambda: name not in named(settled, core_v1.Pod))
    server.release()
    assert published(settled, "large", source, wait=120)["bytes"] == str(len(LARGE))
    assert not job_status(settled, "dataset-large").failed
    settled.nodes.start_kubelet(node)
    settled.model.update_status()
    assert settled.status().name == "active"


def test_a_custom_loader_that_runs_out_of_memory_names_its_limit(settled: Stage) -> None:
    # It is there until it is killed.
    grow = "kept = b'x' * (1100 << 20); time.sleep(100)"
    script = f"import time; print('epoch 3', flush=True); {grow}"
    ended = settled.run(
        "create-dataset",
        name="mine",
        image="docker.io/library/python:3.12-slim",
        command=f'python3 -c "{script}"',
        wait=120,
    )
    assert ended.status == "failed"
    assert "OOMKilled, its memory is limited to 1 GiB: epoch 3" in ended.message


def test_what_only_the_user_can_fix_ends_the_waiting_at_once(
    settled: Stage, server: origin_server.Origin
) -> None:
    settled.model.config(APPLICATION, {"loader-image": "docker.io/missing/missing:1"})
    source = server.put("rose.txt", ROSE)
    began = time.monotonic()
    for _ in range(2):
        stuck = create(settled, "flowers", source, wait=600)
        assert stuck.status == "failed"
        assert "is stuck: there is no such image: juju config" in stuck.message
    assert time.monotonic() - began < 120
    results = shown(settled, "flowers")
    assert results["state"] == "queued"
    assert "docker.io/missing/missing:1" in results["last-error"]
    for action in ("verify-dataset", "delete-dataset"):
        stuck = settled.run(action, name="flowers", wait=600)
        assert "is stuck: there is no such image: juju config" in stuck.message, (action, stuck)
    settled.model.reset(APPLICATION, "loader-image")
    assert settled.run("delete-dataset", name="flowers").status == "completed"
    published(settled, "flowers", source)


# --- other leaders, lost Jobs, lost index


def test_all_of_it_works_after_a_new_leader_and_without_the_job(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", ROSE)
    first = published(settled, "flowers", source)
    settled.model.set_leader("aws-efs/1")
    assert create(settled, "flowers", source).results == first
    delete_job(settled, "dataset-flowers")
    assert create(settled, "flowers", source).results == first
    assert [row[:2] for row in listed(settled)] == [["flowers", "published"]]
    assert shown(settled, "flowers")["files"] == "1"
    refused = create(settled, "flowers", f"{source}?other")
    assert "exists with other parameters" in refused.message
    assert named(settled, batch_v1.Job) & {"dataset-flowers", "inventory"} == set()
    assert settled.run("verify-dataset", name="flowers").results["state"] == "verified"
    assert settled.run("delete-dataset", name="flowers").results["state"] == "deleted"
    assert entries(settled) == []


def test_an_action_on_a_unit_that_is_not_the_leader_is_refused(settled: Stage) -> None:
    for action in (
        *("list-datasets", "show-dataset", "list-versions", "rollback", "verify-dataset"),
        "delete-dataset",
    ):
        params = {} if action == "list-datasets" else {"name": "x"}
        refused = settled.run(action, "aws-efs/1", **params)
        assert "run it on aws-efs/leader" in refused.message, (action, refused)


def test_a_lost_index_is_rebuilt_from_the_volume(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", ROSE)
    published(settled, "flowers", source)
    before = index(settled)["dataset-flowers"]
    delete_job(settled, "dataset-flowers")
    delete_index(settled, "flowers")
    results = shown(settled, "flowers")
    assert (results["state"], results["files"], results["source"]) == ("published", "1", source)
    after = index(settled)["dataset-flowers"]
    for field in ("version", "fingerprint", "checksum", "bytes"):
        assert after[field] == before[field], field
    assert abs(after["published"] - before["published"]) < 60
    delete_index(settled, "flowers")
    assert [row[0] for row in listed(settled)] == ["flowers"]
    delete_index(settled, "flowers")
    assert published(settled, "flowers", source)["files"] == "1"


def test_a_data_set_removed_without_the_charm_is_noticed_by_a_refresh(
    settled: Stage, server: origin_server.Origin
) -> None:
    published(settled, "flowers", server.put("rose.txt", ROSE))
    published(settled, "trees", server.put("oak.txt", ROSE))
    delete_job(settled, "dataset-flowers")
    (settled.volume() / "datasets/flowers").unlink()
    assert [row[0] for row in listed(settled)] == ["flowers", "trees"]
    rows = listed(settled, refresh=True)
    assert [row[:2] for row in rows] == [["trees", "published"]]
    assert set(index(settled)) == {"dataset-trees"}


def test_a_load_that_lost_its_job_is_reported_and_continued(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = begin_large(settled, server)
    delete_job(settled, "dataset-large")
    results = shown(settled, "large")
    assert results["state"] == "failed"
    assert "its load is unfinished" in results["last-error"]
    assert "create-dataset" in results["next"]
    server.release()
    assert published(settled, "large", source)["bytes"] == str(len(LARGE))
    assert "last-error" not in shown(settled, "large")


def test_a_load_that_ended_unobserved_is_in_the_index(
    settled: Stage, server: origin_server.Origin
) -> None:
    create(settled, "flowers", server.put("rose.txt", ROSE), wait=0)
    until(lambda: job_status(settled, "dataset-flowers").succeeded)
    assert index(settled)["dataset-flowers"]["state"] in IN_PROGRESS
    settled.model.update_status()
    assert index(settled)["dataset-flowers"]["state"] == "published"
    delete_job(settled, "dataset-flowers")
    assert listed(settled)[0][:4] == ["flowers", "published", "3 bytes", "1"]


@pytest.mark.parametrize("part", ["save_secret", "share_files"])
def test_a_hook_killed_while_it_made_a_job_does_not_end_the_load(
    settled: Stage, server: origin_server.Origin, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def killed(*_: object) -> None:
        raise hook_process.Killed

    source = server.put("rose.txt", ROSE)
    with monkeypatch.context() as patch:
        patch.setattr(job_inputs, part, killed)
        assert create(settled, "flowers", source).status == "failed"
    assert shown(settled, "flowers")["state"] == "queued"
    published(settled, "flowers", source)


def test_a_load_that_reaches_its_deadline_says_so_and_is_continued(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = begin_large(settled, server)
    reached = {"spec": {"activeDeadlineSeconds": 1}}
    settled.kube.patch(batch_v1.Job, "dataset-large", reached, namespace=APPLICATION)
    until(lambda: shown(settled, "large")["state"] == "failed")
    error = shown(settled, "large")["last-error"]
    assert error == "the Job was stopped at its deadline: run it again, with a longer deadline="
    assert listed(settled)[0][:2] == ["large", "failed"]
    server.release()
    published(settled, "large", source, deadline="2d")


# --- overwrite and damage


def test_overwrite_loads_again_once_the_publication_was_reported(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", ROSE)
    first = create(settled, "flowers", source, overwrite=True, wait=0)
    assert first.results["state"] in IN_PROGRESS
    until(lambda: job_status(settled, "dataset-flowers").succeeded)
    requests = len(server.requests)
    # Actions that only read do not count as a report of the publication.
    assert [row[:2] for row in listed(settled)] == [["flowers", "published"]]
    version = shown(settled, "flowers")["version"]
    assert settled.run("verify-dataset", name="flowers").results["state"] == "verified"
    published(settled, "flowers", source, overwrite=True)
    assert len(server.requests) == requests
    assert shown(settled, "flowers")["version"] == version
    server.put("rose.txt", TULIP)
    published(settled, "flowers", source)
    assert shown(settled, "flowers")["version"] == version
    published(settled, "flowers", source, overwrite=True)
    assert shown(settled, "flowers")["version"] != version
    assert (settled.volume() / "datasets/flowers/rose.txt").read_bytes() == TULIP


@pytest.mark.skipif(
    not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="the sandbox needs it for ESTALE"
)
def test_a_container_keeps_its_version_until_the_second_overwrite(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", ROSE)
    published(settled, "flowers", source)
    script = "cat /data/rose.txt; until ls /data 2>&1 | grep Stale; do sleep 0.1; done; exit 1"
    read_by(
        settled,
        "reader",
        sub_path="datasets/flowers",
        command=f"sh -c {script}",
        restart_policy="Always",
    )

    def reader() -> models.ContainerStatus:
        status = settled.kube.get(core_v1.Pod, "reader", namespace="default").status
        assert status and status.containerStatuses
        return status.containerStatuses[0]

    server.put("rose.txt", TULIP)
    published(settled, "flowers", source, overwrite=True)
    assert reader().restartCount == 0
    published(settled, "flowers", source, overwrite=True)
    ended = until(lambda: reader().lastState and reader().lastState.terminated)
    assert ended.message == "redls: cannot access '/data': Stale file handle\n"
    # It starts again, and reads what is there now.
    assert "".join(settled.kube.log("reader", namespace="default")) == "yellow\n"


def test_a_running_overwrite_is_one_request_until_its_result_was_reported(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", ROSE)
    first = published(settled, "flowers", source)
    held = origin_server.Faults(hold_after=1, ranges=False)
    server.put("rose.txt", TULIP, faults=held)
    create(settled, "flowers", source, overwrite=True, wait=0)
    request = index(settled)["dataset-flowers"]["request"]
    shown(settled, "flowers")
    again = create(settled, "flowers", source, overwrite=True, wait=0)
    assert again.results["state"] in IN_PROGRESS
    server.release()
    until(lambda: job_status(settled, "dataset-flowers").succeeded)
    assert shown(settled, "flowers")["version"] == request
    done = published(settled, "flowers", source, overwrite=True)
    assert (done["bytes"], first["bytes"]) == ("6", "3")
    assert shown(settled, "flowers")["version"] == request


def test_the_old_version_is_shown_until_the_new_one_is_published(
    settled: Stage, server: origin_server.Origin
) -> None:
    published(settled, "flowers", server.put("rose.txt", ROSE))
    version = shown(settled, "flowers")["version"]
    wrong = create(settled, "flowers", f"{server.url}/none", overwrite=True)
    assert wrong.status == "failed"
    results = shown(settled, "flowers")
    assert (results["state"], results["version"], results["files"]) == ("failed", version, "1")
    assert "nothing is there" in results["last-error"]
    assert f"version {version} stays" in results["next"]
    assert (settled.volume() / "datasets/flowers/rose.txt").read_bytes() == ROSE


def test_damage_is_found_reported_and_repaired_by_overwrite(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", ROSE)
    published(settled, "flowers", source)
    good = settled.run("verify-dataset", name="flowers")
    assert (good.results["files"], good.results["bytes"]) == ("1", "3")
    assert "verified" in shown(settled, "flowers")
    (settled.volume() / "datasets/flowers/rose.txt").write_bytes(b"RED")
    for _ in range(2):
        bad = settled.run("verify-dataset", name="flowers")
        assert bad.status == "failed", bad
        assert "'rose.txt' has other content" in bad.message
    results = shown(settled, "flowers")
    assert results["state"] == "published"
    assert "'rose.txt' has other content" in results["last-error"]
    assert "overwrite=true" in results["next"]
    published(settled, "flowers", source, overwrite=True)
    assert settled.run("verify-dataset", name="flowers").results["state"] == "verified"
    assert "last-error" not in shown(settled, "flowers")


# --- deletion


@pytest.mark.parametrize("sub_path", ["datasets/flowers", "", "datasets"])
def test_what_a_pod_may_be_reading_is_not_deleted_unless_forced(
    settled: Stage, server: origin_server.Origin, sub_path: str
) -> None:
    published(settled, "flowers", server.put("rose.txt", ROSE))
    read_by(settled, "reader", sub_path=sub_path)
    refused = settled.run("delete-dataset", name="flowers")
    assert refused.status == "failed"
    assert "in use by pod default/reader" in refused.message
    assert (settled.volume() / "datasets/flowers/rose.txt").read_bytes() == ROSE
    assert shown(settled, "flowers")["state"] == "published"
    done = settled.run("delete-dataset", name="flowers", force=True)
    assert (done.results["state"], done.results["files"]) == ("deleted", "1")
    assert entries(settled) == []


def test_a_pod_that_reads_another_data_set_or_has_ended_does_not_prevent_deletion(
    settled: Stage, server: origin_server.Origin
) -> None:
    published(settled, "flowers", server.put("rose.txt", ROSE))
    published(settled, "trees", server.put("oak.txt", ROSE))
    read_by(settled, "reader", sub_path="datasets/trees")
    read_by(settled, "done", sub_path="datasets/flowers", command="true", phase="Succeeded")
    assert settled.run("delete-dataset", name="flowers").status == "completed"
    assert [row[0] for row in listed(settled)] == ["trees"]
    assert settled.run("delete-dataset", name="trees").status == "failed"


def test_deletion_stops_a_load_and_leaves_nothing(
    settled: Stage, server: origin_server.Origin
) -> None:
    begin_large(settled, server)
    assert entries(settled) != []
    done = settled.run("delete-dataset", name="large", wait=120)
    assert done.results["state"] == "deleted", done
    assert entries(settled) == []
    assert index(settled) == {}
    # The deletion's own Job tells for an hour that it is done.
    jobs = {name for name in named(settled, batch_v1.Job) if name.endswith("-large")}
    assert jobs == {"delete-large"}
    until(lambda: not any(name.endswith("-large") for name in named(settled, core_v1.Secret)))


def test_a_deletion_that_was_interrupted_is_finished_by_the_same_command(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("rose.txt", ROSE)
    published(settled, "flowers", source)
    settled.model.kill_next_hook(after="apply")
    assert settled.run("delete-dataset", name="flowers").status == "failed"
    interrupted = shown(settled, "flowers")
    assert interrupted["state"] == "published"
    assert "its deletion was interrupted" in interrupted["last-error"]
    began = settled.run("delete-dataset", name="flowers", wait=0)
    assert began.results["state"] == "deleting", began
    done = settled.run("delete-dataset", name="flowers")
    assert done.results["state"] == "deleted"
    assert entries(settled) == []
    published(settled, "flowers", source)


# --- secrets


def test_a_secret_that_lacks_what_the_source_needs_is_reported(settled: Stage) -> None:
    uri = settled.model.add_secret({"access-key": "AKIA", "token": ""})
    settled.model.grant_secret(uri, APPLICATION)
    for source, key in (("s3://private/x", "secret-key"), ("hf://datasets/a/b", "token")):
        refused = settled.run("create-dataset", name="x", source=source, credentials=uri)
        assert refused.status == "failed"
        assert f"credentials: the secret has no {key}" in refused.message
    assert named(settled, batch_v1.Job) & {"dataset-x"} == set()
    assert index(settled) == {}
