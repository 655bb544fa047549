"""The charm whose answers from AWS, the API server and relations are garbled, one after the other.

Each test takes a share of all combinations, so that the whole takes a minute; with
AWS_EFS_FUZZ=all in the environment it takes them all. `pytest -rP` shows the numbers.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pathlib
from collections.abc import Iterator

import pytest
import yaml
from ops import testing

import charm
from app import reconcile_cluster
from sandbox.aws import aws_cloud
from sandbox.base import garbled_replies
from sandbox.juju import hook_process
from tests.unit import api_server

ROOT = pathlib.Path(__file__).parents[2]
UUID = "6f4bf1dd-0000-4000-8000-000000000000"
SHARE = 1 if os.environ.get("AWS_EFS_FUZZ") == "all" else 16
STATUSES = ("waiting", "blocked", "active")


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
        self.control_plane = plane.kube_control(f"{application}/0")
        self.authority = {"ca": plane.ca}

    def run(
        self,
        control_plane: dict[str, str] | None = None,
        authority: dict[str, str] | None = None,
        app: dict[str, str] | None = None,
    ) -> testing.State:
        """Run it; return the state afterwards. No known input may reach the last net."""
        relations = [
            testing.PeerRelation("peers"),
            testing.Relation(
                "kube-control",
                remote_app_name="kubernetes-control-plane",
                remote_units_data={0: control_plane or self.control_plane},
            ),
            testing.Relation(
                "certificates",
                remote_app_name="easyrsa",
                remote_app_data=app or {},
                remote_units_data={0: self.authority if authority is None else authority},
            ),
        ]
        before = testing.State(
            leader=True,
            config={
                "region": "us-east-1",
                "credentials": self._secret.id,
                "namespaces": "default research",
            },
            relations=relations,
            secrets=[self._secret],
            model=testing.Model(uuid=UUID, type="lxd"),
        )
        after = self._context.run(self._context.on.config_changed(), before)
        stacks = [each.message for each in self._context.juju_log if each.level == "ERROR"]
        assert not stacks, "\n".join(stacks)
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
