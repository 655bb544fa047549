"""Read the last lines of the logs of a Job's pods, in a bounded time."""

from __future__ import annotations

import time

import problems
from cluster import client, errors
from cluster.jobs import job_observe

_LINES = 3
_TIMEOUT_SECONDS = 10.0


def read_ends(
    cluster: client.Cluster, job: job_observe.ObservedJob, container: str
) -> dict[int, str]:
    """Return the last lines of the log of each running pod, by index.

    Args:
        cluster: The cluster.
        job: The Job with its pods.
        container: The container whose log is read.

    Returns:
        The logs that could be read in time: a node may not answer.
    """
    ends: dict[int, str] = {}
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    for pod in job.pods:
        if pod.phase != job_observe.RUNNING or time.monotonic() > deadline:
            continue
        try:
            ends[pod.index] = cluster.log(pod.name, container, tail_lines=_LINES)
        except errors.UnreachableError:
            break
        except problems.Waiting:
            continue
    return ends
