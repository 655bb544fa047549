"""What show-dataset tells of each pod of a load."""

from __future__ import annotations

from app.datasets import index, observe, show
from cluster import pods
from cluster.jobs import job_observe, pod_observe


def lines(job: job_observe.ObservedJob, state: str = index.TRANSFERRING) -> list[str]:
    record = index.DatasetRecord("flowers", state=state)
    return list(show._pods(observe.ObservedDataset(record, job)))


def test_an_index_whose_pod_is_gone_is_done_and_not_counted_as_still_to_come():
    running = pod_observe.ObservedPod("dataset-flowers-1-x", 1, pod_observe.RUNNING, node="juju-1")
    job = job_observe.ObservedJob(
        "dataset-flowers",
        job_observe.RUNNING,
        parallelism=4,
        pods=(running,),
        completed=frozenset({0, 1, 2}),
    )
    assert lines(job) == [
        "1: running (on juju-1)",
        "0: done",
        "2: done",
        "1 more are not created yet",
    ]


def test_a_pod_that_is_replaced_asks_nobody_to_run_anything_and_one_that_is_given_up_does():
    killed = pods.Termination("", "dataset", 137, "OOMKilled")
    failed = pod_observe.ObservedPod("dataset-flowers-0-x", 0, pod_observe.FAILED, killed)
    job = job_observe.ObservedJob("dataset-flowers", job_observe.RUNNING, pods=(failed,))
    (replaced,) = lines(job)
    assert "is tried again: " in replaced
    assert "OOMKilled, exit code 137" in replaced
    assert "run create-dataset" not in replaced
    given_up = job_observe.ObservedJob(
        "dataset-flowers", job_observe.RUNNING, pods=(failed,), failed=frozenset({0})
    )
    assert lines(given_up)[0].startswith("0: failed: ")
    assert "run create-dataset again" in lines(given_up)[0]
