"""IAM in the sandbox: the policy's language, and what each call is allowed with it."""

from __future__ import annotations

import json

import pytest

from sandbox.aws import aws_cloud, iam_policy
from tests.sandbox_own import aws_calls

OURS = [{"Key": "aws-efs/model-uuid", "Value": "u"}, {"Key": "Name", "Value": "n"}]
THEIRS = [{"Key": "Name", "Value": "n"}]


@pytest.fixture(name="cloud")
def start_cloud(monkeypatch):
    with aws_calls.started(monkeypatch, aws_cloud.Latencies.none()) as cloud:
        yield cloud


def denied(call, /, **params):
    """Return the action that AWS denies; "" where it executes the call."""
    try:
        call(**params)
    except call.__self__.exceptions.ClientError as error:
        message = error.response["Error"]["Message"]
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403, message
        return message.partition("perform: ")[2].split(" ")[0]
    return ""


def allowed(statement, action="a:Do", resource="*", **context):
    policy = {"Statement": [{"Effect": "Allow", "Action": "a:*", "Resource": "*", **statement}]}
    keys = {key.replace("__", ":"): value for key, value in context.items()}
    return iam_policy.allows(policy, iam_policy.Authorization(action, resource, keys))


# --- The language


@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        ("a:Do", "a:Do", True),
        ("A:do", "a:Do", True),
        ("a:D?", "a:Do", True),
        ("a:*", "a:Do", True),
        ("a:D", "a:Do", False),
        ("b:*", "a:Do", False),
        (["b:*", "a:Do"], "a:Do", True),
        ("a.Do", "a:Do", False),
    ],
)
def test_an_action_is_a_pattern_in_any_case(pattern, action, expected):
    assert allowed({"Action": pattern}, action) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", True),
        ("arn:aws:ec2:us-east-1:1:vpc/vpc-1", True),
        ("arn:*:ec2:*:*:vpc/*", True),
        ("arn:*:ec2:*:*:subnet/*", False),
        ("arn:aws:ec2:*:vpc/*", False),
        ("arn:aws:*", False),
    ],
)
def test_a_wildcard_stays_in_its_part_of_a_resource(pattern, expected):
    resource = "arn:aws:ec2:us-east-1:1:vpc/vpc-1"
    assert allowed({"Resource": pattern}, resource=resource) is expected


def test_an_action_without_resources_is_allowed_for_all_of_them_only():
    assert not allowed({"Resource": "arn:*:elasticfilesystem:*:*:file-system/*"})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"k:v": "Value"}}, True),
        ({"StringEquals": {"K:V": "Value"}}, True),
        ({"StringEquals": {"k:v": "value"}}, False),
        ({"StringEquals": {"k:v": "V*"}}, False),
        ({"StringLike": {"k:v": "V*"}}, True),
        ({"StringLike": {"k:v": ["x", "*"]}}, True),
        ({"StringLike": {"k:other": "*"}}, False),
        ({"Bool": {"k:yes": "True"}}, True),
        ({"Bool": {"k:yes": "false"}}, False),
        ({"StringLike": {"k:v": "*"}, "Bool": {"k:yes": "false"}}, False),
        ({"StringLike": {"k:v": "*", "k:other": "*"}}, False),
    ],
)
def test_all_conditions_must_hold_and_a_key_that_is_missing_does_not(condition, expected):
    assert allowed({"Condition": condition}, k__v="Value", k__yes="true") is expected


@pytest.mark.parametrize(
    "statement",
    [{"Effect": "Deny"}, {"NotAction": "b:*"}, {"Condition": {"IpAddress": {"a:b": "c"}}}],
)
def test_what_is_not_implemented_is_never_taken_for_allowed(statement):
    with pytest.raises(ValueError, match="not implemented"):
        allowed(statement)


# --- The project's policy


def test_a_file_system_is_created_with_the_charms_tag_only(cloud):
    create = aws_calls.client(cloud, "efs", cloud.credentials).create_file_system
    assert denied(create, CreationToken="t") == "elasticfilesystem:CreateFileSystem"
    assert denied(create, CreationToken="t", Tags=THEIRS) == "elasticfilesystem:CreateFileSystem"
    assert denied(create, CreationToken="t", Tags=OURS) == ""


