"""Networks, machines and Juju's groups in the sandbox's AWS, tested with boto3 calls."""

from __future__ import annotations

import botocore.exceptions
import pytest

from sandbox.aws import aws_cloud
from tests.sandbox_own import aws_calls


@pytest.fixture(name="cloud")
def start_cloud(monkeypatch):
    with aws_calls.started(monkeypatch, aws_cloud.Latencies.none()) as cloud:
        yield cloud


def test_instances_are_listed_in_pages_and_found_by_the_models_tag(cloud):
    for number in range(12):
        cloud.launch(
            str(number), "us-east-1b", model_uuid=aws_calls.MODEL, units=[f"worker/{number}"]
        )
    cloud.launch("0", "us-east-1b", model_uuid="another")
    ec2 = aws_calls.client(cloud, "ec2")
    pages = list(
        ec2.get_paginator("describe_instances").paginate(
            Filters=[
                {"Name": "tag:juju-model-uuid", "Values": [aws_calls.MODEL]},
                {"Name": "instance-state-name", "Values": ["running"]},
            ],
            PaginationConfig={"PageSize": 5},
        )
    )
    found = [
        each
        for page in pages
        for reservation in page["Reservations"]
        for each in reservation["Instances"]
    ]
    assert (len(pages), len(found)) == (3, 12)
    tags = {tag["Key"]: tag["Value"] for tag in found[0]["Tags"]}
    assert tags["juju-units-deployed"].startswith("worker/")
    assert found[0]["VpcId"] == cloud.vpc_id
    names = {each["GroupName"] for each in found[3]["SecurityGroups"]}
    assert names == {f"juju-{aws_calls.MODEL}", f"juju-{aws_calls.MODEL}-3"}


def test_a_call_takes_at_most_200_filter_values(cloud):
    ec2 = aws_calls.client(cloud, "ec2")
    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(201)]
    named = {"Name": "private-ip-address", "Values": addresses[:200]}
    assert ec2.describe_instances(Filters=[named])["Reservations"] == []
    named["Values"] = addresses
    assert aws_calls.refused(ec2.describe_instances, Filters=[named])[0] == "FilterLimitExceeded"


def test_a_page_has_5_to_1000_entries_and_none_with_instance_ids(cloud):
    ec2 = aws_calls.client(cloud, "ec2")
    machine = cloud.launch("0", "us-east-1a", model_uuid=aws_calls.MODEL)
    assert aws_calls.refused(ec2.describe_instances, MaxResults=4)[0] == "InvalidParameterValue"
    code, _, _ = aws_calls.refused(ec2.describe_instances, InstanceIds=[machine.id], MaxResults=10)
    assert code == "InvalidParameterCombination"
    code, _, _ = aws_calls.refused(
        ec2.describe_instances, InstanceIds=[machine.id, "i-00000000000000000"]
    )
    assert code == "InvalidInstanceID.NotFound"


def test_a_terminated_machine_is_still_listed(cloud):
    machine = cloud.launch("0", "us-east-1a", model_uuid=aws_calls.MODEL)
    cloud.terminate(machine.id)
    listed = aws_calls.client(cloud, "ec2").describe_instances(InstanceIds=[machine.id])[
        "Reservations"
    ]
    assert listed[0]["Instances"][0]["State"]["Name"] == "terminated"


def test_a_group_is_found_by_name_and_by_tag(cloud):
    ec2 = aws_calls.client(cloud, "ec2")
    tagged = [{"ResourceType": "security-group", "Tags": [{"Key": "a/b", "Value": "c"}]}]
    made = aws_calls.group(cloud, "efs", TagSpecifications=tagged)
    aws_calls.group(cloud, "other")
    for name, value in [("group-name", "efs"), ("tag:a/b", "c"), ("group-id", made)]:
        filters = [
            {"Name": name, "Values": [value]},
            {"Name": "vpc-id", "Values": [cloud.vpc_id]},
        ]
        found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        assert [each["GroupId"] for each in found] == [made]
    assert aws_calls.refused(aws_calls.group, cloud, "efs")[0] == "InvalidGroup.Duplicate"


def test_group_names_and_vpcs_are_checked(cloud):
    assert aws_calls.refused(aws_calls.group, cloud, "sg-mine")[0] == "InvalidParameterValue"
    assert aws_calls.refused(aws_calls.group, cloud, "n" * 256)[0] == "InvalidParameterValue"
    assert aws_calls.refused(aws_calls.group, cloud, "näme")[0] == "InvalidParameterValue"
    assert (
        aws_calls.refused(aws_calls.group, cloud, "name", vpc_id="vpc-0")[0]
        == "InvalidVpcID.NotFound"
    )


