"""The sandbox's Juju follows the rules of the real Juju."""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import logging
import os
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import botocore.session
import botocore.stub
import httpx2
import lightkube
import ops
import pytest
from lightkube.config import models as config_models
from lightkube.models import meta_v1
from lightkube.resources import core_v1
from ops import interface_kube_control

import identity
from sandbox.juju import charm_files, juju_model, kubernetes_bundle, substrate

Handler = Callable[[ops.CharmBase, ops.EventBase], None]

METADATA = charm_files.Metadata(
    meta={
        "name": "share",
        "requires": {
            "kube-control": {"interface": "kube-control", "limit": 1},
            "certificates": {"interface": "tls-certificates"},
            "workers": {"interface": "juju-info"},
        },
        "peers": {"peers": {"interface": "share-peers"}},
    },
    options={
        "text": {"type": "string", "default": "small"},
        "count": {"type": "int", "default": 1},
        "flag": {"type": "boolean", "default": False},
    },
    actions={
        "greet": {
            "params": {
                "name": {"type": "string"},
                "times": {"type": "integer", "default": 1, "minimum": 1},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
        "open": {},
    },
)
LIFE = (
    "install",
    "leader_elected",
    "config_changed",
    "start",
    "stop",
    "remove",
    "update_status",
    "upgrade_charm",
    "secret_changed",
    "greet_action",
    "open_action",
)
RELATION = ("created", "joined", "changed", "departed", "broken")


def charm_with(handler: Handler) -> type[ops.CharmBase]:
    """Return a charm class with one handler for every event."""

    class Charm(ops.CharmBase):
        def __init__(self, framework: ops.Framework) -> None:
            super().__init__(framework)
            events = [getattr(self.on, name) for name in LIFE]
            for endpoint in self.meta.relations:
                events += [getattr(self.on[endpoint], f"relation_{name}") for name in RELATION]
            for event in events:
                framework.observe(event, self._on_any)

        def _on_any(self, event: ops.EventBase) -> None:
            handler(self, event)

    return Charm


def do_nothing(charm: ops.CharmBase, event: ops.EventBase) -> None:
    pass


def deploy(model: juju_model.Model, handler: Handler = do_nothing, **options: Any) -> None:
    model.deploy(charm_with(handler), METADATA, **options)


def add_cluster(model: juju_model.Model, **options: Any) -> None:
    kubernetes_bundle.deploy(model, **{"workers": {"us-east-1a": 1}, **options})


def ran(model: juju_model.Model, unit: str = "share/0") -> list[str]:
    return [hook.name for hook in model.hooks if hook.unit == unit]


@pytest.fixture
def model() -> juju_model.Model:
    return juju_model.Model()


def test_install_peers_and_leader_elected_precede_start(model: juju_model.Model):
    deploy(model, units=2)
    assert ran(model)[:5] == [
        "install",
        "peers-relation-created",
        "leader-elected",
        "config-changed",
        "start",
    ]
    assert "leader-elected" not in ran(model, "share/1")
    assert ran(model)[5:] == ["peers-relation-joined", "peers-relation-changed"]


def test_at_install_there_is_a_leader_but_no_relation_not_even_to_peers(model: juju_model.Model):
    seen: list[tuple[bool, int]] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.InstallEvent):
            all_relations = sum(len(each) for each in charm.model.relations.values())
            seen.append((charm.unit.is_leader(), all_relations))

    deploy(model, handler, units=2)
    assert seen == [(True, 0), (False, 0)]


def test_a_relation_is_created_then_each_remote_unit_joins_and_changes(model: juju_model.Model):
    deploy(model)
    add_cluster(model, control_planes=2)
    before = len(model.hooks)
    model.relate("share:kube-control", "kubernetes-control-plane")
    mine = [hook.name for hook in model.hooks[before:] if hook.unit == "share/0"]
    assert mine[:3] == [
        "kube-control-relation-created",
        "kube-control-relation-joined",
        "kube-control-relation-changed",
    ]
    assert mine.count("kube-control-relation-joined") == 2


def test_a_later_unit_joins_the_existing_relations(model: juju_model.Model):
    deploy(model)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    model.add_unit("share")
    later = ran(model, "share/1")
    assert later.index("install") < later.index("kube-control-relation-created")
    assert later.index("kube-control-relation-created") < later.index("start")
    assert "kube-control-relation-changed" in later


def request_a_token(charm: ops.CharmBase, event: ops.EventBase) -> None:
    """Request a token with the library, as every client of kube-control does."""
    control = interface_kube_control.KubeControlRequirer(charm)
    control.set_auth_request(charm.unit.name, "system:masters")


def test_the_control_plane_s_own_library_answers_with_the_admin_s_and_our_own_token():
    plane = substrate.BarePlane()
    model = juju_model.Model(plane=plane)
    deploy(model, request_a_token)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    bag = model.databag("share:kube-control", "kubernetes-control-plane/0")
    assert json.loads(bag["api-endpoints"]) == [plane.endpoint]
    tokens = json.loads(bag["creds"])["share/0"]
    assert tokens["client_token"] == plane.admin_token
    assert plane.live[tokens["kubelet_token"]] == "share/0 system:masters"
    assert "ca-certificate-secret-id" not in bag


def test_only_the_leader_of_the_control_plane_publishes_credentials(model: juju_model.Model):
    deploy(model, request_a_token)
    add_cluster(model, control_planes=2)
    model.relate("share:kube-control", "kubernetes-control-plane")
    assert "creds" in model.databag("share:kube-control", "kubernetes-control-plane/0")
    assert "creds" not in model.databag("share:kube-control", "kubernetes-control-plane/1")
    model.set_leader("kubernetes-control-plane/1")
    model.update_status()
    assert "creds" not in model.databag("share:kube-control", "kubernetes-control-plane/0")
    assert "creds" in model.databag("share:kube-control", "kubernetes-control-plane/1")


def test_our_token_is_revoked_when_the_relation_ends_the_worker_s_is_not():
    plane = substrate.BarePlane()
    model = juju_model.Model(plane=plane)
    deploy(model, request_a_token)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    model.remove_relation("share:kube-control", "kubernetes-control-plane")
    users = [user.partition(" ")[0] for user in plane.live.values()]
    assert "share/0" not in users
    assert "system:node:kubernetes-worker-0" in users
    assert ran(model)[-2:] == ["kube-control-relation-departed", "kube-control-relation-broken"]
    model.relate("share:kube-control", "kubernetes-control-plane")
    assert "share/0 system:masters" in plane.live.values()


def test_canonical_kubernetes_sends_its_ca_and_no_kubelet_token():
    plane = substrate.BarePlane()
    model = juju_model.Model(plane=plane)
    found: dict[str, Any] = {}

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        control = interface_kube_control.KubeControlRequirer(charm, schemas="0,1")
        control.set_auth_request(charm.unit.name, "system:masters")
        found["ca"] = control.get_ca_certificate()
        found["tokens"] = control.get_auth_credentials(charm.unit.name)

    deploy(model, handler)
    add_cluster(model, ca_over="secret")
    model.relate("share:kube-control", "kubernetes-control-plane")
    assert found["ca"] == plane.ca.encode()
    assert found["tokens"]["kubelet_token"] == ""
    assert plane.live[found["tokens"]["client_token"]] == "share/0 system:masters"


def test_the_authority_publishes_the_ca_of_the_control_plane(model: juju_model.Model):
    deploy(model)
    add_cluster(model)
    model.relate("share:certificates", "easyrsa")
    assert model.databag("share:certificates", "easyrsa/0")["ca"] == model.plane.ca


def test_any_application_can_be_related_over_juju_info_and_runs_no_hook_for_it(
    model: juju_model.Model,
):
    addresses: set[str] = set()

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.RelationChangedEvent) and event.relation.name == "workers":
            bags = (event.relation.data[unit] for unit in event.relation.units)
            addresses.update(bag["ingress-address"] for bag in bags)

    deploy(model, handler)
    kubernetes_bundle.deploy(model, workers={"us-east-1a": 2, "us-east-1b": 1})
    before = len(ran(model, "kubernetes-worker/0"))
    model.relate("share:workers", "kubernetes-worker")
    units = model.world.applications["kubernetes-worker"].units.values()
    assert addresses == {unit.instance.private_address for unit in units}
    assert len(ran(model, "kubernetes-worker/0")) == before
    model.add_unit("kubernetes-worker", zones=["us-east-1c"])
    assert len(addresses) == 4
    model.remove_unit("kubernetes-worker/3")
    assert ran(model)[-1] == "workers-relation-departed"