def test_a_file_system_without_the_charms_tag_cannot_be_changed(cloud):
    efs = aws_calls.client(cloud, "efs", cloud.credentials)
    theirs = aws_calls.file_system(cloud, Tags=THEIRS)
    target = aws_calls.mount_target(cloud, theirs)
    subnet = cloud.subnets["us-east-1b"]
    for call, params in [
        (efs.delete_file_system, {"FileSystemId": theirs}),
        (efs.update_file_system, {"FileSystemId": theirs, "ThroughputMode": "elastic"}),
        (efs.tag_resource, {"ResourceId": theirs, "Tags": OURS}),
        (efs.untag_resource, {"ResourceId": theirs, "TagKeys": ["Name"]}),
        (efs.create_mount_target, {"FileSystemId": theirs, "SubnetId": subnet}),
        (efs.delete_mount_target, {"MountTargetId": target}),
        (
            efs.modify_mount_target_security_groups,
            {"MountTargetId": target, "SecurityGroups": [aws_calls.group(cloud)]},
        ),
    ]:
        assert denied(call, **params).startswith("elasticfilesystem:")
    assert efs.describe_file_systems()["FileSystems"][0]["Tags"] == THEIRS


def test_the_owner_of_a_file_system_lets_the_charm_mount_it_and_no_more(cloud):
    efs = aws_calls.client(cloud, "efs", cloud.credentials)
    theirs = aws_calls.file_system(cloud, Tags=[{"Key": "aws-efs/adoptable", "Value": ""}])
    params = {"FileSystemId": theirs, "SubnetId": cloud.subnets["us-east-1b"]}
    assert denied(efs.create_mount_target, **params) == ""
    (target,) = cloud.mount_targets()
    modify = efs.modify_mount_target_security_groups
    assert denied(modify, MountTargetId=target.id, SecurityGroups=[]) != ""
    assert denied(efs.delete_file_system, FileSystemId=theirs) != ""
    assert denied(efs.delete_mount_target, MountTargetId=target.id) == ""


def test_a_security_group_is_created_with_the_charms_tag_only(cloud):
    create = aws_calls.client(cloud, "ec2", cloud.credentials).create_security_group
    params = {"GroupName": "nfs", "Description": "d", "VpcId": cloud.vpc_id}
    specified = [{"ResourceType": "security-group", "Tags": THEIRS}]
    assert denied(create, **params) == "ec2:CreateSecurityGroup"
    assert denied(create, **params, TagSpecifications=specified) == "ec2:CreateSecurityGroup"
    specified[0]["Tags"] = OURS
    assert denied(create, **params, TagSpecifications=specified) == ""


def test_a_security_group_without_the_charms_tag_cannot_be_changed(cloud):
    ec2 = aws_calls.client(cloud, "ec2", cloud.credentials)
    theirs = aws_calls.group(cloud)
    aws_calls.let_in(cloud, theirs, "10.0.0.0/8")
    rule = {"GroupId": theirs, "IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049}
    for call, params in [
        (ec2.authorize_security_group_ingress, {**rule, "CidrIp": "10.1.0.0/16"}),
        (ec2.revoke_security_group_ingress, {**rule, "CidrIp": "10.0.0.0/8"}),
        (ec2.delete_security_group, {"GroupId": theirs}),
        (ec2.create_tags, {"Resources": [theirs], "Tags": OURS}),
        (ec2.delete_tags, {"Resources": [theirs], "Tags": [{"Key": "Name"}]}),
    ]:
        assert denied(call, **params).startswith("ec2:")
    (seen,) = (each for each in cloud.security_groups() if each.id == theirs)
    assert len(seen.rules) == 1 and seen.tags == {}


def test_what_efs_does_for_the_charm_the_charm_may_not_do_itself(cloud):
    ec2 = aws_calls.client(cloud, "ec2", cloud.credentials)
    machine = cloud.launch("0", "us-east-1a", model_uuid=aws_calls.MODEL)
    (reserved,) = ec2.describe_instances(InstanceIds=[machine.id])["Reservations"]
    interface = reserved["Instances"][0]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    for call, params in [
        (ec2.create_network_interface, {"SubnetId": machine.subnet_id}),
        (ec2.modify_network_interface_attribute, {"NetworkInterfaceId": interface, "Groups": []}),
        (ec2.delete_network_interface, {"NetworkInterfaceId": interface}),
        (ec2.terminate_instances, {"InstanceIds": [machine.id]}),
        (ec2.create_tags, {"Resources": [machine.id], "Tags": OURS}),
    ]:
        assert denied(call, **params).startswith("ec2:")


def test_the_policy_fits_into_a_managed_policy():
    assert len(json.dumps(json.loads(aws_cloud.POLICY.read_text()), separators=(",", ":"))) < 6144
