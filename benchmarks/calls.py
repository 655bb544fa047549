"""Count the AWS calls of a hook with 3, 100 and 300 units, and the Juju tools of an idle hook.

`make benchmark` runs it. The counts do not depend on the machine.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
from collections.abc import Generator, Mapping

import rich.console
import rich.table

import identity
from aws import file_system, resources, session
from sandbox.aws import aws_cloud
from sandbox.juju import juju_model
from sandbox.kubernetes import control_plane
from sandbox.node import worker_nodes
from sandbox.stage import APPLICATION, Stage

OWNER = identity.Owner("5f3c1a52-0d6e-4a3b-9a55-2f4f5b0c7d11", APPLICATION)
UNITS = (3, 100, 300)


def main() -> int:
    """Count the calls, and print two tables."""
    logging.getLogger().addHandler(logging.NullHandler())
    console = rich.console.Console()
    console.print(aws_calls())
    console.print(tool_calls())
    return 0


def aws_calls() -> rich.table.Table:
    """Count the AWS reads and writes of the first and of a steady reconcile."""
    table = rich.table.Table("machines", "known by", "first deploy", "steady reconcile")
    for units in UNITS:
        with (
            aws_cloud.Cloud.start(aws_cloud.Latencies.none()) as cloud,
            _environment(cloud.environ()),
        ):
            zones = itertools.cycle(sorted(cloud.subnets))
            machines = [
                cloud.launch(str(number), next(zones), model_uuid=OWNER.model_uuid)
                for number in range(units)
            ]
            connection = session.connect(cloud.region, cloud.credentials, {})
            addresses = frozenset(machine.private_address for machine in machines)
            ids = frozenset(machine.id for machine in machines)
            first = _count_calls(cloud, connection, addresses, frozenset())
            for known_by, known_ids in (("units", frozenset[str]()), ("nodes", ids)):
                steady = _count_calls(cloud, connection, addresses, known_ids)
                table.add_row(str(units), known_by, first if known_by == "units" else "", steady)
    return table


def _count_calls(
    cloud: aws_cloud.Cloud, connection: session.Aws, addresses: frozenset[str], ids: frozenset[str]
) -> str:
    cloud.reset_calls()
    desired = resources.DesiredFileSystem(
        key=resources.ResourceKey(OWNER),
        performance_mode="generalPurpose",
        throughput_mode="elastic",
        encrypted=True,
        kms_key="",
        tags={},
        vpc_id="",
        allow_cidrs=frozenset(),
        addresses=addresses,
        instance_ids=ids,
    )
    file_system.reconcile(connection, desired, timeout_seconds=60, tell=print)
    reads, writes = cloud.counts()
    return f"{reads} reads, {writes} writes"


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def tool_calls() -> rich.table.Table:
    """Count the Juju tools that an update-status runs."""
    table = rich.table.Table("update-status", "of them juju-log", "all tools")
    with (
        control_plane.ControlPlane.start() as plane,
        aws_cloud.Cloud.start(aws_cloud.Latencies.none()) as cloud,
        worker_nodes.Nodes.start(plane, cloud) as nodes,
    ):
        stage = Stage(cloud, plane, nodes)
        stage.settle(units=2)
        stage.model.update_status(APPLICATION)
        for unit, name in (("aws-efs/0", "leader, active"), ("aws-efs/1", "standby")):
            hooks = [hook for hook in stage.model.hooks if hook.unit == unit]
            _row(table, name, hooks[-1])
    return table


def _row(table: rich.table.Table, name: str, hook: juju_model.Hook) -> None:
    table.add_row(name, str(hook.tools.get("juju-log", 0)), str(sum(hook.tools.values())))


if __name__ == "__main__":
    sys.exit(main())
