from __future__ import annotations

import json
import os
from typing import Any

import botocore.client
import pytest
from lightkube.resources import batch_v1, core_v1

from sandbox.juju import endpoints, kubernetes_bundle
from sandbox.juju.charm_files import JujuError
from sandbox.stage import APPLICATION, Stage

CONTROL_PLANE = "kubernetes-control-plane"


def keys(stage: Stage) -> dict[str, str]:
    credentials = stage.cloud.credentials
    return {"access-key": credentials.access_key, "secret-key": credentials.secret_key}


def file_system(stage: Stage) -> str:
    (made,) = stage.cloud.file_systems()
    return made.id


def is_active(stage: Stage) -> None:
    status = stage.status()
    assert status.name == "active", status
    assert "3 zones, 3 nodes proven, claim default/aws-efs bound" in status.message


def test_without_trust_it_is_blocked_and_trust_unblocks_it(stage: Stage) -> None:
    stage.deploy(trust=False)
    assert stage.status().name == "blocked"
    assert "juju trust" in stage.status().message
    assert stage.cloud.file_systems() == ()
    stage.model.trust(APPLICATION)
    assert "ready in us-east-1" in stage.status().message
    assert file_system(stage)


def test_a_secret_with_credentials_has_to_be_granted(stage: Stage) -> None:
    uri = stage.model.add_secret(keys(stage))
    stage.deploy(trust=False, config={"credentials": uri})
    assert stage.status().name == "blocked"
    assert stage.status().message.startswith("credentials: ")
    assert "juju grant-secret" in stage.status().message
    assert stage.cloud.calls == []
    stage.model.grant_secret(uri, APPLICATION)
    stage.model.update_status()
    assert "ready in us-east-1" in stage.status().message


@pytest.mark.parametrize("missing", ["access-key", "secret-key"])
def test_a_secret_without_a_key_is_reported_and_its_next_revision_works(
    stage: Stage, missing: str
) -> None:
    content = keys(stage)
    uri = stage.model.add_secret({key: content[key] for key in content if key != missing})
    stage.deploy(trust=False, config={"credentials": uri})
    stage.model.grant_secret(uri, APPLICATION)
    stage.model.update_status()
    assert stage.status().name == "blocked"
    assert f"credentials: the secret has no {missing}" in stage.status().message
    stage.model.update_secret(uri, content)
    assert "ready in us-east-1" in stage.status().message


def test_a_secret_that_does_not_exist_is_reported(stage: Stage) -> None:
    stage.deploy(config={"credentials": "secret:d0nt2exist0000000000"})
    assert stage.status().name == "blocked"
    assert stage.status().message.startswith("credentials: ")
    assert stage.cloud.calls == []


def test_the_machine_s_role_is_enough(stage: Stage) -> None:
    stage.cloud.attach_role()
    stage.model.update_credential(None)
    stage.settle()
    is_active(stage)


def test_a_relation_that_ends_takes_no_data_and_can_be_made_again(stage: Stage) -> None:
    stage.settle()
    before = file_system(stage)
    stage.cloud.reset_calls()
    stage.model.remove_relation("aws-efs:kube-control", CONTROL_PLANE)
    status = stage.status()
    assert status.name == "blocked"
    assert f"{before} ready" in status.message
    assert "juju relate aws-efs:kube-control" in status.message
    assert stage.writes() == []
    claim = stage.claim("default")
    assert claim.status and claim.status.phase == "Bound"
    stage.model.relate("aws-efs:kube-control", CONTROL_PLANE)
    is_active(stage)
    assert file_system(stage) == before
    assert stage.writes() == []


