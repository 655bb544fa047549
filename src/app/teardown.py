"""Run teardown: delete the application's objects in the cluster, then those in AWS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import problems
from app import reconcile, reconcile_cluster
from app.datasets import index
from aws import inventory, obstacles, teardown
from cluster import file_system_users
from cluster.dynamic import provisioner_manifests, provisioner_removal
from cluster.volumes import volume_observe, volume_removal

if TYPE_CHECKING:
    import action_params
    from aws import resources
    from cluster import client

# Of the users of the file system, the most that get a line of their own.
_MOST_NAMED = 50


def run(
    context: reconcile.Context,
    params: action_params.TeardownParams,
    report: Callable[[str], None],
    stopped: Callable[[problems.Problem], None],
    timeout_seconds: float,
) -> list[str]:
    """Delete everything that the application created, or only list it.

    It can be run again after any interruption.

    Args:
        context: The inputs.
        params: The action's parameters.
        report: Called with a line for each deleted object.
        stopped: Called with what stands and what is gone where it fails half-way.
        timeout_seconds: The time for pods, claims and AWS together.

    Returns:
        The reported lines.

    Raises:
        problems.Blocked: It is not confirmed, or something would refuse it; nothing was changed.
        problems.Waiting: Objects are still in use or being deleted: run it again.
    """
    lines: list[str] = []

    def report_line(line: str) -> None:
        lines.append(line)
        report(line)

    with reconcile.connect(context) as connection:
        standing = inventory.observe(context.aws, context.key)
        users = _foreign_users(connection.cluster, standing)
        if not params.dry_run:
            _check_confirmed(connection.cluster, standing, params.confirm)
            _check_obstacles(context, connection, standing, users, force=params.force)
            if connection.cluster is not None:
                _await_users(connection.cluster, timeout_seconds, report, stopped)
                _stop_provisioner(connection.cluster, timeout_seconds, stopped, force=params.force)
        users = [*users, *(f"application {each}" for each in context.clients)]
        for each in problems.list_some(users, _MOST_NAMED):
            report_line(f"used by {each}")
        if params.dry_run:
            _report_plan(connection.cluster, standing, report_line)
        else:
            try:
                teardown.mark(context.aws, standing)
                _delete(context, connection, standing, report_line, timeout_seconds)
            except problems.Problem as problem:
                stopped(_state(context, connection.cluster, problem))
                raise
        if connection.cluster is None and _is_served(standing):
            for each in reconcile_cluster.cluster_objects(context):
                report_line(f"stays in the cluster: {each}")
        for line in teardown.spared(standing):
            report_line(line)
    return lines


def _await_users(
    cluster: client.Cluster,
    timeout_seconds: float,
    report: Callable[[str], None],
    stopped: Callable[[problems.Problem], None],
) -> None:
    """Wait for the pods that use claims; the status tells for which, since nothing is done yet."""
    try:
        volume_removal.await_users(cluster, timeout_seconds, report)
    except problems.Problem as problem:
        stopped(type(problem)(f"teardown has not begun: {problem.message}"))
        raise


def _stop_provisioner(
    cluster: client.Cluster,
    timeout_seconds: float,
    stopped: Callable[[problems.Problem], None],
    *,
    force: bool,
) -> None:
    """Stop what makes volumes, and look again: it may have made one since they were listed."""
    try:
        provisioner_removal.stop(cluster, timeout_seconds)
        if not force and (made := _dynamic_volumes(cluster)):
            raise _dynamic_obstacle(made)
    except problems.Problem as problem:
        stopped(type(problem)(f"teardown has not begun: {problem.message}"))
        raise


def _dynamic_volumes(cluster: client.Cluster | None) -> list[str]:
    """Return the titles of the volumes that the provisioner made."""
    made = provisioner_removal.find_made(cluster) if cluster is not None else []
    return sorted(map(provisioner_manifests.title, made))


def _dynamic_obstacle(made: list[str]) -> problems.Blocked:
    some = file_system_users.name_some(made)
    return problems.Blocked(
        f"dynamic volumes are left: delete their claims, then those that stay, or set force=true: "
        f"{some}"
    )


def _foreign_users(cluster: client.Cluster | None, standing: inventory.Inventory) -> list[str]:
    """Return the users of the file system who would lose their data or their mount targets."""
    file_system = standing.file_system
    if cluster is None or file_system is None:
        return []
    if not (standing.own_file_system or standing.own_targets):
        return []
    users = file_system_users.observe(cluster, file_system.id, standing.target_addresses)
    return users.foreign()


def _check_obstacles(
    context: reconcile.Context,
    connection: reconcile.ClusterConnection,
    standing: inventory.Inventory,
    users: list[str],
    *,
    force: bool,
) -> None:
    """Refuse a teardown that would be refused half-way, or by which others would lose something.

    Raises:
        problems.Blocked: There are such obstacles: all of them are named.
    """
    found = obstacles.find(context.aws, standing)
    made = _dynamic_volumes(connection.cluster)
    users = [each for each in users if each not in made]
    if made and not force:
        found.append(_dynamic_obstacle(made))
    if users and not force:
        some = file_system_users.name_some(users)
        found.append(
            problems.Blocked(f"others use the file system, too: delete {some}, or set force=true")
        )
    if context.clients and not force:
        one = context.clients[0]
        found.append(
            problems.Blocked(
                f"the file system is mounted by {', '.join(context.clients)}: juju "
                f"remove-relation {context.owner.application}:filesystem {one}, or set force=true"
            )
        )
    if connection.problem and _is_served(standing) and not force:
        found.append(
            problems.Blocked(
                f"the cluster is out of reach ({connection.problem.message}): relate it again, "
                "or set force=true to leave its objects in place"
            )
        )
    if found:
        named = "; ".join(each.message for each in found)
        raise problems.Blocked(f"nothing was deleted: {named}")


def _is_served(standing: inventory.Inventory) -> bool:
    """Return whether there may be objects in the cluster.

    They are created after the first mount target, and deleted before the last.
    """
    return bool(standing.own_targets or standing.other_targets)


def _report_plan(
    cluster: client.Cluster | None, standing: inventory.Inventory, report: Callable[[str], None]
) -> None:
    """Report what a teardown would delete, in its order."""
    if cluster is not None:
        volume_removal.remove(cluster, report=report, timeout_seconds=0, dry_run=True)
    for line in teardown.plan(standing):
        report(f"would delete {line}")


def _delete(
    context: reconcile.Context,
    connection: reconcile.ClusterConnection,
    standing: inventory.Inventory,
    report: Callable[[str], None],
    timeout_seconds: float,
) -> None:
    deadline = time.monotonic() + timeout_seconds
    if connection.cluster is not None:
        volume_removal.remove(connection.cluster, report=report, timeout_seconds=timeout_seconds)
    teardown.teardown(
        context.aws, standing, report=report, timeout_seconds=deadline - time.monotonic()
    )


def _check_confirmed(
    cluster: client.Cluster | None, standing: inventory.Inventory, confirm: str
) -> None:
    """Refuse a teardown that does not name the file system, found or only on record.

    Raises:
        problems.Blocked: It does not; the message has the size and the data sets.
    """
    file_system = standing.file_system
    expected = file_system.id if file_system else standing.key.record.file_system_id
    if confirm == expected or not expected:
        return
    remedy = f"to confirm that, run it with confirm={expected}"
    if file_system is None:
        text = f"teardown removes what is left of {expected}, which is gone from AWS"
    elif standing.key.adopted_id:
        text = (
            f"teardown takes {expected} from the cluster and keeps its data "
            f"({_content(cluster, file_system)})"
        )
    else:
        text = (
            f"teardown permanently deletes {expected} with all its data "
            f"({_content(cluster, file_system)})"
        )
    raise problems.Blocked(f"nothing was deleted: {text}: {remedy}")


def _content(cluster: client.Cluster | None, file_system: resources.FileSystem) -> str:
    """Return the size and the data sets of the file system; pods write data, too."""
    content = f"{file_system.size_bytes:,} bytes as AWS last metered"
    if names := _data_sets(cluster, file_system.id):
        content += f", data sets {', '.join(names)}"
    return content


def _data_sets(cluster: client.Cluster | None, file_system_id: str) -> list[str]:
    """Return the names of the data sets that are published or being loaded, as far as known."""
    if cluster is None:
        return []
    try:
        known = index.Index(cluster, file_system_id).read().records
    except problems.Problem:
        return []
    return sorted(name for name, each in known.items() if each.version or not each.ended)


def _state(
    context: reconcile.Context, cluster: client.Cluster | None, reason: problems.Problem
) -> problems.Problem:
    """Return what stands and what is gone after a failure, as far as it can still be seen."""
    try:
        standing = inventory.observe(context.aws, context.key)
        left, gone = standing.standing(), standing.gone()
    except problems.Problem:
        left, gone = ["what AWS does not show now"], []
    if cluster is not None:
        (left if _has_objects(cluster) else gone).append("cluster objects")
    text = f"teardown stopped: {', '.join(left) or 'nothing'} left"
    if gone:
        text += f"; {', '.join(gone)} gone"
    # Nothing runs an action again by itself. The reason may be long: it comes after the remedy.
    return problems.Blocked(f"{text}: run teardown again: {reason.message}")


def _has_objects(cluster: client.Cluster) -> bool:
    """Return whether objects stand in the cluster; if that cannot be seen, they may."""
    try:
        return bool(
            volume_observe.observe(cluster, [cluster.namespace]).references
            or provisioner_removal.standing(cluster)
        )
    except problems.Problem:
        return True
