"""What a hook imports, in a process of its own: most of its cost."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sandbox.juju import agent_process

ROOT = pathlib.Path(__file__).parents[2]
# The process that the agent starts, which tells at its end what it has imported.
PROGRAM = """
import atexit, json, runpy, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules))))
runpy.run_path(sys.argv[1], run_name="__main__")
"""
COSTLY = {
    *("pydantic", "ops.interface_kube_control"),
    *("botocore", "urllib3"),
    *("lightkube", "httpx2", "jinja2"),
    *("tenacity", "datasets", "app", "aws", "cluster"),
}
CLIENTS = COSTLY - {"pydantic"}
KUBE_CONTROL: Mapping[str, Mapping[str, str]] = {
    "kubernetes-control-plane/0": {"api-endpoints": '["https://10.0.0.1:6443"]', "creds": "{}"},
    "aws-efs/0": {},
}
RELATED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "kube-control": KUBE_CONTROL,
    "certificates": {"easyrsa/0": {"ca": "-"}},
    "workers": {"kubernetes-worker/0": {"private-address": "10.0.0.7"}},
}
TORN_DOWN: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "peers": {"aws-efs": {"record": json.dumps({"torn_down": True, "region": "us-east-1"})}}
}


@pytest.fixture
def machines() -> Iterator[list[agent_process.AgentProcess]]:
    started: list[agent_process.AgentProcess] = []
    yield started
    for each in started:
        each.close()


def imported(machines: list[agent_process.AgentProcess], event: str, **state: Any) -> set[str]:
    machine = agent_process.AgentProcess(ROOT, agent_process.UnitState(**state))
    machines.append(machine)
    done = machine.run(
        event,
        [sys.executable, "-c", PROGRAM, str(ROOT / "src" / "charm.py")],
        PYTHONPATH=str(ROOT / "src"),
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("event", ["install", "update-status", "config-changed", "leader-elected"])
def test_a_unit_that_stands_by_imports_no_client_and_no_validation(
    machines: list[agent_process.AgentProcess], event: str
) -> None:
    assert not imported(machines, event, leader=False, databags=RELATED) & COSTLY


@pytest.mark.parametrize("event", ["update-status", "config-changed"])
def test_a_leader_that_was_torn_down_imports_no_client_and_no_validation(
    machines: list[agent_process.AgentProcess], event: str
) -> None:
    databags = {**RELATED, **TORN_DOWN}
    assert not imported(machines, event, leader=True, databags=databags) & COSTLY


@pytest.mark.parametrize("event", ["stop", "remove"])
def test_a_hook_that_has_nothing_to_do_imports_no_client_and_no_validation(
    machines: list[agent_process.AgentProcess], event: str
) -> None:
    assert not imported(machines, event, leader=True, databags=RELATED) & COSTLY


def test_a_leader_that_does_not_know_its_region_imports_no_client(
    machines: list[agent_process.AgentProcess],
) -> None:
    modules = imported(machines, "update-status", leader=True, databags=RELATED)
    assert "pydantic" in modules
    assert not modules & CLIENTS