def test_the_other_end_sees_what_a_leader_publishes(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        for relation in charm.model.relations["kube-control"]:
            if charm.unit.is_leader():
                relation.data[charm.app]["kubernetes_manifests"] = str(charm.config["text"])

    deploy(model, handler)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    before = len(model.hooks)
    model.config("share", {"text": "large"})
    bag = model.databag("share:kube-control", "share")
    assert bag == {"kubernetes_manifests": "large"}
    units = [hook.unit for hook in model.hooks[before:] if "changed" in hook.name]
    assert units == ["share/0", "kubernetes-control-plane/0"]


def test_a_relation_beyond_the_limit_is_refused(model: juju_model.Model):
    deploy(model)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    with pytest.raises(juju_model.JujuError, match="already exists"):
        model.relate("share:kube-control", "kubernetes-control-plane")
    kubernetes_bundle.deploy(
        model, control_plane_name="kubernetes-master", ca_over="secret", workers={}
    )
    with pytest.raises(juju_model.JujuError, match="exceed its maximum relation limit of 1"):
        model.relate("share:kube-control", "kubernetes-master")


def test_a_failed_hook_shows_as_error_loses_its_writes_and_runs_again(model: juju_model.Model):
    broken = [True]

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        for relation in charm.model.relations["peers"]:
            relation.data[charm.app]["half"] = "written"
        charm.unit.status = ops.ActiveStatus("well")
        if isinstance(event, ops.ConfigChangedEvent) and broken[0]:
            raise RuntimeError("no luck")

    deploy(model, handler)
    assert model.status("share/0") == juju_model.Status("error", 'hook failed: "config-changed"')
    assert model.status("share").name == "error"
    assert "start" not in ran(model)
    assert any("no luck" in line.message for line in model.log if line.level == "ERROR")
    model.resolve()
    assert ran(model)[-1] == "config-changed"
    broken[0] = False
    model.resolve()
    assert ran(model)[-2:] == ["config-changed", "start"]
    assert model.status("share/0") == juju_model.Status("active", "well")


def test_the_writes_of_a_failed_hook_are_lost(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.UpdateStatusEvent):
            for relation in charm.model.relations["peers"]:
                relation.data[charm.app]["half"] = "written"
            raise RuntimeError

    deploy(model, handler)
    model.update_status()
    assert model.status("share/0").name == "error"
    assert model.databag("share:peers", "share") == {}


def test_a_charm_that_fails_in_its_constructor_leaves_no_log_handler_behind(
    model: juju_model.Model,
):
    class Charm(ops.CharmBase):
        def __init__(self, framework: ops.Framework) -> None:
            super().__init__(framework)
            raise RuntimeError("early")

    handlers = list(logging.getLogger().handlers)
    model.deploy(Charm, METADATA)
    assert model.status("share/0").name == "error"
    assert logging.getLogger().handlers == handlers


def test_a_failed_relation_hook_is_named_with_the_other_end(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.RelationJoinedEvent):
            raise RuntimeError

    deploy(model, handler)
    add_cluster(model)
    model.relate("share:certificates", "easyrsa")
    message = 'hook failed: "certificates-relation-joined" for easyrsa:client'
    assert model.status("share/0") == juju_model.Status("error", message)


def test_an_action_has_results_log_and_status_and_keeps_its_writes(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.ActionEvent):
            event.log("thinking")
            event.set_results({"said": {"name": event.params["name"]}, "times": 2})
            charm.model.relations["peers"][0].data[charm.app]["greeted"] = event.params["name"]

    deploy(model, handler)
    result = model.run("share/leader", "greet", {"name": "you"})
    assert result == juju_model.ActionResult(
        status="completed",
        results={"said.name": "you", "times": "2"},
        message="",
        log=("thinking",),
    )
    assert model.databag("share:peers", "share") == {"greeted": "you"}


def test_an_action_that_fails_has_a_message_and_keeps_its_writes(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.ActionEvent):
            charm.model.relations["peers"][0].data[charm.app]["tried"] = "yes"
            event.set_results({"so-far": "half"})
            event.fail("no room")

    deploy(model, handler)
    result = model.run("share/0", "open")
    assert (result.status, result.message) == ("failed", "no room")
    assert result.results == {"so-far": "half"}
    assert model.databag("share:peers", "share") == {"tried": "yes"}


def test_an_action_that_crashes_loses_its_writes_and_leaves_the_unit_as_it_was(
    model: juju_model.Model,
):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        charm.unit.status = ops.ActiveStatus("well")
        if isinstance(event, ops.ActionEvent):
            charm.model.relations["peers"][0].data[charm.app]["tried"] = "yes"
            raise RuntimeError

    deploy(model, handler)
    result = model.run("share/0", "open")
    assert (result.status, result.message) == ("failed", "exit status 1")
    assert model.databag("share:peers", "share") == {}
    assert model.status("share/0") == juju_model.Status("active", "well")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, r'\(root\) : "name" property is missing and required'),
        ({"name": 5}, r"\(root\).name : must be of type string, given 5"),
        ({"name": "a", "times": "2"}, r"\(root\).times : must be of type integer"),
        ({"name": "a", "times": True}, r"\(root\).times : must be of type integer"),
        ({"name": "a", "times": 0}, r"\(root\).times : must be greater than or equal to 1"),
        ({"name": "a", "colour": "red"}, 'additional property "colour" is not allowed'),
    ],
)
def test_action_parameters_are_checked_before_anything_runs(
    model: juju_model.Model, params: dict[str, Any], words: str
):
    deploy(model)
    before = len(model.hooks)
    with pytest.raises(juju_model.JujuError, match=words):
        model.run("share/0", "greet", params)
    assert len(model.hooks) == before


