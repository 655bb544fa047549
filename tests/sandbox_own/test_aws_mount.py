"""A file system of the sandbox can be mounted exactly where it could be on AWS."""

from __future__ import annotations

import json

import pytest

from sandbox.aws import aws_cloud, nfs_mount
from tests.sandbox_own import aws_calls

OPTIONS = [
    "nfsvers=4.1",
    "rsize=1048576",
    "wsize=1048576",
    "hard",
    "timeo=600",
    "retrans=2",
    "noresvport",
]


@pytest.fixture(name="cloud")
def start_cloud(monkeypatch):
    with aws_calls.started(monkeypatch, aws_cloud.Latencies.none()) as cloud:
        yield cloud


@pytest.fixture(name="slow")
def start_slow_cloud(monkeypatch):
    with aws_calls.started(monkeypatch, aws_calls.SLOW) as cloud:
        yield cloud


def served(cloud, zone="us-east-1a"):
    """Create a file system with a mount target that admits one machine in its zone."""
    machine = cloud.launch("0", zone, model_uuid=aws_calls.MODEL)
    system, nfs = aws_calls.file_system(cloud), aws_calls.group(cloud)
    aws_calls.let_in(cloud, nfs, f"{machine.private_address}/32")
    aws_calls.mount_target(cloud, system, zone, groups=[nfs])
    return f"{system}.efs.us-east-1.amazonaws.com", machine, cloud.directory(system), nfs


def mount_error(cloud, server, machine, options=OPTIONS):
    with pytest.raises(aws_cloud.MountError) as caught:
        cloud.mount(server, machine.id, options)
    return caught.value.output


def test_a_file_system_mounts_in_the_zone_of_its_mount_target(cloud):
    server, machine, directory, _ = served(cloud)
    assert cloud.mount(server, machine.id, OPTIONS) == directory
    assert cloud.mount(cloud.mount_targets()[0].address, machine.id, []) == directory
    elsewhere = cloud.launch("1", "us-east-1b", model_uuid=aws_calls.MODEL)
    unknown = f"mount.nfs: Failed to resolve server {server}: Name or service not known"
    assert mount_error(cloud, server, elsewhere) == unknown
    stranger = cloud.launch("2", "us-east-1a", model_uuid=aws_calls.MODEL, vpc=cloud.add_vpc())
    assert mount_error(cloud, server, stranger) == unknown
    assert "Failed to resolve" in mount_error(cloud, server.replace("east-1", "west-2"), machine)


