"""Format data sets for list-datasets and show-dataset; neither changes the index by itself."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

import problems
from app.datasets import index, loader_jobs, observe, refresh_index
from cluster.jobs import job_observe
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
        subPath: {path}
        readOnly: true"""
NONE = "none: create-dataset puts one on the volume"


def table(loader: loader_jobs.Loader, *, refresh: bool, wait_seconds: float) -> dict[str, str]:
    """Return all data sets, a line each.

    Args:
        loader: Where the loader runs.
        refresh: Whether the volume is looked at, even where the index tells of all.
        wait_seconds: How long to wait for that.

    Raises:
        problems.Problem: The volume had to be looked at, and could not, or not in that time.
    """
    seen = observe.look_at_all(loader.cluster)
    if refresh or not seen or any(map(refresh_index.needed, seen.values())):
        refresh_index.take(loader, wait_seconds)
        seen = observe.look_at_all(loader.cluster)
    if not seen:
        return {"datasets": NONE, "count": "0"}
    rows = [_row(seen[name]) for name in sorted(seen)]
    return {"datasets": "\n".join(_lines([COLUMNS, *rows])), "count": str(len(rows))}


def details(
    loader: loader_jobs.Loader,
    name: str,
    *,
    claim: str,
    namespaces: Sequence[str],
    wait_seconds: float,
) -> dict[str, str]:
    """Return all that is known of a data set.

    Args:
        loader: Where the loader runs.
        name: The data set.
        claim: The claim that pods mount it from.
        namespaces: The namespaces that have that claim.
        wait_seconds: How long to wait for a look at the volume, where that is needed.

    Raises:
        problems.Problem: There is none of that name, or the volume had to be looked at, and could
            not, or not in that time.
    """
    seen = observe.look(loader.cluster, name)
    if refresh_index.needed(seen):
        refresh_index.take(loader, wait_seconds)
        seen = observe.look(loader.cluster, name)
    if seen is None:
        raise problems.Blocked(
            f"there is no data set {name}: list-datasets tells which there are, create-dataset "
            "makes it"
        )
    record = seen.record
    known = {
        "name": name,
        "state": record.state,
        "source": record.source,
        "progress": _progress(seen),
        "pods": "\n".join(_pods(seen)),
        "parallelism": str(record.parallelism) if seen.job else "",
        "created": _when(record.created),
        "last-error": record.error,
    }
    if record.version:
        known |= {
            "path": record.path,
            "mount": MOUNT.format(claim=claim, path=record.path.strip("/")),
            "namespaces": " ".join(namespaces),
            "files": _number(record.files),
            "bytes": _number(record.bytes),
            "size": _size(record.bytes),
            "checksum": record.checksum,
            "seconds": str(record.seconds or ""),
            "published": _when(record.published),
            "verified": _when(record.verified),
            "version": record.version,
        }
    known["next"] = _next(seen)
    return {key: text for key, text in known.items() if text}


def _row(seen: observe.Seen) -> tuple[str, ...]:
    record, progress = seen.record, seen.progress
    state = record.state
    if progress and progress.percent is not None and state == index.TRANSFERRING:
        state = f"{state} {progress.percent}%"
    files, size = record.files, record.bytes
    if progress and not record.ended and not record.version:
        files, size = progress.files, progress.bytes
    age = time.time() - (record.published or record.created)
    return (
        record.name,
        state,
        _size(size) or "-",
        _number(files) or "-",
        answers.duration(max(0, age)) if record.published or record.created else "-",
        record.source or "-",
    )


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _progress(seen: observe.Seen) -> str:
    progress = seen.progress
    if progress is None or seen.record.ended:
        return ""
    return answers.words(dataclasses.replace(progress, state=seen.record.state))


def _pods(seen: observe.Seen) -> Iterator[str]:
    """Yield a line for each pod of a load that goes on or has failed."""
    job = seen.job
    if job is None or seen.record.state == index.PUBLISHED:
        return
    lines = {progress.index: progress for progress in seen.pods}
    for pod in job.pods:
        said = _said(pod, lines.get(pod.index), given_up=pod.index in job.failed)
        yield f"{pod.index}: {said}" + (f" (on {pod.node})" if pod.node else "")
    missing = job.parallelism - len(job.pods)
    if missing > 0 and not job.finished:
        yield f"{missing} more have not been made yet"


def _said(
    pod: job_observe.ObservedPod, progress: answers.Progress | None, *, given_up: bool
) -> str:
    error = observe.pod_error(pod)
    if pod.cause:
        return f"{pod.phase}: {pod.cause.sentence}"
    if pod.phase == job_observe.FAILED:
        return f"{'failed' if given_up else 'failed, and is tried again'}: {error}"
    said = answers.words(progress) if progress else pod.phase
    return f"{said}; before that: {error}" if error else said


def _next(seen: observe.Seen) -> str:
    record = seen.record
    if record.state == index.FAILED:
        again = "create-dataset with the same parameters tries again"
        return f"{again}; version {record.version} stays until then" if record.version else again
    if record.state == index.PUBLISHED:
        return "overwrite=true makes it anew" if record.error else ""
    if record.version and record.state != index.DELETING:
        return f"readers have version {record.version} until the new one is there"
    return ""


def _number(count: int | None) -> str:
    return "" if count is None else str(count)


def _size(count: int | None) -> str:
    return "" if count is None else answers.size(count)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else ""