def test_an_action_with_additional_properties_accepts_any_parameter(model: juju_model.Model):
    got: list[dict[str, Any]] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.ActionEvent):
            got.append(dict(event.params))

    deploy(model, handler)
    model.run("share/0", "open", {"surprise": 1})
    model.run("share/0", "greet", {"name": "you"})
    assert got == [{"surprise": 1}, {"name": "you", "times": 1}]
    with pytest.raises(juju_model.JujuError, match='action "fly" not defined on unit "share/0"'):
        model.run("share/0", "fly")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"colour": "red"}, 'unknown option "colour"'),
        ({"count": "many"}, 'option "count" expected int, got "many"'),
        ({"flag": "maybe"}, 'option "flag" expected boolean, got "maybe"'),
        ({"text": 5}, 'option "text" expected string, got 5'),
    ],
)
def test_config_is_refused_in_juju_s_words_and_nothing_changes(
    model: juju_model.Model, values: dict[str, Any], words: str
):
    deploy(model)
    before = len(model.hooks)
    with pytest.raises(juju_model.JujuError, match=words):
        model.config("share", {"text": "large", **values})
    assert len(model.hooks) == before
    assert model.world.applications["share"].config == {}


def test_config_reaches_the_charm_typed_and_only_a_change_runs_a_hook(model: juju_model.Model):
    seen: list[tuple[Any, ...]] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        seen.append((charm.config["text"], charm.config["count"], charm.config["flag"]))

    deploy(model, handler, config={"count": 2})
    assert seen[-1] == ("small", 2, False)
    model.config("share", {"text": "large", "count": "3", "flag": "true"})
    assert seen[-1] == ("large", 3, True)
    events = len(seen)
    model.config("share", {"text": "large"})
    assert len(seen) == events
    model.reset("share", "text", "count")
    assert seen[-1] == ("small", 1, True)


