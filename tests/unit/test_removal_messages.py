"""What teardown says of an object that was deleted and does not go."""

from __future__ import annotations

from typing import Any

import pytest
from lightkube.resources import core_v1, storage_v1

from cluster.volumes import volume_removal

PROTECTION = "kubernetes.io/pvc-protection"


def claim(*finalizers: str) -> core_v1.PersistentVolumeClaim:
    metadata: dict[str, Any] = {"name": "aws-efs", "finalizers": list(finalizers)}
    return core_v1.PersistentVolumeClaim.from_dict({"metadata": metadata})


def namespace(*conditions: tuple[str, str, str]) -> core_v1.Namespace:
    told = [
        {"type": kind, "status": status, "message": message}
        for kind, status, message in conditions
    ]
    return core_v1.Namespace.from_dict(
        {"metadata": {"name": "aws-efs"}, "status": {"conditions": told}}
    )


def volume(phase: str, *finalizers: str) -> core_v1.PersistentVolume:
    return core_v1.PersistentVolume.from_dict(
        {
            "metadata": {"name": "ours", "finalizers": list(finalizers)},
            "spec": {"claimRef": {"namespace": "other", "name": "taken"}},
            "status": {"phase": phase},
        }
    )


def storage_class(*finalizers: str) -> storage_v1.StorageClass:
    metadata: dict[str, Any] = {"name": "aws-efs", "finalizers": list(finalizers)}
    return storage_v1.StorageClass.from_dict({"metadata": metadata, "provisioner": "none"})


@pytest.mark.parametrize(
    "found",
    [
        None,
        claim(),
        claim(PROTECTION),
        namespace(),
        volume("Released", "kubernetes.io/pv-protection"),
        storage_class(),
    ],
)
def test_what_goes_by_itself_takes_another_run(found):
    text = volume_removal.explain_stay("claim default/aws-efs", found)
    assert text == "claim default/aws-efs is still being deleted: run it again"


def test_a_finalizer_of_others_is_named_since_no_further_run_ends_it():
    found = claim(PROTECTION, "example.com/backup", "theirs")
    assert volume_removal.explain_stay("claim default/aws-efs", found) == (
        "claim default/aws-efs keeps finalizer example.com/backup, theirs: remove it there, then "
        "run it again"
    )


@pytest.mark.parametrize("found", [volume("Failed", "theirs"), storage_class("theirs")])
def test_so_it_is_on_a_kind_without_conditions(found):
    text = volume_removal.explain_stay("x", found)
    assert text == "x keeps finalizer theirs: remove it there, then run it again"


def test_the_claim_that_keeps_a_volume_is_named_since_no_further_run_ends_it():
    found = volume("Bound", "kubernetes.io/pv-protection")
    assert volume_removal.explain_stay("volume ours", found) == (
        "volume ours is bound to claim other/taken: delete that claim, then run it again"
    )


def test_what_keeps_a_namespace_is_told_in_kubernetes_words():
    found = namespace(
        ("NamespaceDeletionDiscoveryFailure", "False", "all resources successfully discovered"),
        ("NamespaceContentRemaining", "True", "pods. has 1 resource instances"),
        ("NamespaceFinalizersRemaining", "True", "example.com/x in 1 resource instances"),
    )
    assert volume_removal.explain_stay("namespace aws-efs", found) == (
        "namespace aws-efs is still being deleted: pods. has 1 resource instances "
        "example.com/x in 1 resource instances: run it again"
    )
