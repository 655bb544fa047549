"""Templates: values of users stay values, and manifests have only fields of their kind."""

from __future__ import annotations

import base64
import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

import identity
from cluster import manifests, objects, ownership
from cluster.jobs import job_lifecycle
from cluster.volumes import volume_reconcile, volume_resources

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")
WANTED = volume_resources.DesiredVolumes(
    server="fs-1.efs.us-east-1.amazonaws.com",
    capacity="100Gi",
    claim_capacity="50Gi",
    claim_name="aws-efs",
    namespaces=("default", "research"),
    storage_class="shared",
    mount_options=("nfsvers=4.1",),
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_all_that_is_applied_is_published_in_an_order_in_which_it_can_be_applied():
    made = volume_reconcile.render_manifests(WANTED, OWNER)
    assert [(m["kind"], m["metadata"].get("namespace", "")) for m in made] == [
        ("Namespace", ""),
        ("StorageClass", ""),
        ("PersistentVolume", ""),
        ("PersistentVolumeClaim", "aws-efs"),
        ("PersistentVolume", ""),
        ("PersistentVolumeClaim", "default"),
        ("PersistentVolume", ""),
        ("PersistentVolumeClaim", "research"),
    ]
    assert all(m["metadata"]["labels"].items() >= ownership.labels(OWNER).items() for m in made)
    for manifest in made:
        assert manifests.resource(manifest).to_dict() == manifest


@hypothesis.given(
    TEXT,
    st.dictionaries(st.text("ABC", min_size=1), TEXT),
    st.lists(TEXT),
    st.integers(0, 2),
)
@hypothesis.settings(deadline=None)
def test_nothing_that_a_user_writes_breaks_out_of_its_quotes(image, environment, arguments, pods):
    main = job_lifecycle.Container("main", image, command=tuple(arguments), env=environment)
    first = dataclasses.replace(main, name="first", directory=image, as_root=False)
    manifest = manifests.render(
        "job",
        job=job_lifecycle.DesiredJob(
            "load", "dataset", main, "fs-1", init_containers=(first,), parallelism=pods
        ),
        namespace="aws-efs",
        claim="aws-efs",
        labels=ownership.labels(OWNER),
        files="",
        files_path="/loader",
        mount_path="/mnt/aws-efs",
        data_path="/data",
        zone_label="topology.kubernetes.io/zone",
        main_container_annotation="kubectl.kubernetes.io/default-container",
        job_label="batch.kubernetes.io/job-name",
        grace_seconds=30,
        memory_gib=1,
    )
    pod = manifest["spec"]["template"]["spec"]
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["image"] == image
        assert container.get("command", []) == arguments
        assert {e["name"]: e["value"] for e in container.get("env", [])} == environment
    assert manifests.resource(manifest).to_dict() == manifest


def test_a_field_that_its_kind_does_not_know_is_never_sent():
    made = volume_reconcile.render_manifests(WANTED, OWNER)[0]
    with pytest.raises(ValueError, match="a field that is unknown"):
        manifests.resource({**made, "specification": {}})


def test_values_of_secrets_and_content_of_files_arrive_as_they_are_and_in_no_message():
    values = {"token": "s3cr3t: {{ 7 }}\n\"'", "empty": ""}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "load", "uid": "1-2"}
    manifest = manifests.render(
        "secret",
        job=owner,
        namespace="aws-efs",
        labels=ownership.labels(OWNER),
        values={name: value.encode() for name, value in values.items()},
    )
    assert {n: base64.b64decode(v).decode() for n, v in manifest["data"].items()} == values
    assert manifest["metadata"]["ownerReferences"] == [owner]
    assert manifests.resource(manifest).to_dict() == manifest
    with pytest.raises(ValueError, match="the manifest of Secret load") as raised:
        manifests.resource({**manifest, "specification": {}})
    assert manifest["data"]["token"] not in str(raised.value)


def test_two_models_with_one_application_name_have_volumes_of_their_own():
    other = dataclasses.replace(OWNER, model_uuid="0f00ba11-1a42-4b8c-8f0e-3c8a2e0f9a11")
    names = {
        manifest["metadata"]["name"]
        for owner in (OWNER, other)
        for manifest in volume_reconcile.render_manifests(WANTED, owner)
        if manifest["kind"] == "PersistentVolume"
    }
    assert len(names) == 6


@pytest.mark.parametrize("parts", [("probe", "us-east-1a"), ("probe", "z" * 80)])
def test_a_name_fits_a_label_and_tells_apart_what_is_cut(parts):
    name = objects.make_name(*parts)
    assert len(name) <= 63
    assert name != objects.make_name(*parts, "x")
