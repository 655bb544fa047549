"""The charm without a real cluster: each event, status and refusal; AWS is the sandbox's."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ops import testing

import charm
import messages
import problems
from relations import peers as peers_module
from sandbox.aws import aws_cloud
from sandbox.juju import hook_process, ops_scenario
from tests.clients import api_server

ROOT = pathlib.Path(__file__).parents[2]
APPLICATION = "aws-efs"
UUID = "6f4bf1dd-0000-4000-8000-000000000000"
EVENTS = ["install", "start", "config_changed", "leader_elected", "update_status", "upgrade_charm"]
RELATION_EVENTS = [(f"relation_{name}", {}) for name in ("created", "changed", "broken")]
UNIT_EVENTS = [
    (f"relation_{name}", {"remote_unit": 0}) for name in ("joined", "changed", "departed")
]
RECORDS = ["{", "[]", "null", '{"file_system_id": 5}', '{"policies_seen": ["x"]}']
ACTIONS = {
    "create-dataset": {"name": "x", "source": "https://a.example/x"},
    "list-datasets": {},
    "show-dataset": {"name": "x"},
    "list-versions": {"name": "x"},
    "rollback": {"name": "x"},
    "verify-dataset": {"name": "x"},
    "delete-dataset": {"name": "x"},
    "setup": {},
    "teardown": {},
}


@functools.cache
def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture(scope="module")
def cloud() -> Iterator[aws_cloud.Cloud]:
    with aws_cloud.Cloud.start() as running:
        yield running


@pytest.fixture(autouse=True)
def environment(cloud: aws_cloud.Cloud) -> Iterator[None]:
    with (
        hook_process.environment(cloud.environ()),
        hook_process.separate_logging(),
        ops_scenario.metadata_as_json(),
    ):
        yield


@pytest.fixture
def context() -> testing.Context[charm.AwsEfsCharm]:
    actions = copy.deepcopy(load("actions.yaml"))
    # Scenario accepts one type for a parameter, Juju several.
    for each in actions.values():
        for parameter in each.get("params", {}).values():
            if isinstance(parameter["type"], list):
                parameter["type"] = parameter["type"][0]
    return testing.Context(
        charm.AwsEfsCharm,
        meta=load("metadata.yaml"),
        config=load("config.yaml"),
        actions=actions,
        app_name=APPLICATION,
    )


@pytest.fixture
def secret(cloud: aws_cloud.Cloud) -> testing.Secret:
    keys = cloud.credentials
    content = {"access-key": keys.access_key, "secret-key": keys.secret_key}
    return testing.Secret(content, id="secret:cloudkeys0000000000a")


def peers(**record: Any) -> testing.PeerRelation:
    data = {"record": json.dumps(record)} if record else {}
    return testing.PeerRelation("peers", local_app_data=data)


def state(
    *relations: Any, secret: testing.Secret | None = None, leader: bool = True, **config: Any
) -> testing.State:
    if secret:
        config["credentials"] = secret.id
    return testing.State(
        leader=leader,
        config={"region": "us-east-1", **config},
        relations=relations or (peers(),),
        secrets=[secret] if secret else [],
        model=testing.Model(uuid=UUID, type="lxd"),
    )


# --- events


@pytest.mark.parametrize("event", EVENTS)
def test_a_unit_that_is_not_the_leader_stands_by(
    context: testing.Context[charm.AwsEfsCharm], cloud: aws_cloud.Cloud, event: str
) -> None:
    cloud.reset_calls()
    after = context.run(getattr(context.on, event)(), state(leader=False))
    assert after.unit_status == testing.ActiveStatus("standby")
    assert cloud.calls == []


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_of_the_leader_is_a_reconcile(
    context: testing.Context[charm.AwsEfsCharm], event: str
) -> None:
    after = context.run(getattr(context.on, event)(), state(capacity="much"))
    assert after.unit_status == testing.BlockedStatus(
        "capacity 'much': use a whole number with Mi, Gi, Ti or Pi, as in 100Gi (juju config)"
    )


@pytest.mark.parametrize("endpoint", ["kube-control", "certificates", "workers", "filesystem"])
@pytest.mark.parametrize(("event", "unit"), [*RELATION_EVENTS, *UNIT_EVENTS])
@pytest.mark.parametrize("leader", [True, False])
def test_each_event_of_a_relation_is_a_reconcile(
    context: testing.Context[charm.AwsEfsCharm],
    endpoint: str,
    event: str,
    unit: dict[str, int],
    leader: bool,
) -> None:
    relation = testing.Relation(endpoint, remote_units_data={0: {}})
    before = state(peers(), relation, leader=leader, capacity="much")
    after = context.run(getattr(context.on, event)(relation, **unit), before)
    assert after.unit_status.message.startswith("capacity 'much'" if leader else "standby")


@pytest.mark.parametrize("leader", [True, False])
def test_a_secret_that_changes_is_a_reconcile(
    context: testing.Context[charm.AwsEfsCharm], secret: testing.Secret, leader: bool
) -> None:
    before = state(peers(), secret=secret, leader=leader, capacity="much")
    after = context.run(context.on.secret_changed(secret), before)
    assert after.unit_status.message.startswith("capacity 'much'" if leader else "standby")


def test_what_a_leader_recorded_changes_nothing_but_the_next_reconcile(
    context: testing.Context[charm.AwsEfsCharm],
) -> None:
    relation = peers(torn_down=True)
    after = context.run(context.on.relation_changed(relation, remote_unit=1), state(relation))
    assert after.unit_status.message.startswith("torn down: ")


# --- statuses


@pytest.mark.parametrize(
    ("config", "record", "message"),
    [
        ({"performance-mode": "maxIO"}, {}, "performance-mode maxIO does not go with"),
        ({"encrypted": False, "kms-key": "abc"}, {}, "kms-key needs encrypted=true"),
        ({"region": ""}, {}, "the region is not known: juju config aws-efs region=us-east-1"),
        ({}, {"torn_down": True}, "torn down: juju run aws-efs/leader setup creates it again"),
        (
            {"region": "eu-west-1"},
            {"file_system_id": "fs-1", "region": "us-east-1"},
            "region is eu-west-1 but fs-1 lives in us-east-1: set it back",
        ),
        ({"credentials": "secret:none"}, {}, "credentials: the secret can"),
    ],
)
def test_what_the_user_has_to_fix_is_a_status(
    context: testing.Context[charm.AwsEfsCharm],
    config: dict[str, Any],
    record: dict[str, Any],
    message: str,
) -> None:
    after = context.run(context.on.config_changed(), state(peers(**record), **config))
    assert isinstance(after.unit_status, testing.BlockedStatus)
    assert after.unit_status.message.startswith(message)


@pytest.mark.parametrize("key", ["access-key", "secret-key"])
def test_a_secret_without_a_key_is_a_status(
    context: testing.Context[charm.AwsEfsCharm], key: str
) -> None:
    keys = {"access-key": "a", "secret-key": "b", "other": "c"}
    lacking = testing.Secret({k: v for k, v in keys.items() if k != key}, id="secret:lacking")
    after = context.run(context.on.config_changed(), state(secret=lacking))
    assert after.unit_status == testing.BlockedStatus(
        f"credentials: the secret has no {key}: juju update-secret <its name> ..."
    )


def test_without_a_cluster_the_file_system_is_made_and_the_next_step_is_named(
    context: testing.Context[charm.AwsEfsCharm], cloud: aws_cloud.Cloud, secret: testing.Secret
) -> None:
    after = context.run(context.on.config_changed(), state(secret=secret))
    (made,) = cloud.file_systems()
    assert after.unit_status == testing.BlockedStatus(
        f"{made.id} ready in us-east-1; next: juju relate aws-efs:kube-control "
        "kubernetes-control-plane"
    )
    (kept,) = after.get_relations("peers")
    assert json.loads(kept.local_app_data["record"])["file_system_id"] == made.id


def test_a_control_plane_that_has_sent_nothing_is_waited_for(
    context: testing.Context[charm.AwsEfsCharm], cloud: aws_cloud.Cloud, secret: testing.Secret
) -> None:
    relation = testing.Relation("kube-control", remote_units_data={0: {}})
    before = state(peers(), relation, secret=secret, vpc=cloud.vpc_id)
    after = context.run(context.on.config_changed(), before)
    assert after.unit_status == testing.WaitingStatus(
        "waiting for the control plane to send its address"
    )


def kube_control(plane: api_server.ApiServer, **changed: str) -> testing.Relation:
    published = plane.kube_control("aws-efs/0")
    data = {name: value for name, value in {**published, **changed}.items() if value}
    return testing.Relation(
        "kube-control",
        remote_app_name="kubernetes-control-plane",
        remote_units_data={0: data},
    )


def certificates(ca: str) -> testing.Relation:
    data = {"ca": ca} if ca else {}
    return testing.Relation("certificates", remote_app_name="easyrsa", remote_units_data={0: data})


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    running = api_server.ApiServer(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture
def cluster(plane: api_server.ApiServer, cloud: aws_cloud.Cloud) -> api_server.ApiServer:
    plane.objects.clear()
    plane.refusal = None
    for name in ("default", "research"):
        plane.add("namespaces", {"metadata": {"name": name}})
    for number, zone in enumerate(cloud.subnets):
        instance = cloud.launch(str(number), zone, model_uuid=UUID)
        node = {
            "metadata": {
                "name": f"node-{number}",
                "uid": f"uid-{number}",
                "labels": {"topology.kubernetes.io/zone": zone},
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"providerID": instance.provider_id},
            "status": {
                "addresses": [{"type": "InternalIP", "address": instance.private_address}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        plane.add("nodes", node)
    return plane


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (
            ({"creds": "{}"}, "any"),
            testing.WaitingStatus("waiting for the control plane to send credentials"),
        ),
        (
            ({"api-endpoints": "[]"}, "any"),
            testing.WaitingStatus("waiting for the control plane to send its address"),
        ),
        (({}, ""), testing.WaitingStatus("waiting for easyrsa to send its CA certificate")),
        (
            ({}, None),
            testing.BlockedStatus(
                "the cluster's CA is missing: juju relate aws-efs:certificates easyrsa"
            ),
        ),
        (
            ({}, "no certificate"),
            testing.WaitingStatus("ca of easyrsa/0: no certificate in PEM"),
        ),
        (
            ({"api-endpoints": '["http://127.0.0.1:1"]'}, "any"),
            testing.BlockedStatus(
                "the API address from kube-control is not https: the token is not sent to it"
            ),
        ),
    ],
)
def test_what_the_relations_lack_is_a_status(
    context: testing.Context[charm.AwsEfsCharm],
    cluster: api_server.ApiServer,
    secret: testing.Secret,
    sent: tuple[dict[str, str], str | None],
    status: testing.WaitingStatus,
) -> None:
    changed, ca = sent
    relations = [peers(), kube_control(cluster, **changed)]
    relations += [] if ca is None else [certificates(cluster.ca if ca == "any" else ca)]
    after = context.run(context.on.config_changed(), state(*relations, secret=secret))
    assert after.unit_status == status


def test_an_api_server_that_refuses_is_a_status_with_its_whole_reason_in_the_log(
    context: testing.Context[charm.AwsEfsCharm],
    cluster: api_server.ApiServer,
    secret: testing.Secret,
) -> None:
    reason = "admission webhook denied it: " + "because " * 20 + "of the last word"
    cluster.refusal = (403, reason)
    before = state(peers(), kube_control(cluster), certificates(cluster.ca), secret=secret)
    after = context.run(context.on.config_changed(), before)
    assert len(after.unit_status.message) == 120
    assert [each.message for each in context.juju_log if "of the last word" in each.message]


@pytest.mark.parametrize("namespaces", ["default", "default research"])
def test_a_whole_reconcile_is_active_and_publishes_its_manifests(
    context: testing.Context[charm.AwsEfsCharm],
    cloud: aws_cloud.Cloud,
    cluster: api_server.ApiServer,
    secret: testing.Secret,
    namespaces: str,
) -> None:
    relation = kube_control(cluster)
    before = state(
        peers(), relation, certificates(cluster.ca), secret=secret, namespaces=namespaces
    )
    after = context.run(context.on.config_changed(), before)
    (made,) = cloud.file_systems()
    claims = {
        "default": "claim default/aws-efs bound",
        "default research": "claims default/aws-efs, research/aws-efs bound",
    }[namespaces]
    assert after.unit_status == testing.ActiveStatus(
        f"{made.id} in us-east-1: 3 zones, 3 nodes proven, {claims} (100Gi)"
    )
    published = json.loads(after.get_relation(relation.id).local_app_data["kubernetes_manifests"])
    assert {each["kind"] for each in published} == {
        *("Namespace", "StorageClass", "PersistentVolume", "PersistentVolumeClaim")
    }
    writes = len(cloud.calls)
    again = context.run(context.on.update_status(), after)
    assert again.unit_status == after.unit_status
    assert not [call.operation for call in cloud.calls[writes:] if call.write]


def test_a_long_status_is_cut_and_complete_in_the_log(
    context: testing.Context[charm.AwsEfsCharm],
) -> None:
    record = {"file_system_id": "fs-" + "1" * 100, "region": "us-east-1"}
    after = context.run(context.on.config_changed(), state(peers(**record), region="eu-west-1"))
    whole = f"region is eu-west-1 but {record['file_system_id']} lives in us-east-1: " + (
        "set it back, or run teardown first"
    )
    assert after.unit_status == testing.BlockedStatus(whole[:117] + "...")
    assert len(after.unit_status.message) == 120
    assert [(each.level, each.message) for each in context.juju_log if whole in each.message] == [
        ("WARNING", whole)
    ]


# --- actions


def refusal(
    context: testing.Context[charm.AwsEfsCharm], action: str, before: testing.State, **params: Any
) -> str:
    with pytest.raises(testing.ActionFailed) as failed:
        context.run(context.on.action(action, params=params), before)
    return failed.value.message


def test_all_actions_are_here() -> None:
    assert {*ACTIONS, "diagnose", "show-mount"} == set(load("actions.yaml"))


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_that_changes_something_is_the_leaders(
    context: testing.Context[charm.AwsEfsCharm], action: str
) -> None:
    message = refusal(context, action, state(leader=False), **ACTIONS[action])
    assert message == "aws-efs/0 is not the leader: run it on aws-efs/leader"


@pytest.mark.parametrize("action", [*list(ACTIONS)[:5], "show-mount"])
def test_an_action_needs_a_file_system(
    context: testing.Context[charm.AwsEfsCharm], action: str
) -> None:
    message = refusal(context, action, state(), **ACTIONS.get(action, {}))
    assert message == "there is no file system: see juju status"


@pytest.mark.parametrize("action", list(ACTIONS)[:5])
def test_an_action_on_data_sets_needs_a_cluster(
    context: testing.Context[charm.AwsEfsCharm], action: str
) -> None:
    before = state(peers(file_system_id="fs-1", region="us-east-1"))
    message = refusal(context, action, before, **ACTIONS[action])
    assert message == "juju relate aws-efs:kube-control kubernetes-control-plane"


@pytest.mark.parametrize("leader", [True, False])
def test_any_unit_shows_how_to_mount(
    context: testing.Context[charm.AwsEfsCharm], leader: bool
) -> None:
    before = state(peers(file_system_id="fs-1", region="us-east-1"), leader=leader)
    context.run(context.on.action("show-mount", params={"path": "/srv/x"}), before)
    results = "\n".join(str(value) for value in (context.action_results or {}).values())
    assert "fs-1" in results
    assert "/srv/x" in results


def test_parameters_are_refused_before_anything_else(
    context: testing.Context[charm.AwsEfsCharm],
) -> None:
    message = refusal(context, "create-dataset", state(leader=False), name="x")
    assert message.startswith("give source, source-list, or image")


def test_a_long_refusal_of_an_action_is_complete(
    context: testing.Context[charm.AwsEfsCharm],
) -> None:
    record = {"file_system_id": "fs-" + "1" * 100, "region": "us-east-1"}
    message = refusal(context, "setup", state(peers(**record), region="eu-west-1"))
    assert message.endswith("set it back, or run teardown first")
    assert len(message) > 120


def test_setup_after_teardown_makes_a_file_system_and_teardown_deletes_it(
    context: testing.Context[charm.AwsEfsCharm], cloud: aws_cloud.Cloud, secret: testing.Secret
) -> None:
    torn_down = state(peers(torn_down=True, region="us-east-1"), secret=secret)
    made = context.run(context.on.action("setup"), torn_down)
    (there,) = cloud.file_systems()
    assert context.action_results == {"file-system": there.id}
    message = refusal(context, "teardown", made)
    assert there.id in message
    after = context.run(
        context.on.action("teardown", params={"confirm": there.id, "force": True}), made
    )
    assert not cloud.file_systems()
    assert there.id in (context.action_results or {})["deleted"]
    assert after.unit_status.message.startswith("torn down: juju run aws-efs/leader setup")


# --- what nobody foresaw


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """Break something that every event and most actions use; its error contains a secret."""

    secret = "-".join(["AKIA", "secret"])

    def fail(_charm: object) -> peers_module.PeerRecord:
        raise LookupError(secret)

    monkeypatch.setattr(peers_module, "load", fail)
    return secret


@pytest.mark.parametrize("event", EVENTS)
def test_an_error_that_nobody_foresaw_is_a_status_and_its_stack_is_in_the_log(
    context: testing.Context[charm.AwsEfsCharm], broken: str, event: str
) -> None:
    after = context.run(getattr(context.on, event)(), state())
    assert after.unit_status == testing.BlockedStatus("internal error: see debug-log")
    (logged,) = [each.message for each in context.juju_log if each.level == "ERROR"]
    assert logged.startswith("internal error: LookupError\n")
    assert "in _reconcile" in logged
    assert not [each for each in context.juju_log if broken in each.message]


@pytest.mark.parametrize("action", ACTIONS)
def test_an_error_that_nobody_foresaw_fails_an_action(
    context: testing.Context[charm.AwsEfsCharm], broken: str, action: str
) -> None:
    message = refusal(context, action, state(), **ACTIONS[action])
    assert message == "internal error: see debug-log"
    assert [each.message for each in context.juju_log if each.level == "ERROR"]


@pytest.mark.parametrize("record", [*RECORDS, "[" * 100_000])
def test_a_record_that_somebody_else_wrote_is_a_status(
    context: testing.Context[charm.AwsEfsCharm], record: str
) -> None:
    relation = testing.PeerRelation("peers", local_app_data={"record": record})
    after = context.run(context.on.config_changed(), state(relation))
    assert isinstance(after.unit_status, testing.BlockedStatus)
    assert after.unit_status.message.startswith("record of the peer relation cannot be read (")


@pytest.mark.parametrize("event", ["upgrade_charm", "config_changed"])
def test_an_older_revision_reads_the_record_of_a_newer_one(
    context: testing.Context[charm.AwsEfsCharm], event: str
) -> None:
    relation = peers(torn_down=True, from_the_future=["x"])
    after = context.run(getattr(context.on, event)(), state(relation))
    assert after.unit_status.message.startswith("torn down: ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\0b", "a\ufffdb"),
        ("\x1b[31m\ud800", "\ufffd[31m\ufffd"),
        ("lines\n\tand more", "lines\n\tand more"),
        (
            "\u20ac" * 100_000,
            "\u20ac" * 40_000 + "\n... 300,000 bytes: the rest does not fit into a result",
        ),
    ],
    ids=["NUL", "terminal", "lines", "long"],
)
def test_a_result_is_made_fit_for_juju(value: str, shown: str) -> None:
    fit = messages.fit_result(value)
    assert fit == shown
    # Linux takes at most 128 KiB in an argument, and no NUL.
    subprocess.run(["/bin/true", f"result={fit}"], check=True)


@pytest.mark.parametrize("message", ["a\0b", "\ud800", "x" * 200_000, "\u20ac" * 100_000])
def test_a_problem_is_fit_for_juju(message: str) -> None:
    problem = problems.Waiting(message)
    subprocess.run(["/bin/true", problem.message], check=True)
    subprocess.run(["/bin/true", messages.describe_failure(problem)], check=True)


@pytest.mark.parametrize(
    ("problem", "shown"),
    [
        (
            problems.Waiting("AWS could not tag fs-1 (503): the charm tries again"),
            "AWS could not tag fs-1 (503): run the action again",
        ),
        (
            problems.Waiting("list pods: no connection: is it running?"),
            "list pods: no connection: is it running?: run the action again",
        ),
        (
            problems.Waiting("claims are in use: delete pod a/b, then run it again"),
            "claims are in use: delete pod a/b, then run it again",
        ),
        (problems.Blocked("there is no file system"), "there is no file system"),
    ],
)
def test_a_failed_action_is_not_said_to_be_tried_again(
    problem: problems.Problem, shown: str
) -> None:
    assert messages.describe_failure(problem) == shown


# --- leaders


@pytest.mark.parametrize("action", [*ACTIONS, "show-mount"])
def test_a_former_leader_stands_by_after_any_action(
    context: testing.Context[charm.AwsEfsCharm], action: str
) -> None:
    before = dataclasses.replace(
        state(peers(file_system_id="fs-1", region="us-east-1"), leader=False),
        unit_status=testing.ActiveStatus("fs-1 in us-east-1: 3 zones proven"),
    )
    try:
        after = context.run(context.on.action(action, params=ACTIONS.get(action, {})), before)
    except testing.ActionFailed as failed:
        after = failed.state
    assert after.unit_status == testing.ActiveStatus("standby")


def test_a_new_leader_is_announced_to_its_peers_once(
    context: testing.Context[charm.AwsEfsCharm],
) -> None:
    relation = testing.PeerRelation("peers", local_app_data={"leader": "aws-efs/7"})
    after = context.run(context.on.leader_elected(), state(relation))
    assert after.get_relation(relation.id).local_app_data["leader"] == "aws-efs/0"


@pytest.mark.parametrize("event", [each for each in EVENTS if each != "install"])
def test_without_a_peer_relation_nothing_is_made_after_install(
    context: testing.Context[charm.AwsEfsCharm],
    cloud: aws_cloud.Cloud,
    secret: testing.Secret,
    event: str,
) -> None:
    cloud.reset_calls()
    before = dataclasses.replace(state(secret=secret), relations=frozenset())
    after = context.run(getattr(context.on, event)(), before)
    assert after.unit_status == testing.WaitingStatus(
        "waiting for Juju to create the peer relation"
    )
    assert cloud.calls == []


@pytest.mark.parametrize("leader", [True, False])
def test_any_unit_is_diagnosed_and_the_leader_asks_aws(
    context: testing.Context[charm.AwsEfsCharm], leader: bool
) -> None:
    before = state(peers(file_system_id="fs-1", region="us-east-1"), leader=leader, capacity="1Gi")
    context.run(context.on.action("diagnose"), before)
    report = str((context.action_results or {})["report"])
    assert "unit: aws-efs/0" in report
    assert "capacity: 1Gi" in report
    assert "fs-1" in report
    told = "only the leader asks them: run diagnose on aws-efs/leader"
    assert (told in report) is not leader
    assert ("AWS:\n" in report) is leader


def test_a_report_is_bounded_whatever_it_meets(
    context: testing.Context[charm.AwsEfsCharm],
    cluster: api_server.ApiServer,
    secret: testing.Secret,
) -> None:
    hostile = "\0\x1b[31m\u2028" + "\N{PILE OF POO}" * 5_000 + "\nroot:x:0:0\n" * 50
    application = "aws-efs"
    marks = {"aws-efs/model-uuid": UUID, "aws-efs/application": application}
    labels = {**marks, "app.kubernetes.io/managed-by": "juju"}
    cluster.add("namespaces", {"metadata": {"name": application, "labels": labels}})
    for number in range(300):
        name = f"n-{number}"
        meta = {"name": name, "labels": labels, "uid": name}
        meta["creationTimestamp"] = "2026-01-01T00:00:00Z"
        node = {"metadata": meta, "spec": {"unschedulable": number == 299}, "status": {}}
        node["status"] = {
            "addresses": [{"type": "InternalIP", "address": hostile}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        cluster.add("nodes", node)
        job = {"metadata": {**meta, "name": f"dataset-{name}"}, "spec": {"template": {}}}
        job["metadata"]["labels"] = {**labels, "aws-efs/kind": "dataset"}
        done = {"type": "Complete", "status": "True"}
        if number == 299:
            done = {"type": "Failed", "status": "True", "message": f"the deadline {hostile}"}
        job["status"] = {"conditions": [done]}
        cluster.add("jobs", job, application)
        event = {
            "metadata": {**meta, "namespace": application},
            "involvedObject": {"kind": "Pod", "name": hostile},
            "reason": "Failed",
            "message": hostile,
        }
        cluster.add("events", event, application)
    recorded = peers(file_system_id="fs-1", region="us-east-1")
    relations = (recorded, kube_control(cluster), certificates(cluster.ca))
    before = state(*relations, secret=secret, tags=f"a={'x' * 200_000}")
    context.run(context.on.action("diagnose"), before)
    report = str((context.action_results or {})["report"])
    assert len(report.encode()) < messages.LONGEST_RESULT_BYTES
    assert "does not fit into a result" not in report
    # No line of others looks like one of ours, and the last part is there.
    assert not any(line.startswith("root:") for line in report.split("\n"))
    assert not set("\0\x1b") & set(report)
    assert "\nlast events:\n  " in report
    # What the report is for comes first.
    assert report.index("n-299 ") < report.index("n-0 ")
    assert "dataset-n-299 failed: the deadline" in report
    assert "... more are left out" in report
    for value in secret.tracked_content.values():
        assert value not in report
