"""Run list-versions: a pod looks at the volume, which versions of a data set are there."""

from __future__ import annotations

import time

import problems
from app.datasets import loader_jobs, maintenance_jobs, show
from cluster.jobs import job_lifecycle, job_observe
from datasets import version_answers

COLUMNS = ("version", "state", "published", "files", "bytes", "verified", "source")
# The volume may have changed since an older list.
FRESH_SECONDS = 60


def list_versions(loader: loader_jobs.Loader, name: str, *, wait_seconds: float) -> dict[str, str]:
    """Return a table of the versions of a data set that are on the volume.

    Args:
        loader: The loader's cluster, image and proxies.
        name: The data set.
        wait_seconds: The time to wait for the pod.

    Raises:
        problems.Blocked: No version is published, or the volume cannot be read.
        problems.Waiting: The pod has not ended yet; the next call uses its result.
    """
    job = maintenance_jobs.run(
        loader, loader_jobs.VERSIONS, name, wait_seconds, is_obsolete=_is_old
    )
    if not job.finished:
        raise problems.Waiting(f"the list of versions of {name} is not finished yet: run it again")
    if job.phase == job_observe.FAILED:
        raise problems.Blocked(f"data set {name}: {maintenance_jobs.read_error(job)}")
    entries = version_answers.read_versions(maintenance_jobs.read_log(loader, job))
    job_lifecycle.remove(loader.cluster, job.name)
    if entries is None:
        raise problems.Waiting(f"the list of versions of {name} is incomplete: run it again")
    rows = [COLUMNS, *map(_row, entries)]
    return {"name": name, "versions": show.format_table(rows), "count": str(len(entries))}


def _row(entry: version_answers.VersionEntry) -> tuple[str, ...]:
    verified = show.format_time(entry.verified)
    if verified and entry.differences:
        verified = f"{verified}: {entry.differences} differ"
    return (
        entry.version,
        "published" if entry.is_published else "kept",
        show.format_time(entry.published) or "-",
        show.format_number(entry.files) or "-",
        show.format_number(entry.bytes) or "-",
        verified or "never",
        entry.source or "-",
    )


def _is_old(job: job_observe.ObservedJob) -> bool:
    return job.finished and time.time() - job.ended > FRESH_SECONDS
