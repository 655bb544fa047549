from __future__ import annotations

import pathlib
import time
from typing import Any

import tenacity
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1, storage_v1

from sandbox.base import certificates
from sandbox.juju import kubernetes_bundle, related_charms
from sandbox.stage import Stage

LABELS = {"app.kubernetes.io/managed-by": "juju", "aws-efs/application": "aws-efs"}
CLUSTER_WIDE: tuple[Any, ...] = (
    core_v1.Namespace,
    core_v1.PersistentVolume,
    storage_v1.StorageClass,
)
NAMESPACED: tuple[Any, ...] = (
    core_v1.PersistentVolumeClaim,
    core_v1.ConfigMap,
    core_v1.Secret,
    core_v1.Pod,
    batch_v1.Job,
)


def ours(stage: Stage) -> dict[str, str]:
    """Return all our objects with their resource versions, which change with every write."""
    found = [each for kind in CLUSTER_WIDE for each in stage.kube.list(kind, labels=LABELS)]
    found += [
        each for kind in NAMESPACED for each in stage.kube.list(kind, namespace="*", labels=LABELS)
    ]
    return {each.metadata.uid: each.metadata.resourceVersion for each in found}


def probes(stage: Stage) -> set[str]:
    """Return the names of all probes' pods so far."""
    events = stage.kube.list(core_v1.Event, namespace="aws-efs")
    made = [each.message or "" for each in events if each.reason == "SuccessfulCreate"]
    return {each.partition("pod: ")[2] for each in made if "pod: probe-" in each}


def volumes(stage: Stage) -> list[core_v1.PersistentVolume]:
    return list(stage.kube.list(core_v1.PersistentVolume, labels=LABELS))


def claims(stage: Stage, namespace: str) -> list[str]:
    found = stage.kube.list(core_v1.PersistentVolumeClaim, namespace=namespace)
    return [each.metadata.name or "" for each in found if each.metadata]


def error_of(stage: Stage) -> list[str]:
    return [hook.error for hook in stage.model.hooks if hook.error]


def test_while_the_api_server_is_down_aws_is_reconciled_and_afterwards_all_recovers(
    stage: Stage,
) -> None:
    kubernetes_bundle.deploy(stage.model)
    stage.deploy()
    stage.plane.stop_api()
    try:
        stage.relate()
        assert stage.status().name == "waiting"
        assert "no connection to the Kubernetes API" in stage.status().message
        assert error_of(stage) == []
        # The control plane's units are known from the relation: their zones get mount targets.
        assert stage.cloud.mount_targets() != ()
    finally:
        stage.plane.start_api()
    # A node is ready again with its next heartbeat; until then the charm waits for one.
    for attempt in tenacity.Retrying(
        wait=tenacity.wait_fixed(0.5), stop=tenacity.stop_after_delay(60), reraise=True
    ):
        with attempt:
            stage.model.update_status()
            assert stage.status().name == "active"
    assert "3 zones, 3 nodes proven" in stage.status().message


def test_a_ca_that_did_not_sign_the_api_servers_certificate_blocks_and_nothing_is_sent(
    stage: Stage, tmp_path: pathlib.Path
) -> None:
    foreign = related_charms.Anchors(certificates.Authority(tmp_path).pem)
    authority = type("Authority", (related_charms.AuthorityCharm,), {"anchors": foreign})
    kubernetes_bundle.deploy(stage.model)
    stage.deploy()
    stage.model.deploy(authority, related_charms.EASYRSA, "vault")
    stage.model.relate("aws-efs:certificates", "vault")
    stage.model.relate("aws-efs:kube-control", "kubernetes-control-plane")
    assert stage.status().name == "blocked"
    assert "certificate does not verify" in stage.status().message
    assert "relate certificates" in stage.status().message
    assert ours(stage) == {}
    stage.model.remove_relation("aws-efs:certificates", "vault")
    stage.model.relate("aws-efs:certificates", "easyrsa")
    assert stage.status().name == "active"


def test_a_namespace_taken_off_waits_for_the_pod_that_uses_its_claim_and_keeps_the_data(
    stage: Stage,
) -> None:
    stage.create_namespace("research")
    stage.settle(config={"namespaces": "default research"})
    (stage.volume() / "result").write_text("42")
    stage.hold_claim("research")
    stage.model.config("aws-efs", {"namespaces": "default"})
    assert stage.status().name == "waiting"
    assert stage.status().message == (
        "claim research/aws-efs must be deleted but is used: delete pod reader"
    )
    claim = stage.claim("research")
    assert claim.metadata and claim.metadata.deletionTimestamp is None
    stage.kube.delete(core_v1.Pod, "reader", namespace="research", grace_period=0)
    stage.model.update_status()
    assert stage.status().name == "active"
    assert claims(stage, "research") == []
    assert (stage.volume() / "result").read_text() == "42"


