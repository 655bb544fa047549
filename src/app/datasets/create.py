"""Run create-dataset: start a load's Job, and return its progress or result."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping

import problems
from app.datasets import index, loader_jobs, observe, rollback, update_index
from cluster import digest_key, service_networks
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers, dataset, request_ids


def create(
    loader: loader_jobs.Loader,
    desired: dataset.Dataset,
    *,
    credentials: Mapping[str, str],
    secrets: Mapping[str, str],
    wait_seconds: float,
) -> dict[str, str]:
    """Load a data set, or report on its load or on the published one.

    Args:
        loader: The loader's cluster, image and proxies.
        desired: The data set.
        credentials: The credentials for its sources.
        secrets: The custom loader's environment variables from Juju secrets.
        wait_seconds: The time to wait for the result.

    Returns:
        The current state, as an action's results.

    Raises:
        problems.Blocked: Another data set has this name, or the load failed or is stuck; the
            message contains the loader's last error or the pod's event.
        problems.Waiting: A deletion or an earlier Job has not ended yet.
    """
    cluster = loader.cluster
    if desired.needs_digest_key:
        desired = dataclasses.replace(desired, digest_key=digest_key.read(cluster))
    _check_deletion(loader, desired.name)
    rollback.check(loader, desired.name)
    observed = _observe(loader, desired.name)
    if _must_start(observed, desired):
        _start(loader, desired, observed, credentials=credentials, secrets=secrets)
    elif observed and observed.job and observed.job.phase == job_observe.QUEUED:
        # An earlier start may have been interrupted: another start completes it.
        request = observed.record.request
        job_lifecycle.start(cluster, _job(loader, desired, request, credentials, secrets))
    elif observed and observed.record.ended and _has_ended(observed.job):
        return _results(loader, observed)
    job_lifecycle.wait(
        cluster,
        loader_jobs.job_name(loader_jobs.LOAD, desired.name),
        wait_seconds,
        _is_decided,
    )
    observed = _observe(loader, desired.name)
    if observed is None or (observed.job is None and not observed.record.ended):
        raise problems.Waiting(
            f"data set {desired.name} was deleted meanwhile: run create-dataset again"
        )
    return _results(loader, observed)


def _has_ended(job: job_observe.ObservedJob | None) -> bool:
    """Tell whether nothing is to be waited for, neither a result nor the end of its Job."""
    return job is None or job.finished or _is_decided(job)


def _is_decided(job: job_observe.ObservedJob) -> bool:
    """Tell whether a pod has published the data set, and others are still running.

    Without others, the Job ends in a moment, and with it the need for its Secret.
    """
    ended = {job_observe.SUCCEEDED, job_observe.FAILED}
    return observe.is_published(job) and any(pod.phase not in ended for pod in job.pods)


def _observe(loader: loader_jobs.Loader, name: str) -> observe.ObservedDataset | None:
    observed = observe.observe(loader.index, name)
    if observed:
        update_index.save(loader.index, observed)
    return observed


def _check_deletion(loader: loader_jobs.Loader, name: str) -> None:
    """Remove the Job of an earlier deletion; refuse while a deletion runs."""
    job = loader_jobs.job_name(loader_jobs.DELETE, name)
    deletion = job_observe.observe(loader.cluster, job)
    if deletion is None:
        return
    if not deletion.finished and deletion.file_system == loader.file_system:
        raise problems.Waiting(
            f"data set {name} is being deleted: run delete-dataset again to see whether it is gone"
        )
    job_lifecycle.remove(loader.cluster, job)
    if deletion.phase == job_observe.SUCCEEDED and deletion.file_system == loader.file_system:
        record = loader.index.find(name)
        if record is not None and record.state == index.DELETING:
            loader.index.delete(name)


def _must_start(observed: observe.ObservedDataset | None, desired: dataset.Dataset) -> bool:
    """Return whether to start a new Job, which replaces an earlier one.

    Raises:
        problems.Blocked: There is another data set, and overwrite is not set.
    """
    if observed is None:
        return True
    record, job = observed.record, observed.job
    if record.state == index.FAILED and not record.version:
        return True
    if record.fingerprint != desired.fingerprint():
        if not desired.overwrite:
            raise problems.Blocked(
                f"data set {desired.name} exists with other parameters (from "
                f"{record.source or 'an unknown source'}): set overwrite=true to replace it"
            )
        return True
    if record.state == index.PUBLISHED:
        # A publication that was not reported yet is reported before the next load starts.
        return desired.overwrite and record.is_answered
    # The pods of a stuck Job have not started: a new Job gets the current settings.
    return record.state == index.FAILED or job is None or job.stuck


def _job(
    loader: loader_jobs.Loader,
    desired: dataset.Dataset,
    request: str,
    credentials: Mapping[str, str],
    secrets: Mapping[str, str],
) -> job_lifecycle.DesiredJob:
    """Return the Job of a load; its pods read no service of the cluster as a source."""
    if desired.schemes:
        networks = service_networks.find(loader.cluster)
        desired = dataclasses.replace(desired, cluster_networks=networks)
    return loader_jobs.load_job(loader, desired, request, credentials=credentials, secrets=secrets)


def _start(
    loader: loader_jobs.Loader,
    desired: dataset.Dataset,
    observed: observe.ObservedDataset | None,
    *,
    credentials: Mapping[str, str],
    secrets: Mapping[str, str],
) -> None:
    cluster, request = loader.cluster, request_ids.new()
    job = _job(loader, desired, request, credentials, secrets)
    # Its result is not that of the next rollback, which goes back to what is published now.
    job_lifecycle.remove(cluster, loader_jobs.job_name(loader_jobs.ROLLBACK, desired.name))
    # There may also be a Job of this name that belongs to a former file system.
    if job_lifecycle.remove(cluster, job.name):
        job_lifecycle.wait_gone(cluster, job.name)
    record = dataclasses.replace(
        observed.record if observed else index.DatasetRecord(desired.name),
        state=index.QUEUED,
        source=desired.shown_source,
        fingerprint=desired.fingerprint(),
        request=request,
        created=round(time.time()),
        parallelism=desired.parallelism,
        error="",
    )
    loader.index.save(record)
    job_lifecycle.start(cluster, job)


def _results(loader: loader_jobs.Loader, observed: observe.ObservedDataset) -> dict[str, str]:
    record = observed.record
    if record.state == index.PUBLISHED:
        if not record.is_answered:
            answered = dataclasses.replace(record, answered=record.request)
            loader.index.save(answered)
        return {
            "name": record.name,
            "source": record.source,
            "state": record.state,
            "path": record.path,
            "files": _number(record.files),
            "bytes": _number(record.bytes),
            "seconds": str(record.seconds),
            "checksum": record.checksum,
        } | ({"last-error": record.error} if record.error else {})
    if record.state == index.FAILED:
        raise problems.Blocked(f"data set {record.name}: {record.error}")
    if observed.job and observed.job.cause:
        raise problems.Blocked(f"data set {record.name} is stuck: {observed.job.cause.sentence}")
    results = {"name": record.name, "source": record.source, "state": record.state}
    progress = observed.progress
    if progress:
        results |= {
            "progress": answers.format_progress(dataclasses.replace(progress, state=record.state)),
            "files": str(progress.files),
            "bytes": str(progress.bytes),
        }
        if progress.percent is not None:
            results["percent"] = str(progress.percent)
        if progress.eta is not None:
            results |= {"rate": f"{answers.format_size(progress.rate)}/s"}
            results |= {"eta": answers.format_duration(progress.eta)}
    if record.error:
        results["last-error"] = record.error
    job = loader_jobs.job_name(loader_jobs.LOAD, record.name)
    logs = f"kubectl -n {loader.cluster.namespace} logs -f --all-containers job/{job}"
    return results | {
        "next": f"the load continues; run create-dataset again to see its progress, or {logs}"
    }


def _number(count: int | None) -> str:
    return "" if count is None else str(count)
