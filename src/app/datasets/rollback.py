"""Run rollback: a pod publishes the version before the published one again, or a certain one."""

from __future__ import annotations

import problems
from app.datasets import index, loader_jobs, maintenance_jobs, show, update_index
from cluster.jobs import job_lifecycle, job_observe
from datasets import protocol, version_answers

ROLLING_BACK = "rolling back"
# The Jobs that must have ended before a rollback begins, and what each does.
_OTHERS = {
    loader_jobs.LOAD: "loaded",
    loader_jobs.VERIFY: "verified",
    loader_jobs.DELETE: "deleted",
}


def roll_back(
    loader: loader_jobs.Loader, name: str, *, version: str, wait_seconds: float
) -> dict[str, str]:
    """Publish another version of a data set that is on the volume.

    It can be run again after any interruption.

    Args:
        loader: The loader's cluster, image and proxies.
        name: The data set.
        version: The version; empty for the one before the published one.
        wait_seconds: The time to wait for the end.

    Returns:
        The current state, as an action's results.

    Raises:
        problems.Blocked: There is no such version, or the rollback failed or is stuck.
        problems.Waiting: Another Job of the data set has not ended yet.
    """
    cluster = loader.cluster

    def is_obsolete(job: job_observe.ObservedJob) -> bool:
        """Tell whether a Job did what is not asked for now."""
        reported = protocol.REPORTED_LABEL in job.labels
        return job.finished and (reported or _wanted(job) != version)

    earlier = job_observe.observe(cluster, loader_jobs.job_name(loader_jobs.ROLLBACK, name))
    goes_on = earlier and earlier.file_system == loader.file_system and not is_obsolete(earlier)
    if not goes_on:
        _check_others(loader, name)
    job = maintenance_jobs.run(
        loader,
        loader_jobs.ROLLBACK,
        name,
        wait_seconds,
        version=version,
        is_obsolete=is_obsolete,
    )
    if not job.finished:
        return {
            "name": name,
            "state": ROLLING_BACK if job.phase == job_observe.RUNNING else index.QUEUED,
            "next": "the rollback continues; run rollback again to see its result",
        }
    update_index.save_rollback(loader.index, job)
    if job.phase == job_observe.FAILED:
        raise problems.Blocked(f"data set {name}: {maintenance_jobs.read_error(job)}")
    told = version_answers.read_rolled_back(job.message)
    job_lifecycle.label(cluster, job.name, {protocol.REPORTED_LABEL: "true"})
    if told is None:
        raise problems.Blocked(
            f"data set {name} was rolled back, but the pod's message is lost: run list-versions"
        )
    return _results(name, told)


def check(loader: loader_jobs.Loader, name: str) -> None:
    """Refuse while a rollback of a data set runs, and save the result of one that has ended.

    Args:
        loader: The loader's cluster, image and proxies.
        name: The data set.

    Raises:
        problems.Waiting: A rollback has not ended yet.
    """
    job = job_observe.observe(loader.cluster, loader_jobs.job_name(loader_jobs.ROLLBACK, name))
    if job is None or job.file_system != loader.file_system:
        return
    if not job.finished:
        raise problems.Waiting(
            f"data set {name} is being rolled back: run rollback, then this action again"
        )
    update_index.save_rollback(loader.index, job)


def _wanted(job: job_observe.ObservedJob) -> str:
    return job.annotations.get(protocol.VERSION_ANNOTATION, "")


def _check_others(loader: loader_jobs.Loader, name: str) -> None:
    for kind, what in _OTHERS.items():
        job = job_observe.observe(loader.cluster, loader_jobs.job_name(kind, name))
        if job and not job.finished and job.file_system == loader.file_system:
            raise problems.Waiting(
                f"data set {name} is being {what}: wait for its end, then run rollback again"
            )


def _results(name: str, told: version_answers.RolledBack) -> dict[str, str]:
    published = told.published
    back = f"; rollback version={told.replaced} returns to that one" if told.replaced else ""
    results = {
        "name": name,
        "state": index.PUBLISHED,
        "version": published.version,
        "replaced": told.replaced,
        "published": show.format_time(published.published),
        "files": show.format_number(published.files),
        "bytes": show.format_number(published.bytes),
        "source": published.source,
        "next": f"start containers that mount it by subPath again: they keep {told.replaced}{back}"
        if told.replaced
        else "nothing: it was the published version already",
    }
    return {key: text for key, text in results.items() if text}
