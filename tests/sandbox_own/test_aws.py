"""EFS in the sandbox refuses what AWS refuses; every rule is tested with a boto3 call."""

from __future__ import annotations

import pytest

from sandbox.aws import aws_cloud
from tests.sandbox_own import aws_calls


@pytest.fixture(name="cloud")
def start_cloud(monkeypatch):
    with aws_calls.started(monkeypatch, aws_cloud.Latencies.none()) as cloud:
        yield cloud


@pytest.fixture(name="slow")
def start_slow_cloud(monkeypatch):
    with aws_calls.started(monkeypatch, aws_calls.SLOW) as cloud:
        yield cloud


# --- File systems


def test_a_file_system_is_creating_before_it_is_available(slow):
    efs = aws_calls.client(slow, "efs")
    made = efs.create_file_system(
        CreationToken="t", Encrypted=True, Tags=[{"Key": "Name", "Value": "n"}]
    )
    assert made["LifeCycleState"] == "creating"
    assert made["KmsKeyId"].startswith("arn:aws:kms:us-east-1:")
    slow.skip(11)
    (seen,) = efs.describe_file_systems(CreationToken="t")["FileSystems"]
    assert (seen["LifeCycleState"], seen["Name"]) == ("creating", "n")
    slow.skip(2)
    (seen,) = efs.describe_file_systems(FileSystemId=made["FileSystemId"])["FileSystems"]
    assert seen["LifeCycleState"] == "available"
    assert seen["Tags"] == [{"Key": "Name", "Value": "n"}]


def test_without_latencies_the_next_call_sees_a_change(cloud):
    efs = aws_calls.client(cloud, "efs")
    assert efs.create_file_system(CreationToken="t")["LifeCycleState"] == "creating"
    assert efs.describe_file_systems()["FileSystems"][0]["LifeCycleState"] == "available"


def test_a_reused_token_is_answered_with_the_file_system_that_has_it(cloud):
    first = aws_calls.file_system(cloud)
    code, status, answer = aws_calls.refused(
        aws_calls.client(cloud, "efs").create_file_system, CreationToken="token"
    )
    assert (code, status, answer["FileSystemId"]) == ("FileSystemAlreadyExists", 409, first)
    assert [each.id for each in cloud.file_systems()] == [first]


def test_a_token_has_at_most_64_characters(cloud):
    efs = aws_calls.client(cloud, "efs")
    efs.create_file_system(CreationToken="t" * 64)
    with pytest.raises(efs.exceptions.BadRequest):
        efs.create_file_system(CreationToken="t" * 65)