def test_rules_that_exist_are_refused_and_none_of_that_call_is_added(cloud):
    nfs = aws_calls.group(cloud)
    aws_calls.let_in(cloud, nfs, "172.31.0.0/20")
    with pytest.raises(botocore.exceptions.ClientError, match=r"InvalidPermission\.Duplicate"):
        aws_calls.let_in(cloud, nfs, "172.31.16.0/20", "172.31.0.0/20")
    (seen,) = (each for each in cloud.security_groups() if each.id == nfs)
    assert seen.rules == {("tcp", 2049, 2049, "172.31.0.0/20")}
    unknown = {
        "IpProtocol": "tcp",
        "FromPort": 1,
        "ToPort": 1,
        "IpRanges": [{"CidrIp": "1.0.0.0/8"}],
    }
    revoke = aws_calls.client(cloud, "ec2").revoke_security_group_ingress
    code, _, _ = aws_calls.refused(revoke, GroupId=nfs, IpPermissions=[unknown])
    assert code == "InvalidPermission.NotFound"


def test_a_group_that_another_groups_rule_names_stays(cloud):
    ec2 = aws_calls.client(cloud, "ec2")
    named, naming = aws_calls.group(cloud, "named"), aws_calls.group(cloud, "naming")
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": named}]}]
    ec2.authorize_security_group_ingress(GroupId=named, IpPermissions=rule)
    ec2.authorize_security_group_ingress(GroupId=naming, IpPermissions=rule)
    assert aws_calls.refused(ec2.delete_security_group, GroupId=named)[0] == "DependencyViolation"
    ec2.revoke_security_group_ingress(GroupId=naming, IpPermissions=rule)
    ec2.delete_security_group(GroupId=named)  # its own rule names it, which does not matter


def test_the_default_group_stays(cloud):
    ec2 = aws_calls.client(cloud, "ec2")
    filters = [
        {"Name": "group-name", "Values": ["default"]},
        {"Name": "vpc-id", "Values": [cloud.vpc_id]},
    ]
    (default,) = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    assert (
        aws_calls.refused(ec2.delete_security_group, GroupId=default["GroupId"])[0]
        == "CannotDelete"
    )


def test_a_vpc_has_two_dns_flags(cloud):
    ec2, other = aws_calls.client(cloud, "ec2"), cloud.add_vpc("10.7.0.0/16", zones=["us-east-1c"])
    cloud.set_dns(other.id, support=True, hostnames=False)
    support = ec2.describe_vpc_attribute(VpcId=other.id, Attribute="enableDnsSupport")
    hostnames = ec2.describe_vpc_attribute(VpcId=other.id, Attribute="enableDnsHostnames")
    assert support["EnableDnsSupport"]["Value"]
    assert not hostnames["EnableDnsHostnames"]["Value"]
    filters = [{"Name": "vpc-id", "Values": [other.id]}]
    (subnet,) = ec2.describe_subnets(Filters=filters)["Subnets"]
    assert (subnet["AvailabilityZone"], subnet["CidrBlock"]) == ("us-east-1c", "10.7.0.0/24")
    assert subnet["AvailableIpAddressCount"] == 251


# --- Destruction of a model


def test_destroying_a_model_deletes_everything_with_its_tag(cloud):
    for number in range(3):
        cloud.launch(str(number), "us-east-1a", model_uuid=aws_calls.MODEL)
    kept = cloud.launch("0", "us-east-1a", model_uuid="another")
    own = aws_calls.group(cloud, "aws-efs")
    cloud.destroy_model(aws_calls.MODEL)
    names = {each.name for each in cloud.security_groups()}
    assert names == {"juju-another", "juju-another-0", "aws-efs"}
    listed = aws_calls.client(cloud, "ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["running"]}]
    )["Reservations"]
    assert [each["Instances"][0]["InstanceId"] for each in listed] == [kept.id]
    assert own


def test_a_mount_target_in_a_group_with_the_models_tag_blocks_its_destruction(cloud):
    cloud.launch("0", "us-east-1a", model_uuid=aws_calls.MODEL)
    tagged = [
        {
            "ResourceType": "security-group",
            "Tags": [{"Key": "juju-model-uuid", "Value": aws_calls.MODEL}],
        }
    ]
    ours = aws_calls.group(cloud, "aws-efs", TagSpecifications=tagged)
    aws_calls.mount_target(cloud, aws_calls.file_system(cloud), groups=[ours])
    with pytest.raises(aws_cloud.Hung) as caught:
        cloud.destroy_model(aws_calls.MODEL)
    assert list(caught.value.holders) == [ours]


def test_a_remaining_group_that_names_the_models_group_blocks_its_destruction(cloud):
    cloud.launch("0", "us-east-1a", model_uuid=aws_calls.MODEL)
    (model_group,) = (
        each.id for each in cloud.security_groups() if each.name == f"juju-{aws_calls.MODEL}"
    )
    kept = aws_calls.group(cloud, "aws-efs")
    aws_calls.client(cloud, "ec2").authorize_security_group_ingress(
        GroupId=kept,
        IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": model_group}]}],
    )
    with pytest.raises(aws_cloud.Hung) as caught:
        cloud.destroy_model(aws_calls.MODEL)
    assert caught.value.holders == {model_group: [kept]}
