"""verify-dataset: a pod reads a data set again, and compares it with what was published."""

from __future__ import annotations

import dataclasses
import time

import problems
from app.datasets import index, loader_jobs, maintenance_jobs, observe
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers, protocol


def verify(loader: loader_jobs.Loader, name: str, *, wait_seconds: float) -> dict[str, str]:
    """Compare all files of a data set with those that were published.

    Args:
        loader: Where the loader runs.
        name: The data set.
        wait_seconds: How long to wait for the result.

    Returns:
        The state so far, as an action's results.

    Raises:
        problems.Blocked: Something is not as it was published, or there is no such data set.
    """
    cluster = loader.cluster
    state = maintenance_jobs.go(loader, loader_jobs.VERIFY, name, wait_seconds, anew=_is_noted)
    if not state.finished:
        line = maintenance_jobs.progress(loader, state)
        return {
            "name": name,
            "state": index.VERIFYING if state.phase == job_observe.RUNNING else index.QUEUED,
            "progress": answers.words(line) if line else "it has not begun to read yet",
            "next": "it goes on; run verify-dataset again to see what it has found",
        }
    seen = observe.look(cluster, name)
    published = seen.record if seen and seen.record.state == index.PUBLISHED else None
    job_lifecycle.label(cluster, state.name, {protocol.NOTED_LABEL: "true"})
    if state.phase == job_observe.FAILED:
        error = maintenance_jobs.why(state)
        if published:
            index.save(cluster, dataclasses.replace(published, error=error))
        raise problems.Blocked(f"data set {name}: {error}")
    result = answers.outcome(state.message)
    if not isinstance(result, answers.Progress):
        raise problems.Blocked(f"data set {name}: {maintenance_jobs.why(state)}")
    if published:
        now = round(state.ended or time.time())
        index.save(cluster, dataclasses.replace(published, error="", verified=now))
    return {
        "name": name,
        "state": protocol.VERIFIED,
        "files": str(result.files),
        "bytes": str(result.bytes),
        "seconds": str(result.seconds),
    }


def _is_noted(state: job_observe.ObservedJob) -> bool:
    return protocol.NOTED_LABEL in state.labels