@pytest.mark.parametrize(
    "params",
    [
        {"PerformanceMode": "maxIO", "ThroughputMode": "elastic"},
        {"ThroughputMode": "provisioned"},
        {"ThroughputMode": "elastic", "ProvisionedThroughputInMibps": 10.0},
        {"ThroughputMode": "fast"},
        {"PerformanceMode": "best"},
        {"Encrypted": False, "KmsKeyId": "alias/mine"},
        {"Tags": [{"Key": "aws:mine", "Value": ""}]},
        {"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]},
    ],
)
def test_parameters_that_exclude_each_other_are_refused(cloud, params):
    code, status, _ = aws_calls.refused(
        aws_calls.client(cloud, "efs").create_file_system, CreationToken="t", **params
    )
    assert (code, status) == ("BadRequest", 400)
    assert cloud.file_systems() == ()


def test_a_key_is_reported_by_its_arn_whatever_name_was_given(cloud):
    efs = aws_calls.client(cloud, "efs")
    aliases = [
        efs.create_file_system(CreationToken=str(n), Encrypted=True, KmsKeyId="alias/mine")
        for n in range(2)
    ]
    assert aliases[0]["KmsKeyId"] == aliases[1]["KmsKeyId"]
    assert ":key/" in aliases[0]["KmsKeyId"]
    by_id = efs.create_file_system(CreationToken="i", Encrypted=True, KmsKeyId="1234abcd")
    assert by_id["KmsKeyId"].endswith(":key/1234abcd")


def test_file_systems_come_in_pages(cloud):
    made = {aws_calls.file_system(cloud, str(n)) for n in range(7)}
    pages = list(
        aws_calls.client(cloud, "efs")
        .get_paginator("describe_file_systems")
        .paginate(PaginationConfig={"PageSize": 3})
    )
    assert [len(page["FileSystems"]) for page in pages] == [3, 3, 1]
    assert {each["FileSystemId"] for page in pages for each in page["FileSystems"]} == made


def test_a_file_system_that_is_not_there_is_not_found(cloud):
    efs = aws_calls.client(cloud, "efs")
    for call, params in [
        (efs.describe_file_systems, {"FileSystemId": "fs-0"}),
        (efs.delete_file_system, {"FileSystemId": "fs-0"}),
        (efs.update_file_system, {"FileSystemId": "fs-0", "ThroughputMode": "elastic"}),
        (efs.describe_mount_targets, {"FileSystemId": "fs-0"}),
        (efs.tag_resource, {"ResourceId": "fs-0", "Tags": []}),
        (efs.list_tags_for_resource, {"ResourceId": "fs-0"}),
    ]:
        assert aws_calls.refused(call, **params)[:2] == ("FileSystemNotFound", 404)
    assert efs.describe_file_systems(CreationToken="other")["FileSystems"] == []


def test_the_throughput_mode_changes_once_in_24_hours(slow):
    efs, system = aws_calls.client(slow, "efs"), aws_calls.file_system(slow)
    changed = efs.update_file_system(FileSystemId=system, ThroughputMode="elastic")
    assert (changed["LifeCycleState"], changed["ThroughputMode"]) == ("updating", "elastic")
    again = {"FileSystemId": system, "ThroughputMode": "bursting"}
    code, status, _ = aws_calls.refused(efs.update_file_system, **again)
    assert (code, status) == ("IncorrectFileSystemLifeCycleState", 409)
    slow.skip(11)
    assert aws_calls.refused(efs.update_file_system, **again)[:2] == ("TooManyRequests", 429)
    slow.skip(24 * 3600)
    efs.update_file_system(**again)
    slow.skip(11)
    (seen,) = slow.file_systems()
    assert (seen.state, seen.throughput_mode) == ("available", "bursting")


def test_elastic_throughput_is_refused_to_an_existing_max_io_file_system(cloud):
    system = aws_calls.file_system(cloud, PerformanceMode="maxIO")
    update = aws_calls.client(cloud, "efs").update_file_system
    code, _, _ = aws_calls.refused(update, FileSystemId=system, ThroughputMode="elastic")
    assert code == "BadRequest"


def test_tags_are_added_changed_and_removed(cloud):
    efs, system = aws_calls.client(cloud, "efs"), aws_calls.file_system(cloud)
    efs.tag_resource(
        ResourceId=system, Tags=[{"Key": "a/b", "Value": "1"}, {"Key": "c", "Value": "2"}]
    )
    efs.tag_resource(ResourceId=system, Tags=[{"Key": "c", "Value": "3"}])
    assert cloud.file_systems()[0].tags == {"a/b": "1", "c": "3"}
    efs.untag_resource(ResourceId=system, TagKeys=["a/b"])
    listed = efs.list_tags_for_resource(ResourceId=system)["Tags"]
    assert listed == [{"Key": "c", "Value": "3"}]


def test_the_content_of_a_file_system_is_metered(cloud):
    system = aws_calls.file_system(cloud)
    (cloud.directory(system) / "sub").mkdir()
    (cloud.directory(system) / "sub" / "file").write_bytes(b"x" * 1000)
    (seen,) = aws_calls.client(cloud, "efs").describe_file_systems()["FileSystems"]
    assert seen["SizeInBytes"]["Value"] == 6144 + 1000


def test_a_fresh_file_system_is_one_directory_with_mode_0755(cloud):
    directory = cloud.directory(aws_calls.file_system(cloud))
    assert directory.stat().st_mode & 0o7777 == 0o755
    assert list(directory.iterdir()) == []


# --- Mount targets


def test_a_mount_target_needs_the_file_system_available(slow):
    efs = aws_calls.client(slow, "efs")
    system = efs.create_file_system(CreationToken="t")["FileSystemId"]
    params = {"FileSystemId": system, "SubnetId": slow.subnets["us-east-1a"]}
    code, status, _ = aws_calls.refused(efs.create_mount_target, **params)
    assert (code, status) == ("IncorrectFileSystemLifeCycleState", 409)
    slow.skip(13)
    assert efs.create_mount_target(**params)["LifeCycleState"] == "creating"
    slow.skip(83)
    assert slow.mount_targets()[0].state == "creating"
    slow.skip(2)
    (seen,) = efs.describe_mount_targets(FileSystemId=system)["MountTargets"]
    assert (seen["LifeCycleState"], seen["AvailabilityZoneName"]) == ("available", "us-east-1a")


def test_there_is_one_mount_target_in_a_zone_and_one_vpc_for_all(cloud):
    efs, system, other = (
        aws_calls.client(cloud, "efs"),
        aws_calls.file_system(cloud),
        cloud.add_vpc(),
    )
    aws_calls.mount_target(cloud, system, "us-east-1a")
    for subnet in (cloud.subnets["us-east-1a"], other.subnets["us-east-1b"]):
        code, status, _ = aws_calls.refused(
            efs.create_mount_target, FileSystemId=system, SubnetId=subnet
        )
        assert (code, status) == ("MountTargetConflict", 409)
    assert len(cloud.mount_targets(system)) == 1


def test_a_mount_target_that_is_refused_leaves_nothing_behind(cloud):
    efs, system = aws_calls.client(cloud, "efs"), aws_calls.file_system(cloud)
    subnet = cloud.subnets["us-east-1a"]
    groups = [aws_calls.group(cloud, f"g{n}") for n in range(6)]
    elsewhere = aws_calls.group(cloud, vpc_id=cloud.add_vpc().id)
    for code, params in [
        ("SecurityGroupLimitExceeded", {"SubnetId": subnet, "SecurityGroups": groups}),
        (
            "SecurityGroupNotFound",
            {"SubnetId": subnet, "SecurityGroups": ["sg-00000000000000000"]},
        ),
        ("SecurityGroupNotFound", {"SubnetId": subnet, "SecurityGroups": [elsewhere]}),
        ("SubnetNotFound", {"SubnetId": "subnet-00000000000000000"}),
        ("BadRequest", {"SubnetId": subnet, "IpAddress": "10.99.0.1"}),
    ]:
        assert aws_calls.refused(efs.create_mount_target, FileSystemId=system, **params)[0] == code
    assert cloud.mount_targets() == ()
    assert efs.describe_file_systems()["FileSystems"][0]["NumberOfMountTargets"] == 0
    aws_calls.mount_target(cloud, system)  # the zone is free


def test_an_address_is_used_once_and_a_full_subnet_has_none(cloud):
    efs, system = aws_calls.client(cloud, "efs"), aws_calls.file_system(cloud)
    subnet = cloud.subnets["us-east-1a"]
    machine = cloud.launch("0", "us-east-1a", model_uuid=aws_calls.MODEL)
    code, status, _ = aws_calls.refused(
        efs.create_mount_target,
        FileSystemId=system,
        SubnetId=subnet,
        IpAddress=machine.private_address,
    )
    assert (code, status) == ("IpAddressInUse", 409)
    cloud.fill_subnet(subnet)
    code, status, _ = aws_calls.refused(
        efs.create_mount_target, FileSystemId=system, SubnetId=subnet
    )
    assert (code, status) == ("NoFreeAddressesInSubnet", 409)
    (seen,) = aws_calls.client(cloud, "ec2").describe_subnets(SubnetIds=[subnet])["Subnets"]
    assert seen["AvailableIpAddressCount"] == 0


def test_a_zone_without_efs_is_refused(cloud):
    system = aws_calls.file_system(cloud)
    cloud.refuse_zone("us-east-1b")
    code, status, _ = aws_calls.refused(
        aws_calls.client(cloud, "efs").create_mount_target,
        FileSystemId=system,
        SubnetId=cloud.subnets["us-east-1b"],
    )
    assert (code, status) == ("UnsupportedAvailabilityZone", 400)


def test_a_dual_stack_mount_target_needs_a_subnet_with_ipv6(cloud):
    efs, system = aws_calls.client(cloud, "efs"), aws_calls.file_system(cloud)
    where = {"FileSystemId": system, "SubnetId": cloud.subnets["us-east-1a"]}
    for kind in ("DUAL_STACK", "IPV6_ONLY"):
        refused = aws_calls.refused(efs.create_mount_target, **where, IpAddressType=kind)
        assert refused[:2] == ("BadRequest", 400)
    cloud.add_ipv6(where["SubnetId"], "2600:1f18::/64")
    # In a dual-stack subnet there is no mount target with IPv6 alone.
    refused = aws_calls.refused(efs.create_mount_target, **where, IpAddressType="IPV6_ONLY")
    assert refused[:2] == ("BadRequest", 400)
    made = efs.create_mount_target(**where, IpAddressType="DUAL_STACK")
    assert made["Ipv6Address"].startswith("2600:1f18::")
    assert "." in made["IpAddress"]


def test_a_mount_target_without_a_group_has_the_default_one(cloud):
    efs = aws_calls.client(cloud, "efs")
    target = aws_calls.mount_target(cloud, aws_calls.file_system(cloud))
    (only,) = efs.describe_mount_target_security_groups(MountTargetId=target)["SecurityGroups"]
    (default,) = aws_calls.client(cloud, "ec2").describe_security_groups(GroupIds=[only])[
        "SecurityGroups"
    ]
    assert default["GroupName"] == "default"


def test_a_change_of_a_mount_targets_groups_shows_at_its_interface(slow):
    efs, ec2, system = (
        aws_calls.client(slow, "efs"),
        aws_calls.client(slow, "ec2"),
        aws_calls.file_system(slow),
    )
    first, second = aws_calls.group(slow, "first"), aws_calls.group(slow, "second")
    target = aws_calls.mount_target(slow, system, groups=[first])
    change = {"MountTargetId": target, "SecurityGroups": [second]}
    code, status, _ = aws_calls.refused(efs.modify_mount_target_security_groups, **change)
    assert (code, status) == ("IncorrectMountTargetState", 409)
    slow.skip(90)
    efs.modify_mount_target_security_groups(**change)
    (seen,) = efs.describe_mount_targets(MountTargetId=target)["MountTargets"]
    interface = seen["NetworkInterfaceId"]
    (seen,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
    assert [each["GroupId"] for each in seen["Groups"]] == [second]
    assert seen["Description"] == f"EFS mount target for {system} ({target})"
    assert seen["RequesterManaged"]
    code, _, _ = aws_calls.refused(ec2.delete_network_interface, NetworkInterfaceId=interface)
    assert code == "OperationNotPermitted"


def test_a_one_zone_file_system_has_a_mount_target_in_its_zone_only(cloud):
    system = aws_calls.file_system(cloud, AvailabilityZoneName="us-east-1a")
    (seen,) = aws_calls.client(cloud, "efs").describe_file_systems()["FileSystems"]
    assert seen["AvailabilityZoneName"] == "us-east-1a"
    code, _, _ = aws_calls.refused(aws_calls.mount_target, cloud, system, "us-east-1b")
    assert code == "AvailabilityZonesMismatch"
    aws_calls.mount_target(cloud, system, "us-east-1a")


def test_a_one_zone_file_system_is_backed_up_unless_one_declines(cloud):
    efs = aws_calls.client(cloud, "efs")
    for backup, status in (({}, "ENABLED"), ({"Backup": False}, "")):
        token, zone = f"t{len(backup)}", {"AvailabilityZoneName": "us-east-1a"}
        made = efs.create_file_system(CreationToken=token, **zone, **backup)["FileSystemId"]
        cloud.skip(60)
        if status:
            seen = efs.describe_backup_policy(FileSystemId=made)
            assert seen["BackupPolicy"]["Status"] == status
        else:
            refused = aws_calls.refused(efs.describe_backup_policy, FileSystemId=made)
            assert refused[0] == "PolicyNotFound"


def test_a_one_zone_file_system_is_refused_where_aws_has_none(cloud):
    efs, zone = aws_calls.client(cloud, "efs"), {"AvailabilityZoneName": "us-east-1a"}
    mode = {"PerformanceMode": "maxIO"}
    code, _, _ = aws_calls.refused(efs.create_file_system, CreationToken="t", **zone, **mode)
    assert code == "BadRequest"
    cloud.refuse_zone("us-east-1a")
    code, _, _ = aws_calls.refused(efs.create_file_system, CreationToken="t", **zone)
    assert code == "UnsupportedAvailabilityZone"
    assert cloud.file_systems() == ()


# --- Replication


def test_a_file_system_that_is_replicated_cannot_be_deleted_at_either_end(cloud):
    efs, source = aws_calls.client(cloud, "efs"), aws_calls.file_system(cloud)
    away = aws_calls.client(cloud, "efs", region="eu-west-1")
    made = efs.create_replication_configuration(
        SourceFileSystemId=source, Destinations=[{"Region": "eu-west-1"}]
    )
    copy = made["Destinations"][0]["FileSystemId"]
    (seen,) = away.describe_file_systems(FileSystemId=copy)["FileSystems"]
    assert seen["FileSystemProtection"]["ReplicationOverwriteProtection"] == "REPLICATING"
    for client, system in ((efs, source), (away, copy)):
        described = client.describe_replication_configurations(FileSystemId=system)
        assert described["Replications"][0]["SourceFileSystemId"] == source
        code, _, _ = aws_calls.refused(client.delete_file_system, FileSystemId=system)
        assert code == "FileSystemInUse"
    code, _, _ = aws_calls.refused(
        efs.create_replication_configuration,
        SourceFileSystemId=source,
        Destinations=[{"Region": "eu-west-1"}],
    )
    assert code == "ReplicationAlreadyExists"
    efs.delete_replication_configuration(SourceFileSystemId=source)
    code, status, _ = aws_calls.refused(
        efs.describe_replication_configurations, FileSystemId=source
    )
    assert (code, status) == ("ReplicationNotFound", 404)
    (seen,) = away.describe_file_systems(FileSystemId=copy)["FileSystems"]
    assert seen["FileSystemProtection"]["ReplicationOverwriteProtection"] == "ENABLED"
    efs.delete_file_system(FileSystemId=source)


# --- Order of deletion


def test_a_file_system_goes_after_its_mount_targets_and_a_group_after_their_interfaces(slow):
    efs, ec2, system = (
        aws_calls.client(slow, "efs"),
        aws_calls.client(slow, "ec2"),
        aws_calls.file_system(slow),
    )
    nfs = aws_calls.group(slow)
    target = aws_calls.mount_target(slow, system, groups=[nfs])
    slow.skip(90)
    assert aws_calls.refused(efs.delete_file_system, FileSystemId=system)[:2] == (
        "FileSystemInUse",
        409,
    )
    efs.delete_mount_target(MountTargetId=target)
    assert slow.mount_targets()[0].state == "deleting"
    assert aws_calls.refused(efs.delete_file_system, FileSystemId=system)[0] == "FileSystemInUse"
    code, _, _ = aws_calls.refused(
        efs.create_mount_target, FileSystemId=system, SubnetId=slow.subnets["us-east-1a"]
    )
    assert code == "MountTargetConflict"
    slow.skip(41)
    assert slow.mount_targets() == ()
    efs.delete_file_system(FileSystemId=system)
    assert slow.file_systems()[0].state == "deleting"
    assert aws_calls.refused(ec2.delete_security_group, GroupId=nfs)[0] == "DependencyViolation"
    slow.skip(15)
    assert slow.interfaces() == ()
    ec2.delete_security_group(GroupId=nfs)
    assert slow.file_systems() == ()
    assert (
        aws_calls.refused(efs.delete_mount_target, MountTargetId=target)[0]
        == "MountTargetNotFound"
    )
    assert aws_calls.file_system(slow) != system  # the token is free again


def test_a_backup_policy_is_turned_on_and_off_and_takes_a_while(slow):
    efs, system = aws_calls.client(slow, "efs"), aws_calls.file_system(slow)
    assert (
        aws_calls.refused(efs.describe_backup_policy, FileSystemId=system)[0] == "PolicyNotFound"
    )
    for status, changing in (("ENABLED", "ENABLING"), ("DISABLED", "DISABLING")):
        policy = {"FileSystemId": system, "BackupPolicy": {"Status": status}}
        assert efs.put_backup_policy(**policy)["BackupPolicy"] == {"Status": changing}
        slow.skip(11)
        assert efs.describe_backup_policy(FileSystemId=system)["BackupPolicy"]["Status"] == status
        tagged = "aws:elasticfilesystem:default-backup" in slow.file_systems()[0].tags
        assert tagged == (status == "ENABLED")
    policy = {"FileSystemId": system, "BackupPolicy": {"Status": "ENABLING"}}
    assert aws_calls.refused(efs.put_backup_policy, **policy)[0] == "ValidationException"


def test_a_file_system_can_be_made_with_backups_and_takes_no_policy_before_it_is_there(slow):
    efs = aws_calls.client(slow, "efs")
    made = efs.create_file_system(CreationToken="t", Backup=True)["FileSystemId"]
    policy = {"FileSystemId": made, "BackupPolicy": {"Status": "DISABLED"}}
    code, status, _ = aws_calls.refused(efs.put_backup_policy, **policy)
    assert (code, status) == ("IncorrectFileSystemLifeCycleState", 409)
    slow.skip(13)
    assert efs.describe_backup_policy(FileSystemId=made)["BackupPolicy"]["Status"] == "ENABLED"


@pytest.mark.parametrize(
    "listed",
    [
        [{"TransitionToIA": "AFTER_2_DAYS"}],
        [{"TransitionToIA": "AFTER_7_DAYS", "TransitionToArchive": "AFTER_90_DAYS"}],
        [{"TransitionToIA": "AFTER_7_DAYS"}, {"TransitionToIA": "AFTER_14_DAYS"}],
        [{"TransitionToIA": "AFTER_7_DAYS"}, {"TransitionToArchive": "AFTER_7_DAYS"}],
        [{"TransitionToPrimaryStorageClass": "AFTER_7_DAYS"}],
    ],
)
def test_a_lifecycle_configuration_that_aws_refuses_changes_nothing(cloud, listed):
    efs, system = (
        aws_calls.client(cloud, "efs"),
        aws_calls.file_system(cloud, ThroughputMode="elastic"),
    )
    before = [{"TransitionToArchive": "AFTER_1_DAY"}]
    efs.put_lifecycle_configuration(FileSystemId=system, LifecyclePolicies=before)
    put = efs.put_lifecycle_configuration
    code, _, _ = aws_calls.refused(put, FileSystemId=system, LifecyclePolicies=listed)
    assert code == "BadRequest"
    shown = efs.describe_lifecycle_configuration(FileSystemId=system)
    assert shown["LifecyclePolicies"] == before
    efs.put_lifecycle_configuration(FileSystemId=system, LifecyclePolicies=[])
    shown = efs.describe_lifecycle_configuration(FileSystemId=system)
    assert shown["LifecyclePolicies"] == []


def test_archive_is_for_elastic_throughput(cloud):
    efs, system = aws_calls.client(cloud, "efs"), aws_calls.file_system(cloud)
    archive = [{"TransitionToArchive": "AFTER_90_DAYS"}]
    put = efs.put_lifecycle_configuration
    code, _, _ = aws_calls.refused(put, FileSystemId=system, LifecyclePolicies=archive)
    assert code == "BadRequest"
