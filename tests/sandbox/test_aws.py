"""The AWS half against the sandbox's AWS: the results, and the number of calls."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

import pytest

import identity
import problems
from aws import file_system, obstacles, ownership, permissions, session, teardown
from sandbox.aws import aws_cloud as sandbox_aws
from tests.sandbox import aws_rig as rig


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[sandbox_aws.Cloud]:
    with rig.started(monkeypatch, sandbox_aws.Latencies.none()) as cloud:
        yield cloud


def test_before_any_relation_there_is_a_file_system_with_our_tags(
    cloud: sandbox_aws.Cloud,
) -> None:
    outcome = rig.reconciled(cloud, rig.make_desired(tags={"team": "ml"}))

    (made,) = cloud.file_systems()
    assert (made.id, made.state) == (outcome.file_system_id, "available")
    assert (made.performance_mode, made.throughput_mode) == ("generalPurpose", "elastic")
    assert made.encrypted
    assert {
        "aws-efs/model-uuid": rig.MODEL,
        "aws-efs/application": "aws-efs",
        "Name": "aws-efs aws-efs",
        "team": "ml",
    }.items() <= made.tags.items()
    assert outcome.dns_name == f"{made.id}.efs.us-east-1.amazonaws.com"
    assert outcome.zones == ()
    assert outcome.problems == ()


def test_a_one_zone_file_system_has_its_mount_target_and_the_others_are_named(
    cloud: sandbox_aws.Cloud,
) -> None:
    machines = rig.workers(cloud, "us-east-1a", "us-east-1c")
    outcome = rig.reconciled(cloud, rig.make_desired(*machines, zone="us-east-1c"))

    (made,) = cloud.file_systems()
    assert [target.zone for target in cloud.mount_targets(made.id)] == ["us-east-1c"]
    assert [problem.message for problem in outcome.problems] == [
        f"{made.id} is in us-east-1c only, not in us-east-1a: set the option server=address, or "
        "move workers"
    ]
    by_address = rig.make_desired(*machines, zone="us-east-1c", by_name=False)
    assert rig.reconciled(cloud, by_address).problems == ()
    assert len(cloud.file_systems()) == len(cloud.mount_targets()) == 1


def test_dual_stack_mount_targets_have_ipv6_and_let_its_ranges_in(
    cloud: sandbox_aws.Cloud,
) -> None:
    machines = rig.workers(cloud, "us-east-1a", "us-east-1c")
    cloud.add_ipv6(cloud.subnets["us-east-1a"], "2600:1f18:0:1::/64")
    desired = rig.make_desired(*machines, dual_stack=True)
    with pytest.raises(problems.Blocked) as refused:
        rig.reconciled(cloud, desired)
    assert str(refused.value) == (
        "no subnet of us-east-1c has an IPv6 block: add one, or set ip-address-type=ipv4"
    )
    assert rig.writes(cloud) == [], "nothing is made before it is refused"

    cloud.add_ipv6(cloud.subnets["us-east-1c"], "2600:1f18:0:3::/64")
    outcome = rig.reconciled(cloud, desired)
    assert outcome.problems == ()
    answer = rig.admin(cloud).efs.describe_mount_targets(FileSystemId=outcome.file_system_id)
    found = {each["AvailabilityZoneName"]: each for each in answer["MountTargets"]}
    assert found["us-east-1a"]["Ipv6Address"].startswith("2600:1f18:0:1:")
    assert found["us-east-1c"]["Ipv6Address"].startswith("2600:1f18:0:3:")
    assert all("." in each["IpAddress"] for each in found.values())
    (group,) = rig.admin(cloud).ec2.describe_security_groups(GroupIds=[outcome.security_group_id])[
        "SecurityGroups"
    ]
    ranges = {each["CidrIpv6"] for rule in group["IpPermissions"] for each in rule["Ipv6Ranges"]}
    assert ranges == {"2600:1f18:0:1::/64", "2600:1f18:0:3::/64"}

    done = len(rig.writes(cloud))
    rig.reconciled(cloud, desired)
    rig.reconciled(cloud, rig.make_desired(*machines))
    assert len(rig.writes(cloud)) == done, "back at ipv4, what is in use stays"


def test_a_further_zone_without_ipv6_is_told_and_the_others_are_served(
    cloud: sandbox_aws.Cloud,
) -> None:
    first = rig.workers(cloud, "us-east-1a")
    cloud.add_ipv6(cloud.subnets["us-east-1a"], "2600:1f18:0:1::/64")
    rig.reconciled(cloud, rig.make_desired(*first, dual_stack=True))
    machines = [*first, *rig.workers(cloud, "us-east-1c")]
    outcome = rig.reconciled(cloud, rig.make_desired(*machines, dual_stack=True))
    assert [str(each) for each in outcome.problems] == [
        "no subnet of us-east-1c has an IPv6 block: add one, or set ip-address-type=ipv4"
    ]
    assert set(outcome.addresses) == {"us-east-1a"}


def test_a_mount_target_without_ipv6_is_not_made_dual_stack(cloud: sandbox_aws.Cloud) -> None:
    machines = rig.workers(cloud, "us-east-1a")
    rig.reconciled(cloud, rig.make_desired(*machines))
    cloud.add_ipv6(cloud.subnets["us-east-1a"], "2600:1f18:0:1::/64")
    done = len(rig.writes(cloud))
    with pytest.raises(
        problems.Blocked, match=r"us-east-1a has a mount target without IPv6"
    ) as no:
        rig.reconciled(cloud, rig.make_desired(*machines, dual_stack=True))
    assert len(str(no.value)) <= 120
    assert len(rig.writes(cloud)) == done


def test_a_one_zone_file_system_where_aws_has_none_is_refused_with_the_way_out(
    cloud: sandbox_aws.Cloud,
) -> None:
    cloud.refuse_zone("us-east-1c")
    with pytest.raises(problems.Blocked, match="in this zone: choose another one"):
        rig.reconciled(cloud, rig.make_desired(zone="us-east-1c"))
    assert cloud.file_systems() == ()


def test_each_zone_with_units_gets_one_mount_target_and_nfs_from_its_subnet(
    cloud: sandbox_aws.Cloud,
) -> None:
    outcome = rig.reconciled(
        cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a", "us-east-1c", "us-east-1a"))
    )

    assert outcome.zones == ("us-east-1a", "us-east-1c")
    targets = cloud.mount_targets(outcome.file_system_id)
    assert {target.zone: target.address for target in targets} == dict(outcome.addresses)
    group = rig.group_of(cloud)
    assert {target.security_groups for target in targets} == {(group.id,)}
    assert not [key for key in group.tags if key.startswith("juju")]
    used = [cloud.subnets["us-east-1a"], cloud.subnets["us-east-1c"]]
    subnets = rig.connected(cloud).ec2.describe_subnets(SubnetIds=used)["Subnets"]
    assert group.rules == {("tcp", 2049, 2049, subnet["CidrBlock"]) for subnet in subnets}


@pytest.mark.parametrize("units", [3, 30])
@pytest.mark.parametrize("told_by", ["addresses", "instances"])
def test_a_second_reconcile_writes_nothing_and_reads_at_most_eight_times(
    cloud: sandbox_aws.Cloud, units: int, told_by: str
) -> None:
    machines = rig.workers(cloud, *(rig.ZONES[number % 3] for number in range(units)))
    ids = {machine.id for machine in machines} if told_by == "instances" else ()
    desired = rig.make_desired(
        *machines, instance_ids=frozenset(ids), tags={"team": "ml", "a b": "c"}
    )
    first = rig.reconciled(cloud, desired)
    cloud.reset_calls()

    second = rig.reconciled(cloud, desired)

    assert second == first
    reads, written = cloud.counts()
    assert written == 0
    assert reads <= 8


def test_without_units_a_second_reconcile_reads_once(cloud: sandbox_aws.Cloud) -> None:
    rig.reconciled(cloud, rig.make_desired())
    cloud.reset_calls()
    rig.reconciled(cloud, rig.make_desired())
    assert cloud.counts() == (1, 0)


def test_three_hundred_nodes_cost_one_read_more(cloud: sandbox_aws.Cloud) -> None:
    machines = rig.workers(cloud, *rig.ZONES)
    ids = {machine.id for machine in machines} | {f"i-{number:017x}" for number in range(297)}
    desired = rig.make_desired(*machines, instance_ids=frozenset(ids))
    rig.reconciled(cloud, desired)
    cloud.reset_calls()
    rig.reconciled(cloud, desired)
    assert cloud.counts() == (9, 0)


LOSSES = [
    "CreateFileSystem",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "CreateMountTarget",
]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("operation", LOSSES)
def test_what_was_made_by_a_call_whose_reply_was_lost_is_found_again(
    cloud: sandbox_aws.Cloud, operation: str, times: int
) -> None:
    desired = rig.make_desired(*rig.workers(cloud, *rig.ZONES))
    cloud.lose_reply(operation, times=times)

    outcome = rig.reconciled(cloud, desired)

    assert outcome.zones == rig.ZONES
    assert outcome.problems == ()
    assert len(cloud.file_systems()) == 1
    assert len(cloud.mount_targets()) == 3
    assert len(rig.group_of(cloud).rules) == 3


def test_a_name_and_tags_with_spaces_are_set_and_taken_back(cloud: sandbox_aws.Cloud) -> None:
    (machine,) = rig.workers(cloud, rig.ZONES[0])
    theirs = {"Name": "Data of the lab", "Cost Center": "Data Science"}
    rig.reconciled(cloud, rig.make_desired(machine, tags=theirs))
    for tags in (cloud.file_systems()[0].tags, rig.group_of(cloud).tags):
        assert theirs.items() <= tags.items()
    rig.reconciled(cloud, rig.make_desired(machine))
    for tags in (cloud.file_systems()[0].tags, rig.group_of(cloud).tags):
        assert tags["Name"] == "aws-efs aws-efs"
        assert "Cost Center" not in tags


@pytest.mark.parametrize(
    "operation",
    [
        "UpdateFileSystem",
        "TagResource",
        "UntagResource",
        "CreateTags",
        "DeleteTags",
        "RevokeSecurityGroupIngress",
        "ModifyMountTargetSecurityGroups",
    ],
)
def test_a_change_whose_reply_was_lost_is_not_taken_for_failed(
    cloud: sandbox_aws.Cloud, operation: str
) -> None:
    machines = rig.workers(cloud, *rig.ZONES)
    rig.reconciled(
        cloud, rig.make_desired(*machines, throughput_mode="bursting", tags={"team": "a"})
    )
    cloud.skip(25 * 3600)
    aws = rig.admin(cloud)
    target = cloud.mount_targets()[0]
    aws.ec2.authorize_security_group_ingress(
        GroupId=rig.group_of(cloud).id,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 22,
                "ToPort": 22,
                "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
            }
        ],
    )
    aws.efs.modify_mount_target_security_groups(MountTargetId=target.id, SecurityGroups=[])
    cloud.lose_reply(operation)

    outcome = rig.reconciled(cloud, rig.make_desired(*machines, tags={"squad": "b"}))

    assert outcome.problems == ()
    (system,) = cloud.file_systems()
    assert system.throughput_mode == "elastic"
    for tags in (system.tags, rig.group_of(cloud).tags):
        assert tags["squad"] == "b"
        assert "team" not in tags
    assert len(rig.group_of(cloud).rules) == 3
    repaired = next(each for each in cloud.mount_targets() if each.id == target.id)
    assert rig.group_of(cloud).id in repaired.security_groups


def test_somebody_elses_file_system_with_our_token_is_left_alone(
    cloud: sandbox_aws.Cloud,
) -> None:
    made = rig.admin(cloud).efs.create_file_system(
        CreationToken=ownership.creation_token(rig.OWNER),
        Tags=[{"Key": "Name", "Value": "theirs"}],
    )
    cloud.reset_calls()
    with pytest.raises(problems.Blocked, match=made["FileSystemId"]):
        rig.reconciled(cloud, rig.make_desired())
    with pytest.raises(problems.Blocked, match=made["FileSystemId"]):
        rig.torn_down(cloud)
    assert rig.writes(cloud) == []


def test_somebody_elses_group_with_our_name_is_left_alone(cloud: sandbox_aws.Cloud) -> None:
    made = rig.admin(cloud).ec2.create_security_group(
        GroupName=ownership.group_name(rig.OWNER), Description="theirs", VpcId=cloud.vpc_id
    )
    with pytest.raises(problems.Blocked, match=made["GroupId"]):
        rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a")))
    assert rig.group_of(cloud).rules == frozenset()
    assert cloud.mount_targets() == ()


def test_a_zone_that_lost_its_last_unit_keeps_its_mount_target_and_its_subnet_stays_let_in(
    cloud: sandbox_aws.Cloud,
) -> None:
    first, second = rig.workers(cloud, "us-east-1a", "us-east-1b")
    before = rig.reconciled(cloud, rig.make_desired(first, second))
    rules = rig.group_of(cloud).rules
    cloud.terminate(second.id)

    after = rig.reconciled(cloud, rig.make_desired(first))

    assert after.addresses == before.addresses
    assert rig.group_of(cloud).rules == rules


def test_a_new_zone_is_served_beside_what_is_there(cloud: sandbox_aws.Cloud) -> None:
    first = cloud.launch("0", "us-east-1a", model_uuid=rig.MODEL)
    before = rig.reconciled(cloud, rig.make_desired(first))
    second = cloud.launch("1", "us-east-1b", model_uuid=rig.MODEL)
    cloud.reset_calls()

    after = rig.reconciled(cloud, rig.make_desired(first, second))

    assert before.addresses.items() <= after.addresses.items()
    assert after.zones == ("us-east-1a", "us-east-1b")
    assert rig.writes(cloud) == [
        "CreateTags",
        "AuthorizeSecurityGroupIngress",
        "CreateMountTarget",
    ]


def test_a_mount_target_that_is_gone_is_made_again(cloud: sandbox_aws.Cloud) -> None:
    desired = rig.make_desired(*rig.workers(cloud, *rig.ZONES))
    rig.reconciled(cloud, desired)
    rig.admin(cloud).efs.delete_mount_target(MountTargetId=cloud.mount_targets()[0].id)

    assert rig.reconciled(cloud, desired).zones == rig.ZONES


def test_groups_that_a_user_added_to_a_mount_target_stay(cloud: sandbox_aws.Cloud) -> None:
    desired = rig.make_desired(*rig.workers(cloud, "us-east-1a"))
    rig.reconciled(cloud, desired)
    aws = rig.admin(cloud)
    theirs = aws.ec2.create_security_group(
        GroupName="bastion", Description="theirs", VpcId=cloud.vpc_id
    )["GroupId"]
    (target,) = cloud.mount_targets()
    aws.efs.modify_mount_target_security_groups(MountTargetId=target.id, SecurityGroups=[theirs])

    rig.reconciled(cloud, desired)

    (repaired,) = cloud.mount_targets()
    assert set(repaired.security_groups) == {theirs, rig.group_of(cloud).id}


def test_units_in_another_vpc_than_the_mount_targets_are_reported(
    cloud: sandbox_aws.Cloud,
) -> None:
    (here,) = rig.workers(cloud, "us-east-1a")
    rig.reconciled(cloud, rig.make_desired(here))
    other = cloud.add_vpc()
    away = cloud.launch("9", "us-east-1b", model_uuid=rig.MODEL, vpc=other)

    outcome = rig.reconciled(cloud, rig.make_desired(here, away))

    assert outcome.zones == ("us-east-1a",)
    assert other.id in rig.message(outcome) and cloud.vpc_id in rig.message(outcome)


def test_units_in_two_vpcs_block_before_anything_is_mounted(cloud: sandbox_aws.Cloud) -> None:
    (here,) = rig.workers(cloud, "us-east-1a")
    other = cloud.add_vpc()
    away = cloud.launch("9", "us-east-1b", model_uuid=rig.MODEL, vpc=other)

    with pytest.raises(problems.Blocked) as raised:
        rig.reconciled(cloud, rig.make_desired(here, away))
    assert other.id in raised.value.message and cloud.vpc_id in raised.value.message

    outcome = rig.reconciled(cloud, rig.make_desired(here, away, vpc_id=other.id))
    assert outcome.vpc_id == other.id
    assert outcome.zones == ("us-east-1b",)


def test_a_vpc_that_does_not_exist_is_reported(cloud: sandbox_aws.Cloud) -> None:
    with pytest.raises(problems.Blocked, match="vpc-0badbad"):
        rig.reconciled(
            cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a"), vpc_id="vpc-0badbad")
        )


def test_a_vpc_without_names_is_reported_and_served_all_the_same(cloud: sandbox_aws.Cloud) -> None:
    cloud.set_dns(cloud.vpc_id, support=True, hostnames=False)
    outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a")))
    assert outcome.zones == ("us-east-1a",)
    assert f"--vpc-id {cloud.vpc_id} --enable-dns-hostnames" in rig.message(outcome)


def test_a_zone_that_cannot_have_a_mount_target_is_reported_and_the_others_have_theirs(
    cloud: sandbox_aws.Cloud,
) -> None:
    cloud.refuse_zone("us-east-1b")
    cloud.fill_subnet(cloud.subnets["us-east-1c"])
    outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, *rig.ZONES[:2])))
    assert outcome.zones == ("us-east-1a",)
    assert "us-east-1b" in rig.message(outcome)


def test_throughput_changes_in_place_and_is_waited_for_when_aws_says_not_yet(
    cloud: sandbox_aws.Cloud,
) -> None:
    rig.reconciled(cloud, rig.make_desired())
    cloud.fail("UpdateFileSystem", "TooManyRequests", status=429, times=20)
    outcome = rig.reconciled(cloud, rig.make_desired(throughput_mode="bursting"))
    (problem,) = outcome.problems
    assert isinstance(problem, problems.Waiting)
    assert "24 hours" in problem.message


@pytest.mark.parametrize("operation", ["CreateFileSystem", "CreateMountTarget"])
def test_a_permission_that_is_missing_is_named(cloud: sandbox_aws.Cloud, operation: str) -> None:
    cloud.deny(operation)
    desired = rig.make_desired(*rig.workers(cloud, "us-east-1a"))
    try:
        reported = rig.message(rig.reconciled(cloud, desired))
    except problems.Blocked as problem:
        reported = problem.message
    assert f"elasticfilesystem:{operation}" in reported


def test_the_actions_that_are_listed_are_the_ones_that_are_called(
    cloud: sandbox_aws.Cloud,
) -> None:
    test_a_change_whose_reply_was_lost_is_not_taken_for_failed(cloud, "CreateTags")
    rig.reconciled(cloud, rig.make_desired(policies={"backup": "true", "lifecycle": "ia=7d"}))
    assert obstacles.find(rig.connected(cloud), rig.standing(cloud)) == []
    rig.torn_down(cloud)
    prefix = {"efs": "elasticfilesystem", "ec2": "ec2"}
    called = {f"{prefix[call.service]}:{call.operation}" for call in cloud.calls}
    assert called == {*permissions.EFS_ACTIONS, *permissions.EC2_ACTIONS}


def test_refused_keys_and_an_api_that_is_down_are_reported(cloud: sandbox_aws.Cloud) -> None:
    aws = session.connect(cloud.region, identity.AwsCredentials("wrong", "wrong"), {})
    with pytest.raises(problems.Blocked, match="refuses the credentials"):
        file_system.reconcile(aws, rig.make_desired(), timeout_seconds=1, tell=print)
    cloud.stop_api()
    with pytest.raises(problems.Waiting, match="cannot reach"):
        rig.reconciled(cloud, rig.make_desired())


def test_the_machines_role_is_used_without_a_key_and_its_lack_is_reported(
    cloud: sandbox_aws.Cloud,
) -> None:
    with pytest.raises(problems.Blocked, match="juju trust"):
        file_system.reconcile(
            session.connect(cloud.region, None, {}),
            rig.make_desired(),
            timeout_seconds=1,
            tell=print,
        )
    cloud.attach_role()
    aws = session.connect(cloud.region, None, {})
    outcome = file_system.reconcile(aws, rig.make_desired(), timeout_seconds=1, tell=print)
    assert outcome.life_cycle == "available"


def test_work_that_takes_longer_than_the_hook_continues_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = sandbox_aws.Latencies.real()
    with rig.started(monkeypatch, dataclasses.replace(slow, call_seconds=0)) as cloud:
        desired = rig.make_desired(*rig.workers(cloud, *rig.ZONES))
        with pytest.raises(problems.Waiting, match="being created"):
            rig.reconciled(cloud, desired, timeout_seconds=0.2)
        cloud.skip(slow.file_system_seconds)
        outcome = rig.reconciled(cloud, desired, timeout_seconds=0.2)
        assert outcome.zones == ()
        assert [type(problem) for problem in outcome.problems] == [problems.Waiting] * 3
        cloud.skip(slow.mount_target_seconds)
        assert rig.reconciled(cloud, desired, timeout_seconds=0.2).zones == rig.ZONES


def test_a_lost_file_system_is_never_replaced_by_an_empty_one(cloud: sandbox_aws.Cloud) -> None:
    record = rig.recorded(rig.reconciled(cloud, rig.make_desired()))
    known = record.file_system_id
    rig.admin(cloud).efs.delete_file_system(FileSystemId=known)
    while cloud.file_systems():
        pass
    with pytest.raises(problems.Blocked, match=f"{known} is gone from AWS: adopt a restored one"):
        rig.reconciled(cloud, rig.make_desired(record=record))
    assert cloud.file_systems() == ()


def test_teardown_leaves_nothing_and_reports_each_object(cloud: sandbox_aws.Cloud) -> None:
    outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, *rig.ZONES)))
    targets = {(target.id, target.zone) for target in cloud.mount_targets()}
    group = rig.group_of(cloud).id

    lines = rig.torn_down(cloud)

    assert set(lines[:3]) == {f"deleted mount target {id_} ({zone})" for id_, zone in targets}
    assert lines[3:] == [
        f"deleted file system {outcome.file_system_id}",
        f"deleted security group {group}",
    ]
    assert rig.nothing_of_ours(cloud)
    assert rig.torn_down(cloud) == []
    cloud.destroy_model(rig.MODEL)


def test_what_is_planned_is_what_is_deleted(cloud: sandbox_aws.Cloud) -> None:
    rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, *rig.ZONES)))
    planned = [f"deleted {each}" for each in teardown.plan(rig.standing(cloud))]
    assert sorted(planned) == sorted(rig.torn_down(cloud))


def test_a_teardown_that_began_keeps_every_reconcile_from_creating_anything(
    cloud: sandbox_aws.Cloud,
) -> None:
    desired = rig.make_desired(*rig.workers(cloud, "us-east-1a"))
    rig.reconciled(cloud, desired)
    teardown.mark(rig.connected(cloud), rig.standing(cloud))
    for each in (desired, rig.make_desired()):
        with pytest.raises(problems.Blocked, match="teardown of fs-"):
            rig.reconciled(cloud, each)

    teardown.unmark(rig.connected(cloud), rig.standing(cloud))
    cloud.reset_calls()
    assert rig.reconciled(cloud, desired).zones == ("us-east-1a",)
    assert rig.writes(cloud) == []


def test_a_teardown_interrupted_after_the_file_system_still_blocks_a_reconcile(
    cloud: sandbox_aws.Cloud,
) -> None:
    rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, "us-east-1a")))
    cloud.fail("DeleteSecurityGroup", "InternalError", status=500, times=3)
    with pytest.raises(problems.Waiting):
        rig.torn_down(cloud)
    assert cloud.file_systems() == ()
    with pytest.raises(problems.Blocked, match="teardown of sg-"):
        rig.reconciled(cloud, rig.make_desired())
    assert len(rig.torn_down(cloud)) == 1
    assert rig.nothing_of_ours(cloud)


@pytest.mark.parametrize("how", ["fail", "lose"])
@pytest.mark.parametrize(
    "operation",
    [
        "TagResource",
        "CreateTags",
        "DeleteMountTarget",
        "DeleteFileSystem",
        "DeleteSecurityGroup",
        "DescribeMountTargets",
        "DescribeFileSystems",
    ],
)
def test_a_teardown_can_be_run_again_wherever_it_was_interrupted(
    cloud: sandbox_aws.Cloud, operation: str, how: str
) -> None:
    rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, *rig.ZONES)))
    if how == "fail":
        cloud.fail(operation, "InternalError", status=500, times=3)
        with pytest.raises(problems.Waiting):
            rig.torn_down(cloud)
    else:
        # More often than the call is repeated at once.
        cloud.lose_reply(operation, times=2)
        with contextlib.suppress(problems.Waiting):
            rig.torn_down(cloud)
    rig.torn_down(cloud)
    assert rig.nothing_of_ours(cloud)


def test_a_teardown_waits_for_interfaces_and_says_when_its_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = dataclasses.replace(sandbox_aws.Latencies.real(), call_seconds=0)
    with rig.started(monkeypatch, slow) as cloud:
        desired = rig.make_desired(*rig.workers(cloud, "us-east-1a"))
        with pytest.raises(problems.Waiting):
            rig.reconciled(cloud, desired, timeout_seconds=0)
        cloud.skip(slow.file_system_seconds)
        rig.reconciled(cloud, desired, timeout_seconds=0)
        cloud.skip(slow.mount_target_seconds)
        for sentence in ("deleting the mount targets", "still deleting fs-", "is still used"):
            with pytest.raises(problems.Waiting, match=sentence):
                rig.torn_down(cloud, timeout_seconds=0)
            cloud.skip(
                slow.mount_target_deletion_seconds
                if "mount" in sentence
                else slow.file_system_deletion_seconds
            )
        cloud.skip(slow.interface_release_seconds)
        assert len(rig.torn_down(cloud, timeout_seconds=0)) == 1
        assert rig.nothing_of_ours(cloud)


def test_a_kept_file_system_does_not_keep_the_model_from_being_destroyed(
    cloud: sandbox_aws.Cloud,
) -> None:
    outcome = rig.reconciled(cloud, rig.make_desired(*rig.workers(cloud, *rig.ZONES)))
    cloud.destroy_model(rig.MODEL)
    assert [system.id for system in cloud.file_systems()] == [outcome.file_system_id]
    assert len(cloud.mount_targets()) == 3


def test_other_applications_and_other_groups_are_not_touched(cloud: sandbox_aws.Cloud) -> None:
    machines = rig.workers(cloud, "us-east-1a")
    other = identity.Owner(rig.MODEL, "other")
    theirs = rig.reconciled(cloud, rig.make_desired(*machines, owner=other))
    groups = {group.id for group in cloud.security_groups()}
    rig.reconciled(cloud, rig.make_desired(*machines))

    rig.torn_down(cloud)

    assert [system.id for system in cloud.file_systems()] == [theirs.file_system_id]
    assert {group.id for group in cloud.security_groups()} == groups


def test_two_leaders_at_once_make_one_of_each(cloud: sandbox_aws.Cloud) -> None:
    desired = rig.make_desired(*rig.workers(cloud, *rig.ZONES))
    states: list[file_system.FileSystemOutcome] = []
    threads = [
        threading.Thread(target=lambda: states.append(rig.reconciled(cloud, desired)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.zones for outcome in states] == [rig.ZONES] * 3
    assert len({outcome.file_system_id for outcome in states}) == 1
    assert len(cloud.mount_targets()) == 3