def test_a_quota_blocks_with_its_own_words_and_the_other_namespace_is_served(
    stage: Stage,
) -> None:
    stage.create_namespace("research")
    quota = core_v1.ResourceQuota(
        metadata=meta_v1.ObjectMeta(name="small", namespace="research"),
        spec=models.ResourceQuotaSpec(hard={"requests.storage": "10Gi"}),
    )
    stage.kube.create(quota)
    quota_counts(stage, "research")
    stage.settle(config={"namespaces": "default research"})
    assert stage.status().name == "blocked"
    assert "research" in stage.status().message
    assert "exceeded quota: small, requested: requests.storage=100Gi" in stage.status().message
    assert claims(stage, "default") == ["aws-efs"]
    assert claims(stage, "research") == []
    stage.model.config("aws-efs", {"claim-capacity": "10Gi"})
    assert stage.status().name == "active"
    assert claims(stage, "research") == ["aws-efs"]


@tenacity.retry(
    wait=tenacity.wait_fixed(0.1),
    stop=tenacity.stop_after_delay(20),
    retry=tenacity.retry_if_exception_type(AssertionError),
    reraise=True,
)
def quota_counts(stage: Stage, namespace: str) -> None:
    """Wait until the quota controller has counted: until then the quota refuses everything."""
    quota = stage.kube.get(core_v1.ResourceQuota, "small", namespace=namespace)
    assert quota.status and quota.status.hard and quota.status.used


def test_a_namespace_that_is_being_deleted_is_waited_for(stage: Stage) -> None:
    stage.create_namespace("research")
    holder = meta_v1.ObjectMeta(name="held", namespace="research", finalizers=["a.test/hold"])
    stage.kube.create(core_v1.ConfigMap(metadata=holder))
    stage.kube.delete(core_v1.Namespace, "research")
    stage.settle(config={"namespaces": "default research"})
    assert stage.status().name == "waiting"
    assert stage.status().message == (
        "namespace research is being deleted: no claim until it is gone"
    )
    assert claims(stage, "research") == []
    assert len(volumes(stage)) == 2
    assert claims(stage, "default") == ["aws-efs"]


def test_a_foreign_claim_of_our_name_blocks_and_stays_as_it_is(stage: Stage) -> None:
    spec = models.PersistentVolumeClaimSpec(
        accessModes=["ReadWriteOnce"],
        storageClassName="theirs",
        resources=models.VolumeResourceRequirements(requests={"storage": "1Gi"}),
    )
    metadata = meta_v1.ObjectMeta(name="aws-efs", namespace="default")
    before = stage.kube.create(core_v1.PersistentVolumeClaim(metadata=metadata, spec=spec))
    stage.settle()
    assert stage.status().name == "blocked"
    assert stage.status().message == (
        "claim default/aws-efs exists and is not ours: juju config aws-efs claim-name=…"
    )
    after = stage.claim("default")
    assert after.spec == before.spec
    stage.model.config("aws-efs", {"claim-name": "shared"})
    assert stage.status().name == "active"
    assert "claim default/shared bound" in stage.status().message


def test_a_foreign_storage_class_of_our_name_blocks_and_stays_as_it_is(stage: Stage) -> None:
    metadata = meta_v1.ObjectMeta(name="aws-efs")
    before = stage.kube.create(
        storage_v1.StorageClass(metadata=metadata, provisioner="theirs.test/provisioner")
    )
    stage.settle()
    assert stage.status().name == "blocked"
    assert stage.status().message == (
        "storage class aws-efs exists and is not ours: juju config aws-efs storage-class=…"
    )
    assert stage.kube.get(storage_v1.StorageClass, "aws-efs") == before
    stage.model.config("aws-efs", {"storage-class": "efs"})
    assert stage.status().name == "active"


def test_a_claim_that_the_user_deleted_is_bound_again_at_the_next_update_status(
    stage: Stage,
) -> None:
    stage.settle()
    (stage.volume() / "result").write_text("42")
    before = stage.claim("default")
    stage.kube.delete(core_v1.PersistentVolumeClaim, "aws-efs", namespace="default")
    stage.model.update_status()
    assert stage.status().name == "active"
    after = stage.claim("default")
    assert before.metadata and after.metadata
    assert after.metadata.uid != before.metadata.uid
    assert after.status and after.status.phase == "Bound"
    assert (stage.volume() / "result").read_text() == "42"


