"""delete-dataset: what works on it is stopped, a pod deletes its files, and it is forgotten."""

from __future__ import annotations

import dataclasses

import problems
from app.datasets import index, loader_jobs, maintenance_jobs, observe
from cluster import mounts
from cluster.jobs import job_lifecycle, job_observe
from cluster.volumes import volume_resources
from datasets import answers, protocol
from datasets.loader.store import volume


def delete(
    loader: loader_jobs.Loader, name: str, *, force: bool, wait_seconds: float
) -> dict[str, str]:
    """Delete a data set with all of its versions, and what is left of loads of it.

    It can be cut off anywhere, and run again.

    Args:
        loader: Where the loader runs.
        name: The data set.
        force: Whether pods that may be reading it are no reason not to.
        wait_seconds: How long to wait for its end.

    Returns:
        The state so far, as an action's results.

    Raises:
        problems.Blocked: Pods use it, or there is no such data set, or it can not be deleted.
        problems.Waiting: What worked on it is still ending.
    """
    cluster = loader.cluster
    seen = observe.look(cluster, name)
    going = job_observe.observe(cluster, loader_jobs.job_name(loader_jobs.DELETE, name))
    if going is None:
        if not force:
            _check_users(loader, name)
        for kind in (loader_jobs.LOAD, loader_jobs.VERIFY):
            job = loader_jobs.job_name(kind, name)
            if job_lifecycle.remove(cluster, job):
                job_lifecycle.wait_gone(cluster, job)
        if seen:
            index.save(cluster, dataclasses.replace(seen.record, state=index.DELETING))
    state = maintenance_jobs.go(loader, loader_jobs.DELETE, name, wait_seconds)
    if not state.finished:
        line = maintenance_jobs.progress(loader, state)
        return {
            "name": name,
            "state": index.DELETING,
            "progress": answers.words(line) if line else "it has not begun yet",
            "next": "it goes on; run delete-dataset again to see that it has gone",
        }
    if state.phase == job_observe.FAILED:
        raise problems.Blocked(f"data set {name}: {maintenance_jobs.why(state)}")
    result = answers.outcome(state.message)
    files = result.files if isinstance(result, answers.Progress) else 0
    index.forget(cluster, name)
    job_lifecycle.remove(cluster, state.name)
    if seen is None and not files:
        raise problems.Blocked(f"there is no data set {name}: list-datasets tells which there are")
    return {"name": name, "state": protocol.DELETED, "files": str(files)}


def _check_users(loader: loader_jobs.Loader, name: str) -> None:
    link = f"{volume.DATASETS}/{name}"
    home = f"{volume.DATASETS}/{volume.VERSIONS}/{name}"
    users = mounts.find_users(loader.cluster, (link, home))
    if users:
        pods = volume_resources.format_pods(users)
        raise problems.Blocked(
            f"data set {name} may be in use by {pods}: delete them, "
            "or force=true deletes it under them"
        )