def test_a_unit_that_is_not_the_leader_stands_by_and_makes_no_calls(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers: set[str] = set()
    call: Any = botocore.client.BaseClient._make_api_call

    def noted(self: Any, *args: Any) -> Any:
        callers.add(os.environ["JUJU_UNIT_NAME"])
        return call(self, *args)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", noted)
    stage.settle(units=2)
    stage.model.update_status()
    assert stage.status("aws-efs/1").name == "active"
    assert stage.status("aws-efs/1").message == "standby"
    assert callers == {"aws-efs/0"}


def test_a_new_leader_continues_with_the_same_file_system(stage: Stage) -> None:
    stage.settle(units=2)
    before = file_system(stage)
    stage.cloud.reset_calls()
    stage.model.set_leader("aws-efs/1")
    is_active(stage)
    stage.model.update_status()
    assert stage.status("aws-efs/0").message == "standby"
    assert file_system(stage) == before
    assert stage.writes() == []


def test_the_next_unit_leads_when_the_leader_is_removed(stage: Stage) -> None:
    stage.settle(units=2)
    before = file_system(stage)
    stage.cloud.reset_calls()
    stage.model.remove_unit("aws-efs/0")
    is_active(stage)
    assert file_system(stage) == before
    assert stage.writes() == []


def test_scaled_to_zero_and_back_it_finds_the_file_system(stage: Stage) -> None:
    stage.settle()
    before = file_system(stage)
    stage.cloud.reset_calls()
    stage.model.remove_unit("aws-efs/0")
    stage.model.add_unit(APPLICATION)
    is_active(stage)
    assert file_system(stage) == before
    assert "CreateFileSystem" not in stage.writes()


# What a record had before the file system's policies were in it.
OLDER_FIELDS = (
    *("file_system_id", "region", "account_id", "adopted", "security_groups"),
    *("throughput", "endpoint", "torn_down"),
)


def test_a_refresh_finds_what_an_older_revision_left_and_changes_nothing(stage: Stage) -> None:
    stage.settle()
    peers = endpoints.find(stage.model.world, "aws-efs:peers", "").bags[APPLICATION]
    record = json.loads(peers["record"])
    peers["record"] = json.dumps({name: record[name] for name in OLDER_FIELDS})
    before, calls = in_the_cluster(stage), len(stage.cloud.calls)

    stage.model.upgrade_charm(APPLICATION)

    is_active(stage)
    assert [each.operation for each in stage.cloud.calls[calls:] if each.write] == []
    assert in_the_cluster(stage) == before
    assert [hook for hook in stage.model.hooks if hook.error] == []
    after = json.loads(stage.model.databag("aws-efs:peers", APPLICATION)["record"])
    assert {name: after[name] for name in OLDER_FIELDS} == {
        name: record[name] for name in OLDER_FIELDS
    }


def in_the_cluster(stage: Stage) -> list[tuple[str, str, str]]:
    """Return what the charm keeps in the cluster, with the version of each object."""
    namespaced = (core_v1.PersistentVolumeClaim, core_v1.ConfigMap, batch_v1.Job)
    found = [
        *stage.kube.list(core_v1.PersistentVolume),
        *(each for kind in namespaced for each in stage.kube.list(kind, namespace="*")),
    ]
    return sorted(
        (type(each).__name__, each.metadata.name, each.metadata.resourceVersion)
        for each in found
        if each.metadata and each.metadata.name and each.metadata.resourceVersion
    )


def test_removing_the_application_keeps_the_data(stage: Stage) -> None:
    stage.settle()
    before = file_system(stage)
    (stage.volume() / "precious").write_text("data")
    stage.model.remove_application(APPLICATION)
    assert file_system(stage) == before
    assert (stage.volume() / "precious").read_text() == "data"
    assert len(stage.cloud.mount_targets()) == 3
    claim = stage.claim("default")
    assert claim.status and claim.status.phase == "Bound"


def test_deployed_again_under_the_same_name_it_continues(stage: Stage) -> None:
    stage.settle()
    before = file_system(stage)
    stage.model.remove_application(APPLICATION)
    stage.deploy()
    stage.relate()
    is_active(stage)
    assert file_system(stage) == before


def test_a_model_with_a_kept_file_system_can_be_destroyed(stage: Stage) -> None:
    stage.settle()
    stage.model.destroy_model()
    assert file_system(stage)
    assert [hook for hook in stage.model.hooks if hook.error] == []


def test_juju_2_9_plays_the_whole_beginning(stage: Stage) -> None:
    old = Stage(stage.cloud, stage.plane, stage.nodes, version="2.9")
    old.settle(units=2)
    is_active(old)
    done = old.run("teardown", confirm=file_system(old))
    assert done.status == "completed", done
    assert old.cloud.file_systems() == ()


def test_juju_2_9_refuses_a_secret_with_a_sentence(stage: Stage) -> None:
    old = Stage(stage.cloud, stage.plane, stage.nodes, version="2.9")
    old.deploy(config={"credentials": "secret:d0nt2exist0000000000"})
    assert old.status().name == "blocked"
    assert old.status().message.startswith("credentials: this Juju version has no secrets")
    old.model.reset(APPLICATION, "credentials")
    assert "ready in us-east-1" in old.status().message


def test_canonical_kubernetes_sends_its_ca_over_kube_control(stage: Stage) -> None:
    kubernetes_bundle.deploy(stage.model, ca_over="secret")
    stage.deploy()
    stage.model.relate("aws-efs:kube-control", CONTROL_PLANE)
    is_active(stage)


def test_across_models_the_nodes_tell_where_they_are(stage: Stage) -> None:
    kubernetes_bundle.deploy(stage.model)
    stage.deploy()
    stage.model.relate("aws-efs:certificates", "easyrsa", cross_model=True)
    stage.model.relate("aws-efs:kube-control", CONTROL_PLANE, cross_model=True)
    is_active(stage)


def test_a_control_plane_of_two_units_is_one_cluster(stage: Stage) -> None:
    kubernetes_bundle.deploy(stage.model, control_planes=2)
    stage.deploy()
    stage.relate()
    is_active(stage)


def test_credentials_that_the_control_plane_s_new_leader_does_not_send_stay_the_former_one_s(
    stage: Stage,
) -> None:
    kubernetes_bundle.deploy(stage.model, control_planes=2)
    stage.deploy()
    stage.relate()
    # The provider's library then sends none: it reads its secret by a label, and has no id.
    stage.model.set_leader(f"{CONTROL_PLANE}/1")
    is_active(stage)


def test_older_bundles_call_the_control_plane_kubernetes_master(stage: Stage) -> None:
    kubernetes_bundle.deploy(stage.model, control_plane_name="kubernetes-master")
    stage.deploy()
    stage.model.relate("aws-efs:certificates", "easyrsa")
    stage.model.relate("aws-efs:kube-control", "kubernetes-master")
    is_active(stage)


def test_a_second_control_plane_is_refused_by_juju(stage: Stage) -> None:
    stage.settle()
    stage.model.deploy(
        stage.model.world.applications[CONTROL_PLANE].charm_type,
        stage.model.world.applications[CONTROL_PLANE].metadata,
        "another-control-plane",
    )
    with pytest.raises(JujuError, match="kube-control"):
        stage.model.relate("aws-efs:kube-control", "another-control-plane")


@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("create-dataset", {"name": "flowers", "source": "https://origin.invalid/x.tar"}),
        ("setup", {}),
        ("teardown", {"confirm": "fs-0"}),
    ],
)
def test_an_action_on_a_unit_that_is_not_the_leader_is_refused(
    stage: Stage, action: str, params: dict[str, str]
) -> None:
    stage.deploy(units=2)
    stage.cloud.reset_calls()
    done = stage.run(action, unit="aws-efs/1", **params)
    assert done.status == "failed"
    assert "run it on aws-efs/leader" in done.message
    assert stage.cloud.calls == []


def test_a_token_that_was_revoked_is_reported(stage: Stage) -> None:
    stage.settle()
    mine = [
        content["kubelet-token"]
        for secret in stage.model.world.secrets.values()
        for content in secret.revisions
        if content.get("kubelet-token")
    ]
    assert mine
    for token in mine:
        stage.plane.revoke(token)
    stage.model.update_status(APPLICATION)
    assert stage.status().name == "blocked", stage.status()
    assert "Kubernetes refuses our token" in stage.status().message
    assert not stage.model.hooks[-1].error


def test_two_applications_have_a_file_system_and_a_claim_each(stage: Stage) -> None:
    stage.settle()
    stage.deploy("second")
    stage.relate("second")
    assert stage.status("second/leader").name == "active", stage.status("second/leader")
    assert len(stage.cloud.file_systems()) == 2
    volumes = [
        stage.claim("default", name).spec.volumeName  # type: ignore[union-attr]
        for name in (APPLICATION, "second")
    ]
    assert len({*volumes}) == 2
    servers = {
        volume.spec.nfs.server
        for volume in stage.kube.list(core_v1.PersistentVolume)
        if volume.spec and volume.spec.nfs
    }
    assert len(servers) == 2
