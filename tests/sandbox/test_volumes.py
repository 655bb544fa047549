"""Volumes and claims on a real control plane, after each change."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterator
from typing import Any

import httpx2
import lightkube
import pytest
import tenacity
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import core_v1, storage_v1

import identity
import problems
from cluster import client, ownership
from cluster.volumes import volume_reconcile, volume_removal, volume_resources
from sandbox.kubernetes import control_plane

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")
SERVER = "fs-0a1b2c3d4e5f60718.efs.us-east-1.amazonaws.com"
WANTED = volume_resources.DesiredVolumes(
    server=SERVER,
    capacity="100Gi",
    claim_capacity="100Gi",
    claim_name="aws-efs",
    namespaces=("default",),
    storage_class="aws-efs",
    mount_options=("nfsvers=4.1", "hard"),
)
VOLUME = "aws-efs-6f4bf1dd-default"
WAIT = 30.0


@pytest.fixture(scope="module")
def plane(running_plane: control_plane.ControlPlane) -> control_plane.ControlPlane:
    return running_plane


@pytest.fixture
def admin(plane: control_plane.ControlPlane) -> Iterator[lightkube.Client]:
    plane.wipe()
    yield plane.client(field_manager="kubectl-edit")


@pytest.fixture
def cluster(
    plane: control_plane.ControlPlane, admin: lightkube.Client
) -> Iterator[client.Cluster]:
    access = identity.ClusterAccess(plane.endpoint, plane.ca, plane.admin_token)
    with client.Cluster(access, OWNER) as connected:
        yield connected


def reconcile(
    cluster: client.Cluster, timeout: float = WAIT, **changes: Any
) -> volume_reconcile.VolumesOutcome:
    return volume_reconcile.reconcile(
        cluster, dataclasses.replace(WANTED, **changes), timeout_seconds=timeout
    )


def claim(admin: lightkube.Client, namespace: str = "default", name: str = "aws-efs") -> Any:
    return admin.get(core_v1.PersistentVolumeClaim, name, namespace=namespace)


def volume(admin: lightkube.Client, name: str = VOLUME) -> Any:
    return admin.get(core_v1.PersistentVolume, name)


def names(admin: lightkube.Client, kind: Any) -> set[str]:
    where = {"namespace": "*"} if kind is core_v1.PersistentVolumeClaim else {}
    return {item.metadata.name for item in admin.list(kind, **where)}


def make_namespace(admin: lightkube.Client, name: str) -> None:
    admin.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=name)))


def run_pod(admin: lightkube.Client, namespace: str = "default", claim_name: str = "aws-efs"):
    """Create a pod that uses the claim: it has a node, but no kubelet ever runs or ends it."""
    source = models.PersistentVolumeClaimVolumeSource(claimName=claim_name)
    pod = core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name="reader", namespace=namespace),
        spec=models.PodSpec(
            nodeName="somewhere",
            automountServiceAccountToken=False,
            containers=[models.Container(name="main", image="busybox")],
            volumes=[models.Volume(name="data", persistentVolumeClaim=source)],
        ),
    )
    service_account(admin, namespace)
    admin.create(pod)


@tenacity.retry(
    wait=tenacity.wait_fixed(0.1),
    stop=tenacity.stop_after_delay(10),
    retry=tenacity.retry_if_exception_type(lightkube.ApiError),
    reraise=True,
)
def service_account(admin: lightkube.Client, namespace: str) -> None:
    """Wait for the service account that admission needs: a new namespace has none at first."""
    admin.get(core_v1.ServiceAccount, "default", namespace=namespace)


def end_pod(admin: lightkube.Client, namespace: str = "default") -> None:
    admin.delete(core_v1.Pod, "reader", namespace=namespace, grace_period=0)


@contextlib.contextmanager
def counted(cluster: client.Cluster) -> Generator[list[str]]:
    """Record the requests in the block, as "GET /api/v1/nodes"."""
    requests: list[str] = []

    def record(request: httpx2.Request) -> None:
        requests.append(f"{request.method} {request.url.path}")

    clients = (cluster._api._client._client, cluster._http)
    for each in clients:
        each.event_hooks = {"request": [record]}
    yield requests
    for each in clients:
        each.event_hooks = {}


def test_a_claim_is_bound_to_a_volume_on_the_file_system(cluster, admin):
    outcome = reconcile(cluster)

    assert outcome.problems == ()
    assert [(c.namespace, c.name, c.phase, c.capacity) for c in outcome.claims] == [
        ("default", "aws-efs", "Bound", "100Gi")
    ]
    labels = claim(admin).metadata.labels
    assert labels["notebooks.kubeflow.org/can-mount"] == "true"
    assert "notebooks.kubeflow.org/can-mount" not in claim(admin, "aws-efs").metadata.labels
    made = volume(admin)
    assert made.status.phase == "Bound"
    assert made.spec.nfs.server == SERVER
    assert made.spec.mountOptions == ["nfsvers=4.1", "hard"]
    assert made.spec.persistentVolumeReclaimPolicy == "Retain"
    assert made.metadata.labels.items() >= ownership.labels(OWNER).items()


def test_claims_of_a_former_version_get_the_label_that_kubeflow_notebooks_look_for(cluster, admin):
    reconcile(cluster)
    unlabelled = {"metadata": {"labels": {"notebooks.kubeflow.org/can-mount": None}}}
    admin.patch(core_v1.PersistentVolumeClaim, "aws-efs", unlabelled, namespace="default")

    assert reconcile(cluster).problems == ()
    assert claim(admin).metadata.labels["notebooks.kubeflow.org/can-mount"] == "true"
    with counted(cluster) as requests:
        reconcile(cluster)
    assert all(each.startswith("GET") for each in requests)


def test_our_jobs_have_a_bound_claim_in_a_namespace_of_their_own(cluster, admin):
    reconcile(cluster)

    own = admin.get(core_v1.Namespace, "aws-efs")
    assert own.metadata.labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert claim(admin, "aws-efs").status.phase == "Bound"


def test_a_steady_reconcile_makes_four_reads_and_no_write(cluster, admin):
    for name in ("a", "b", "c"):
        make_namespace(admin, name)
    desired = {"namespaces": ("default", "a", "b", "c"), "capacity": "2048Gi"}
    reconcile(cluster, **desired)

    with counted(cluster) as requests:
        outcome = reconcile(cluster, **desired)

    assert len(outcome.claims) == 4
    assert [request.split()[0] for request in requests] == ["GET"] * 4


@pytest.mark.parametrize("used", [False, True], ids=["unused", "in use"])
@pytest.mark.parametrize("capacity", ["200Gi", "50Gi", "1Ti"])
def test_a_live_claim_changes_its_size_up_and_down(cluster, admin, capacity, used):
    reconcile(cluster)
    if used:
        run_pod(admin)
    before = claim(admin).metadata.uid

    outcome = reconcile(cluster, capacity=capacity, claim_capacity=capacity)

    assert outcome.problems == ()
    assert claim(admin).metadata.uid == before
    assert claim(admin).spec.resources.requests["storage"] == capacity
    assert claim(admin).status.capacity["storage"] == capacity
    assert volume(admin).spec.capacity["storage"] == capacity


def test_a_claim_may_ask_for_less_than_its_volume_has(cluster, admin):
    reconcile(cluster, claim_capacity="10Gi")
    reconcile(cluster, claim_capacity="5Gi")

    assert claim(admin).spec.resources.requests["storage"] == "5Gi"
    assert claim(admin).status.capacity["storage"] == "100Gi"


def test_mount_options_change_in_place(cluster, admin):
    reconcile(cluster)
    before = volume(admin).metadata.uid

    reconcile(cluster, mount_options=("nfsvers=4.2",))

    assert volume(admin).metadata.uid == before
    assert volume(admin).spec.mountOptions == ["nfsvers=4.2"]


def test_no_mount_options_remove_those_that_were_there(cluster, admin):
    reconcile(cluster)
    reconcile(cluster, mount_options=())
    assert not volume(admin).spec.mountOptions


def test_what_kubectl_edited_on_our_volume_is_taken_back(cluster, admin):
    reconcile(cluster)
    admin.patch(
        core_v1.PersistentVolume,
        VOLUME,
        {"spec": {"mountOptions": ["soft"], "persistentVolumeReclaimPolicy": "Delete"}},
    )

    reconcile(cluster)

    assert volume(admin).spec.mountOptions == ["nfsvers=4.1", "hard"]
    assert volume(admin).spec.persistentVolumeReclaimPolicy == "Retain"


def test_a_claim_that_the_user_deleted_comes_back_bound_to_the_same_volume(cluster, admin):
    reconcile(cluster)
    before = volume(admin).metadata.uid
    admin.delete(core_v1.PersistentVolumeClaim, "aws-efs", namespace="default")

    outcome = reconcile(cluster)

    assert outcome.problems == ()
    assert claim(admin).status.phase == "Bound"
    assert volume(admin).metadata.uid == before


def test_a_volume_left_released_by_a_claim_made_again_by_hand_is_bound_again(cluster, admin):
    reconcile(cluster)
    again = claim(admin)
    admin.delete(core_v1.PersistentVolumeClaim, "aws-efs", namespace="default")
    wait_until(lambda: volume(admin).status.phase == "Released")
    again.metadata = meta_v1.ObjectMeta(
        name="aws-efs", namespace="default", labels=again.metadata.labels
    )
    again.status = None
    admin.create(again)

    outcome = reconcile(cluster)

    assert outcome.problems == ()
    assert claim(admin).status.phase == "Bound"


def test_a_claim_that_was_deleted_while_used_names_its_pods_and_comes_back_after_them(
    cluster, admin
):
    reconcile(cluster)
    run_pod(admin)
    admin.delete(core_v1.PersistentVolumeClaim, "aws-efs", namespace="default")

    (problem,) = reconcile(cluster, timeout=1).problems
    assert isinstance(problem, problems.Waiting)
    assert problem.message == (
        "claim default/aws-efs is being deleted but is used: delete pod reader"
    )

    end_pod(admin)
    assert reconcile(cluster).problems == ()
    assert claim(admin).status.phase == "Bound"


def test_a_volume_that_the_user_deleted_is_made_again_once_no_pod_uses_it(cluster, admin):
    reconcile(cluster)
    before = volume(admin).metadata.uid
    admin.delete(core_v1.PersistentVolume, VOLUME)

    outcome = reconcile(cluster)

    assert outcome.problems == ()
    assert volume(admin).metadata.uid != before
    assert claim(admin).status.phase == "Bound"


def test_a_volume_lost_under_its_claim_is_made_again_for_it(cluster, admin):
    reconcile(cluster)
    before = claim(admin).metadata.uid
    admin.delete(core_v1.PersistentVolume, VOLUME)
    admin.patch(core_v1.PersistentVolume, VOLUME, {"metadata": {"finalizers": None}})

    outcome = reconcile(cluster)

    assert outcome.problems == ()
    assert claim(admin).metadata.uid == before
    assert claim(admin).status.phase == "Bound"


def test_each_namespace_gets_a_claim_and_one_taken_off_the_list_loses_it(cluster, admin):
    make_namespace(admin, "research")
    outcome = reconcile(cluster, namespaces=("default", "research"))
    assert [(c.namespace, c.phase) for c in outcome.claims] == [
        ("default", "Bound"),
        ("research", "Bound"),
    ]

    outcome = reconcile(cluster)

    assert outcome.problems == ()
    both = {VOLUME, "aws-efs-6f4bf1dd-aws-efs"}
    wait_until(lambda: names(admin, core_v1.PersistentVolume) == both)
    with pytest.raises(lightkube.ApiError, match="not found"):
        claim(admin, "research")


def test_a_namespace_taken_off_the_list_keeps_its_claim_while_pods_use_it(cluster, admin):
    make_namespace(admin, "research")
    reconcile(cluster, namespaces=("default", "research"))
    run_pod(admin, "research")

    (problem,) = reconcile(cluster, timeout=1).problems

    assert isinstance(problem, problems.Waiting)
    assert "research/aws-efs must be deleted but is used: delete pod reader" in problem.message
    assert claim(admin, "research").metadata.deletionTimestamp is None
    end_pod(admin, "research")
    assert reconcile(cluster).problems == ()


def test_a_missing_namespace_is_reported_with_its_remedy_and_leaves_no_orphan(cluster, admin):
    outcome = reconcile(cluster, namespaces=("research", "default"), timeout=5)

    (problem,) = outcome.problems
    assert isinstance(problem, problems.Waiting)
    assert problem.message == (
        "namespace research does not exist: kubectl create namespace research"
    )
    assert [(c.namespace, c.phase) for c in outcome.claims] == [("default", "Bound")]
    assert "aws-efs-6f4bf1dd-research" not in names(admin, core_v1.PersistentVolume)


def test_a_namespace_that_the_user_deleted_leaves_no_orphan_volume(cluster, admin):
    make_namespace(admin, "research")
    reconcile(cluster, namespaces=("research",))
    admin.delete(core_v1.Namespace, "research")

    wait_until(lambda: "research" not in names(admin, core_v1.Namespace))

    (problem,) = reconcile(cluster, namespaces=("research",)).problems

    assert isinstance(problem, problems.Waiting)
    assert "kubectl create namespace research" in problem.message
    wait_until(lambda: "aws-efs-6f4bf1dd-research" not in names(admin, core_v1.PersistentVolume))


def test_a_terminating_namespace_gets_neither_claim_nor_volume(cluster, admin):
    held = core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="research"))
    admin.create(held)
    admin.create(
        core_v1.ConfigMap(
            metadata=meta_v1.ObjectMeta(
                name="holds", namespace="research", finalizers=["test.example/hold"]
            )
        )
    )
    admin.delete(core_v1.Namespace, "research")

    (problem,) = reconcile(cluster, namespaces=("research",), timeout=5).problems

    assert isinstance(problem, problems.Waiting)
    assert problem.message.startswith("namespace research is being deleted")
    assert "aws-efs-6f4bf1dd-research" not in names(admin, core_v1.PersistentVolume)


def test_a_quota_is_reported_in_its_own_words_and_leaves_no_orphan(cluster, admin):
    make_namespace(admin, "research")
    quota = models.ResourceQuotaSpec(hard={"requests.storage": "50Gi"})
    admin.create(
        core_v1.ResourceQuota(
            metadata=meta_v1.ObjectMeta(name="small", namespace="research"), spec=quota
        )
    )
    wait_until(lambda: admin.get(core_v1.ResourceQuota, "small", namespace="research").status.hard)

    outcome = reconcile(cluster, namespaces=("research", "default"))

    (problem,) = outcome.problems
    assert isinstance(problem, problems.Blocked)
    assert "exceeded quota: small" in problem.message
    assert "research" in problem.message
    assert [(c.namespace, c.phase) for c in outcome.claims] == [("default", "Bound")]
    assert "aws-efs-6f4bf1dd-research" not in names(admin, core_v1.PersistentVolume)


def test_a_quota_that_a_bigger_claim_exceeds_leaves_the_volume_as_it_was(cluster, admin):
    reconcile(cluster)
    quota = models.ResourceQuotaSpec(hard={"requests.storage": "150Gi"})
    admin.create(
        core_v1.ResourceQuota(
            metadata=meta_v1.ObjectMeta(name="small", namespace="default"), spec=quota
        )
    )
    wait_until(
        lambda: admin.get(core_v1.ResourceQuota, "small", namespace="default").status.used or {}
    )

    (problem,) = reconcile(cluster, capacity="200Gi", claim_capacity="200Gi").problems

    assert isinstance(problem, problems.Blocked)
    assert "exceeded quota" in problem.message
    assert volume(admin).spec.capacity["storage"] == "100Gi"


def test_a_foreign_claim_of_our_name_is_not_touched(cluster, admin):
    foreign = core_v1.PersistentVolumeClaim(
        metadata=meta_v1.ObjectMeta(name="aws-efs", namespace="default"),
        spec=models.PersistentVolumeClaimSpec(
            accessModes=["ReadWriteOnce"],
            resources=models.VolumeResourceRequirements(requests={"storage": "1Gi"}),
        ),
    )
    admin.create(foreign)

    (problem,) = reconcile(cluster, timeout=5).problems

    assert isinstance(problem, problems.Blocked)
    assert problem.message.startswith("claim default/aws-efs exists and is not ours: juju config")
    assert not claim(admin).metadata.labels
    assert VOLUME not in names(admin, core_v1.PersistentVolume)


def test_a_foreign_storage_class_of_our_name_stops_everything(cluster, admin):
    admin.create(
        storage_v1.StorageClass(
            metadata=meta_v1.ObjectMeta(name="aws-efs"), provisioner="ebs.csi.aws.com"
        )
    )

    with pytest.raises(problems.Blocked, match="storage class aws-efs exists and is not ours"):
        reconcile(cluster)

    assert names(admin, core_v1.PersistentVolume) == set()


def test_a_foreign_volume_of_our_name_is_not_touched(cluster, admin):
    spec = models.PersistentVolumeSpec(
        capacity={"storage": "1Gi"},
        accessModes=["ReadWriteMany"],
        nfs=models.NFSVolumeSource(server="192.0.2.1", path="/"),
    )
    admin.create(core_v1.PersistentVolume(metadata=meta_v1.ObjectMeta(name=VOLUME), spec=spec))

    (problem,) = reconcile(cluster, timeout=5).problems

    assert isinstance(problem, problems.Blocked)
    assert problem.message.startswith(f"volume {VOLUME} exists and is not ours")
    assert volume(admin).spec.nfs.server == "192.0.2.1"


def test_a_foreign_namespace_of_our_name_is_not_touched(cluster, admin):
    make_namespace(admin, "aws-efs")

    (problem,) = reconcile(cluster, timeout=5).problems

    assert isinstance(problem, problems.Blocked)
    assert problem.message == (
        "namespace aws-efs belongs to no model, not to model 6f4bf1dd: "
        "deploy the charm under another name than aws-efs"
    )
    labels = admin.get(core_v1.Namespace, "aws-efs").metadata.labels
    assert set(labels) == {"kubernetes.io/metadata.name"}
    assert claim(admin).status.phase == "Bound"


def test_the_charms_own_namespace_cannot_be_asked_for(cluster, admin):
    with pytest.raises(problems.Blocked, match="namespace aws-efs is the charm's own"):
        reconcile(cluster, namespaces=("aws-efs",))


@pytest.mark.parametrize(
    "change",
    [{"storage_class": "shared"}, {"claim_name": "data"}, {"server": "fs-2.example.internal"}],
    ids=["storage class", "claim name", "server"],
)
def test_what_cannot_change_in_place_is_replaced_when_unused(cluster, admin, change):
    reconcile(cluster)

    outcome = reconcile(cluster, **change)

    assert outcome.problems == ()
    (served,) = outcome.claims
    assert served.phase == "Bound"
    made = volume(admin)
    assert made.spec.nfs.server == change.get("server", SERVER)
    assert made.spec.claimRef.name == change.get("claim_name", "aws-efs")
    assert names(admin, storage_v1.StorageClass) == {change.get("storage_class", "aws-efs")}
    assert names(admin, core_v1.PersistentVolumeClaim) == {served.name, "aws-efs"}


def test_what_cannot_change_in_place_waits_for_the_pods_that_use_it(cluster, admin):
    reconcile(cluster)
    run_pod(admin)
    before = claim(admin).metadata

    (problem,) = reconcile(cluster, claim_name="data", timeout=1).problems

    assert isinstance(problem, problems.Waiting)
    assert "delete pod reader" in problem.message
    assert claim(admin).metadata.uid == before.uid
    assert claim(admin).metadata.deletionTimestamp is None
    assert names(admin, storage_v1.StorageClass) == {"aws-efs"}


def test_another_application_in_the_same_cluster_is_left_alone(plane, cluster, admin):
    other = identity.Owner(model_uuid=OWNER.model_uuid, application="other")
    access = identity.ClusterAccess(plane.endpoint, plane.ca, plane.admin_token)
    with client.Cluster(access, other) as second:
        reconcile(second, claim_name="other", storage_class="other")
        reconcile(cluster)

        volume_removal.remove(cluster, report=lambda line: None, timeout_seconds=WAIT)

        with counted(second) as requests:
            assert reconcile(second, claim_name="other", storage_class="other").problems == ()
    assert {request.split()[0] for request in requests} == {"GET"}


def test_remove_deletes_everything_and_reports_each_object(cluster, admin):
    reconcile(cluster)
    reported: list[str] = []

    lines = volume_removal.remove(cluster, report=reported.append, timeout_seconds=WAIT)

    assert (
        reported
        == lines
        == [
            "deleted claim aws-efs/aws-efs",
            "deleted claim default/aws-efs",
            "deleted volume aws-efs-6f4bf1dd-aws-efs",
            "deleted volume aws-efs-6f4bf1dd-default",
            "deleted storage class aws-efs",
            "deleted namespace aws-efs",
        ]
    )
    assert names(admin, core_v1.PersistentVolume) == set()
    assert names(admin, core_v1.PersistentVolumeClaim) == set()
    assert names(admin, storage_v1.StorageClass) == set()
    assert "aws-efs" not in names(admin, core_v1.Namespace)
    assert volume_removal.remove(cluster, report=reported.append, timeout_seconds=WAIT) == []


def test_remove_only_reports_what_would_be_deleted_in_a_dry_run(cluster, admin):
    reconcile(cluster)
    with counted(cluster) as requests:
        lines = volume_removal.remove(
            cluster, report=lambda line: None, timeout_seconds=WAIT, dry_run=True
        )
    assert lines[0] == "would delete claim aws-efs/aws-efs"
    assert {request.split()[0] for request in requests} == {"GET"}


def test_remove_names_the_pods_that_use_claims_and_touches_nothing_until_they_are_gone(
    cluster, admin
):
    reconcile(cluster)
    run_pod(admin)

    with pytest.raises(problems.Waiting, match="delete pod default/reader"):
        volume_removal.remove(cluster, report=lambda line: None, timeout_seconds=1)
    assert claim(admin).metadata.deletionTimestamp is None

    end_pod(admin)
    volume_removal.remove(cluster, report=lambda line: None, timeout_seconds=WAIT)
    assert names(admin, core_v1.PersistentVolumeClaim) == set()


def wait_until(condition: Any) -> None:
    tenacity.Retrying(
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(20),
        retry=tenacity.retry_if_result(lambda result: not result),
    )(condition)
