from __future__ import annotations

import base64
import time
from typing import Any

import botocore.httpsession
import botocore.session
import pytest
from lightkube.resources import batch_v1, core_v1

import identity
from app import reconcile_cluster
from aws import ownership
from sandbox.juju import model_state
from sandbox.stage import APPLICATION, Stage

MAKING = ["CreateFileSystem", "CreateSecurityGroup", "CreateMountTarget"]


def owner_s_client(stage: Stage, service: str) -> Any:
    """Return a client with the account owner's own rights, independent of the charm."""
    return botocore.session.Session().create_client(
        service,
        region_name=stage.cloud.region,
        endpoint_url=stage.cloud.endpoint_url,
        aws_access_key_id=stage.cloud.administrator.access_key,
        aws_secret_access_key=stage.cloud.administrator.secret_key,
    )


def one_of_each(stage: Stage) -> bool:
    groups = [group for group in stage.cloud.security_groups() if "aws-efs" in group.name]
    zones = sorted(target.zone for target in stage.cloud.mount_targets())
    made = (len(stage.cloud.file_systems()), len(groups))
    return made == (1, 1) and zones == sorted(stage.cloud.subnets)


def is_blocked(stage: Stage, *words: str) -> model_state.Status:
    status = stage.status()
    assert status.name == "blocked", status
    assert all(word in status.message for word in words), status
    assert len(status.message) <= 120, status
    return status


@pytest.mark.parametrize("operation", MAKING)
def test_a_lost_reply_makes_no_second_one(stage: Stage, operation: str) -> None:
    stage.cloud.lose_reply(operation)
    stage.settle()
    assert stage.status().name == "active", stage.status()
    assert one_of_each(stage)


@pytest.mark.parametrize("operation", MAKING)
def test_the_hook_after_a_killed_one_continues_with_what_that_made(
    stage: Stage, operation: str
) -> None:
    stage.model.kill_next_hook(after=operation)
    stage.settle()
    stage.model.resolve()
    assert any("killed after" in hook.error for hook in stage.model.hooks)
    assert stage.status().name == "active", stage.status()
    assert one_of_each(stage)


def test_another_region_is_blocked_while_a_file_system_exists(stage: Stage) -> None:
    stage.deploy()
    (made,) = stage.cloud.file_systems()
    stage.cloud.reset_calls()
    stage.model.config(APPLICATION, {"region": "eu-west-1"})
    is_blocked(stage, "region is eu-west-1", f"{made.id} lives in us-east-1", "teardown")
    assert stage.writes() == []
    assert stage.cloud.file_systems("eu-west-1") == ()
    stage.model.reset(APPLICATION, "region")
    is_blocked(stage, f"{made.id} ready in us-east-1")


def test_a_region_that_is_set_at_deploy_is_used(stage: Stage) -> None:
    stage.deploy(config={"region": "eu-west-1"})
    is_blocked(stage, "ready in eu-west-1")
    assert len(stage.cloud.file_systems("eu-west-1")) == 1
    assert stage.cloud.file_systems() == ()


def test_a_lost_file_system_is_reported_and_made_again_by_setup_only(stage: Stage) -> None:
    stage.deploy()
    (lost,) = stage.cloud.file_systems()
    owner_s_client(stage, "efs").delete_file_system(FileSystemId=lost.id)
    stage.cloud.skip(60)
    stage.cloud.reset_calls()
    stage.model.update_status()
    is_blocked(stage, lost.id, "gone from AWS")
    assert stage.writes() == []
    done = stage.run("setup")
    assert done.status == "completed", done
    (made,) = stage.cloud.file_systems()
    assert made.id != lost.id
    assert done.results["file-system"] == made.id
    is_blocked(stage, f"{made.id} ready")


def test_a_lost_file_system_can_be_torn_down_too(stage: Stage) -> None:
    stage.deploy()
    (lost,) = stage.cloud.file_systems()
    owner_s_client(stage, "efs").delete_file_system(FileSystemId=lost.id)
    stage.cloud.skip(60)
    assert stage.run("teardown", confirm=lost.id).status == "completed"
    is_blocked(stage, "torn down")


