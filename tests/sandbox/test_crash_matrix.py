"""Hooks and actions that are killed after each of their writes, and then repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tenacity
from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1, storage_v1

from sandbox.juju import kubernetes_bundle
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage

# More writes than any hook or action makes.
MOST_WRITES = 60
KINDS = (
    core_v1.PersistentVolume,
    storage_v1.StorageClass,
    core_v1.PersistentVolumeClaim,
    core_v1.Secret,
    core_v1.ConfigMap,
    batch_v1.Job,
)


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


def metadata(resource: Any) -> meta_v1.ObjectMeta:
    return resource.metadata


def world(stage: Stage) -> list[Any]:
    """Return what is there, without what differs from run to run."""
    in_cluster: list[tuple[str, str, str]] = []
    for kind in KINDS:
        scope = {} if kind in KINDS[:2] else {"namespace": "*"}
        for each in stage.kube.list(kind, **scope):
            meta = metadata(each)
            if meta.deletionTimestamp is None and (meta.labels or {}).get("aws-efs/application"):
                in_cluster.append((kind.__name__, meta.namespace or "", meta.name or ""))
    volume = stage.volume()
    files = sorted(
        str(path.relative_to(volume))
        for path in volume.rglob("*")
        if ".versions" not in path.parts
    )
    return [
        len(stage.cloud.mount_targets()),
        sorted(group.name for group in stage.cloud.security_groups()),
        sorted(in_cluster),
        files,
    ]


def test_hooks_that_die_after_one_write_more_each_time_end_as_undisturbed_ones(
    stage: Stage,
) -> None:
    kubernetes_bundle.deploy(stage.model)
    steps = [
        stage.deploy,
        lambda: stage.model.relate("aws-efs:certificates", "easyrsa"),
        lambda: stage.model.relate("aws-efs:kube-control", "kubernetes-control-plane"),
    ]
    writes = 0
    # Juju retries a hook that died at the next event.
    for writes in range(1, MOST_WRITES):
        stage.model.kill_next_hook(after=str(writes))
        step = steps.pop(0) if steps else stage.model.resolve
        step()
        if stage.model.is_kill_pending and not steps:
            break
    assert 3 < writes < MOST_WRITES - 1
    stage.model.kill_next_hook(after="")
    stage.model.update_status()
    assert stage.status().name == "active", stage.status()
    assert len(stage.cloud.file_systems()) == 1
    assert len(stage.cloud.mount_targets()) == 3
    torn_down: Any = None
    (made,) = stage.cloud.file_systems()
    for writes in range(1, MOST_WRITES):
        stage.model.kill_next_hook(after=str(writes))
        torn_down = stage.run("teardown", confirm=made.id)
        if stage.model.is_kill_pending:
            break
    assert torn_down.status == "completed", torn_down
    assert (stage.cloud.file_systems(), stage.cloud.mount_targets()) == ((), ())
    assert list(stage.kube.list(core_v1.PersistentVolume)) == []


def killed_then_repeated(
    stage: Stage, action: str, writes: int, **params: Any
) -> tuple[Any, bool]:
    """Kill an action after so many writes; return its repetition's result, and whether it died."""
    stage.model.kill_next_hook(after=str(writes))
    first = stage.run(action, **params)
    survived = stage.model.is_kill_pending
    stage.model.kill_next_hook(after="")
    return (first if survived else stage.run(action, **params)), not survived


@pytest.mark.parametrize("first", [1, 2, 3])
def test_loads_and_deletions_that_die_after_each_write_end_as_undisturbed_ones(
    stage: Stage, server: origin_server.Origin, *, first: int
) -> None:
    stage.settle()
    source = server.put("rose.txt", b"red")
    stage.run("create-dataset", name="flowers", source=source)
    loaded = world(stage)
    deaths = 0
    # Each test has every third write.
    for writes in range(first, MOST_WRITES, 3):
        deleted, died = killed_then_repeated(stage, "delete-dataset", writes, name="flowers")
        assert deleted.status == "completed", (writes, deleted)
        assert deleted.results["state"] == "deleted", (writes, deleted)
        assert stage.run("list-datasets").results["count"] == "0", writes
        parameters = {"name": "flowers", "source": source}
        again, died_too = killed_then_repeated(stage, "create-dataset", writes, **parameters)
        assert again.status == "completed", (writes, again)
        assert again.results["state"] == "published", (writes, again)
        assert world(stage) == loaded, writes
        deaths += died + died_too
        if not (died or died_too):
            break
    assert deaths > 2


@pytest.mark.parametrize("ended", [False, True])
def test_a_deletion_whose_action_died_is_told_and_finished_by_any_hook(
    stage: Stage, server: origin_server.Origin, *, ended: bool
) -> None:
    stage.settle()
    stage.run("create-dataset", name="flowers", source=server.put("rose.txt", b"red"))
    if ended:
        # The last write before the action waits for the Job resumes that.
        stage.run("delete-dataset", name="flowers", wait=0)
        wait_for_job(stage, "delete-flowers")
        stage.model.update_status()
        assert stage.run("list-datasets").results["count"] == "0"
        done = stage.run("delete-dataset", name="flowers")
        assert done.results == {"name": "flowers", "state": "deleted", "files": "1"}
        return
    stage.model.kill_next_hook(after="apply")
    stage.run("delete-dataset", name="flowers")
    shown = stage.run("show-dataset", name="flowers").results
    assert shown["state"] == "published"
    assert "its deletion was interrupted before it began" in shown["last-error"]
    assert stage.run("delete-dataset", name="flowers").results["state"] == "deleted"
    unknown = stage.run("delete-dataset", name="roses")
    assert "there is no data set roses" in unknown.message


def wait_for_job(stage: Stage, name: str) -> None:
    @tenacity.retry(wait=tenacity.wait_fixed(0.1), stop=tenacity.stop_after_delay(60))
    def look() -> None:
        job = stage.kube.get(batch_v1.Job, name, namespace=APPLICATION)
        assert job.status
        assert job.status.succeeded

    look()


def test_our_own_claim_that_a_user_deletes_comes_back_though_our_pods_held_it(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    source = server.put("rose.txt", b"red")
    stage.run("create-dataset", name="flowers", source=source)
    before = stage.claim(APPLICATION).metadata
    stage.kube.delete(core_v1.PersistentVolumeClaim, APPLICATION, namespace=APPLICATION)
    stage.model.update_status()
    after = stage.claim(APPLICATION).metadata
    assert before
    assert after
    assert after.deletionTimestamp is None
    assert after.uid != before.uid
    assert stage.status().name == "active", stage.status()
    assert stage.run("show-dataset", name="flowers").results["state"] == "published"
