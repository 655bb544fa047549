"""Run the Jobs, of one pod each, that maintain or list data sets."""

from __future__ import annotations

from collections.abc import Callable

import problems
from app.datasets import loader_jobs, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers

MOST_LINES = 1_000_000


def run(
    loader: loader_jobs.Loader,
    kind: str,
    name: str,
    wait_seconds: float,
    *,
    version: str = "",
    is_obsolete: Callable[[job_observe.ObservedJob], bool] = lambda _: False,
) -> job_observe.ObservedJob:
    """Start a maintenance Job, or continue an earlier one, and wait for its end.

    Args:
        loader: The loader's cluster, image and proxies.
        kind: The kind of the Job.
        name: The data set; empty for all.
        wait_seconds: The time to wait.
        version: The version that a rollback publishes; empty for the one before.
        is_obsolete: Tells whether to replace an earlier Job. A failed or stuck one, and one of
            another file system, is always replaced.

    Returns:
        The Job as it is then.

    Raises:
        problems.Blocked: The Job is stuck until the user acts.
        problems.Waiting: Somebody removed it meanwhile, or its pod has not ended yet.
    """
    cluster = loader.cluster
    desired = loader_jobs.maintenance_job(loader, kind, name, version=version)
    job = job_observe.observe(cluster, desired.name)
    failed = job is not None and (job.phase == job_observe.FAILED or job.stuck)
    if job and (failed or job.file_system != loader.file_system or is_obsolete(job)):
        job_lifecycle.remove(cluster, desired.name)
        job_lifecycle.wait_gone(cluster, desired.name)
        job = None
    if job is None or job.phase == job_observe.QUEUED:
        # An earlier start may have been interrupted: another start completes it.
        job_lifecycle.start(cluster, desired)
    job = job_lifecycle.wait(cluster, desired.name, wait_seconds)
    if job is None:
        raise problems.Waiting(f"job {desired.name} was deleted meanwhile: run it again")
    if not job.finished and job.cause:
        raise problems.Blocked(f"job {job.name} is stuck: {job.cause.sentence}")
    return job


def read_error(job: job_observe.ObservedJob) -> str:
    """Return the error of a failed maintenance Job.

    Args:
        job: The Job.
    """
    return observe.last_error(job) or "it failed without a message"


def read_log(loader: loader_jobs.Loader, job: job_observe.ObservedJob) -> str:
    """Return the log of a maintenance Job; "" where its pod is gone.

    Args:
        loader: The loader's cluster, image and proxies.
        job: The Job.
    """
    pod = job.pods[-1].name if job.pods else ""
    log = loader.cluster.log
    return log(pod, loader_jobs.CONTAINER, tail_lines=MOST_LINES) if pod else ""


def read_progress(
    loader: loader_jobs.Loader, job: job_observe.ObservedJob
) -> answers.Progress | None:
    """Return the progress of a maintenance Job; None before its first line.

    Args:
        loader: The loader's cluster, image and proxies.
        job: The Job.
    """
    return next(iter(observe.read_progress(loader.cluster, job).known), None)
