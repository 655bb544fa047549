"""Run teardown: delete the application's objects in the cluster, then those in AWS."""

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
    report: Callable[[str], None],
    timeout_seconds: float,
) -> list[str]:
    """Delete everything that the application created, or only list it.

    It can be run again after any interruption.

    Args:
        context: The inputs.
        params: The action's parameters.
        report: Called with a line for each deleted object.
        timeout_seconds: The time for pods, claims and AWS together.

    Returns:
        The reported lines.

    Raises:
        problems.Blocked: It is not confirmed, or there is no cluster; nothing was changed.
        problems.Waiting: Objects are still in use or being deleted: run it again.
    """
    with reconcile.connect(context) as connection:
        return _run(context, connection, params, report, timeout_seconds)


def _run(
    context: reconcile.Context,
    connection: reconcile.ClusterConnection,
    params: action_params.TeardownParams,
    report: Callable[[str], None],
    timeout_seconds: float,
) -> list[str]:
    aws, owner, cluster = context.aws, context.owner, connection.cluster
    existing = file_system.find(aws, owner)
    # The cluster's objects are created after the first mount target, and deleted before the last.
    served = bool(existing and file_system.list_mount_targets(aws, existing.id))
    if not params.dry_run:
        if existing and params.confirm != existing.id:
            raise problems.Blocked(_refusal(cluster, existing.id, existing.size_bytes))
        if served and connection.problem and not params.force:
            raise problems.Blocked(
                f"the cluster is out of reach ({connection.problem.message}): relate it again, "
                "or set force=true to leave its objects in place"
            )
        teardown.mark(aws, owner)
    deadline = time.monotonic() + timeout_seconds
    lines: list[str] = []
    if cluster is not None:
        lines += volume_removal.remove(
            cluster, report=report, timeout_seconds=timeout_seconds, dry_run=params.dry_run
        )
    elif served:
        lines += [f"stays in the cluster: {each}" for each in reconcile.cluster_objects(context)]
        for line in lines:
            report(line)
    return lines + teardown.teardown(
        aws,
        owner,
        report=report,
        timeout_seconds=deadline - time.monotonic(),
        dry_run=params.dry_run,
    )


def _refusal(cluster: client.Cluster | None, file_system_id: str, size_bytes: int) -> str:
    """Return the refusal with the size and data sets of the file system; pods write data, too."""
    content = f"{size_bytes:,} bytes as AWS last metered"
    if names := sorted(_data_sets(cluster)):
        content += f", data sets {', '.join(names)}"
    return (
        f"nothing was deleted: teardown permanently deletes {file_system_id} with all its data "
        f"({content}): to confirm that, run it with confirm={file_system_id}"
    )


def _data_sets(cluster: client.Cluster | None) -> Iterator[str]:
    """Return the names of the data sets that are published or being loaded."""
    known = index.read(cluster) if cluster is not None else {}
    return (name for name, each in known.items() if each.version or not each.ended)
