"""The charm whose answers from AWS, the API server and relations are garbled, or stay away.

Each test takes a share of all combinations, so that the whole takes a minute; with
AWS_EFS_FUZZ=all in the environment it takes them all. `pytest -rP` shows the numbers.
"""

from __future__ import annotations

import collections
import hashlib
import json
import logging
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping

import pytest
import yaml
from ops import testing

import charm
import polling
from app import reconcile_cluster
from sandbox.aws import aws_cloud
from sandbox.base import faulty_http_server, garbled_replies, garbled_values
from sandbox.juju import hook_process
from tests.clients import api_server

ROOT = pathlib.Path(__file__).parents[2]
UUID = "6f4bf1dd-0000-4000-8000-000000000000"
SHARE = 1 if os.environ.get("AWS_EFS_FUZZ") == "all" else 16
# The combinations of one field are hundreds of hooks: all of them are several tests.
PARTS = 4 if SHARE == 1 else 1
ZONES = 3
STATUSES = ("waiting", "blocked", "active")
# All combinations of one garbling take up to ten minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800 if SHARE == 1 else 300)
TOKEN = "the-units-own-token"
Databag = dict[str, str]


@pytest.fixture(scope="module")
def cloud() -> Iterator[aws_cloud.Cloud]:
    with aws_cloud.Cloud.start() as running:
        yield running


@pytest.fixture(scope="module")
def proxy(cloud: aws_cloud.Cloud) -> Iterator[garbled_replies.GarblingProxy]:
    running = garbled_replies.GarblingProxy(cloud.environ()["AWS_ENDPOINT_URL"])
    yield running
    running.close()