def test_a_secret_is_read_only_when_granted_and_an_update_notifies_its_readers(
    model: juju_model.Model,
):
    got: list[str] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if uri := str(charm.config["text"]).removeprefix("small"):
            try:
                got.append(charm.model.get_secret(id=uri).get_content(refresh=True)["key"])
            except ops.ModelError as error:
                got.append(str(error).strip())

    deploy(model, handler)
    uri = model.add_secret({"key": "one"})
    model.config("share", {"text": uri})
    assert got[-1] == "ERROR permission denied"
    model.grant_secret(uri, "share")
    model.update_status()
    assert got[-1] == "one"
    model.update_secret(uri, {"key": "two"})
    assert ran(model)[-1] == "secret-changed"
    assert got[-1] == "two"
    model.revoke_secret(uri, "share")
    model.update_status()
    assert got[-1] == "ERROR permission denied"


def test_a_reader_keeps_its_revision_until_it_refreshes(model: juju_model.Model):
    got: list[str] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if uri := str(charm.config["text"]).removeprefix("small"):
            got.append(charm.model.get_secret(id=uri).get_content()["key"])

    deploy(model, handler)
    uri = model.add_secret({"key": "one"})
    model.grant_secret(uri, "share")
    model.config("share", {"text": uri})
    model.update_secret(uri, {"key": "two"})
    assert got[-2:] == ["one", "one"]