def test_credentials_that_are_refused_are_reported_and_new_ones_work(stage: Stage) -> None:
    stage.deploy()
    new = stage.cloud.rotate_credentials()
    stage.model.update_status()
    is_blocked(stage, "AWS refuses the credentials", "no such access key", "renew them")
    stage.model.update_credential(new)
    stage.model.update_status()
    is_blocked(stage, "ready in us-east-1")


def throughput(stage: Stage) -> tuple[str, Any]:
    described = owner_s_client(stage, "efs").describe_file_systems()["FileSystems"][0]
    return described["ThroughputMode"], described.get("ProvisionedThroughputInMibps")


def test_provisioned_throughput_is_set_and_what_others_set_is_told_and_left(stage: Stage) -> None:
    stage.deploy(config={"throughput-mode": "provisioned"})
    is_blocked(stage, "throughput-mode provisioned needs throughput-mibps")
    assert stage.cloud.calls == []
    stage.model.config(APPLICATION, {"throughput-mibps": 128})
    is_blocked(stage, "ready in us-east-1")
    assert throughput(stage) == ("provisioned", 128)
    stage.model.config(APPLICATION, {"throughput-mibps": 256})
    assert throughput(stage) == ("provisioned", 256)

    stage.cloud.skip(25 * 3600)
    (made,) = stage.cloud.file_systems()
    changed = {"FileSystemId": made.id, "ThroughputMode": "elastic"}
    owner_s_client(stage, "efs").update_file_system(**changed)
    stage.cloud.skip(60)
    stage.cloud.reset_calls()
    stage.model.update_status()
    told = stage.status().message
    assert told.startswith("throughput was set to elastic by others, not provisioned 256: ")
    assert stage.writes() == []
    stage.cloud.skip(25 * 3600)
    stage.model.config(APPLICATION, {"throughput-mibps": 64})
    assert throughput(stage) == ("provisioned", 64)
    stage.cloud.skip(25 * 3600)
    stage.model.config(APPLICATION, {"throughput-mode": "elastic", "throughput-mibps": 0})
    assert throughput(stage) == ("elastic", None)
    is_blocked(stage, f"{made.id} ready in us-east-1")


def test_a_region_that_is_not_enabled_is_told_from_bad_credentials(stage: Stage) -> None:
    stage.cloud.disabled_regions.add("ap-east-1")
    stage.deploy(config={"region": "ap-east-1"})
    is_blocked(stage, "ap-east-1 is not enabled", "aws account enable-region")
    stage.cloud.rotate_credentials()
    stage.model.update_status()
    is_blocked(stage, "AWS refuses the credentials", "no such access key")
    stage.model.update_credential(stage.cloud.credentials)
    stage.cloud.disabled_regions.clear()
    stage.model.update_status()
    is_blocked(stage, "ready in ap-east-1")


def test_the_ends_of_lines_in_a_secret_are_no_part_of_the_keys(stage: Stage) -> None:
    keys = stage.cloud.credentials
    content = {"access-key": f"{keys.access_key}\n", "secret-key": f" {keys.secret_key}\r\n"}
    uri = stage.model.add_secret(content)
    stage.deploy(trust=False, config={"credentials": uri})
    stage.model.grant_secret(uri, APPLICATION)
    stage.model.update_status()
    is_blocked(stage, "ready in us-east-1")
    for wrong in ("two\nlines", "a b", "schlüssel"):
        stage.model.update_secret(uri, {**content, "access-key": wrong})
        is_blocked(stage, "credentials: the secret's access-key has blanks or other characters")
    stage.model.update_secret(uri, {**content, "secret-key": "another"})
    is_blocked(stage, "the secret key is of another access key")
    stage.model.update_secret(uri, {"access-key": "\n", "secret-key": ""})
    is_blocked(stage, "credentials: the secret has no access-key and no secret-key")


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("CreateFileSystem", "elasticfilesystem:CreateFileSystem"),
        ("DescribeFileSystems", "elasticfilesystem:DescribeFileSystems"),
        ("CreateSecurityGroup", "ec2:CreateSecurityGroup"),
        ("DescribeSubnets", "ec2:DescribeSubnets"),
        ("CreateMountTarget", "elasticfilesystem:CreateMountTarget"),
    ],
)
def test_a_permission_that_is_missing_is_named_and_once_granted_the_charm_continues(
    stage: Stage, operation: str, action: str
) -> None:
    stage.cloud.deny(operation)
    stage.settle()
    is_blocked(stage, f"AWS denies {action}")
    stage.cloud.allow(operation)
    stage.model.update_status()
    assert stage.status().name == "active", stage.status()
    assert one_of_each(stage)


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the timeouts of botocore's connections to a fraction of a second."""
    made = botocore.httpsession.URLLib3Session.__init__

    def short(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **{**kwargs, "timeout": 0.3})

    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "__init__", short)


