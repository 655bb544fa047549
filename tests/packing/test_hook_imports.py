"""What a hook imports, in a process of its own: most of its cost."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sandbox.aws import aws_cloud
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
OF_THE_CLUSTER = {"lightkube", "httpx2", "jinja2", "msgspec", "cluster", "datasets"}
# The machine's zone tells the region.
ON_AWS = {"JUJU_AVAILABILITY_ZONE": "us-east-1a"}
PEERS: Mapping[str, Mapping[str, Mapping[str, str]]] = {"peers": {"aws-efs": {}}}
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


def imported(
    machines: list[agent_process.AgentProcess],
    event: str,
    *,
    environ: Mapping[str, str] | None = None,
    **state: Any,
) -> set[str]:
    machine = agent_process.AgentProcess(ROOT, agent_process.UnitState(**state))
    machines.append(machine)
    done = machine.run(
        event,
        [sys.executable, "-c", PROGRAM, str(ROOT / "src" / "charm.py")],
        PYTHONPATH=str(ROOT / "src"),
        **(environ or {}),
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
    databags = {**RELATED, **PEERS}
    modules = imported(machines, "update-status", leader=True, databags=databags)
    assert "pydantic" in modules
    assert not modules & CLIENTS


@pytest.mark.parametrize("event", ["start", "config-changed", "leader-elected"])
def test_a_leader_without_its_peer_relation_imports_no_client_and_no_validation(
    machines: list[agent_process.AgentProcess], event: str
) -> None:
    modules = imported(machines, event, leader=True, databags=RELATED, environ=ON_AWS)
    assert not modules & COSTLY


@pytest.fixture(scope="module")
def cloud() -> Iterator[aws_cloud.Cloud]:
    with aws_cloud.Cloud.start() as running:
        yield running


@pytest.mark.parametrize(
    ("event", "databags"),
    [
        ("install", {}),
        ("config-changed", {}),
        ("update-status", {}),
        ("update-status", {"certificates": RELATED["certificates"]}),
        ("update-status", {"kube-control": {"kubernetes-control-plane/0": {}, "aws-efs/0": {}}}),
        ("update-status", {"kube-control": KUBE_CONTROL, "certificates": RELATED["certificates"]}),
    ],
    ids=["install", "config", "not related", "authority only", "nothing sent yet", "no token yet"],
)
def test_a_leader_without_a_cluster_to_ask_imports_the_client_of_aws_only(
    machines: list[agent_process.AgentProcess],
    cloud: aws_cloud.Cloud,
    event: str,
    databags: dict[str, Any],
) -> None:
    keys = {
        "AWS_ACCESS_KEY_ID": cloud.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": cloud.credentials.secret_key,
    }
    cloud.reset_calls()
    modules = imported(
        machines,
        event,
        leader=True,
        databags={**databags, **PEERS},
        environ={**ON_AWS, **cloud.environ(), **keys},
    )
    assert "botocore" in modules
    assert not modules & OF_THE_CLUSTER
    assert "DescribeFileSystems" in {call.operation for call in cloud.calls}
    assert len(cloud.file_systems()) == 1
