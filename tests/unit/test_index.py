"""The index after an observation of a Job, and after one of the volume."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from app.datasets import index, observe, refresh_index
from cluster import pods
from cluster.jobs import job_observe, pod_observe
from datasets import answers, protocol

RESULT = answers.Result(1, 2, 3.5, "/datasets/x", "20260102t030405-aa", "sha256:0", 4, "tar")
OLD = index.DatasetRecord(
    "x", index.PUBLISHED, "old", "f1", "r1", version="v1", published=10, files=5, bytes=6
)
ANNOTATIONS = {
    protocol.DATASET_ANNOTATION: "x",
    protocol.REQUEST_ANNOTATION: "r2",
    protocol.FINGERPRINT_ANNOTATION: "f2",
    protocol.SOURCE_ANNOTATION: "https://a.example/x",
}


def report(state: str, **fields: Any) -> str:
    return json.dumps({"state": state, **fields})


PUBLISHED = report("published", **dataclasses.asdict(RESULT))
DONE = report("done", files=1)


def job(phase: str, *found: tuple[str, str], **fields: Any) -> job_observe.ObservedJob:
    made = tuple(
        pod_observe.ObservedPod(f"p{i}", i, its, pods.Termination(message, "dataset"))
        for i, (its, message) in enumerate(found)
    )
    return job_observe.ObservedJob(
        "dataset-x", phase, 100, pods=made, annotations=ANNOTATIONS, **fields
    )


def test_a_data_set_is_published_whichever_pod_published_it():
    state = job(
        job_observe.RUNNING,
        (job_observe.SUCCEEDED, DONE),
        (job_observe.SUCCEEDED, PUBLISHED),
        ended=0,
    )
    record = observe.after_job(None, "x", state)
    assert (record.state, record.files, record.bytes, record.version) == (
        "published",
        1,
        2,
        RESULT.version,
    )
    assert (record.source, record.fingerprint, record.created) == (
        "https://a.example/x",
        "f2",
        100,
    )
    # Even if another pod has failed meanwhile.
    failed = job(
        job_observe.FAILED,
        (job_observe.FAILED, report("failed", error="so")),
        (job_observe.SUCCEEDED, PUBLISHED),
    )
    assert observe.after_job(None, "x", failed).state == "published"


def test_a_data_set_that_was_published_before_keeps_its_age():
    message = report("published", **dataclasses.asdict(dataclasses.replace(RESULT, existing=True)))
    state = job(job_observe.SUCCEEDED, (job_observe.SUCCEEDED, message), ended=2e9)
    unknown = observe.after_job(None, "x", state)
    assert unknown.published == 1767323045
    known = dataclasses.replace(OLD, version=RESULT.version)
    assert observe.after_job(known, "x", state).published == 10


def test_the_result_of_a_late_pod_does_not_replace_the_publication():
    late = report("published", **dataclasses.asdict(dataclasses.replace(RESULT, existing=True)))
    state = job(
        job_observe.SUCCEEDED,
        (job_observe.SUCCEEDED, late),
        (job_observe.SUCCEEDED, PUBLISHED),
        ended=2e9,
    )
    assert observe.after_job(None, "x", state).published == 2e9


def test_if_all_pods_have_ended_and_none_has_published_the_error_says_so():
    state = job(
        job_observe.SUCCEEDED, (job_observe.SUCCEEDED, DONE), (job_observe.SUCCEEDED, DONE)
    )
    record = observe.after_job(None, "x", state)
    assert record.state == "failed"
    assert "none has published it: run create-dataset again" in record.error


def test_the_first_error_of_a_failed_load_is_reported():
    so = report("failed", error="it is so: do that")
    state = job(
        job_observe.FAILED,
        (job_observe.SUCCEEDED, DONE),
        (job_observe.FAILED, so),
        (job_observe.FAILED, ""),
    )
    assert observe.after_job(None, "x", state).error == "it is so: do that"
    gone = job(job_observe.FAILED, cause=pods.Cause("too many failures", blocked=True, stamp=""))
    assert observe.after_job(None, "x", gone).error == "too many failures"


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (
            pods.Termination("no such bucket", "loader", 3, "Error"),
            "loader ended with exit code 3: no such bucket",
        ),
        (pods.Termination("two\nlines", "loader", 1), "two\nlines"),
        (pods.Termination("", "loader", 137, "OOMKilled"), "exit code 137: OOMKilled"),
        (
            pods.Termination("epoch 3", "loader", 137, "OOMKilled"),
            "exit code 137: OOMKilled, its memory is limited to 1 GiB: epoch 3",
        ),
        (
            pods.Termination("epoch 3", "loader", 137, "Error", "Evicted: low on memory"),
            "loader ended with exit code 137: Evicted: low on memory: epoch 3",
        ),
        (pods.Termination("", "loader", 2, "Error"), "loader ended with exit code 2: Error"),
        (pods.Termination(report("failed", error="full: do"), "prepare", 1), "full: do"),
        (
            pods.Termination("", "prepare", 137, "OOMKilled"),
            "the loader ran out of memory (OOMKilled, exit code 137): run create-dataset again",
        ),
        (
            pods.Termination("", "dataset", 137, "Error"),
            "the loader ended without a message (Error, exit code 137)",
        ),
        (
            pods.Termination("", "dataset", 137, "Error", "Evicted: The node was low on: memory."),
            "Kubernetes ended the loader's pod (Evicted: The node was low on: memory.)",
        ),
        (
            pods.Termination("no network", "istio-init", 255, "Error"),
            "container istio-init, which is not the charm's, failed (Error, exit code 255: no net",
        ),
        (pods.Termination(""), "the loader's pod is lost"),
        (None, "the loader's pod is lost"),
    ],
)
def test_the_failure_of_an_init_container_is_the_error(
    ended: pods.Termination | None, message: str
):
    pod = pod_observe.ObservedPod("p", 0, job_observe.FAILED, ended)
    failed = dataclasses.replace(job(job_observe.FAILED), pods=(pod,))
    record = observe.after_job(None, "x", failed)
    assert message in record.error
    assert not record.error.startswith("prepare")


def test_an_error_that_is_tried_again_by_itself_asks_nobody_to_do_so():
    again = report("failed", error="the volume failed: try again")
    load = job(job_observe.RUNNING, (job_observe.FAILED, again))
    assert observe.after_job(None, "x", load).error == "the volume failed"
    for_good = job(job_observe.FAILED, (job_observe.FAILED, again))
    assert observe.after_job(None, "x", for_good).error == "the volume failed: try again"


@pytest.mark.parametrize("state", ["preparing", "transferring", "verifying"])
def test_a_load_whose_logs_cannot_be_read_does_not_fall_back_to_an_earlier_state(state: str):
    before = dataclasses.replace(OLD, request="r2", state=state)
    after = observe.after_job(before, "x", job(job_observe.RUNNING, (job_observe.RUNNING, "")))
    assert after.state == state


def test_the_published_version_stays_in_the_record_while_another_is_loaded():
    progress = [answers.Progress("transferring")]
    record = observe.after_job(
        OLD, "x", job(job_observe.RUNNING, (job_observe.RUNNING, "")), progress
    )
    assert (record.state, record.source, record.request) == (
        "transferring",
        "https://a.example/x",
        "r2",
    )
    assert (record.version, record.published, record.files) == ("v1", 10, 5)


def test_the_error_of_a_replaced_pod_is_reported_until_its_successor_is_done():
    before = pod_observe.ObservedPod(
        "p",
        0,
        job_observe.RUNNING,
        previous_termination=pods.Termination(report("failed", error="broke: wait"), "dataset"),
    )
    state = dataclasses.replace(job(job_observe.RUNNING), pods=(before,))
    assert observe.after_job(None, "x", state).error == "broke: wait"
    done = dataclasses.replace(
        before, phase=job_observe.SUCCEEDED, termination=pods.Termination(DONE, "dataset")
    )
    assert observe.pod_error(done) == ""


def test_an_end_is_final():
    known = dataclasses.replace(OLD, request="r2", answered="r1", error="damaged")
    assert observe.after_job(known, "x", job(job_observe.FAILED)) == known


def on_volume(**fields: Any) -> answers.InventoryEntry:
    base = answers.InventoryEntry("x", True, 5, 6, "md5:0", 10, "old", "f1", "v1")
    return dataclasses.replace(base, **fields)


UNFINISHED = on_volume(is_published=False, files=None, bytes=None, version="v2", fingerprint="f2")


def test_a_data_set_that_is_only_on_the_volume_is_added():
    found = refresh_index.after_inventory(None, on_volume(), has_job=False)
    assert found == index.DatasetRecord(
        "x",
        index.PUBLISHED,
        "old",
        "f1",
        version="v1",
        published=10,
        files=5,
        bytes=6,
        checksum="md5:0",
    )
    begun = refresh_index.after_inventory(None, UNFINISHED, has_job=False)
    assert begun
    assert (begun.state, begun.version) == ("failed", "")
    assert "is unfinished" in begun.error


def test_a_record_that_agrees_with_the_volume_stays_as_it_is():
    damaged = dataclasses.replace(OLD, error="damaged", verified=3, seconds=4, answered="r1")
    assert refresh_index.after_inventory(damaged, on_volume(), has_job=False) == damaged


@pytest.mark.parametrize("state", [index.QUEUED, index.PREPARING, index.TRANSFERRING])
def test_an_unfinished_data_set_without_a_job_follows_the_volume(state: str):
    record = dataclasses.replace(OLD, state=state, fingerprint="f2", source="new")
    back = refresh_index.after_inventory(record, on_volume(), has_job=False)
    assert back
    assert (back.state, back.fingerprint, back.source) == ("published", "f1", "old")
    begun = refresh_index.after_inventory(record, UNFINISHED, has_job=False)
    assert begun
    assert (begun.state, begun.version, begun.source) == ("failed", "", "new")
    never = refresh_index.after_inventory(record, None, has_job=False)
    assert never
    assert (never.state, never.version) == ("failed", "")
    assert "never began" in never.error


def test_a_data_set_that_a_job_works_on_follows_the_job():
    record = dataclasses.replace(OLD, state=index.TRANSFERRING, fingerprint="f2")
    for found in (on_volume(), UNFINISHED, None):
        after = refresh_index.after_inventory(record, found, has_job=True)
        assert after
        assert (after.state, after.fingerprint) == ("transferring", "f2")
        assert bool(after.version) == (found is not None and found.is_published)


def test_a_failure_is_remembered_beside_the_version_that_is_still_there():
    record = dataclasses.replace(
        OLD, state=index.FAILED, fingerprint="f2", error="so", version="", files=None
    )
    after = refresh_index.after_inventory(record, on_volume(), has_job=False)
    assert after
    assert (after.state, after.error, after.version, after.files) == ("failed", "so", "v1", 5)


def test_a_data_set_that_is_gone_from_the_volume_is_removed():
    assert refresh_index.after_inventory(OLD, None, has_job=False) is None
    going = dataclasses.replace(OLD, state=index.DELETING)
    assert refresh_index.after_inventory(going, None, has_job=False) is None
    kept = refresh_index.after_inventory(going, on_volume(), has_job=True)
    assert kept is not None
    assert kept.state == "deleting"


def test_a_deletion_that_no_job_works_on_follows_the_volume():
    going = dataclasses.replace(OLD, state=index.DELETING)
    whole = refresh_index.after_inventory(going, on_volume(), has_job=False)
    assert whole is not None
    assert whole.state == "published"
    assert "its deletion was interrupted" in whole.error
    begun = refresh_index.after_inventory(going, UNFINISHED, has_job=False)
    assert begun is not None
    assert begun.state == "failed"
    assert refresh_index.is_needed(observe.ObservedDataset(going))
    deletion = job(job_observe.RUNNING)
    assert not refresh_index.is_needed(observe.ObservedDataset(going, deletion=deletion))


def test_only_an_unfinished_data_set_without_a_job_needs_a_look_at_the_volume():
    assert refresh_index.is_needed(None)
    assert not refresh_index.is_needed(observe.ObservedDataset(OLD))
    queued = dataclasses.replace(OLD, state=index.QUEUED)
    assert refresh_index.is_needed(observe.ObservedDataset(queued))
    assert not refresh_index.is_needed(observe.ObservedDataset(queued, job(job_observe.QUEUED)))
