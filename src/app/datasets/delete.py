"""Run delete-dataset: stop the data set's Jobs, delete its files and its index record."""

from __future__ import annotations

import dataclasses

import problems
from app.datasets import index, loader_jobs, maintenance_jobs, observe, update_index
from cluster import file_system_users
from cluster.jobs import job_lifecycle, job_observe
from cluster.volumes import volume_resources
from datasets import answers, protocol
from datasets.loader.store import volume


def delete(
    loader: loader_jobs.Loader, name: str, *, force: bool, wait_seconds: float
) -> dict[str, str]:
    """Delete a data set with all its versions, and the files of unfinished loads.

    It can be run again after any interruption.

    Args:
        loader: The loader's cluster, image and proxies.
        name: The data set.
        force: Whether to delete it even if pods may be reading it.
        wait_seconds: The time to wait for the end.

    Returns:
        The current state, as an action's results.

    Raises:
        problems.Blocked: Pods use it, or there is no such data set, or the deletion failed.
        problems.Waiting: Pods of its other Jobs have not ended yet.
    """
    cluster = loader.cluster
    observed = observe.observe(loader.index, name)
    deletion = job_observe.observe(cluster, loader_jobs.job_name(loader_jobs.DELETE, name))

    def is_obsolete(job: job_observe.ObservedJob) -> bool:
        """Tell whether a Job deleted what was there before the present data set."""
        present = observed is not None and observed.record.state != index.DELETING
        return present and protocol.NOTED_LABEL in job.labels

    if deletion is None or deletion.file_system != loader.file_system or is_obsolete(deletion):
        if not force:
            _check_users(loader, name)
        for kind in (loader_jobs.LOAD, loader_jobs.VERIFY, loader_jobs.ROLLBACK):
            job = loader_jobs.job_name(kind, name)
            if job_lifecycle.remove(cluster, job):
                job_lifecycle.wait_gone(cluster, job)
        if observed:
            loader.index.save(dataclasses.replace(observed.record, state=index.DELETING))
    deletion = maintenance_jobs.run(
        loader, loader_jobs.DELETE, name, wait_seconds, is_obsolete=is_obsolete
    )
    if not deletion.finished:
        progress = maintenance_jobs.read_progress(loader, deletion)
        return {
            "name": name,
            "state": index.DELETING,
            "progress": answers.format_progress(progress) if progress else "not started yet",
            "next": "the deletion continues; run delete-dataset again to see whether it is done",
        }
    if deletion.phase == job_observe.FAILED:
        raise problems.Blocked(f"data set {name}: {maintenance_jobs.read_error(deletion)}")
    result = answers.read_outcome(deletion.message)
    files = result.files if isinstance(result, answers.Progress) else 0
    if observed is None and not files and protocol.NOTED_LABEL not in deletion.labels:
        job_lifecycle.remove(cluster, deletion.name)
        raise problems.Blocked(
            f"there is no data set {name}: run list-datasets to see all data sets"
        )
    # The Job stays for a while: its label tells the same request, repeated, that all is done.
    update_index.finish_deletion(loader.index, name, deletion)
    return {"name": name, "state": protocol.DELETED, "files": str(files)}


def _check_users(loader: loader_jobs.Loader, name: str) -> None:
    link = f"{volume.DATASETS}/{name}"
    home = f"{volume.DATASETS}/{volume.VERSIONS}/{name}"
    users = file_system_users.observe(loader.cluster, loader.file_system).seeing((link, home))
    if users:
        pods = volume_resources.format_pods(users)
        raise problems.Blocked(
            f"data set {name} may be in use by {pods}: delete them, "
            "or set force=true to delete it anyway"
        )
