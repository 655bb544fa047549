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
) -> dict[int, str | None]:
    """Return the last lines of the log of each running pod, by index.

    Args:
        cluster: The cluster.
        job: The Job with its pods.
        container: The container whose log is read.

    Returns:
        The logs; None for one that could not be read in time, since a node may not answer.
    """
    running = [pod for pod in job.pods if pod.phase == job_observe.RUNNING]
    ends: dict[int, str | None] = {pod.index: None for pod in running}
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    for pod in running:
        if time.monotonic() > deadline:
            break
        try:
            ends[pod.index] = cluster.log(pod.name, container, tail_lines=_LINES)
        except errors.UnreachableError:
            break
        except problems.Waiting:
            continue
    return ends