@pytest.fixture(scope="module")
def plane(
    cloud: aws_cloud.Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[api_server.ApiServer]:
    running = api_server.ApiServer(tmp_path_factory.mktemp("api"))
    for name in ("default", "research"):
        running.add("namespaces", {"metadata": {"name": name}})
    for number, zone in enumerate(cloud.subnets):
        instance = cloud.launch(str(number), zone, model_uuid=UUID)
        address = {"type": "InternalIP", "address": instance.private_address}
        node = {
            "metadata": {
                "name": f"node-{number}",
                "labels": {"topology.kubernetes.io/zone": zone},
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"providerID": instance.provider_id},
            "status": {
                "addresses": [address],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        running.add("nodes", node)
    yield running
    running.close()


@pytest.fixture(autouse=True)
def environment(
    cloud: aws_cloud.Cloud, proxy: garbled_replies.GarblingProxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setattr(charm, "AWS_TIMEOUT_SECONDS", 1)
    for name in ("VOLUMES", "PROBE", "SHORT_PROBE"):
        monkeypatch.setattr(reconcile_cluster, f"{name}_TIMEOUT_SECONDS", 0)
    values = {**cloud.environ(), "AWS_ENDPOINT_URL": proxy.url}
    # The libraries' own records repeat what cannot be encoded, and pytest would report it.
    logging.disable(logging.INFO)
    try:
        with hook_process.environment(values), hook_process.separate_logging():
            yield
    finally:
        logging.disable(logging.NOTSET)


class Hook:
    """A config-changed hook of a leader with a cluster.

    Args:
        cloud: AWS.
        plane: The API server.
        application: The name of the application, which has resources of its own.
    """

    def __init__(
        self, cloud: aws_cloud.Cloud, plane: api_server.ApiServer, application: str
    ) -> None:
        self._context = testing.Context(
            charm.AwsEfsCharm,
            meta=yaml.safe_load((ROOT / "metadata.yaml").read_text()),
            config=yaml.safe_load((ROOT / "config.yaml").read_text()),
            app_name=application,
        )
        keys = cloud.credentials
        content = {"access-key": keys.access_key, "secret-key": keys.secret_key}
        self._secret = testing.Secret(content, id="secret:cloudkeys0000000000a")
        sent = plane.kube_control(f"{application}/0")
        self.control_plane = {**sent, "creds": sent["creds"].replace("ours", TOKEN)}
        self.ca = plane.ca

    def run(self, relations: Mapping[str, Mapping[str, Databag]] | None = None) -> testing.State:
        """Run it; return the state afterwards. No known input may reach the last net.

        Args:
            relations: The fields that differ from the good ones, by relation and writer.
        """
        sent = relations or {}
        plane, authority = sent.get("kube-control", {}), sent.get("certificates", {})
        workers = sent.get("workers", {}).get("unit", {})
        machines = sent.get("filesystem", {}).get("unit", {})
        relations_ = [
            testing.PeerRelation("peers", local_app_data=sent.get("peers", {}).get("app", {})),
            testing.Relation(
                "kube-control",
                remote_app_name="kubernetes-control-plane",
                remote_units_data={
                    0: {**self.control_plane, **plane.get("unit", {})},
                    **({1: plane["other unit"]} if "other unit" in plane else {}),
                },
            ),
            testing.Relation(
                "certificates",
                remote_app_name="easyrsa",
                remote_app_data=authority.get("app", {}),
                remote_units_data={0: authority.get("unit", {"ca": self.ca})},
            ),
            testing.Relation("workers", remote_app_name="worker", remote_units_data={0: workers}),
            testing.Relation("filesystem", remote_app_name="hpc", remote_units_data={0: machines}),
        ]
        before = testing.State(
            leader=True,
            config={
                "region": "us-east-1",
                "credentials": self._secret.id,
                "namespaces": "default research",
                "backup": "true",
                "lifecycle": "ia=30d",
            },
            relations=relations_,
            secrets=[self._secret],
            model=testing.Model(uuid=UUID, type="lxd"),
        )
        after = self._context.run(self._context.on.config_changed(), before)
        stacks = [each.message for each in self._context.juju_log if each.level == "ERROR"]
        assert not stacks, "\n".join(stacks)
        log = "\n".join(each.message for each in self._context.juju_log)
        assert TOKEN not in log + after.unit_status.message
        assert after.unit_status.name in STATUSES
        assert len(after.unit_status.message) <= 120
        assert "\0" not in after.unit_status.message
        return after


@pytest.fixture
def hook(
    cloud: aws_cloud.Cloud, plane: api_server.ApiServer, request: pytest.FixtureRequest
) -> Iterator[Hook]:
    """Return the hook of an application that has nothing yet, in a cluster that has nothing."""
    before = dict(plane.objects)
    digest = hashlib.sha256(request.node.name.encode()).hexdigest()[:8]
    yield Hook(cloud, plane, f"efs-{digest}")
    plane.objects.clear()
    plane.objects.update(before)


def fuzz(
    server: garbled_replies.GarblingProxy | api_server.ApiServer, hook: Hook, name: str
) -> None:
    """Garble each reply of a hook in turn, in a share of the combinations."""
    garble, seen = garbled_replies.GARBLES[name], list[str]()
    number = list(garbled_replies.GARBLES).index(name) % SHARE
    while True:
        server.requests = 0
        server.garble = lambda count, reply, at=number: garble(reply) if count == at else reply
        after = hook.run()
        if server.requests <= number:
            break
        seen.append(f"reply {number}: {after.unit_status.name}: {after.unit_status.message}")
        number += SHARE
    server.garble = lambda _, reply: reply
    print(ascii([f"{len(seen)} hooks with {name}", *seen]))  # noqa: T201
    assert seen
    hook.run()
    assert hook.run().unit_status.name == "active"


@pytest.mark.parametrize("name", garbled_replies.GARBLES)
def test_no_garbled_answer_of_aws_ends_in_an_exception(
    proxy: garbled_replies.GarblingProxy, hook: Hook, name: str
) -> None:
    fuzz(proxy, hook, name)


@pytest.mark.parametrize("name", garbled_replies.GARBLES)
def test_no_garbled_answer_of_the_api_server_ends_in_an_exception(
    plane: api_server.ApiServer, hook: Hook, name: str
) -> None:
    fuzz(plane, hook, name)


# The fields of relations that the charm reads, by relation, writer and name.
FIELDS = [
    *(("kube-control", "unit", name) for name in ("api-endpoints", "creds")),
    ("kube-control", "unit", "ca-certificate-secret-id"),
    *(("certificates", "unit", name) for name in ("ca", "chain")),
    *(("certificates", "app", name) for name in ("ca", "chain", "certificates")),
    *(
        (endpoint, "unit", name)
        for endpoint in ("workers", "filesystem")
        for name in ("private-address", "ingress-address")
    ),
    *(("peers", "app", name) for name in ("record", "notes", "leader")),
]


def good_value(hook: Hook, name: str) -> str:
    """Return what the field has where nobody garbles it, or could have."""
    settled = hook.run()
    assert settled.unit_status.name == "active", settled.unit_status
    (peers,) = settled.get_relations("peers")
    assert isinstance(peers, testing.PeerRelation)
    request = "-----BEGIN CERTIFICATE REQUEST-----\nMIHM\n-----END CERTIFICATE REQUEST-----"
    issued = {"certificate": hook.ca, "certificate_signing_request": request, "ca": hook.ca}
    values = {
        **hook.control_plane,
        **peers.local_app_data,
        "ca-certificate-secret-id": "secret:d0c00000000000000000",
        "ca": hook.ca,
        "chain": hook.ca,
        "certificates": json.dumps([{**issued, "chain": [hook.ca]}]),
        "private-address": "172.31.0.9",
        "ingress-address": "172.31.0.9",
        "notes": json.dumps({"read-ahead": "text", "not-served": "text"}),
    }
    return values[name]


def whole(hook: Hook, relation: str) -> Mapping[str, Databag]:
    """Return what other writers of the relation send besides, which is enough."""
    if relation == "kube-control":
        return {"other unit": hook.control_plane}
    if relation == "certificates":
        issued = json.dumps([{"ca": hook.ca, "chain": [hook.ca]}])
        return {"unit": {"ca": hook.ca}, "app": {"certificates": issued}}
    return {}


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("field", FIELDS, ids="/".join)
def test_no_garbled_value_of_a_relation_ends_in_an_exception(
    hook: Hook, field: tuple[str, str, str], part: int
) -> None:
    relation, writer, name = field
    hook.run()
    values = list(garbled_values.garbled(good_value(hook, name)))
    seen = collections.Counter[str]()
    for value in values[FIELDS.index(field) % SHARE + part :: SHARE * PARTS]:
        status = hook.run({relation: {writer: {name: value}}}).unit_status
        seen[f"{status.name}: {status.message}"] += 1
        if others := whole(hook, relation):
            mixed = {**others, writer: {**others.get(writer, {}), name: value}}
            status = hook.run({relation: mixed}).unit_status
            assert status.name == "active", (status, ascii(value[:200]))
            seen["active beside another writer"] += 1
    print(ascii([f"{seen.total()} hooks with {'/'.join(field)}", *seen.items()]))  # noqa: T201
    assert seen
    assert hook.run().unit_status.name == "active"


@pytest.mark.parametrize("who", ["AWS", "the API server"])
def test_whoever_turns_mute_takes_the_patience_of_a_hook_once(
    proxy: garbled_replies.GarblingProxy,
    plane: api_server.ApiServer,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
    who: str,
) -> None:
    server = proxy if who == "AWS" else plane
    mute, end = list[int](), threading.Event()
    hook.run()
    # The whole patience is a moment here. Without it each request would wait for its own timeout.
    monkeypatch.setattr(polling, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(polling, "QUICK_SECONDS", 60)
    hooks, number = 0, 0
    for _ in range(20):
        mute.clear()
        server.requests = 0

        def hold(
            count: int, reply: faulty_http_server.Reply, begin: int = number
        ) -> faulty_http_server.Reply:
            if count >= begin:
                mute.append(count)
                end.wait(60)
            return reply

        server.garble = hold
        after = hook.run()
        if after.unit_status.name == "active":
            break
        if not mute:
            continue  # a busy machine was late
        assert after.unit_status.name == "waiting"
        assert "does not answer in time" in after.unit_status.message
        # Mount targets are made at the same time, one in each zone.
        assert len(mute) <= ZONES, f"{mute} waited after {number} answers"
        hooks, number = hooks + 1, number + 2
    server.garble = lambda _, reply: reply
    end.set()
    assert hooks >= 3
