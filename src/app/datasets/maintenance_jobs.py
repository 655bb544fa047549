"""Jobs of one pod that verify, delete or look at data sets: begun, or gone on with."""

from __future__ import annotations

from collections.abc import Callable

import problems
from app.datasets import loader_jobs, observe
from cluster.jobs import jobs
from datasets import answers


def go(
    loader: loader_jobs.Loader,
    kind: str,
    name: str,
    wait_seconds: float,
    *,
    anew: Callable[[jobs.State], bool] = lambda _: False,
) -> jobs.State:
    """Have an errand run, and wait for its end.

    Args:
        loader: Where the loader runs.
        kind: What it is for.
        name: The data set; none where it is for all.
        wait_seconds: How long to wait.
        anew: Whether one that is there has to make room for a new one. One that failed or is
            stuck always has.

    Returns:
        How far it is.

    Raises:
        problems.Blocked: It can not begin before the user has mended something.
        problems.Waiting: Somebody removed it meanwhile, or its pod is still ending.
    """
    cluster = loader.cluster
    wanted = loader_jobs.errand(loader, kind, name)
    state = jobs.state(cluster, wanted.name)
    if state and (state.phase == jobs.FAILED or state.stuck or anew(state)):
        jobs.remove(cluster, wanted.name)
        jobs.wait_gone(cluster, wanted.name)
        state = None
    if state is None or state.phase == jobs.QUEUED:
        # One that is queued may have been cut off between its parts: starting it again goes on.
        jobs.start(cluster, wanted)
    state = jobs.wait(cluster, wanted.name, wait_seconds)
    if state is None:
        raise problems.Waiting(f"job {wanted.name} was deleted meanwhile: run it again")
    if not state.finished and state.cause:
        raise problems.Blocked(f"job {state.name} is stuck: {state.cause.sentence}")
    return state


def why(state: jobs.State) -> str:
    """Why an errand failed.

    Args:
        state: The errand, failed.
    """
    error = observe.last_error(state)
    return error.replace("run create-dataset again", "run it again") or "it failed"


def progress(loader: loader_jobs.Loader, state: jobs.State) -> answers.Progress | None:
    """How far an errand is; None where it has not said so yet.

    Args:
        loader: Where the loader runs.
        state: The errand.
    """
    return next(iter(observe.progress(loader.cluster, state)), None)