EVERYTHING = {
    "Effect": "Allow",
    "Principal": {"AWS": "*"},
    "Action": [f"elasticfilesystem:Client{each}" for each in ("Mount", "Write", "RootAccess")],
    "Resource": "*",
}
# https://docs.aws.amazon.com/efs/latest/ug/create-file-system-policy.html: what its options write.
BY_MOUNT_TARGET = {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}}
DENY_PLAIN = {
    **EVERYTHING,
    "Effect": "Deny",
    "Action": "*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
POINT = {"StringEquals": {"elasticfilesystem:AccessPointArn": "arn:aws:elasticfilesystem:x"}}


@pytest.mark.parametrize(
    ("statements", "admitted"),
    [
        ([EVERYTHING], True),
        ([{**EVERYTHING, "Principal": "*", "Action": "elasticfilesystem:*"}], True),
        ([{**EVERYTHING, "Condition": BY_MOUNT_TARGET}], True),
        ([{**EVERYTHING, "Condition": {"Bool": {"aws:SecureTransport": "true"}}}], False),
        ([EVERYTHING, DENY_PLAIN], False),
        ([{**EVERYTHING, "Action": EVERYTHING["Action"][1:]}], False),
        ([{**EVERYTHING, "Principal": {"AWS": "arn:aws:iam::111122223333:root"}}], False),
        ([{**EVERYTHING, "Condition": POINT}], False),
        ([{**EVERYTHING, "Resource": "arn:aws:elasticfilesystem:*:*:file-system/other"}], False),
    ],
    ids=["all", "star", "target", "tls", "deny", "no-mount", "iam", "access-point", "other"],
)
def test_a_file_system_s_policy_admits_or_refuses_plain_nfs(cloud, statements, admitted):
    server, machine, directory, _ = served(cloud)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    aws_calls.client(cloud, "efs").put_file_system_policy(
        FileSystemId=server.partition(".")[0], Policy=policy
    )
    if admitted:
        assert cloud.mount(server, machine.id, OPTIONS) == directory
    else:
        refused = f"mount.nfs: access denied by server while mounting {server}:/"
        assert mount_error(cloud, server, machine) == refused


def test_a_policy_that_grants_only_reading_is_not_implemented(cloud):
    server, machine, _, _ = served(cloud)
    policy = {"Statement": [{**EVERYTHING, "Action": EVERYTHING["Action"][:1]}]}
    aws_calls.client(cloud, "efs").put_file_system_policy(
        FileSystemId=server.partition(".")[0], Policy=json.dumps(policy)
    )
    with pytest.raises(ValueError, match="not implemented"):
        cloud.mount(server, machine.id, OPTIONS)


@pytest.mark.parametrize(("support", "hostnames"), [(False, True), (True, False)])
def test_a_name_resolves_only_with_both_dns_flags(cloud, support, hostnames):
    server, machine, _, _ = served(cloud)
    cloud.set_dns(cloud.vpc_id, support=support, hostnames=hostnames)
    assert "Failed to resolve server" in mount_error(cloud, server, machine)


def test_a_name_resolves_some_time_after_the_mount_target_is_available(slow):
    server, machine, directory, _ = served(slow)
    slow.skip(85)
    assert slow.mount_targets()[0].state == "available"
    assert "Failed to resolve server" in mount_error(slow, server, machine)
    slow.skip(60)
    assert slow.mount(server, machine.id, OPTIONS) == directory


def test_an_address_without_nfs_server_is_refused_where_a_machine_has_it(cloud):
    _, machine, _, _ = served(cloud)
    other = cloud.launch("1", "us-east-1a", model_uuid=aws_calls.MODEL)
    refused = mount_error(cloud, other.private_address, machine)
    assert refused == "mount.nfs: Connection refused"
    assert mount_error(cloud, "172.31.255.250", machine) == "mount.nfs: Connection timed out"


def test_mount_tries_for_two_minutes_before_it_says_that_nothing_answers(monkeypatch):
    real = aws_cloud.Latencies.real()
    with aws_calls.started(monkeypatch, aws_cloud.Latencies.none()) as cloud:
        _, machine, _, _ = served(cloud)
        region = cloud._home  # the time is told with the error, and waited for by `mount`
        monkeypatch.setattr(region, "latencies", real)
        for address in (machine.private_address, "172.31.255.250"):
            with pytest.raises(aws_cloud.MountError) as caught:
                nfs_mount.mount(region, address, machine.id, OPTIONS)
            assert caught.value.seconds == 120


@pytest.mark.parametrize(
    ("port", "cidr"), [(2049, "172.31.255.0/24"), (2048, "0.0.0.0/0"), (111, "172.31.0.0/16")]
)
def test_a_mount_from_a_machine_that_the_group_does_not_admit_times_out(cloud, port, cidr):
    _, machine, _, _ = served(cloud)
    other = aws_calls.group(cloud, "other")
    aws_calls.let_in(cloud, other, cidr, port=port)
    efs = aws_calls.client(cloud, "efs")
    target = cloud.mount_targets()[0]
    efs.modify_mount_target_security_groups(MountTargetId=target.id, SecurityGroups=[other])
    server = f"{target.file_system_id}.efs.us-east-1.amazonaws.com"
    assert mount_error(cloud, server, machine) == "mount.nfs: Connection timed out"


def test_a_rule_may_name_the_machines_group(cloud):
    server, machine, directory, nfs = served(cloud)
    ec2 = aws_calls.client(cloud, "ec2")
    (seen,) = ec2.describe_security_groups(GroupIds=[nfs])["SecurityGroups"]
    ec2.revoke_security_group_ingress(GroupId=nfs, IpPermissions=seen["IpPermissions"])
    assert mount_error(cloud, server, machine) == "mount.nfs: Connection timed out"
    (model_group,) = (
        each.id for each in cloud.security_groups() if each.name == f"juju-{aws_calls.MODEL}"
    )
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": model_group}]}]
    ec2.authorize_security_group_ingress(GroupId=nfs, IpPermissions=rule)
    assert cloud.mount(server, machine.id, OPTIONS) == directory


@pytest.mark.parametrize("option", ["nfsvers", "rsize=big", "tls", "hard=1", "nosuch", "vers=5"])
def test_an_option_that_mount_does_not_know_is_refused(cloud, option):
    server, machine, _, _ = served(cloud)
    output = mount_error(cloud, server, machine, [option])
    assert output == "mount.nfs: an incorrect mount option was specified"


def test_efs_supports_nfs_version_4_only(cloud):
    server, machine, directory, _ = served(cloud)
    assert mount_error(cloud, server, machine, ["vers=3"]) == "mount.nfs: Protocol not supported"
    assert cloud.mount(server, machine.id, ["nfsvers=4.0"]) == directory