@pytest.mark.parametrize("trouble", ["down", "hanging"])
def test_an_api_that_does_not_answer_is_waited_for_but_not_by_the_hook(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    stage.settle()
    impatient(monkeypatch)
    if trouble == "down":
        stage.cloud.stop_api()
    else:
        stage.cloud.hang(60)
    began = time.monotonic()
    stage.model.update_status(APPLICATION)
    assert time.monotonic() - began < 20
    assert stage.status().name == "waiting", stage.status()
    assert "look for the file system" in stage.status().message
    assert not stage.model.hooks[-1].error
    if trouble == "down":
        stage.cloud.start_api()
    else:
        stage.cloud.hang(0)
    stage.model.update_status(APPLICATION)
    assert stage.status().name == "active", stage.status()


def test_a_throttled_call_is_tried_again_in_the_hook(stage: Stage) -> None:
    stage.cloud.fail("CreateFileSystem", "ThrottlingException", times=2)
    stage.settle()
    assert stage.status().name == "active", stage.status()
    assert one_of_each(stage)


@pytest.mark.parametrize("flag", ["support", "hostnames"])
def test_names_that_do_not_resolve_are_reported_with_the_fix(stage: Stage, flag: str) -> None:
    stage.settle()
    flags = {"support": True, "hostnames": True}
    stage.cloud.set_dns(stage.cloud.vpc_id, **{**flags, flag: False})
    stage.model.update_status(APPLICATION)
    fix = f"modify-vpc-attribute --vpc-id {stage.cloud.vpc_id} --enable-dns-{flag}"
    is_blocked(stage, fix)
    stage.cloud.set_dns(stage.cloud.vpc_id, **flags)
    stage.model.update_status(APPLICATION)
    assert stage.status().name == "active", stage.status()


def test_units_in_another_vpc_are_reported_with_both_names(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.settle()
    # The probe of the new node cannot mount, which may resolve itself: the hook waits for it.
    monkeypatch.setattr(reconcile_cluster, "PROBE_TIMEOUT_SECONDS", 1)
    other = stage.cloud.add_vpc("10.9.0.0/16")
    stage.model.add_unit("kubernetes-worker", vpc=other)
    stage.cloud.reset_calls()
    stage.model.update_status(APPLICATION)
    is_blocked(stage, other.id, stage.cloud.vpc_id)
    assert stage.writes() == []


def test_a_zone_that_lost_its_last_unit_keeps_its_mount_target(stage: Stage) -> None:
    stage.settle()
    before = stage.cloud.mount_targets()
    stage.cloud.reset_calls()
    stage.model.remove_unit("kubernetes-worker/2")
    stage.model.update_status(APPLICATION)
    assert stage.cloud.mount_targets() == before
    assert stage.writes() == []
    assert stage.status().name == "active", stage.status()


def test_a_group_that_only_has_our_name_is_left_alone(stage: Stage) -> None:
    name = ownership.group_name(identity.Owner(stage.model.uuid, APPLICATION))
    foreign = owner_s_client(stage, "ec2").create_security_group(
        GroupName=name, Description="not the charm", VpcId=stage.cloud.vpc_id
    )["GroupId"]
    (before,) = [each for each in stage.cloud.security_groups() if each.id == foreign]
    stage.settle()
    is_blocked(stage, foreign, "but not its tags")
    assert before in stage.cloud.security_groups()
    assert stage.cloud.mount_targets() == ()


def test_a_mount_target_that_was_deleted_is_made_again(stage: Stage) -> None:
    stage.settle()
    lost = stage.cloud.mount_targets()[0]
    owner_s_client(stage, "efs").delete_mount_target(MountTargetId=lost.id)
    stage.cloud.skip(600)
    stage.model.update_status(APPLICATION)
    assert stage.status().name == "active", stage.status()
    assert one_of_each(stage)


def test_a_steady_update_status_reads_at_most_eight_times_and_writes_nothing(
    stage: Stage,
) -> None:
    stage.settle()
    stage.cloud.reset_calls()
    stage.model.update_status(APPLICATION)
    reads, writes = stage.cloud.counts()
    assert reads <= 8
    assert writes == 0


def test_the_model_s_proxy_is_the_way_to_aws(stage: Stage) -> None:
    proxied = Stage(
        stage.cloud,
        stage.plane,
        stage.nodes,
        proxies={"http": "http://127.0.0.1:9", "no": "localhost"},
    )
    proxied.deploy()
    assert proxied.status().name == "waiting", proxied.status()
    assert "the proxy does not answer" in proxied.status().message
    assert stage.cloud.calls == []


def test_the_model_s_proxies_reach_pods_and_its_exceptions_hold(stage: Stage) -> None:
    proxied = Stage(
        stage.cloud,
        stage.plane,
        stage.nodes,
        proxies={"http": "http://proxy.invalid:3128", "no": "127.0.0.1,.internal"},
    )
    proxied.settle()
    assert proxied.status().name == "active", proxied.status()
    proxied.run("create-dataset", name="x", source="http://origin.example/x.csv", wait=0)
    job = stage.kube.get(batch_v1.Job, "dataset-x", namespace=APPLICATION)
    secret = stage.kube.get(core_v1.Secret, "dataset-x", namespace=APPLICATION)
    assert job.spec and job.spec.template.spec and secret.data
    from_secret = {
        each.name
        for container in job.spec.template.spec.containers
        for each in container.env or ()
        if each.valueFrom and each.valueFrom.secretKeyRef
    }
    proxies = {
        name: base64.b64decode(secret.data[name]).decode() for name in ("http_proxy", "no_proxy")
    }
    assert proxies == {
        "http_proxy": "http://proxy.invalid:3128",
        "no_proxy": "127.0.0.1,.internal",
    }
    assert from_secret >= proxies.keys()


def test_no_secret_is_in_a_log_a_status_or_a_result(stage: Stage) -> None:
    stage.settle(units=2)
    statuses = [stage.status(), stage.status("aws-efs/1")]
    (made,) = stage.cloud.file_systems()
    secrets = {stage.cloud.credentials.access_key, stage.cloud.credentials.secret_key}
    secrets |= {stage.plane.admin_token, *tokens(stage)}
    stage.cloud.deny("DescribeSubnets")
    stage.model.update_status()
    statuses.append(stage.status())
    stage.cloud.allow("DescribeSubnets")
    stage.cloud.rotate_credentials()
    stage.model.update_status()
    statuses.append(stage.status())
    stage.model.update_credential(stage.cloud.credentials)
    secrets.add(stage.cloud.credentials.secret_key)
    results = [stage.run("show-mount"), stage.run("teardown", confirm=made.id)]
    assert results[-1].status == "completed", results
    outputs = repr((stage.model.log, statuses, results, stage.model.hooks))
    assert len(secrets) >= 5
    assert [secret for secret in secrets if secret in outputs] == []


def tokens(stage: Stage) -> set[str]:
    """Return the tokens that the control plane has issued as secrets."""
    contents = [secret.revisions[-1] for secret in stage.model.world.secrets.values()]
    return {
        value for content in contents for key, value in content.items() if "token" in key if value
    }
