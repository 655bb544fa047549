"""The option namespace-selector: claims in the namespaces that carry the labels, at each event."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from lightkube.models import meta_v1
from lightkube.resources import core_v1

import identity
import problems
import selector_syntax
from cluster import client
from cluster.volumes import namespace_selection, volume_reconcile
from sandbox.kubernetes import control_plane
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage
from tests.sandbox import test_volumes, waiting
from tests.unit import test_selector_syntax

PROFILE = "app.kubernetes.io/part-of"
SELECTOR = f"{PROFILE}=kubeflow-profile"
MANY = 60
# Selectors of a few of these, at random, besides those that the unit tests name.
RANDOM = 600
TOKENS = [
    *("a", "b", "in", "notin", "!", "=", "==", "!=", "(", ")", ",", " ", " in (", " notin "),
    *("a=b", "(a,b)", ">", "<1", "-", "x/y", "a in (b)", "1", ","),
]


def make(kube: Any, name: str, **labels: str) -> None:
    metadata = meta_v1.ObjectMeta(name=name, labels={PROFILE: "kubeflow-profile", **labels})
    kube.create(core_v1.Namespace(metadata=metadata))


def relabel(stage: Stage, name: str, value: str | None) -> None:
    stage.kube.patch(core_v1.Namespace, name, {"metadata": {"labels": {PROFILE: value}}})


def claimed(kube: Any) -> set[str]:
    """Return the namespaces with a bound claim of the application's name."""
    return {
        str(claim.metadata and claim.metadata.namespace)
        for claim in kube.list(core_v1.PersistentVolumeClaim, namespace="*")
        if claim.metadata
        and claim.metadata.name == APPLICATION
        and claim.status
        and claim.status.phase == "Bound"
    } - {APPLICATION}


def volumes(kube: Any) -> set[str]:
    """Return the last part of the name of each volume."""
    return {each.metadata.name.rpartition("-")[2] for each in kube.list(core_v1.PersistentVolume)}


def update(stage: Stage) -> Any:
    stage.model.update_status(APPLICATION)
    return stage.status()


def delete_namespace(kube: Any, name: str) -> None:
    kube.delete(core_v1.Namespace, name)
    waiting.until(lambda: name not in {n.metadata.name for n in kube.list(core_v1.Namespace)})


@pytest.fixture
def selecting(stage: Stage) -> Stage:
    make(stage.kube, "ann")
    stage.settle(config={"namespace-selector": SELECTOR})
    assert stage.status().name == "active", stage.status()
    return stage


@pytest.fixture
def cluster(plane: control_plane.ControlPlane) -> Iterator[client.Cluster]:
    access = identity.ClusterAccess(plane.endpoint, plane.ca, plane.admin_token)
    with client.Cluster(access, test_volumes.OWNER) as connected:
        yield connected


def test_namespaces_get_claims_as_they_come_and_lose_them_as_they_go(selecting: Stage) -> None:
    kube: Any = selecting.kube
    assert claimed(kube) == {"default", "ann"}

    make(kube, "bob")
    assert update(selecting).name == "active"
    assert claimed(kube) == {"default", "ann", "bob"}

    relabel(selecting, "ann", None)
    assert update(selecting).name == "active"
    assert claimed(kube) == {"default", "bob"}
    assert volumes(kube) == {"default", "bob", "efs"}

    delete_namespace(kube, "bob")
    make(kube, "bob")
    assert update(selecting).name == "active"
    assert claimed(kube) == {"default", "bob"}


def test_a_claim_that_pods_use_stays_when_its_namespace_matches_no_more(selecting: Stage) -> None:
    selecting.hold_claim("ann")
    relabel(selecting, "ann", "other")

    status = update(selecting)
    assert status.name == "waiting"
    assert status.message.startswith("claim ann/aws-efs must be deleted but is used: delete pod")
    assert "ann" in claimed(selecting.kube)

    relabel(selecting, "ann", "kubeflow-profile")
    assert update(selecting).name == "active"


def test_teardown_finds_the_claims_of_namespaces_that_match_no_more(selecting: Stage) -> None:
    relabel(selecting, "ann", None)
    made = selecting.status().message.split()[0]

    done = selecting.run("teardown", confirm=made)

    assert done.status == "completed", done
    assert "deleted claim ann/aws-efs" in done.results["deleted"]
    assert not volumes(selecting.kube)
    assert not claimed(selecting.kube)


def test_a_selector_that_matches_nothing_says_so_and_the_named_namespaces_keep_theirs(
    stage: Stage,
) -> None:
    stage.settle(config={"namespace-selector": "team=vision"})
    assert stage.status().name == "waiting"
    assert stage.status().message == (
        "namespace-selector 'team=vision' matches no namespace: kubectl label namespace"
    )
    assert claimed(stage.kube) == {"default"}


def test_a_refused_selector_changes_nothing(selecting: Stage) -> None:
    selecting.model.config(APPLICATION, {"namespace-selector": "team in vision"})
    status = selecting.status()
    assert status.name == "blocked"
    assert status.message == (
        "namespace-selector 'team in vision': use a label selector, as in team=vision,env!=old "
        "(juju config)"
    )
    assert claimed(selecting.kube) == {"default", "ann"}


