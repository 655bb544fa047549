"""Run teardown: delete the application's objects in the cluster, then those in AWS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import problems
from app import obstacles, reconcile
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
    targets = file_system.list_mount_targets(aws, existing.id) if existing else ()
    served = bool(targets)
    users: list[str] = []
    if existing and cluster is not None:
        addresses = [target.address for target in targets]
        users = obstacles.find_foreign_users(cluster, existing.id, addresses)
    deadline = time.monotonic() + timeout_seconds
    if not params.dry_run:
        if existing and params.confirm != existing.id:
            raise problems.Blocked(_refusal(cluster, existing.id, existing.size_bytes))
        if users and not params.force:
            raise problems.Blocked(
                f"nothing was deleted: others use the file system, too: delete "
                f"{obstacles.name_some(users)}, or set force=true"
            )
        if served and connection.problem and not params.force:
            raise problems.Blocked(
                f"the cluster is out of reach ({connection.problem.message}): relate it again, "
                "or set force=true to leave its objects in place"
            )
        if cluster is not None:
            volume_removal.await_users(cluster, timeout_seconds)
        teardown.mark(aws, owner)
    lines = [f"used by {each}" for each in users]
    if cluster is None and served:
        lines += [f"stays in the cluster: {each}" for each in reconcile.cluster_objects(context)]
    for line in lines:
        report(line)
    if cluster is not None:
        lines += volume_removal.remove(
            cluster,
            report=report,
            timeout_seconds=deadline - time.monotonic(),
            dry_run=params.dry_run,
        )
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
    if names := _data_sets(cluster, file_system_id):
        content += f", data sets {', '.join(names)}"
    return (
        f"nothing was deleted: teardown permanently deletes {file_system_id} with all its data "
        f"({content}): to confirm that, run it with confirm={file_system_id}"
    )


def _data_sets(cluster: client.Cluster | None, file_system_id: str) -> list[str]:
    """Return the names of the data sets that are published or being loaded, as far as known."""
    if cluster is None:
        return []
    try:
        known = index.Index(cluster, file_system_id).read().records
    except problems.Problem:
        return []
    return sorted(name for name, each in known.items() if each.version or not each.ended)
