"""What is observed of a Job, whatever others have written into its status."""

from __future__ import annotations

import pytest
from lightkube.models import batch_v1 as models
from lightkube.models import core_v1, meta_v1
from lightkube.resources import batch_v1

from cluster.jobs import job_observe


def observed(text: str | None, completions: int = 64) -> job_observe.ObservedJob:
    pod = core_v1.PodTemplateSpec(
        spec=core_v1.PodSpec(containers=[core_v1.Container(name="dataset")])
    )
    job = batch_v1.Job(
        metadata=meta_v1.ObjectMeta(name="dataset-x"),
        spec=models.JobSpec(template=pod, completions=completions),
        status=models.JobStatus(completedIndexes=text, failedIndexes=text),
    )
    return job_observe._observed_job(job, [], [], "aws-efs")


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        (None, set()),
        ("", set()),
        ("0", {0}),
        ("0-2,5", {0, 1, 2, 5}),
        ("62-63", {62, 63}),
        ("63-70,64", {63}),
        ("0-999999999", set(range(64))),
        ("999999998-999999999", set()),
        ("0-99999999999999999999", set()),
        ("3-1,4", {4}),
        ("x,1,-1,1-,-,1-2-3, 5,\u0662,1e1,0x2", {1}),
        ("1," * 1_000_000, {1}),
        ("0-63," * 1_000_000, set(range(64))),
        ("9" * 1_000_000, set()),
    ],
)
def test_indexes_are_those_that_the_job_has(text, indexes):
    job = observed(text)
    assert job.completed == job.failed == indexes


def test_a_job_that_a_user_has_scaled_is_bounded():
    assert len(observed("0-999999999", completions=100_000_000).completed) <= 1000