def test_only_named_namespaces_are_published_and_show_dataset_names_all(
    selecting: Stage,
) -> None:
    bag = selecting.model.databag(f"{APPLICATION}:kube-control", APPLICATION)
    published = json.loads(bag["kubernetes_manifests"])
    assert {each["metadata"].get("namespace") for each in published} == {
        *(None, APPLICATION, "default")
    }
    with origin_server.Origin.start() as server:
        source = server.put("rose.txt", b"red")
        assert selecting.run("create-dataset", name="flowers", source=source).status == "completed"
    shown = selecting.run("show-dataset", name="flowers")
    assert shown.results["namespaces"] == "default ann"


def test_a_new_namespace_that_is_isolated_gets_its_directory_and_both_claims(
    stage: Stage,
) -> None:
    make(stage.kube, "ann")
    options = {"namespace-selector": SELECTOR, "namespaces": "", "isolation": "namespace"}
    stage.settle(config=options)
    assert stage.status().name == "active", stage.status()
    make(stage.kube, "bob")
    assert update(stage).name == "active"

    assert claimed(stage.kube) == {"ann", "bob"}
    view = stage.claim("bob", f"{APPLICATION}-datasets")
    assert view.status and view.status.phase == "Bound"
    assert {each.name for each in (stage.volume() / "namespaces").iterdir()} == {"ann", "bob"}


def test_the_charm_and_the_api_server_take_the_same_selectors(cluster: client.Cluster) -> None:
    def accepted(text: str) -> bool:
        answer: httpx2.Response = cluster._http.get(
            "api/v1/namespaces", params={"labelSelector": text, "limit": 1}
        )
        assert answer.status_code in {200, 400}, (text, answer.text)
        return answer.status_code == 200

    assert [text for text in test_selector_syntax.GOOD if not accepted(text)] == []
    # The API server reads no further than a NUL, which Juju cannot keep.
    bad = [text for text in test_selector_syntax.BAD if "\x00" not in text]
    assert [text for text in bad if accepted(text)] == []
    mixed = random.Random(18)
    for _ in range(RANDOM):
        text = "".join(mixed.choices(TOKENS, k=mixed.randint(1, 7))).strip()
        assert accepted(text) == taken(text), text


def taken(text: str) -> bool:
    try:
        selector_syntax.read(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("text", test_selector_syntax.GOOD[:9])
def test_what_is_sent_is_what_was_written(
    plane: control_plane.ControlPlane, cluster: client.Cluster, text: str
) -> None:
    kube = plane.client()
    kube.create(
        core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="x", labels={"team": "vision"}))
    )
    kube.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="y", labels={"team": ""})))
    kube.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="z")))

    found = set(namespace_selection.find(cluster, text)) & {"x", "y", "z"}

    expected = {
        "team": "xy",
        "!team": "z",
        "! team": "z",
        "team=": "y",
        "team==": "y",
        "team!=": "xz",
        "team=vision": "x",
        "team==vision": "x",
        "team!=old": "xyz",
    }
    assert found == set(expected[text])


def test_our_own_namespace_and_those_being_deleted_are_not_selected(
    plane: control_plane.ControlPlane, cluster: client.Cluster
) -> None:
    kube = plane.client()
    make(kube, APPLICATION)
    make(kube, "going")
    held = {"metadata": {"finalizers": ["example.com/held"]}}
    kube.create(
        core_v1.ConfigMap(
            metadata=meta_v1.ObjectMeta(
                name="held", namespace="going", finalizers=held["metadata"]["finalizers"]
            )
        )
    )
    kube.delete(core_v1.Namespace, "going")
    make(kube, "stays")

    assert namespace_selection.find(cluster, SELECTOR) == ("stays",)


def test_more_namespaces_than_can_be_served_are_refused(
    plane: control_plane.ControlPlane, cluster: client.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace_selection, "MOST", 2)
    for name in ("a", "b", "c"):
        make(plane.client(), name)

    with pytest.raises(problems.Blocked, match="matches 3 namespaces, at most 2 get claims"):
        namespace_selection.find(cluster, SELECTOR)


def test_many_namespaces_get_claims_and_cost_no_more_calls_afterwards(
    plane: control_plane.ControlPlane, cluster: client.Cluster
) -> None:
    kube = plane.client()
    for number in range(MANY):
        make(kube, f"user-{number:02}")
    namespaces = namespace_selection.find(cluster, SELECTOR)
    assert len(namespaces) == MANY

    with test_volumes.counted(cluster) as requests:
        first = test_volumes.reconcile(cluster, timeout=60, namespaces=namespaces)
    assert first.problems == ()
    assert len(first.claims) == MANY
    assert sum(request.startswith("PATCH") for request in requests) == 3 * MANY + 5
    with test_volumes.counted(cluster) as requests:
        namespace_selection.find(cluster, SELECTOR)
        test_volumes.reconcile(cluster, namespaces=namespaces)
    assert len(requests) == 5
    assert {request.split()[0] for request in requests} == {"GET"}


def test_a_hook_begins_no_claim_when_its_time_is_up_and_the_next_one_continues(
    plane: control_plane.ControlPlane, cluster: client.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c", "d", "e"):
        make(plane.client(), name)
    namespaces = ("a", "b", "c", "d", "e")
    monkeypatch.setattr(volume_reconcile, "WRITING_SECONDS", -1)
    late = test_volumes.reconcile(cluster, timeout=0, namespaces=namespaces)
    assert [each.message for each in late.problems] == [
        "0 of 5 claims are bound: the next update-status continues"
    ]
    monkeypatch.undo()
    assert test_volumes.reconcile(cluster, namespaces=namespaces).problems == ()
