"""A cluster that others use too: other models, tenants, and copies of what is ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import tenacity
from lightkube import codecs
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import (
    batch_v1,
    coordination_v1,
    core_v1,
    rbac_authorization_v1,
    storage_v1,
)

from cluster import ownership
from sandbox.juju import kubernetes_bundle
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage
from tests.sandbox.waiting import until

ROSE = b"red"
# The options with which no name of two models collides, except that of their namespace.
APART = {"storage-class": "second", "claim-name": "second"}


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def loaded(stage: Stage, server: origin_server.Origin) -> Stage:
    """Return a stage on which data set flowers is published."""
    stage.settle()
    done = stage.run("create-dataset", name="flowers", source=server.put("rose.txt", ROSE))
    assert done.results.get("state") == "published", done
    stage.model.update_status()
    return stage


def second_model(stage: Stage, **config: Any) -> Stage:
    """Return a second model with an application of the same name, related to the same cluster."""
    second = Stage(stage.cloud, stage.plane, stage.nodes)
    second.settle(workers={}, config={**APART, **config})
    return second


def conflict(first: Stage, second: Stage) -> str:
    return (
        f"namespace aws-efs belongs to model {first.model.uuid[:8]}, not to model "
        f"{second.model.uuid[:8]}: deploy the charm under another name than aws-efs"
    )


def versions(stage: Stage, namespace: str = APPLICATION) -> dict[str, str]:
    """Return the resource version of each object that is ours or in our namespace."""
    kinds: tuple[Any, ...] = (
        *(batch_v1.Job, core_v1.ConfigMap, core_v1.Secret, core_v1.PersistentVolumeClaim),
    )
    found = [each for kind in kinds for each in stage.kube.list(kind, namespace=namespace)]
    labels = {ownership.MODEL: stage.model.uuid}
    for kind in (core_v1.PersistentVolume, storage_v1.StorageClass, core_v1.Namespace):
        found += stage.kube.list(kind, labels=labels)
    return {each.metadata.uid: each.metadata.resourceVersion for each in found}


def labels_of(stage: Stage) -> dict[str, str]:
    return {
        "app.kubernetes.io/managed-by": "juju",
        ownership.MODEL: stage.model.uuid,
        ownership.APPLICATION: APPLICATION,
    }


def meta(name: str, namespace: str = "", **fields: Any) -> meta_v1.ObjectMeta:
    return meta_v1.ObjectMeta(name=name, namespace=namespace or None, **fields)


def copied(resource: Any, name: str, namespace: str = "") -> Any:
    """Return what `kubectl get -o yaml` prints, with another name or namespace."""
    fields = resource.to_dict()
    kept = {
        key: fields["metadata"][key]
        for key in ("labels", "annotations")
        if key in fields["metadata"]
    }
    fields["metadata"] = {**kept, "name": name}
    if namespace:
        fields["metadata"]["namespace"] = namespace
    fields.pop("status", None)
    return codecs.from_dict(fields)


def uid(resource: Any) -> str:
    return resource.metadata.uid


def name_of(resource: Any) -> str:
    return resource.metadata.name


# --- two models


def test_another_model_of_our_name_is_blocked_and_its_probe_changes_nothing_of_ours(
    loaded: Stage,
) -> None:
    root, before = loaded.volume(), versions(loaded)
    second = second_model(loaded, **{"root-mode": "700"})
    assert second.status().name == "blocked"
    assert second.status().message == conflict(loaded, second)
    assert root.stat().st_mode & 0o7777 == 0o1777
    assert versions(loaded) == before
    second.model.update_status()
    loaded.model.update_status()
    assert loaded.status().name == "active"
    assert root.stat().st_mode & 0o7777 == 0o1777
    assert versions(loaded) == before


ACTIONS: list[tuple[str, dict[str, Any]]] = [
    ("delete-dataset", {"name": "flowers"}),
    ("delete-dataset", {"name": "flowers", "force": True}),
    ("create-dataset", {"name": "flowers", "source": "https://a.example/x", "overwrite": True}),
    ("verify-dataset", {"name": "flowers"}),
    ("list-datasets", {"refresh": True}),
    ("list-versions", {"name": "flowers"}),
    ("rollback", {"name": "flowers"}),
    ("show-dataset", {"name": "flowers"}),
]


def test_no_action_of_another_model_reads_or_changes_ours(loaded: Stage) -> None:
    file = loaded.volume() / "datasets/flowers/rose.txt"
    second = second_model(loaded)
    before = versions(loaded)
    for action, params in ACTIONS:
        refused = second.run(action, **params)
        assert refused.status == "failed", (action, params)
        assert refused.message == conflict(loaded, second)
        assert file.read_bytes() == ROSE
        assert versions(loaded) == before


def test_a_teardown_of_another_model_leaves_all_that_is_ours(loaded: Stage) -> None:
    (ours,) = loaded.cloud.file_systems()
    second = second_model(loaded)
    (theirs,) = [each.id for each in loaded.cloud.file_systems() if each.id != ours.id]
    before = versions(loaded)
    done = second.run("teardown", confirm=theirs)
    assert done.status == "completed", done
    lines = done.results["deleted"].splitlines()
    assert not [line for line in lines if "claim" in line]
    assert "stays in the cluster: namespace aws-efs, which is not ours" in lines
    assert versions(loaded) == before
    assert [each.id for each in loaded.cloud.file_systems()] == [ours.id]
    loaded.model.update_status()
    assert loaded.status().name == "active"


def test_the_second_model_works_under_another_name(loaded: Stage) -> None:
    second = Stage(loaded.cloud, loaded.plane, loaded.nodes)
    kubernetes_bundle.deploy(second.model, workers={})
    second.deploy("other", config={**APART})
    second.relate("other")
    assert second.status("other/leader").name == "active", second.status("other/leader")
    loaded.model.update_status()
    assert loaded.status().name == "active"


@pytest.mark.parametrize("label", [ownership.MODEL, ownership.APPLICATION])
def test_in_a_namespace_without_our_mark_nothing_is_done_until_it_has_it_again(
    loaded: Stage, label: str
) -> None:
    value = labels_of(loaded)[label]
    loaded.kube.patch(core_v1.Namespace, APPLICATION, {"metadata": {"labels": {label: None}}})
    before = versions(loaded)
    loaded.model.config(APPLICATION, {"root-mode": "700"})
    assert loaded.status().name == "blocked"
    assert loaded.status().message.startswith("namespace aws-efs belongs to ")
    assert loaded.volume().stat().st_mode & 0o7777 == 0o1777
    refused = loaded.run("delete-dataset", name="flowers")
    assert refused.message.startswith("namespace aws-efs belongs to ")
    assert (loaded.volume() / "datasets/flowers/rose.txt").read_bytes() == ROSE
    assert versions(loaded).items() <= before.items()
    loaded.kube.patch(core_v1.Namespace, APPLICATION, {"metadata": {"labels": {label: value}}})
    loaded.model.update_status()
    assert loaded.status().name == "active"
    assert loaded.volume().stat().st_mode & 0o7777 == 0o700


# --- copies and tenants in other namespaces


def make_copies(stage: Stage) -> dict[str, Any]:
    """Copy our claim and records to a namespace of a tenant, as a restored backup does."""
    stage.create_namespace("restored")
    spec = models.PersistentVolumeSpec(
        accessModes=["ReadWriteMany"],
        capacity={"storage": "100Gi"},
        persistentVolumeReclaimPolicy="Retain",
        storageClassName=APPLICATION,
        nfs=models.NFSVolumeSource(path="/", server="nfs.example.internal"),
        claimRef=models.ObjectReference(namespace="restored", name=APPLICATION),
    )
    made = [stage.kube.create(core_v1.PersistentVolume(metadata=meta("theirs"), spec=spec))]
    claim = copied(stage.claim("default"), APPLICATION, "restored")
    claim.spec.volumeName = "theirs"
    claim.metadata.annotations = None
    made.append(stage.kube.create(claim))
    until(lambda: bound(stage.claim("restored")))
    record = stage.kube.get(core_v1.ConfigMap, "dataset-flowers", namespace=APPLICATION)
    made.append(stage.kube.create(copied(record, "dataset-flowers", "restored")))
    metadata = meta("dataset-flowers", "restored", labels=labels_of(stage))
    made.append(stage.kube.create(core_v1.Secret(metadata=metadata)))
    return {uid(each): each for each in made}


def bound(claim: core_v1.PersistentVolumeClaim) -> bool:
    return bool(claim.status and claim.status.phase == "Bound")


def still_there(stage: Stage, made: dict[str, Any]) -> bool:
    for key, each in made.items():
        where = {"namespace": each.metadata.namespace} if each.metadata.namespace else {}
        now = stage.kube.get(type(each), each.metadata.name, **where)
        if uid(now) != key or now.metadata.deletionTimestamp:
            return False
    return True


def test_copies_in_another_namespace_are_left_alone_and_told(loaded: Stage) -> None:
    made = make_copies(loaded)
    loaded.model.update_status()
    assert loaded.status().name == "active"
    (only,) = loaded.cloud.file_systems()
    done = loaded.run("teardown", confirm=only.id)
    assert done.status == "completed", done
    assert still_there(loaded, made)
    assert bound(loaded.claim("restored"))
    lines = done.results["deleted"].splitlines()
    told = "stays in the cluster: {}, which only has our labels"
    assert told.format("claim restored/aws-efs") in lines
    assert told.format("config map restored/dataset-flowers") in lines
    assert told.format("secret restored/dataset-flowers") in lines
    assert not any("volume theirs" in line for line in lines)
    assert APPLICATION not in {
        each.metadata.name for each in loaded.kube.list(core_v1.Namespace) if each.metadata
    }


def forged_job(stage: Stage, namespace: str, **labels: str) -> batch_v1.Job:
    return batch_v1.Job.from_dict(
        {
            "metadata": {
                "name": "dataset-forged",
                "namespace": namespace,
                "labels": {**labels_of(stage), "aws-efs/kind": "dataset", **labels},
                "annotations": {
                    "aws-efs/dataset": "forged",
                    "aws-efs/file-system": stage.cloud.file_systems()[0].id,
                },
            },
            "spec": {
                "suspend": True,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "dataset", "image": "busybox"}],
                    }
                },
            },
        }
    )


def test_a_tenant_with_our_labels_forges_no_index_and_holds_no_hook_and_no_teardown(
    loaded: Stage,
) -> None:
    loaded.create_namespace("tenant")
    record = {"state": "published", "file_system": loaded.cloud.file_systems()[0].id}
    labels = {**labels_of(loaded), "aws-efs/kind": "dataset"}
    loaded.kube.create(
        core_v1.ConfigMap(
            metadata=meta("dataset-forged", "tenant", labels=labels),
            data={"record": json.dumps(record)},
        )
    )
    loaded.kube.create(forged_job(loaded, "tenant"))
    loaded.kube.create(
        forged_job(loaded, "default", **{"aws-efs/kind": "probe", "aws-efs/zone": "us-east-1a"})
    )
    loaded.model.update_status()
    assert loaded.status().name == "active"
    listed = loaded.run("list-datasets")
    assert "forged" not in listed.results["datasets"]
    assert listed.results["count"] == "1"
    (only,) = loaded.cloud.file_systems()
    done = loaded.run("teardown", confirm=only.id)
    assert done.status == "completed", done
    assert loaded.kube.get(batch_v1.Job, "dataset-forged", namespace="tenant")
    assert loaded.kube.get(core_v1.ConfigMap, "dataset-forged", namespace="tenant")


def test_a_job_in_our_namespace_that_is_none_of_ours_is_left_and_holds_no_hook(
    loaded: Stage,
) -> None:
    made = loaded.kube.create(forged_job(loaded, APPLICATION))
    for name in ("", "Not A Name", "x" * 60, "flowers"):
        body = {"metadata": {"annotations": {"aws-efs/dataset": name}}}
        loaded.kube.patch(batch_v1.Job, "dataset-forged", body, namespace=APPLICATION)
        loaded.model.update_status()
        assert loaded.status().name == "active", (name, loaded.status())
        listed = loaded.run("list-datasets")
        assert (listed.status, listed.results["count"]) == ("completed", "1"), (name, listed)
    there = loaded.kube.get(batch_v1.Job, "dataset-forged", namespace=APPLICATION)
    assert uid(there) == uid(made)


# --- claims


HELM = {
    ownership.MODEL: None,
    ownership.APPLICATION: None,
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": "theirs-1.0.0",
}


def test_a_claim_that_helm_has_relabelled_protects_its_pods_and_gets_its_labels_back(
    loaded: Stage,
) -> None:
    before = loaded.claim("default")
    loaded.hold_claim()
    loaded.kube.patch(
        core_v1.PersistentVolumeClaim,
        APPLICATION,
        {"metadata": {"labels": HELM}},
        namespace="default",
    )
    refused = loaded.run("delete-dataset", name="flowers")
    assert refused.status == "failed"
    assert "in use by pod default/reader" in refused.message
    assert (loaded.volume() / "datasets/flowers/rose.txt").read_bytes() == ROSE
    loaded.model.update_status()
    assert loaded.status().name == "active", loaded.status()
    after = loaded.claim("default")
    assert uid(after) == uid(before)
    assert after.metadata.labels.items() >= labels_of(loaded).items()
    assert after.metadata.labels["helm.sh/chart"] == "theirs-1.0.0"


def test_a_claim_that_helm_has_relabelled_is_taken_away_by_teardown(loaded: Stage) -> None:
    loaded.kube.patch(
        core_v1.PersistentVolumeClaim,
        APPLICATION,
        {"metadata": {"labels": HELM}},
        namespace="default",
    )
    (only,) = loaded.cloud.file_systems()
    done = loaded.run("teardown", confirm=only.id)
    assert "deleted claim default/aws-efs" in done.results["deleted"].splitlines()
    assert list(loaded.kube.list(core_v1.PersistentVolumeClaim, namespace="*")) == []


# --- our namespace


def make_foreign(stage: Stage) -> list[Any]:
    """Put objects of many kinds into our namespace: with our labels, and of a kind of theirs."""
    stage.kube.apply(
        codecs.from_dict(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": "widgets.theirs.test"},
                "spec": {
                    "group": "theirs.test",
                    "names": {"kind": "Widget", "plural": "widgets"},
                    "scope": "Namespaced",
                    "versions": [
                        {
                            "name": "v1",
                            "served": True,
                            "storage": True,
                            "schema": {"openAPIV3Schema": {"type": "object"}},
                        }
                    ],
                },
            }
        ),
        field_manager="theirs",
    )
    widget = create_namespaced_resource("theirs.test", "v1", "Widget", "widgets")
    record = stage.kube.get(core_v1.ConfigMap, "dataset-flowers", namespace=APPLICATION)
    claim = core_v1.PersistentVolumeClaim(
        metadata=meta("their-claim", APPLICATION),
        spec=models.PersistentVolumeClaimSpec(
            accessModes=["ReadWriteOnce"],
            storageClassName="theirs",
            resources=models.VolumeResourceRequirements(requests={"storage": "1Gi"}),
        ),
    )
    made = [
        core_v1.Secret(metadata=meta("their-secret", APPLICATION)),
        core_v1.ConfigMap(metadata=meta("their-config", APPLICATION), data={"a": "b"}),
        copied(record, "backup-of-flowers", APPLICATION),
        claim,
        core_v1.ServiceAccount(metadata=meta("their-account", APPLICATION)),
        rbac_authorization_v1.Role(metadata=meta("their-role", APPLICATION)),
        coordination_v1.Lease(metadata=meta("their-lease", APPLICATION)),
    ]
    created = [stage.kube.create(each) for each in made]
    return [*created, create_widget(stage, widget)]


@tenacity.retry(wait=tenacity.wait_fixed(0.1), stop=tenacity.stop_after_delay(20), reraise=True)
def create_widget(stage: Stage, kind: Any) -> Any:
    """Create an object of a new kind, which the API server serves a moment later."""
    return stage.kube.create(kind(metadata=meta("their-widget", APPLICATION)))


FOREIGN = (
    "configmaps/backup-of-flowers",
    "configmaps/their-config",
    "leases.coordination.k8s.io/their-lease",
    "persistentvolumeclaims/their-claim",
    "roles.rbac.authorization.k8s.io/their-role",
    "secrets/their-secret",
    "serviceaccounts/their-account",
    "widgets.theirs.test/their-widget",
)


def test_a_namespace_with_objects_of_others_stays_with_them_and_they_are_listed(
    loaded: Stage,
) -> None:
    made = {uid(each): each for each in make_foreign(loaded)}
    (only,) = loaded.cloud.file_systems()
    planned = loaded.run("teardown", dry_run=True).results["would-delete"].splitlines()
    done = loaded.run("teardown", confirm=only.id)
    assert done.status == "completed", done
    lines = done.results["deleted"].splitlines()
    for some in (planned, lines):
        kept = "stays in the cluster: "
        stays = [line.removeprefix(kept) for line in some if line.startswith(kept)]
        assert stays == [
            *(f"{each} in namespace aws-efs" for each in FOREIGN),
            "namespace aws-efs, since not all in it is ours: kubectl delete namespace aws-efs",
        ]
    assert still_there(loaded, made)
    namespace = loaded.kube.get(core_v1.Namespace, APPLICATION)
    assert namespace.metadata and namespace.metadata.deletionTimestamp is None
    assert "deleted config map aws-efs/dataset-flowers" in lines
    until(lambda: not left_of_ours(loaded, set(made)))
    assert loaded.cloud.file_systems() == ()


def left_of_ours(stage: Stage, others: set[str]) -> list[str]:
    kinds: tuple[Any, ...] = (
        *(batch_v1.Job, core_v1.Pod, core_v1.Secret, core_v1.ConfigMap),
        core_v1.PersistentVolumeClaim,
    )
    return [
        each.metadata.name
        for kind in kinds
        for each in stage.kube.list(kind, namespace=APPLICATION, labels=labels_of(stage))
        if uid(each) not in others
    ]


def test_a_teardown_that_left_the_namespace_takes_it_when_the_others_are_gone(
    loaded: Stage,
) -> None:
    secret = core_v1.Secret(metadata=meta("their-secret", APPLICATION))
    loaded.kube.create(secret)
    (only,) = loaded.cloud.file_systems()
    assert loaded.run("teardown", confirm=only.id).status == "completed"
    loaded.kube.delete(core_v1.Secret, "their-secret", namespace=APPLICATION)
    again = loaded.run("teardown")
    assert again.results["deleted"] == "deleted namespace aws-efs"


# --- cluster-wide objects


def test_copies_of_our_volume_and_storage_class_are_left_alone_and_told(loaded: Stage) -> None:
    (ours,) = [
        each
        for each in loaded.kube.list(core_v1.PersistentVolume, labels=labels_of(loaded))
        if each.spec and each.spec.claimRef and each.spec.claimRef.namespace == "default"
    ]
    volume = copied(ours, "copy")
    volume.spec.claimRef = None
    volume.spec.nfs.server = "nfs.example.internal"
    volume = loaded.kube.create(volume)
    original = loaded.kube.get(storage_v1.StorageClass, APPLICATION)
    copy = loaded.kube.create(copied(original, "copy"))
    loaded.model.config(APPLICATION, {"storage-class": "efs"})
    assert loaded.status().name == "active"
    (only,) = loaded.cloud.file_systems()
    done = loaded.run("teardown", confirm=only.id)
    assert done.status == "completed", done
    assert still_there(loaded, {uid(volume): volume, uid(copy): copy})
    lines = done.results["deleted"].splitlines()
    assert "stays in the cluster: volume copy, which only has our labels" in lines
    assert "stays in the cluster: storage class copy, which only has our labels" in lines
    assert "deleted storage class efs" in lines


def give_away(stage: Stage) -> str:
    """Bind our volume to a claim in another namespace; return the volume's name."""
    spec = stage.claim("default").spec
    assert spec and spec.volumeName
    stage.create_namespace("other")
    claim = copied(stage.claim("default"), "taken", "other")
    claim.metadata.annotations = None
    taken = stage.kube.create(claim)
    reference = {"namespace": "other", "name": "taken", "uid": uid(taken)}
    given = {"spec": {"claimRef": {**reference, "resourceVersion": None}}}
    stage.kube.patch(core_v1.PersistentVolume, spec.volumeName, given)
    until(lambda: bound(stage.kube.get(core_v1.PersistentVolumeClaim, "taken", namespace="other")))
    return spec.volumeName


