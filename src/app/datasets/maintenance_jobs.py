"""Start or continue the Jobs of one pod that verify, delete or list data sets."""

from __future__ import annotations

from collections.abc import Callable

import problems
from app.datasets import loader_jobs, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers


def go(
    loader: loader_jobs.Loader,
    kind: str,
    name: str,
    wait_seconds: float,
    *,
    anew: Callable[[job_observe.ObservedJob], bool] = lambda _: False,
) -> job_observe.ObservedJob:
    """Run a maintenance Job, and wait for its end.

    Args:
        loader: Where the loader runs.
        kind: What it is for.
        name: The data set; none where it is for all.
        wait_seconds: How long to wait.
        anew: Whether one that is there has to make room for a new one. One that failed or is
            stuck always has.

    Returns:
        The Job as it is then.

    Raises:
        problems.Blocked: It can not begin before the user has mended something.
        problems.Waiting: Somebody removed it meanwhile, or its pod is still ending.
    """
    cluster = loader.cluster
    wanted = loader_jobs.errand(loader, kind, name)
    state = job_observe.observe(cluster, wanted.name)
    if state and (state.phase == job_observe.FAILED or state.stuck or anew(state)):
        job_lifecycle.remove(cluster, wanted.name)
        job_lifecycle.wait_gone(cluster, wanted.name)
        state = None
    if state is None or state.phase == job_observe.QUEUED:
        # One that is queued may have been cut off between its parts: starting it again goes on.
        job_lifecycle.start(cluster, wanted)
    state = job_lifecycle.wait(cluster, wanted.name, wait_seconds)
    if state is None:
        raise problems.Waiting(f"job {wanted.name} was deleted meanwhile: run it again")
    if not state.finished and state.cause:
        raise problems.Blocked(f"job {state.name} is stuck: {state.cause.sentence}")
    return state


def why(state: job_observe.ObservedJob) -> str:
    """Return the error of a failed maintenance Job.

    Args:
        state: The Job.
    """
    return observe.last_error(state) or "it failed"


def progress(
    loader: loader_jobs.Loader, state: job_observe.ObservedJob
) -> answers.Progress | None:
    """Return the progress of a maintenance Job; None before its first line.

    Args:
        loader: Where the loader runs.
        state: The Job.
    """
    return next(iter(observe.progress(loader.cluster, state)), None)
