"""Compare the cost of hooks that have nothing to do with that of a charm that does nothing.

`python -m benchmarks.hook_cost` prints CPU and wall-clock time as ratios. Each round runs all
charms once, one after the other, so that a busy machine slows all of them; the median counts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import resource
import statistics
import sys
import time
from collections.abc import Mapping

import rich.console
import rich.table

from sandbox.juju import agent_process

ROOT = pathlib.Path(__file__).parents[1]
CHARM = ROOT / "src" / "charm.py"
BARE_CHARM = ROOT / "benchmarks" / "bare_charm.py"
# Juju runs this hook every five minutes on each unit.
EVENT = "update-status"
PEERS = {"aws-efs": {"record": json.dumps({"torn_down": True, "region": "us-east-1"})}}
# What a related unit finds: its own request was written by an earlier hook.
KUBE_CONTROL: Mapping[str, Mapping[str, str]] = {
    "kubernetes-control-plane/0": {"api-endpoints": '["https://10.0.0.1:6443"]', "creds": "{}"},
    "aws-efs/0": {
        "auth_group": "system:masters",
        "kubelet_user": "aws-efs/0",
        "schema_vers": "[0, 1]",
    },
}
BARE = "a charm that does nothing"
HOOKS: Mapping[str, tuple[pathlib.Path, agent_process.UnitState]] = {
    BARE: (BARE_CHARM, agent_process.UnitState(leader=False)),
    "stands by, not related": (CHARM, agent_process.UnitState(leader=False)),
    "stands by, related": (
        CHARM,
        agent_process.UnitState(leader=False, databags={"kube-control": KUBE_CONTROL}),
    ),
    "leader, torn down": (CHARM, agent_process.UnitState(leader=True, databags={"peers": PEERS})),
}


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hook_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="runs of each (default: 20)")
    arguments = parser.parse_args()
    cpu, wall = _measure(arguments.rounds)
    table = rich.table.Table(EVENT, "CPU ms", "CPU ratio", "wall ms", "wall ratio")
    for name in HOOKS:
        row = [name]
        for seconds in (cpu, wall):
            ratio = statistics.median(
                mine / bare for mine, bare in zip(seconds[name], seconds[BARE], strict=True)
            )
            row += [f"{1000 * statistics.median(seconds[name]):.0f}", f"{ratio:.2f}"]
        table.add_row(*row)
    rich.console.Console().print(table)
    return 0


def _measure(rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the CPU and the wall-clock seconds of each run of each hook."""
    cpu: dict[str, list[float]] = {name: [] for name in HOOKS}
    wall: dict[str, list[float]] = {name: [] for name in HOOKS}
    with contextlib.ExitStack() as stack:
        machines = {
            name: stack.enter_context(contextlib.closing(agent_process.AgentProcess(ROOT, state)))
            for name, (_, state) in HOOKS.items()
        }
        # The first round compiles, and is not counted.
        for number in range(rounds + 1):
            for name, (program, _) in HOOKS.items():
                used, took = _run(machines[name], program)
                if number:
                    cpu[name].append(used)
                    wall[name].append(took)
    return cpu, wall


def _run(machine: agent_process.AgentProcess, program: pathlib.Path) -> tuple[float, float]:
    """Run a hook; return the CPU seconds of it and its tools, and the wall-clock seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = machine.run(EVENT, [sys.executable, program])
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, took


if __name__ == "__main__":
    sys.exit(main())
