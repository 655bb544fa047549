"""create-dataset: a data set becomes a Job in our namespace, and the Job's end an answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import problems
from app.datasets import index, loader_jobs, observe, update_index
from cluster.jobs import job_lifecycle, job_observe
from datasets import answers, dataset

if TYPE_CHECKING:
    from cluster import client


def create(
    loader: loader_jobs.Loader,
    wanted: dataset.Dataset,
    *,
    credentials: Mapping[str, str],
    secrets: Mapping[str, str],
    wait_seconds: float,
) -> dict[str, str]:
    """Put a data set on the volume, or report on the one that is being put there, or is there.

    Args:
        loader: Where the loader runs.
        wanted: The data set.
        credentials: What opens its sources.
        secrets: What of the user's own loader's environment comes from Juju secrets.
        wait_seconds: How long to wait for the result.

    Returns:
        The state so far, as an action's results.

    Raises:
        problems.Blocked: There is another one of that name, or it failed or is stuck: the loader's
            own last error, or the pod's own event.
        problems.Waiting: What was there before is still going.
    """
    cluster = loader.cluster
    _check_deletion(loader, wanted.name)
    seen = _look(cluster, wanted.name)
    if _is_to_start(seen, wanted):
        _start(loader, wanted, seen, credentials=credentials, secrets=secrets)
    elif seen and seen.job and seen.job.phase == job_observe.QUEUED:
        # It may have been cut off between its parts: starting it again goes on.
        request = seen.record.request
        again = loader_jobs.load(loader, wanted, request, credentials=credentials, secrets=secrets)
        job_lifecycle.start(cluster, again)
    elif seen and seen.record.ended:
        return _answer(loader, seen)
    job_lifecycle.wait(
        cluster,
        loader_jobs.job_name(loader_jobs.LOAD, wanted.name),
        wait_seconds,
        observe.is_published,
    )
    seen = _look(cluster, wanted.name)
    if seen is None or (seen.job is None and not seen.record.ended):
        raise problems.Waiting(f"data set {wanted.name} was deleted meanwhile: run it again")
    return _answer(loader, seen)


def _look(cluster: client.Cluster, name: str) -> observe.Seen | None:
    seen = observe.look(cluster, name)
    if seen:
        update_index.save(cluster, seen)
    return seen


def _check_deletion(loader: loader_jobs.Loader, name: str) -> None:
    """Remove what an interrupted deletion has left; refuse while one goes on."""
    job = loader_jobs.job_name(loader_jobs.DELETE, name)
    deletion = job_observe.observe(loader.cluster, job)
    if deletion is None:
        return
    if not deletion.finished:
        raise problems.Waiting(
            f"data set {name} is being deleted: run delete-dataset again to see that it has gone"
        )
    job_lifecycle.remove(loader.cluster, job)
    if deletion.phase == job_observe.SUCCEEDED:
        index.forget(loader.cluster, name)


def _is_to_start(seen: observe.Seen | None, wanted: dataset.Dataset) -> bool:
    """Return whether to start a Job, in place of what was there.

    Raises:
        problems.Blocked: Something else is there, and is not to be replaced.
    """
    if seen is None:
        return True
    record, job = seen.record, seen.job
    if record.state == index.FAILED and not record.version:
        return True
    if record.fingerprint != wanted.fingerprint():
        if not wanted.overwrite:
            raise problems.Blocked(
                f"data set {wanted.name} exists with other parameters (from "
                f"{record.source or 'elsewhere'}): overwrite=true replaces it"
            )
        return True
    if record.state == index.PUBLISHED:
        # A request whose publication was not reported yet is reported before the next one begins.
        return wanted.overwrite and record.is_answered
    # What is stuck has not begun: a new Job has the settings that mend it.
    return record.state == index.FAILED or job is None or job.stuck


def _start(
    loader: loader_jobs.Loader,
    wanted: dataset.Dataset,
    seen: observe.Seen | None,
    *,
    credentials: Mapping[str, str],
    secrets: Mapping[str, str],
) -> None:
    cluster, request = loader.cluster, dataset.new_request()
    job = loader_jobs.load(loader, wanted, request, credentials=credentials, secrets=secrets)
    if seen and seen.job:
        job_lifecycle.remove(cluster, job.name)
        job_lifecycle.wait_gone(cluster, job.name)
    record = dataclasses.replace(
        seen.record if seen else index.Record(wanted.name),
        state=index.QUEUED,
        source=wanted.shown_source,
        fingerprint=wanted.fingerprint(),
        request=request,
        created=round(time.time()),
        parallelism=wanted.parallelism,
        error="",
    )
    index.save(cluster, record)
    job_lifecycle.start(cluster, job)


def _answer(loader: loader_jobs.Loader, seen: observe.Seen) -> dict[str, str]:
    record = seen.record
    if record.state == index.PUBLISHED:
        if not record.is_answered:
            answered = dataclasses.replace(record, answered=record.request)
            index.save(loader.cluster, answered)
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
    if seen.job and seen.job.cause:
        raise problems.Blocked(f"data set {record.name} is stuck: {seen.job.cause.sentence}")
    answer = {"name": record.name, "source": record.source, "state": record.state}
    progress = seen.progress
    if progress:
        answer |= {
            "progress": answers.words(dataclasses.replace(progress, state=record.state)),
            "files": str(progress.files),
            "bytes": str(progress.bytes),
        }
        if progress.percent is not None:
            answer["percent"] = str(progress.percent)
        if progress.eta is not None:
            answer |= {"rate": f"{answers.size(progress.rate)}/s"}
            answer |= {"eta": answers.duration(progress.eta)}
    if record.error:
        answer["last-error"] = record.error
    job = loader_jobs.job_name(loader_jobs.LOAD, record.name)
    logs = f"kubectl -n {loader.cluster.namespace} logs -f --all-containers job/{job}"
    return answer | {
        "next": f"it goes on; run create-dataset again to see how far it is, or {logs}"
    }


def _number(count: int | None) -> str:
    return "" if count is None else str(count)