def test_juju_2_9_has_no_secrets_and_no_commands_for_them():
    model = juju_model.Model(version="2.9")
    errors: list[str] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        assert os.environ["JUJU_VERSION"].startswith("2.9.")
        try:
            charm.model.get_secret(id="secret:abc")
        except ops.ModelError as error:
            errors.append(str(error))

    deploy(model, handler)
    assert model.status("share/0").name == "unknown"
    assert errors
    with pytest.raises(juju_model.JujuError, match="add-secret"):
        model.add_secret({"key": "one"})


@pytest.mark.parametrize("version", ["2.9", "3.6"])
def test_the_cloud_s_credential_needs_trust(version: Any):
    model = juju_model.Model(version=version)
    got: list[str] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        try:
            spec = charm.model.get_cloud_spec()
            assert spec.credential
            got.append(f"{spec.region} {spec.credential.attributes['access-key']}")
        except ops.ModelError:
            got.append("withheld")

    deploy(model, handler)
    assert set(got) == {"withheld"}
    model.trust("share")
    assert ran(model)[-1] == "config-changed"
    assert got[-1] == "us-east-1 bare-access-key"
    model.trust("share", remove=True)
    assert got[-1] == "withheld"


def test_a_hook_has_the_cloud_s_environment_and_nothing_of_the_developer_s(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("https_proxy", "http://mine")
    model = juju_model.Model(proxies={"https": "http://127.0.0.1:3128"})
    seen: dict[str, str] = {}

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        seen.update(os.environ)

    before = dict(os.environ)
    deploy(model, handler, zones=["us-east-1b"])
    assert dict(os.environ) == before
    assert seen["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert seen["JUJU_CHARM_HTTPS_PROXY"] == "http://127.0.0.1:3128"
    assert seen["JUJU_AVAILABILITY_ZONE"] == "us-east-1b"
    assert "AWS_PROFILE" not in seen
    assert "https_proxy" not in seen


def test_scaling_to_zero_and_back_keeps_the_applications_own_databag(
    model: juju_model.Model,
):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.StartEvent) and charm.unit.is_leader():
            charm.model.relations["peers"][0].data[charm.app].setdefault(
                "made-by", charm.unit.name
            )

    deploy(model, handler)
    model.remove_unit("share/0")
    with pytest.raises(juju_model.JujuError, match="could not determine leader"):
        model.status("share/leader")
    model.add_unit("share")
    assert model.databag("share:peers", "share") == {"made-by": "share/0"}
    assert model.world.unit("share/leader").name == "share/1"


def test_a_removed_unit_breaks_its_relations_peers_last_then_stops(model: juju_model.Model):
    deploy(model, units=2)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    before = len(model.hooks)
    model.remove_unit("share/0")
    mine = [hook.name for hook in model.hooks[before:] if hook.unit == "share/0"]
    assert mine == [
        "kube-control-relation-departed",
        "kube-control-relation-broken",
        "peers-relation-departed",
        "peers-relation-broken",
        "stop",
        "remove",
    ]
    assert ran(model, "share/1")[-2:] == ["peers-relation-departed", "leader-elected"]
    assert "kube-control-relation-departed" in ran(model, "kubernetes-control-plane/0")
    assert "share/1" in model.world.unit("kubernetes-control-plane/0").joined[4]


def test_a_removed_application_leaves_neither_relation_nor_machine_behind():
    cloud = substrate.BareCloud()
    model = juju_model.Model(cloud)
    deploy(model)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    machines = set(cloud.instances)
    model.remove_application("share")
    assert ran(model)[-2:] == ["stop", "remove"]
    assert ran(model).index("kube-control-relation-broken") < ran(model).index("stop")
    assert ran(model, "kubernetes-control-plane/0")[-1] == "kube-control-relation-broken"
    assert machines - set(cloud.instances) == {"i-0"}
    assert not [each for each in model.world.relations.values() if "share" in str(each)]
    with pytest.raises(juju_model.JujuError, match='application "share" not found'):
        model.status("share")


def test_a_broken_relation_has_no_members_but_can_still_be_read(model: juju_model.Model):
    seen: list[tuple[int, int, bool]] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.RelationBrokenEvent):
            relation = event.relation
            mine = "private-address" in relation.data[charm.unit]
            seen.append((len(charm.model.relations[relation.name]), len(relation.units), mine))

    deploy(model, handler)
    add_cluster(model)
    model.relate("share:certificates", "easyrsa")
    model.remove_relation("share", "easyrsa")
    assert seen == [(0, 0, True)]


