"""What the pods of a Job have in their logs: the end of each, in a bounded time."""

from __future__ import annotations

import time

import problems
from cluster import client, errors
from cluster.jobs import job_observe

_LINES = 3
_TIMEOUT_SECONDS = 10.0


def read_ends(
    cluster: client.Cluster, state: job_observe.ObservedJob, container: str
) -> dict[int, str]:
    """The last lines of the log of each pod that runs, by index.

    Args:
        cluster: The cluster.
        state: The Job with its pods.
        container: The container that is asked.

    Returns:
        Those that were to be had: a node that does not answer is no reason to wait for long.
    """
    found: dict[int, str] = {}
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    for pod in state.pods:
        if pod.phase != job_observe.RUNNING or time.monotonic() > deadline:
            continue
        try:
            found[pod.index] = cluster.log(pod.name, container, tail_lines=_LINES)
        except errors.UnreachableError:
            break
        except problems.Waiting:
            continue
    return found
