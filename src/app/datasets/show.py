"""Run list-datasets and show-dataset."""

from __future__ import annotations

import dataclasses
import posixpath
import time
from collections.abc import Iterator, Sequence

import problems
from app.datasets import index, loader_jobs, observe, refresh_index
from cluster.jobs import job_observe, pod_observe
from datasets import answers

COLUMNS = ("name", "state", "size", "files", "age", "source")
MOUNT = """\
volumes:
  - name: data
    persistentVolumeClaim:
      claimName: {claim}
containers:
  - volumeMounts:
      - name: data
        mountPath: /data
        subPath: {sub_path}
        readOnly: true"""
NONE = "none: run create-dataset to load one"


def table(loader: loader_jobs.Loader, *, refresh: bool, wait_seconds: float) -> dict[str, str]:
    """Return a table of all data sets.

    Args:
        loader: The loader's cluster, image and proxies.
        refresh: Whether to run an inventory of the volume even if the index is complete.
        wait_seconds: The time to wait for the inventory.

    Raises:
        problems.Problem: An inventory of the volume is needed, and failed or takes longer.
    """
    observed = observe.observe_all(loader.index)
    not_used = list(_not_used(observed))
    if refresh or refresh_index.is_needed_by_any(observed):
        refresh_index.refresh(loader, wait_seconds)
        observed = observe.observe_all(loader.index)
    rows = [_row(observed.there[name]) for name in sorted(observed.there)]
    table_ = format_table([COLUMNS, *rows]) if rows else NONE
    results = {"datasets": table_, "count": str(len(rows))}
    if not_used:
        results["records-not-used"] = "\n".join(not_used)
    return results


def details(
    loader: loader_jobs.Loader,
    name: str,
    *,
    claim: str,
    claim_path: str,
    namespaces: Sequence[str],
    wait_seconds: float,
) -> dict[str, str]:
    """Return all details of a data set.

    Args:
        loader: The loader's cluster, image and proxies.
        name: The data set.
        claim: The name of the claim that pods mount.
        claim_path: The directory of the file system that the claim shows.
        namespaces: The namespaces that have that claim.
        wait_seconds: The time to wait for an inventory of the volume, if it is needed.

    Raises:
        problems.Problem: There is no such data set, or an inventory of the volume is needed, and
            failed or takes longer.
    """
    observed = observe.observe(loader.index, name)
    if refresh_index.is_needed(observed):
        refresh_index.refresh(loader, wait_seconds)
        observed = observe.observe(loader.index, name)
    if observed is None:
        raise problems.Blocked(
            f"there is no data set {name}: run list-datasets to see all data sets, or "
            "create-dataset to load it"
        )
    record = observed.record
    results = {
        "name": name,
        "state": record.state,
        "source": record.source,
        "progress": _progress(observed),
        "pods": "\n".join(_pods(observed)),
        "parallelism": str(record.parallelism) if observed.job else "",
        "created": format_time(record.created),
        "last-error": record.error,
    }
    if record.version:
        results |= {
            "path": record.path,
            "mount": MOUNT.format(
                claim=claim, sub_path=posixpath.relpath(record.path, claim_path)
            ),
            "storage-uri": f"pvc://{claim}/{posixpath.relpath(record.path, claim_path)}",
            "namespaces": " ".join(namespaces),
            "files": format_number(record.files),
            "bytes": format_number(record.bytes),
            "size": _size(record.bytes),
            "checksum": record.checksum,
            "seconds": str(record.seconds or ""),
            "published": format_time(record.published),
            "verified": format_time(record.verified),
            "version": record.version,
        }
    results["next"] = _next(observed)
    return {key: text for key, text in results.items() if text}


def _not_used(observed: observe.ObservedDatasets) -> Iterator[str]:
    """Yield a line for each record of the index that is not believed."""
    for name in sorted(observed.others):
        line = f"the record of data set {name} {observed.others[name]}"
        yield f"{line}: the volume was read instead" if name in observed.doubtful else line


def _row(observed: observe.ObservedDataset) -> tuple[str, ...]:
    record, progress = observed.record, observed.progress
    state = record.state
    if progress and progress.percent is not None and state == index.TRANSFERRING:
        state = f"{state} {answers.format_percent(progress.percent)}"
    files, size = record.files, record.bytes
    if progress and not record.ended and not record.version:
        files, size = progress.files, progress.bytes
    age = time.time() - (record.published or record.created)
    return (
        record.name,
        state,
        _size(size) or "-",
        format_number(files) or "-",
        answers.format_duration(max(0, age)) if record.published or record.created else "-",
        record.source or "-",
    )


def _progress(observed: observe.ObservedDataset) -> str:
    progress = observed.progress
    if observed.record.ended:
        return ""
    parts: list[str] = []
    if progress is not None:
        told = dataclasses.replace(progress, state=observed.record.state)
        parts.append(answers.format_progress(told))
    if observed.unread:
        which = ", ".join(map(str, observed.unread))
        parts.append(f"the log of pod {which} cannot be read now: is its node up?")
    return "; ".join(parts)


def _pods(observed: observe.ObservedDataset) -> Iterator[str]:
    """Yield a line for each pod of a load that is running or has failed."""
    job = observed.job
    if job is None or observed.record.state == index.PUBLISHED:
        return
    progress = {each.index: each for each in observed.pods}
    for pod in job.pods:
        state = _pod_state(pod, progress.get(pod.index), given_up=pod.index in job.failed)
        yield f"{pod.index}: {state}" + (f" (on {pod.node})" if pod.node else "")
    gone = job.completed - {pod.index for pod in job.pods}
    for each in sorted(gone):
        yield f"{each}: done"
    missing = job.parallelism - len(job.pods) - len(gone)
    if missing > 0 and not job.finished:
        yield f"{missing} more are not created yet"


def _pod_state(
    pod: pod_observe.ObservedPod, progress: answers.Progress | None, *, given_up: bool
) -> str:
    error = observe.pod_error(pod)
    if pod.cause:
        return f"{pod.phase}: {pod.cause.sentence}"
    if pod.phase == job_observe.FAILED:
        again = f"failed, is tried again: {observe.without_retry(error)}"
        return f"failed: {error}" if given_up else again
    state = answers.format_progress(progress) if progress else pod.phase
    return f"{state}; before that: {observe.without_retry(error)}" if error else state


def _next(observed: observe.ObservedDataset) -> str:
    record = observed.record
    if record.state == index.FAILED:
        retry = "run create-dataset with the same parameters to try again"
        return f"{retry}; version {record.version} stays until then" if record.version else retry
    if record.state == index.PUBLISHED:
        return "run create-dataset with overwrite=true to load it again" if record.error else ""
    if record.version and record.state != index.DELETING:
        return f"readers see version {record.version} until the new one is published"
    return ""


def _size(count: int | None) -> str:
    return "" if count is None else answers.format_size(count)


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text, each in a line, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(map(str.rstrip, lines))


def format_number(count: int | None) -> str:
    """Return a number as text; empty where it is unknown."""
    return "" if count is None else str(count)


def format_time(seconds: float) -> str:
    """Return a time as text, in UTC; empty for none."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else ""