def test_a_departed_unit_s_data_can_be_read_a_last_time(model: juju_model.Model):
    seen: list[str] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.RelationDepartedEvent):
            assert event.unit
            seen.append(event.relation.data[event.unit]["ca"])

    deploy(model, handler)
    add_cluster(model)
    model.relate("share:certificates", "easyrsa")
    model.remove_unit("easyrsa/0")
    assert seen == [model.plane.ca]


def test_a_destroyed_model_leaves_no_machine(model: juju_model.Model):
    deploy(model, units=2)
    add_cluster(model)
    model.relate("share:kube-control", "kubernetes-control-plane")
    model.destroy_model()
    assert model.world.applications == {}
    assert model.world.relations == {}
    assert isinstance(model.cloud, substrate.BareCloud)
    assert model.cloud.instances == {}


def test_a_non_leader_can_not_write_for_its_application(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.StartEvent):
            charm.model.relations["peers"][0].data[charm.app]["key"] = charm.unit.name

    deploy(model, handler, units=2)
    assert model.status("share/1") == juju_model.Status("error", 'hook failed: "start"')
    assert model.databag("share:peers", "share") == {"key": "share/0"}


def test_a_new_leader_is_elected_once(model: juju_model.Model):
    leading: list[tuple[str, bool]] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.UpdateStatusEvent):
            leading.append((charm.unit.name, charm.unit.is_leader()))

    deploy(model, handler, units=2)
    model.set_leader("share/1")
    assert ran(model, "share/1")[-1] == "leader-elected"
    model.update_status("share")
    assert leading == [("share/0", False), ("share/1", True)]


