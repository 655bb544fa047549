"""Control planes of several units, and the authorities and tokens that they change."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import ops
import pytest

from sandbox.base import certificates
from sandbox.juju import kubernetes_bundle, related_charms
from sandbox.kubernetes import api_gateway
from sandbox.stage import APPLICATION, Stage

CONTROL_PLANE = "kubernetes-control-plane"
USER = f"{APPLICATION}/0"


class Authorities:
    """A root and an authority below it, each with a directory for its files."""

    def __init__(self, directory: pathlib.Path) -> None:
        for name in ("root", "below"):
            (directory / name).mkdir(parents=True)
        self.root = certificates.Authority(directory / "root")
        self.below = certificates.Authority(directory / "below", self.root)

    def issue(self) -> certificates.KeyPair:
        """Return a certificate that the lower authority signed; nobody sends the chain."""
        return self.below.issue("api", hosts=[api_gateway.HOST])


@pytest.fixture
def authorities(tmp_path: pathlib.Path) -> Authorities:
    return Authorities(tmp_path / "authorities")


@pytest.fixture
def gateway(
    stage: Stage, authorities: Authorities
) -> Iterator[Callable[[], api_gateway.ApiGateway]]:
    """Return a function that starts an API server's load balancer."""
    with contextlib.ExitStack() as stack:

        def start() -> api_gateway.ApiGateway:
            running = api_gateway.ApiGateway(stage.plane, authorities.issue())
            stack.callback(running.close)
            return running

        yield start


def deploy(
    stage: Stage,
    endpoints: Mapping[int, Sequence[str]],
    anchors: related_charms.Anchors,
    *,
    units: int = 1,
) -> related_charms.Cluster:
    cluster = kubernetes_bundle.deploy(
        stage.model,
        control_planes=units,
        workers={"us-east-1a": 1},
        endpoints=endpoints,
        anchors=anchors,
    )
    stage.deploy()
    stage.relate()
    return cluster


def is_active(stage: Stage) -> None:
    status = stage.status()
    assert (status.name, "1 zone, 1 node proven" in status.message) == ("active", True), status


def remembered(stage: Stage) -> str:
    record = stage.model.databag("aws-efs:peers", APPLICATION)["record"]
    return json.loads(record)["endpoint"]


@pytest.mark.parametrize("units", [3, 1], ids=["one of each unit", "a list of one unit"])
def test_of_several_api_servers_the_one_that_answers_is_found_and_remembered(
    stage: Stage,
    authorities: Authorities,
    gateway: Callable[[], api_gateway.ApiGateway],
    units: int,
) -> None:
    dead, good, spare = gateway(), gateway(), gateway()
    dead.alive = False
    urls = [each.endpoint for each in (dead, good, spare)]
    each_own = {number: [url] for number, url in enumerate(urls)}
    anchors = related_charms.Anchors(authorities.below.pem)
    deploy(stage, each_own if units == 3 else {0: urls}, anchors, units=units)
    is_active(stage)
    assert remembered(stage) == good.endpoint
    assert spare.connections == 0

    # The good one is tried first: the dead one costs nothing any more.
    dead.connections = good.connections = 0
    stage.model.update_status(APPLICATION)
    is_active(stage)
    assert (dead.connections, spare.connections) == (0, 0)
    assert good.connections > 0

    # When it dies, another one takes its place, after one attempt at each dead one.
    good.alive = False
    good.connections = 0
    stage.model.update_status(APPLICATION)
    is_active(stage)
    assert remembered(stage) == spare.endpoint
    assert (good.connections, dead.connections) == (1, 1)


def test_where_no_api_server_answers_the_first_is_named_and_each_gets_one_attempt(
    stage: Stage, authorities: Authorities, gateway: Callable[[], api_gateway.ApiGateway]
) -> None:
    servers = [gateway(), gateway(), gateway()]
    urls = [each.endpoint for each in servers]
    deploy(stage, {0: urls}, related_charms.Anchors(authorities.below.pem))
    is_active(stage)
    for each in servers:
        each.alive, each.connections = False, 0
    stage.model.update_status(APPLICATION)
    status = stage.status()
    assert status.name == "waiting"
    assert urls[0] in status.message
    assert [each.connections for each in servers] == [1, 1, 1]
    servers[2].alive = True
    stage.model.update_status(APPLICATION)
    is_active(stage)


