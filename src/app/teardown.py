"""Teardown: the cluster's half, then AWS's; only what is ours, resumable at any point."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import problems
from app import reconcile
from app.datasets import index
from aws import file_system, teardown
from cluster.volumes import volume_removal

if TYPE_CHECKING:
    import action_params
    from cluster import client


def run(
    context: reconcile.Context,
    params: action_params.TeardownParams,
    say: Callable[[str], None],
    timeout_seconds: float,
) -> list[str]:
    """Delete all that is the application's, or only list it.

    Args:
        context: The inputs.
        params: The action's parameters.
        say: Called with a line for each thing as it goes.
        timeout_seconds: How long to wait for pods, claims and AWS together.

    Returns:
        Those lines.

    Raises:
        problems.Blocked: It is not confirmed, or there is no cluster; nothing was changed.
        problems.Waiting: Something is still in use or going: run again, it goes on from there.
    """
    with reconcile.reach(context) as reached:
        return _run(context, reached, params, say, timeout_seconds)


def _run(
    context: reconcile.Context,
    reached: reconcile.Reach,
    params: action_params.TeardownParams,
    say: Callable[[str], None],
    timeout_seconds: float,
) -> list[str]:
    aws, owner, cluster = context.aws, context.owner, reached.cluster
    found = file_system.find(aws, owner)
    # The cluster's half is made after the first mount target, and goes before the last.
    served = bool(found and file_system.list_mount_targets(aws, found.id))
    if not params.dry_run:
        if found and params.confirm != found.id:
            raise problems.Blocked(_refusal(cluster, found.id, found.size_bytes))
        if served and reached.problem and not params.force:
            raise problems.Blocked(
                f"the cluster is out of reach ({reached.problem.message}): relate it again, "
                "or force=true leaves what is in it"
            )
        teardown.mark(aws, owner)
    deadline = time.monotonic() + timeout_seconds
    lines: list[str] = []
    if cluster is not None:
        lines += volume_removal.remove(
            cluster, report=say, timeout_seconds=timeout_seconds, dry_run=params.dry_run
        )
    elif served:
        lines += [f"stays in the cluster: {each}" for each in reconcile.cluster_objects(context)]
        for line in lines:
            say(line)
    return lines + teardown.teardown(
        aws,
        owner,
        report=say,
        timeout_seconds=deadline - time.monotonic(),
        dry_run=params.dry_run,
    )


def _refusal(cluster: client.Cluster | None, file_system_id: str, size_bytes: int) -> str:
    """Name what would be lost. Pods write too, so the size counts, not only our data sets."""
    content = f"{size_bytes:,} bytes as AWS last metered"
    if names := sorted(_data_sets(cluster)):
        content += f", data sets {', '.join(names)}"
    return (
        f"nothing was deleted: this deletes {file_system_id} with all its data ({content}) for "
        f"good; if that is meant, run it with confirm={file_system_id}"
    )


def _data_sets(cluster: client.Cluster | None) -> Iterator[str]:
    """Return the names of those that are there, or are being loaded."""
    known = index.read(cluster) if cluster is not None else {}
    return (name for name, each in known.items() if each.version or not each.ended)