def test_an_upgrade_runs_the_new_code_and_keeps_stored_state(model: juju_model.Model):
    class Old(ops.CharmBase):
        stored = ops.StoredState()

        def __init__(self, framework: ops.Framework) -> None:
            super().__init__(framework)
            self.stored.set_default(since="old")

    class New(ops.CharmBase):
        stored = ops.StoredState()

        def __init__(self, framework: ops.Framework) -> None:
            super().__init__(framework)
            self.stored.set_default(since="new")
            self.unit.status = ops.ActiveStatus(str(self.stored.since))

    Old.__name__ = New.__name__ = "Charm"
    model.deploy(Old, METADATA)
    model.upgrade_charm("share", New)
    assert ran(model)[-2:] == ["upgrade-charm", "config-changed"]
    assert model.status("share") == juju_model.Status("active", "old")


def test_the_tools_that_a_hook_runs_are_counted(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.UpdateStatusEvent):
            for _ in range(3):
                charm.unit.is_leader()
            logging.getLogger("share").info("looked")
            charm.unit.status = ops.ActiveStatus(str(charm.config["text"]))

    deploy(model, handler)
    model.update_status()
    tools = dict(model.hooks[-1].tools)
    # ops itself logs that it runs, where its storage is, and what it emits.
    assert tools.pop("juju-log") == 4
    assert tools == {"is-leader": 1, "config-get": 1, "status-set": 1}


def test_log_lines_of_the_sandbox_are_not_in_the_charm_s_log(model: juju_model.Model):
    go, done = threading.Event(), threading.Event()

    def other() -> None:
        go.wait(10)
        logging.getLogger("elsewhere").warning("not the charm")
        done.set()

    thread = threading.Thread(target=other)
    thread.start()

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        go.set()
        done.wait(10)
        logging.getLogger("werkzeug").info("not the charm")
        worker = threading.Thread(target=lambda: logging.getLogger("share").info("a thread of it"))
        worker.start()
        worker.join()

    deploy(model, handler)
    thread.join()
    messages = [line.message for line in model.log]
    assert "a thread of it" in messages
    assert "not the charm" not in messages


def test_update_status_does_not_run_on_a_unit_in_error_and_is_not_kept_for_it(
    model: juju_model.Model,
):
    broken = [True]

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.StartEvent) and broken[0]:
            raise RuntimeError

    deploy(model, handler)
    model.update_status()
    assert ran(model)[-1] == "start"
    broken[0] = False
    model.resolve()
    assert ran(model)[-1] == "start"
    model.update_status()
    assert ran(model)[-1] == "update-status"


