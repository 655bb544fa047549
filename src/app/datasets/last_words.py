"""Remove secrets from the last words of a custom loader, which Kubernetes takes from its log."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from app.datasets import loader_jobs
from cluster.jobs import job_inputs
from datasets import protocol

if TYPE_CHECKING:
    from cluster import client, pods
    from cluster.jobs import job_observe

# Shorter values are in any text.
_LEAST_CHARACTERS = 4
_REMOVED = "***"


def redact(cluster: client.Cluster, job: job_observe.ObservedJob) -> job_observe.ObservedJob:
    """Return a Job whose pods' last words have no values of the Job's Secret.

    Where the Secret is gone they are left out: the index has kept them as they were told first.

    Args:
        cluster: The cluster.
        job: The Job.
    """
    ends = [end for pod in job.pods for end in (pod.termination, pod.previous_termination)]
    if not any(end and _is_theirs(end) for end in ends):
        return job
    secret = job_inputs.read_secret(cluster, job.name)
    values = None if secret is None else _values(secret)
    redacted = tuple(
        dataclasses.replace(
            pod,
            termination=_redact(pod.termination, values),
            previous_termination=_redact(pod.previous_termination, values),
        )
        for pod in job.pods
    )
    return dataclasses.replace(job, pods=redacted)


def _is_theirs(end: pods.Termination) -> bool:
    return end.container == loader_jobs.CUSTOM_LOADER and bool(end.message)


def _redact(
    end: pods.Termination | None, values: Collection[str] | None
) -> pods.Termination | None:
    if end is None or not _is_theirs(end):
        return end
    message = "" if values is None else end.message
    for value in values or ():
        message = message.replace(value, _REMOVED)
    return dataclasses.replace(end, message=message)


def _values(secret: Mapping[str, str]) -> list[str]:
    """Return the values that programs may show: whole, by line, or as in a URL; longest first."""
    found: set[str] = set()
    for name, value in secret.items():
        if name != protocol.TASK:
            found.update(part.strip() for part in (value, *value.splitlines()))
    found |= {urllib.parse.quote(each, safe="") for each in found}
    return sorted((each for each in found if len(each) >= _LEAST_CHARACTERS), key=len)[::-1]