def test_a_volume_of_ours_that_was_given_to_another_claim_is_told_and_its_pods_protected(
    loaded: Stage,
) -> None:
    loaded.hold_claim()
    volume = give_away(loaded)
    refused = loaded.run("delete-dataset", name="flowers")
    assert "in use by pod default/reader" in refused.message, refused
    (only,) = loaded.cloud.file_systems()
    refused = loaded.run("teardown", confirm=only.id)
    assert refused.status == "failed"
    assert refused.message == (
        "nothing was deleted: others use the file system, too: delete pod default/reader, volume "
        f"{volume} (claim other/taken), or set force=true"
    )
    loaded.model.update_status()
    assert loaded.status().name == "blocked"
    assert loaded.status().message == (
        f"volume {volume} was given to claim other/taken: delete that claim"
    )
    loaded.kube.delete(core_v1.PersistentVolumeClaim, "taken", namespace="other")
    loaded.model.update_status()
    assert loaded.status().name == "active", loaded.status()
    assert (loaded.volume() / "datasets/flowers/rose.txt").read_bytes() == ROSE


def test_data_stay_when_a_claim_goes_whose_volume_somebody_has_recycled(loaded: Stage) -> None:
    spec = loaded.claim("default").spec
    assert spec and spec.volumeName
    policy = {"spec": {"persistentVolumeReclaimPolicy": "Recycle"}}
    loaded.kube.patch(core_v1.PersistentVolume, spec.volumeName, policy)
    loaded.model.config(APPLICATION, {"namespaces": "elsewhere"})
    assert (loaded.volume() / "datasets/flowers/rose.txt").read_bytes() == ROSE
    pods = loaded.kube.list(core_v1.Pod, namespace="*")
    assert not [each for each in pods if name_of(each).startswith("recycler-")]