def test_charms_that_trigger_each_other_endlessly_are_detected(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        for relation in charm.model.relations["peers"]:
            count = int(relation.data[charm.unit].get("count", "0"))
            relation.data[charm.unit]["count"] = str(count + 1)

    with pytest.raises(RuntimeError, match="does not settle"):
        deploy(model, handler, units=2)


def test_a_charm_s_files_are_read_as_charmcraft_packs_them(tmp_path: pathlib.Path):
    (tmp_path / "metadata.yaml").write_text("name: share\nsummary: s\ndescription: d\n")
    (tmp_path / "charmcraft.yaml").write_text(
        "type: charm\n"
        "requires:\n  kube-control: {interface: kube-control, limit: 1}\n"
        "config:\n  options:\n    text: {type: string}\n"
    )
    (tmp_path / "actions.yaml").write_text("open: {}\n")
    read = charm_files.Metadata.read(tmp_path)
    assert read.name == "share"
    assert read.endpoints() == (
        charm_files.Endpoint("kube-control", "requires", "kube-control", 1),
    )
    assert list(read.options) == ["text"]
    assert list(read.actions) == ["open"]


def make_a_file_system(charm: ops.CharmBase, event: ops.EventBase) -> None:
    if isinstance(event, ops.UpdateStatusEvent | ops.ActionEvent):
        charm.model.relations["peers"][0].data[charm.app]["id"] = create_file_system()
        charm.unit.status = ops.ActiveStatus("made")


def create_file_system() -> str:
    """Create a file system with a stubbed EFS client, and return its id."""
    session = botocore.session.get_session()
    session.set_credentials("key", "secret")
    client = session.create_client("efs", region_name="us-east-1")
    answer = {
        "OwnerId": "1",
        "CreationToken": "t",
        "CreationTime": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        "FileSystemId": "fs-1",
        "LifeCycleState": "creating",
        "NumberOfMountTargets": 0,
        "SizeInBytes": {"Value": 0},
        "PerformanceMode": "generalPurpose",
        "Tags": [],
    }
    with botocore.stub.Stubber(client) as stub:
        stub.add_response("create_file_system", answer)
        return client.create_file_system(CreationToken="t")["FileSystemId"]


def test_a_killed_hook_keeps_its_calls_loses_its_writes_and_is_retried(
    model: juju_model.Model,
):
    deploy(model, make_a_file_system)
    model.kill_next_hook(after="CreateFileSystem")
    model.update_status()
    assert model.status("share/0") == juju_model.Status("error", 'hook failed: "update-status"')
    assert "killed after CreateFileSystem" in model.hooks[-1].error
    assert model.databag("share:peers", "share") == {}
    model.resolve()
    assert model.status("share/0") == juju_model.Status("active", "made")
    assert model.databag("share:peers", "share") == {"id": "fs-1"}


def test_an_action_can_be_killed_even_in_a_thread_of_its_own(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.ActionEvent):
            with concurrent.futures.ThreadPoolExecutor() as pool:
                try:
                    pool.submit(create_file_system).result()
                except Exception:  # noqa: BLE001 - the widest net that a charm may cast
                    charm.unit.status = ops.ActiveStatus("survived")

    deploy(model, handler)
    model.kill_next_hook(after="CreateFileSystem")
    assert model.run("share/0", "open").message == "exit status 1"
    assert model.status("share/0").name == "unknown"
    assert model.run("share/0", "open").status == "completed"


def test_a_hook_can_be_killed_after_it_has_applied_something(model: juju_model.Model):
    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        if isinstance(event, ops.UpdateStatusEvent):
            transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json={}))
            cluster = lightkube.KubeConfig.from_one(
                cluster=config_models.Cluster(server="https://127.0.0.1:1"),
                user=config_models.User(token="token"),
            )
            client = lightkube.Client(cluster, transport=transport, field_manager="share")
            client.apply(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="share")))
            charm.unit.status = ops.ActiveStatus("applied")

    deploy(model, handler)
    model.kill_next_hook(after="apply")
    model.update_status()
    assert "killed after apply" in model.hooks[-1].error
    model.resolve()
    assert model.status("share/0") == juju_model.Status("active", "applied")


def test_across_models_only_public_addresses_are_published(model: juju_model.Model):
    deploy(model)
    add_cluster(model)
    model.relate("share:workers", "kubernetes-worker", cross_model=True)
    bag = model.databag("share:workers", "kubernetes-worker/0")
    public = model.world.unit("kubernetes-worker/0").instance.public_address
    assert bag["ingress-address"] == bag["private-address"] == public


def test_a_model_s_credential_can_be_another_or_the_instances_role(model: juju_model.Model):
    kinds: list[str] = []

    def handler(charm: ops.CharmBase, event: ops.EventBase) -> None:
        credential = charm.model.get_cloud_spec().credential
        assert credential
        kinds.append(f"{credential.auth_type} {credential.attributes.get('access-key')}")

    deploy(model, handler, trust=True)
    model.update_credential(identity.AwsCredentials("another", "one"))
    model.update_status()
    model.update_credential(None)
    model.update_status()
    assert kinds[-3:] == [
        "access-key bare-access-key",
        "access-key another",
        "instance-role None",
    ]
