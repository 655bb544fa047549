"""What the tests of the AWS half share: the desired state, and calls on the sandbox's AWS."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import ops
import pytest

import identity
from aws import file_system, inventory, ownership, resources, session, teardown
from sandbox.aws import aws_cloud as sandbox_aws
from sandbox.juju import charm_files
from sandbox.stage import Stage

MODEL = "6a1ff4ef-7a51-4a3c-8d6d-6a3cf1a0a001"
OWNER = identity.Owner(MODEL, "aws-efs")
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
TIMEOUT_SECONDS = 5.0


def started(
    monkeypatch: pytest.MonkeyPatch, latencies: sandbox_aws.Latencies
) -> sandbox_aws.Cloud:
    cloud = sandbox_aws.Cloud.start(latencies)
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    return cloud


def connected(cloud: sandbox_aws.Cloud) -> session.Aws:
    """Return the region as the charm reaches it: with the permissions of its policy."""
    return session.connect(cloud.region, cloud.credentials, {})


def admin(cloud: sandbox_aws.Cloud) -> session.Aws:
    """Return the region as its owner reaches it, who may do everything."""
    return session.connect(cloud.region, cloud.administrator, {})


def administrator(stage: Stage, service: str) -> Any:
    """Return a client of the account's owner, where no cloud is in this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stage.cloud.environ().items():
            patch.setenv(name, value)
        return getattr(admin(stage.cloud), service)


def make_desired(
    *machines: sandbox_aws.Instance,
    owner: identity.Owner = OWNER,
    option: str = "",
    record: resources.ResourceRecord | None = None,
    **changes: Any,
) -> resources.DesiredFileSystem:
    plain = resources.DesiredFileSystem(
        key=resources.ResourceKey(owner, option, record or resources.ResourceRecord()),
        performance_mode="generalPurpose",
        throughput_mode="elastic",
        encrypted=True,
        kms_key="",
        tags={},
        vpc_id="",
        allow_cidrs=frozenset(),
        addresses=frozenset(machine.private_address for machine in machines),
        instance_ids=frozenset(),
    )
    return dataclasses.replace(plain, **changes)


def recorded(
    outcome: file_system.FileSystemOutcome, *, adopted: bool = False
) -> resources.ResourceRecord:
    """Return the record that the charm keeps after a reconcile."""
    groups = (outcome.security_group_id,) if outcome.security_group_id else ()
    return resources.ResourceRecord(
        outcome.file_system_id,
        outcome.account_id,
        adopted=adopted,
        security_groups=groups,
        policies_set=outcome.policies_set,
        policies_seen=outcome.policies.seen,
        policies_seen_at=outcome.policies.seen_at,
    )


def reconciled(
    cloud: sandbox_aws.Cloud,
    desired: resources.DesiredFileSystem,
    timeout_seconds: float = TIMEOUT_SECONDS,
    told: list[str] | None = None,
) -> file_system.FileSystemOutcome:
    return file_system.reconcile(
        connected(cloud),
        desired,
        timeout_seconds=timeout_seconds,
        tell=(told if told is not None else []).append,
    )


def workers(cloud: sandbox_aws.Cloud, *zones: str) -> list[sandbox_aws.Instance]:
    return [cloud.launch(str(number), zone, model_uuid=MODEL) for number, zone in enumerate(zones)]


def standing(
    cloud: sandbox_aws.Cloud, key: resources.ResourceKey | None = None
) -> inventory.Inventory:
    return inventory.observe(connected(cloud), key or resources.ResourceKey(OWNER))


def torn_down(
    cloud: sandbox_aws.Cloud,
    key: resources.ResourceKey | None = None,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> list[str]:
    """Mark and delete what stands; return what was reported."""
    reported: list[str] = []
    aws, found = connected(cloud), standing(cloud, key)
    teardown.mark(aws, found)
    teardown.teardown(aws, found, report=reported.append, timeout_seconds=timeout_seconds)
    return reported


def group_of(cloud: sandbox_aws.Cloud, owner: identity.Owner = OWNER) -> sandbox_aws.SecurityGroup:
    (group,) = (g for g in cloud.security_groups() if g.name == ownership.group_name(owner))
    return group


def nothing_of_ours(cloud: sandbox_aws.Cloud) -> bool:
    names = {group.name for group in cloud.security_groups()}
    return not cloud.file_systems() and ownership.group_name(OWNER) not in names


def writes(cloud: sandbox_aws.Cloud) -> list[str]:
    return [call.operation for call in cloud.calls if call.write]


def message(outcome: file_system.FileSystemOutcome) -> str:
    (problem,) = outcome.problems
    assert len(problem.message) <= 120
    return problem.message


def make_file_system(cloud: sandbox_aws.Cloud, *zones: str, **params: Any) -> str:
    """Make a file system as somebody else does, with mount targets in the default group."""
    efs = admin(cloud).efs
    token = f"theirs-{len(cloud.file_systems())}"
    made = efs.create_file_system(CreationToken=token, **params)["FileSystemId"]
    for zone in zones:
        efs.create_mount_target(FileSystemId=made, SubnetId=cloud.subnets[zone])
    return made


def allow(cloud: sandbox_aws.Cloud, group_id: str, source: str, port: int = 2049) -> None:
    """Add a rule to a security group as an administrator does."""
    admin(cloud).ec2.authorize_security_group_ingress(
        GroupId=group_id, IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp=source
    )


@contextlib.contextmanager
def stage_without_cluster(**config: charm_files.ConfigValue) -> Iterator[Stage]:
    """Yield a stage on which the charm is deployed and serves a machine in each zone."""
    with sandbox_aws.Cloud.start(sandbox_aws.Latencies.real().scaled(0.0005)) as cloud:
        stage = Stage(cloud)
        deploy_with_machines(stage, config)
        yield stage


def deploy_with_machines(stage: Stage, config: Mapping[str, charm_files.ConfigValue]) -> None:
    """Deploy the charm, and machines that it knows from a relation."""
    zones = sorted(stage.cloud.subnets)
    machines = charm_files.Metadata({"name": "ubuntu"})
    stage.model.deploy(ops.CharmBase, machines, units=len(zones), zones=zones)
    stage.deploy(config=config)
    stage.model.relate("aws-efs:workers", "ubuntu")
