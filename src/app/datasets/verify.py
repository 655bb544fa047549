"""Run verify-dataset: a pod reads a data set, and compares it with its publication."""

from __future__ import annotations

import dataclasses
import time

import problems
from app.datasets import index, loader_jobs, maintenance_jobs, observe, rollback
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers, protocol


def verify(loader: loader_jobs.Loader, name: str, *, wait_seconds: float) -> dict[str, str]:
    """Compare all files of a data set with the sizes and checksums of its publication.

    Args:
        loader: The loader's cluster, image and proxies.
        name: The data set.
        wait_seconds: The time to wait for the result.

    Returns:
        The current state, as an action's results.

    Raises:
        problems.Blocked: A file is missing or differs, or there is no such data set.
        problems.Waiting: It is being rolled back.
    """
    cluster = loader.cluster
    rollback.check(loader, name)
    job = maintenance_jobs.run(
        loader, loader_jobs.VERIFY, name, wait_seconds, is_obsolete=_is_noted
    )
    if not job.finished:
        progress = maintenance_jobs.read_progress(loader, job)
        return {
            "name": name,
            "state": index.VERIFYING if job.phase == job_observe.RUNNING else index.QUEUED,
            "progress": answers.format_progress(progress) if progress else "not started yet",
            "next": "the verification continues; run verify-dataset again to see its result",
        }
    observed = observe.observe(loader.index, name)
    published = observed.record if observed and observed.record.state == index.PUBLISHED else None
    job_lifecycle.label(cluster, job.name, {protocol.NOTED_LABEL: "true"})
    if job.phase == job_observe.FAILED:
        error = maintenance_jobs.read_error(job)
        if published:
            loader.index.save(dataclasses.replace(published, error=error))
        raise problems.Blocked(f"data set {name}: {error}")
    result = answers.read_outcome(job.message)
    if not isinstance(result, answers.Progress):
        raise problems.Blocked(f"data set {name}: {maintenance_jobs.read_error(job)}")
    if published:
        verified = round(job.ended or time.time())
        loader.index.save(dataclasses.replace(published, error="", verified=verified))
    return {
        "name": name,
        "state": protocol.VERIFIED,
        "files": str(result.files),
        "bytes": str(result.bytes),
        "seconds": str(result.seconds),
    }


def _is_noted(job: job_observe.ObservedJob) -> bool:
    return protocol.NOTED_LABEL in job.labels