def test_other_mount_options_reach_the_volumes_and_are_proven(stage: Stage) -> None:
    stage.settle()
    before, bound = probes(stage), {each.metadata.uid for each in volumes(stage) if each.metadata}
    stage.model.config("aws-efs", {"mount-options": "nfsvers=4.1,hard"})
    assert stage.status().name == "active"
    for each in volumes(stage):
        assert each.spec and each.spec.mountOptions == ["nfsvers=4.1", "hard"]
    assert {each.metadata.uid for each in volumes(stage) if each.metadata} == bound
    assert len(probes(stage) - before) == 3


def test_mount_options_that_no_node_takes_block_until_they_are_reset(stage: Stage) -> None:
    stage.settle()
    stage.model.config("aws-efs", {"mount-options": "nfsvers=4.1,fastplease"})
    assert stage.status().name == "blocked"
    assert "juju config aws-efs --reset mount-options" in stage.status().message
    stage.model.reset("aws-efs", "mount-options")
    assert stage.status().name == "active"


def test_another_claim_name_and_storage_class_replace_the_old_ones_and_keep_the_data(
    stage: Stage,
) -> None:
    stage.settle()
    (stage.volume() / "result").write_text("42")
    stage.model.config("aws-efs", {"claim-name": "shared", "storage-class": "efs"})
    assert stage.status().name == "active"
    assert "claim default/shared bound" in stage.status().message
    assert claims(stage, "default") == ["shared"]
    claim = stage.claim("default", "shared")
    assert claim.spec and claim.spec.storageClassName == "efs"
    classes = [
        each.metadata.name for each in stage.kube.list(storage_v1.StorageClass) if each.metadata
    ]
    assert classes == ["efs"]
    assert (stage.volume() / "result").read_text() == "42"


def test_another_claim_name_waits_for_the_pod_that_uses_the_old_one(stage: Stage) -> None:
    stage.settle()
    stage.hold_claim("default")
    stage.model.config("aws-efs", {"claim-name": "shared"})
    assert stage.status().name == "waiting"
    assert "claim default/aws-efs must be deleted but is used" in stage.status().message
    assert "reader" in stage.status().message
    assert claims(stage, "default") == ["aws-efs"]
    stage.model.config("aws-efs", {"claim-name": ""})
    assert stage.status().name == "active"


def test_another_root_mode_is_set_on_the_volume(stage: Stage) -> None:
    stage.settle()
    stage.model.config("aws-efs", {"root-mode": "0755"})
    assert stage.status().name == "active"
    assert stage.volume().stat().st_mode & 0o7777 == 0o755


def test_a_zone_whose_only_worker_is_not_ready_is_not_claimed_as_proven(stage: Stage) -> None:
    stage.settle()
    worker = next(iter(stage.kube.list(core_v1.Node)))
    assert worker.metadata and worker.metadata.name
    stage.nodes.not_ready(worker.metadata.name)
    stage.model.update_status()
    assert stage.status().name == "active"
    assert "2 zones, 2 nodes proven" in stage.status().message
    assert len(stage.cloud.mount_targets()) == 3
    stage.nodes.ready(worker.metadata.name)
    # Its taint is removed a moment after it is Ready.
    until = time.monotonic() + 60
    while "3 zones, 3 nodes proven" not in stage.status().message and time.monotonic() < until:
        stage.model.update_status()
    assert "3 zones, 3 nodes proven" in stage.status().message


def test_a_new_worker_is_probed_even_in_a_zone_that_was_proven(stage: Stage) -> None:
    stage.settle()
    zone = min(stage.cloud.subnets)
    stage.model.add_unit("kubernetes-worker", zones=[zone])
    stage.model.update_status()
    assert stage.status().name == "active"
    assert "3 zones, 4 nodes proven" in stage.status().message
    assert len(stage.cloud.mount_targets()) == 3


def test_a_steady_update_status_writes_nothing_to_the_cluster_or_aws(stage: Stage) -> None:
    stage.settle()
    stage.model.update_status()
    before = ours(stage)
    stage.cloud.reset_calls()
    stage.model.update_status()
    assert len(before) > 6
    assert ours(stage) == before
    assert stage.writes() == []
    assert stage.status().name == "active"


def test_an_image_that_no_node_can_pull_blocks_until_it_is_reset(stage: Stage) -> None:
    stage.settle()
    stage.model.config("aws-efs", {"loader-image": "docker.io/missing/missing:1"})
    assert stage.status().name == "blocked"
    assert "no such image: juju config aws-efs loader-image=…" in stage.status().message
    assert claims(stage, "default") == ["aws-efs"]
    before, blocked = ours(stage), stage.status()
    stage.model.update_status()
    assert (stage.status().name, stage.status().message) == (blocked.name, blocked.message)
    assert ours(stage).keys() == before.keys(), "the pod that waits for its image stays"
    stage.model.reset("aws-efs", "loader-image")
    assert stage.status().name == "active"
