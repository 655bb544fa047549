"""Writes to a real API server: only to what is ours, and only as it was observed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import lightkube
import pytest
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import core_v1

import identity
import problems
from cluster import client, errors, manifests, objects, ownership
from sandbox.kubernetes import control_plane

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")
OTHER = identity.Owner(model_uuid="0f00ba11-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")

Write = Callable[[client.Cluster, objects.Reference], object]


@pytest.fixture
def admin(plane: control_plane.ControlPlane) -> lightkube.Client:
    return plane.client(field_manager="kubectl-edit")


@pytest.fixture
def access(plane: control_plane.ControlPlane) -> identity.ClusterAccess:
    return identity.ClusterAccess(plane.endpoint, plane.ca, plane.admin_token)


@pytest.fixture
def cluster(access: identity.ClusterAccess) -> Iterator[client.Cluster]:
    with client.Cluster(access, OWNER) as connected:
        manifest = manifests.render("namespace", name="aws-efs", labels=ownership.labels(OWNER))
        connected.apply(manifests.resource(manifest))
        yield connected


def config_map(value: str, owner: identity.Owner = OWNER) -> core_v1.ConfigMap:
    return core_v1.ConfigMap(
        metadata=meta_v1.ObjectMeta(
            name="kept", namespace="aws-efs", labels=ownership.labels(owner)
        ),
        data={"value": value},
    )


def apply(cluster: client.Cluster, target: objects.Reference) -> object:
    return cluster.apply(config_map("ours again"), over=target)


def patch(cluster: client.Cluster, target: objects.Reference) -> object:
    return cluster.patch(target, {"data": {"value": "patched"}})


def delete(cluster: client.Cluster, target: objects.Reference) -> object:
    return cluster.delete(target)


WRITES = pytest.mark.parametrize("write", [apply, patch, delete])


def value(admin: lightkube.Client) -> str:
    found = admin.get(core_v1.ConfigMap, "kept", namespace="aws-efs")
    return (found.data or {})["value"]


def make(cluster: client.Cluster) -> objects.Reference:
    return objects.reference(cluster.apply(config_map("ours")))


def edit(admin: lightkube.Client) -> None:
    admin.patch(core_v1.ConfigMap, "kept", {"data": {"value": "theirs"}}, namespace="aws-efs")


def replace(admin: lightkube.Client) -> None:
    admin.delete(core_v1.ConfigMap, "kept", namespace="aws-efs")
    admin.create(config_map("theirs"))


@WRITES
def test_what_was_observed_last_is_written(
    cluster: client.Cluster, admin: lightkube.Client, write: Write
) -> None:
    write(cluster, make(cluster))
    found = {each.metadata.name for each in admin.list(core_v1.ConfigMap, namespace="aws-efs")}
    assert ("kept" in found) == (write is not delete)


@WRITES
@pytest.mark.parametrize("happens", [edit, replace])
def test_what_was_changed_or_replaced_since_its_observation_is_left_alone(
    cluster: client.Cluster,
    admin: lightkube.Client,
    write: Write,
    happens: Callable[[lightkube.Client], None],
) -> None:
    target = make(cluster)
    happens(admin)
    with pytest.raises(errors.ConflictError, match="config map aws-efs/kept: it was changed"):
        write(cluster, target)
    assert value(admin) == "theirs"


@pytest.mark.parametrize("wrong", ["uid", "version"])
@WRITES
def test_each_of_uid_and_version_alone_is_a_condition(
    cluster: client.Cluster, admin: lightkube.Client, write: Write, wrong: str
) -> None:
    target = make(cluster)
    other = {"uid": "00000000-0000-4000-8000-000000000000", "version": "1"}[wrong]
    changed = objects.Reference(**{**vars(target), wrong: other})
    with pytest.raises(problems.Problem):
        write(cluster, changed)
    assert value(admin) == "ours"


def test_what_is_gone_needs_no_deletion_and_is_not_made_again(
    cluster: client.Cluster, admin: lightkube.Client
) -> None:
    target = make(cluster)
    admin.delete(core_v1.ConfigMap, "kept", namespace="aws-efs")
    cluster.delete(target)
    cluster.remove(target)
    for write in (apply, patch):
        with pytest.raises(problems.Waiting):
            write(cluster, target)
    assert cluster.find_own(core_v1.ConfigMap, "kept") is None


def test_a_removal_takes_what_changed_meanwhile_and_leaves_what_replaced_it(
    cluster: client.Cluster, admin: lightkube.Client
) -> None:
    target = make(cluster)
    replace(admin)
    cluster.remove(target)
    assert value(admin) == "theirs"
    found = admin.get(core_v1.ConfigMap, "kept", namespace="aws-efs")
    edit(admin)
    cluster.remove(objects.reference(found))
    assert cluster.find_own(core_v1.ConfigMap, "kept") is None


def test_a_status_is_changed_only_as_it_was_observed(
    cluster: client.Cluster, admin: lightkube.Client
) -> None:
    claim = core_v1.PersistentVolumeClaim(
        metadata=meta_v1.ObjectMeta(name="claim", namespace="default"),
        spec=models.PersistentVolumeClaimSpec(
            accessModes=["ReadWriteMany"],
            storageClassName="none",
            resources=models.VolumeResourceRequirements(requests={"storage": "1Gi"}),
        ),
    )
    made = objects.reference(admin.create(claim))
    stale = objects.Reference(**{**vars(made), "kind": core_v1.PersistentVolumeClaimStatus})
    body = {"metadata": {"labels": {"theirs": "true"}}}
    admin.patch(core_v1.PersistentVolumeClaim, "claim", body, namespace="default")
    with pytest.raises(errors.ConflictError):
        cluster.patch(stale, {"status": {"capacity": {"storage": "1Gi"}}})


@WRITES
def test_nothing_is_written_in_the_namespace_of_another_model(
    access: identity.ClusterAccess,
    cluster: client.Cluster,
    admin: lightkube.Client,
    write: Write,
) -> None:
    target = make(cluster)
    message = (
        "namespace aws-efs belongs to model 6f4bf1dd, not to model 0f00ba11: "
        "deploy the charm under another name than aws-efs"
    )
    with client.Cluster(access, OTHER) as other:
        with pytest.raises(problems.Blocked) as caught:
            write(other, target)
        assert caught.value.message == message
        with pytest.raises(problems.Blocked):
            other.apply(config_map("theirs", OTHER))
        with pytest.raises(problems.Blocked):
            other.own(core_v1.ConfigMap)
        with pytest.raises(problems.Blocked):
            other.find_own(core_v1.ConfigMap, "kept")
    assert value(admin) == "ours"


def test_a_namespace_that_became_another_ones_is_noticed_before_the_next_write(
    cluster: client.Cluster, admin: lightkube.Client
) -> None:
    target = make(cluster)
    assert len(cluster.own(core_v1.ConfigMap)) == 1
    labels = {"labels": ownership.labels(OTHER)}
    admin.patch(core_v1.Namespace, "aws-efs", {"metadata": labels})
    with pytest.raises(problems.Blocked, match="belongs to model 0f00ba11"):
        delete(cluster, target)
    assert value(admin) == "ours"


def test_without_our_namespace_there_is_nothing_of_ours_and_nothing_is_written(
    access: identity.ClusterAccess,
) -> None:
    with client.Cluster(access, OWNER) as early:
        assert early.own(core_v1.ConfigMap) == []
        assert early.find_own(core_v1.ConfigMap, "kept") is None
        with pytest.raises(problems.Waiting, match="namespace aws-efs does not exist yet"):
            early.apply(config_map("ours"))


def test_an_object_in_our_namespace_without_our_marks_is_not_ours(
    cluster: client.Cluster, admin: lightkube.Client
) -> None:
    theirs = config_map("theirs")
    assert theirs.metadata
    theirs.metadata.labels = None
    admin.create(theirs)
    assert cluster.own(core_v1.ConfigMap) == []
    assert cluster.find_own(core_v1.ConfigMap, "kept") is None
    with pytest.raises(problems.Blocked, match="config map aws-efs/kept exists and is not ours"):
        cluster.apply(config_map("ours"))
    assert value(admin) == "theirs"