@pytest.mark.parametrize(
    "kind", ["an intermediate only", "Vault", "chain in ca", "root and chain", "v1"]
)
def test_the_authorities_that_a_provider_sends_are_trusted(
    stage: Stage,
    authorities: Authorities,
    gateway: Callable[[], api_gateway.ApiGateway],
    kind: str,
) -> None:
    below, root = authorities.below.pem, authorities.root.pem
    anchors = {
        "an intermediate only": related_charms.Anchors(below),
        "Vault": related_charms.Anchors(below, root),
        "chain in ca": related_charms.Anchors(f"{root}{below}"),
        "root and chain": related_charms.Anchors(root, f"{below}{root}"),
        "v1": related_charms.Anchors(below, root),
    }[kind]
    kubernetes_bundle.deploy(
        stage.model,
        workers={"us-east-1a": 1},
        endpoints={0: [gateway().endpoint]},
        anchors=anchors,
    )
    stage.deploy()
    provider = "easyrsa"
    if kind == "v1":
        provider = related_charms.SELF_SIGNED.name
        own = {"anchors": anchors, "sign": staticmethod(authorities.below.answer)}
        charm_type: type[ops.CharmBase] = type(
            "Signing", (related_charms.SigningAuthorityCharm,), own
        )
        stage.model.deploy(charm_type, related_charms.SELF_SIGNED)
    stage.model.relate(f"{APPLICATION}:certificates", provider)
    stage.model.relate(f"{APPLICATION}:kube-control", CONTROL_PLANE)
    is_active(stage)


def test_a_renewed_authority_is_taken_with_the_change_of_its_relation(
    stage: Stage,
    authorities: Authorities,
    gateway: Callable[[], api_gateway.ApiGateway],
    tmp_path: pathlib.Path,
) -> None:
    server, anchors = gateway(), related_charms.Anchors(authorities.below.pem)
    deploy(stage, {0: [server.endpoint]}, anchors)
    is_active(stage)
    renewed = Authorities(tmp_path / "renewed")
    server.renew(renewed.issue())
    stage.model.update_status(APPLICATION)
    assert "certificate does not verify" in stage.status().message

    # While it rotates, Vault sends both.
    anchors.ca, anchors.chain = renewed.below.pem, authorities.below.pem
    stage.model.update_status("easyrsa")
    assert stage.model.hooks[-1].name == "certificates-relation-changed"
    is_active(stage)


@pytest.mark.parametrize("version", ["3.6", "2.9"], ids=["in a secret", "in the databag"])
def test_a_rotated_token_is_taken_with_the_change_that_brings_it(
    stage: Stage, version: str
) -> None:
    old = Stage(stage.cloud, stage.plane, stage.nodes, version="2.9")
    stage = old if version == "2.9" else stage
    cluster = deploy(stage, {}, related_charms.Anchors(stage.plane.ca))
    is_active(stage)
    before = cluster.tokens[USER]
    cluster.revoke(USER)
    stage.model.update_status(CONTROL_PLANE)
    assert cluster.tokens[USER] != before
    changed = "secret-changed" if version == "3.6" else "kube-control-relation-changed"
    hooks = [each.name for each in stage.model.hooks if each.unit == USER]
    assert hooks[-1] == changed
    is_active(stage)
    # Not by the old one: it is revoked.
    stage.model.config(APPLICATION, {"capacity": "7Gi"})
    is_active(stage)


def test_a_secret_that_may_not_be_read_when_another_one_changes_is_waited_for(
    stage: Stage,
) -> None:
    deploy(stage, {}, related_charms.Anchors(stage.plane.ca))
    keys = stage.cloud.credentials
    content = {"access-key": keys.access_key, "secret-key": keys.secret_key}
    uri = stage.model.add_secret(content)
    stage.model.grant_secret(uri, APPLICATION)
    stage.model.config(APPLICATION, {"credentials": uri})
    is_active(stage)
    (secret,) = [
        each for each in stage.model.world.secrets.values() if each.owner and USER in each.tracked
    ]
    shares, secret.shares = secret.shares, {}
    stage.model.update_secret(uri, {**content, "session-token": ""})
    ran = stage.model.hooks[-1]
    assert (ran.unit, ran.name) == (USER, "secret-changed")
    status = stage.status()
    message = "waiting for the control plane to grant its secrets"
    assert (status.name, status.message) == ("waiting", message)
    assert {line.level for line in stage.model.log if line.unit == USER} <= {
        *("DEBUG", "INFO", "WARNING")
    }
    secret.shares = shares
    stage.model.update_status(APPLICATION)
    is_active(stage)
