"""Authentication, injected faults and the end of the sandbox's AWS."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time

import boto3
import botocore.config
import botocore.exceptions
import pytest

import identity
from sandbox.aws import aws_cloud
from tests.sandbox_own import aws_calls


@pytest.fixture(name="cloud")
def start_cloud(monkeypatch):
    with aws_calls.started(monkeypatch, aws_cloud.Latencies.none()) as cloud:
        yield cloud


# --- Authentication


def test_other_keys_and_wrong_secrets_are_refused(cloud):
    stranger = identity.AwsCredentials("other-key", "other-secret")
    wrong = identity.AwsCredentials(cloud.credentials.access_key, "other-secret")
    for key, efs_code in [
        (stranger, "UnrecognizedClientException"),
        (wrong, "InvalidSignatureException"),
    ]:
        efs, ec2 = aws_calls.client(cloud, "efs", key), aws_calls.client(cloud, "ec2", key)
        assert aws_calls.refused(efs.create_file_system, CreationToken="t")[:2] == (efs_code, 403)
        assert aws_calls.refused(ec2.describe_vpcs)[:2] == ("AuthFailure", 401)
    assert cloud.file_systems() == ()


def test_a_key_that_was_rotated_is_refused(cloud):
    before = aws_calls.client(cloud, "ec2", cloud.credentials)
    before.describe_subnets()
    after = cloud.rotate_credentials()
    assert aws_calls.refused(before.describe_subnets)[0] == "AuthFailure"
    aws_calls.client(cloud, "ec2", after).describe_subnets()


def test_the_default_chain_finds_the_role_or_nothing(cloud, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(botocore.exceptions.NoCredentialsError):
        boto3.Session().client("efs", region_name=cloud.region).describe_file_systems()
    cloud.attach_role()
    efs = boto3.Session().client("efs", region_name=cloud.region)
    assert efs.describe_file_systems()["FileSystems"] == []
    cloud.detach_role()
    with pytest.raises(botocore.exceptions.ClientError, match="UnrecognizedClient"):
        efs.describe_file_systems()


def test_a_denied_operation_names_its_action(cloud):
    cloud.deny("CreateFileSystem")
    cloud.deny("ec2:DescribeInstances")
    key = cloud.credentials
    efs, ec2 = aws_calls.client(cloud, "efs", key), aws_calls.client(cloud, "ec2", key)
    params = {"CreationToken": "t", "Tags": [{"Key": "aws-efs/model-uuid", "Value": "u"}]}
    code, status, answer = aws_calls.refused(efs.create_file_system, **params)
    assert (code, status) == ("AccessDeniedException", 403)
    assert "elasticfilesystem:CreateFileSystem" in answer["Error"]["Message"]
    assert aws_calls.refused(ec2.describe_instances)[:2] == ("UnauthorizedOperation", 403)
    aws_calls.client(cloud, "ec2").describe_instances()  # an administrator is not concerned
    cloud.allow("CreateFileSystem")
    efs.create_file_system(**params)


def test_everybody_may_ask_for_their_own_account(cloud):
    cloud.deny("")
    account, key = cloud.add_account()
    for each, expected in ((cloud.credentials, cloud.account_id), (key, account)):
        asked = aws_calls.client(cloud, "sts", each).get_caller_identity()
        assert asked["Account"] == expected


def test_another_account_has_nothing_of_the_first(cloud):
    made = aws_calls.file_system(cloud)
    _, key = cloud.add_account()
    theirs = aws_calls.client(cloud, "efs", key)
    assert theirs.describe_file_systems()["FileSystems"] == []
    code, _, _ = aws_calls.refused(theirs.describe_file_systems, FileSystemId=made)
    assert code == "FileSystemNotFound"
    theirs.create_file_system(CreationToken="token")  # the token is free there
    assert [each.id for each in cloud.file_systems()] == [made]


# --- Faults


def test_calls_are_listed_as_reads_and_writes(cloud):
    cloud.launch("0", "us-east-1a", model_uuid=aws_calls.MODEL)
    assert cloud.calls == []
    aws_calls.file_system(cloud)
    aws_calls.client(cloud, "efs").describe_file_systems()
    aws_calls.client(cloud, "ec2").describe_vpcs()
    aws_calls.group(cloud)
    assert cloud.counts() == (2, 2)
    assert cloud.calls[0] == aws_cloud.Call("efs", "CreateFileSystem", write=True)
    cloud.reset_calls()
    assert cloud.counts() == (0, 0)


def test_an_injected_error_occurs_as_often_as_requested(cloud):
    efs = aws_calls.client(cloud, "efs")
    cloud.fail("CreateFileSystem", "FileSystemLimitExceeded", status=403, times=2)
    for _ in range(2):
        with pytest.raises(efs.exceptions.FileSystemLimitExceeded):
            efs.create_file_system(CreationToken="t")
    efs.create_file_system(CreationToken="t")
    cloud.fail("", "RequestLimitExceeded", status=503)
    assert (
        aws_calls.refused(aws_calls.client(cloud, "ec2").describe_vpcs)[0]
        == "RequestLimitExceeded"
    )


def test_a_call_whose_reply_is_lost_was_executed(cloud):
    cloud.lose_reply("CreateFileSystem")
    efs = aws_calls.client(cloud, "efs")
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        efs.create_file_system(CreationToken="t")
    assert len(cloud.file_systems()) == 1
    assert (
        aws_calls.refused(efs.create_file_system, CreationToken="t")[0]
        == "FileSystemAlreadyExists"
    )


def test_an_api_that_is_down_refuses_and_comes_back_at_the_same_address(cloud):
    efs = aws_calls.client(cloud, "efs")
    cloud.stop_api()
    with pytest.raises(botocore.exceptions.EndpointConnectionError):
        efs.describe_file_systems()
    cloud.start_api()
    assert efs.describe_file_systems()["FileSystems"] == []


def test_a_hanging_api_answers_again_when_it_is_released(cloud):
    config = botocore.config.Config(read_timeout=0.3, retries={"total_max_attempts": 1})
    key = cloud.credentials
    efs = boto3.Session(key.access_key, key.secret_key).client(
        "efs", region_name=cloud.region, config=config
    )
    cloud.hang(60)
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        efs.describe_file_systems()
    cloud.hang(0)
    assert efs.describe_file_systems()["FileSystems"] == []


def test_clouds_and_regions_share_nothing(cloud):
    aws_calls.file_system(cloud)
    assert (
        aws_calls.client(cloud, "efs", region="eu-west-1").describe_file_systems()["FileSystems"]
        == []
    )
    with aws_cloud.Cloud.start(region="eu-west-1") as other:
        assert list(other.subnets) == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
        assert other.file_systems() == ()
        assert other.vpc_id != cloud.vpc_id


def test_a_region_that_does_not_exist_does_not_answer(cloud):
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        aws_calls.client(cloud, "efs", region="mars-north-1").describe_file_systems()


def test_mount_targets_are_made_in_parallel(cloud):
    system, efs = aws_calls.file_system(cloud), aws_calls.client(cloud, "efs")
    workers = [
        threading.Thread(
            target=efs.create_mount_target, kwargs={"FileSystemId": system, "SubnetId": subnet}
        )
        for subnet in cloud.subnets.values()
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {each.zone for each in cloud.mount_targets(system)} == set(cloud.subnets)


def test_latencies_scale():
    assert aws_cloud.Latencies.real().scaled(0) == aws_cloud.Latencies.none()
    assert (
        aws_cloud.Latencies.real().scaled(0.5).file_system_seconds
        == aws_calls.SLOW.file_system_seconds / 2
    )


# --- The end of a cloud


def test_nothing_outlives_a_closed_cloud():
    before = set(threading.enumerate())
    cloud = aws_cloud.Cloud.start()
    port = int(cloud.endpoint_url.rpartition(":")[2])
    directory = cloud.directory("fs-0")
    cloud.hang(60)
    waiting = socket.create_connection(("127.0.0.1", port))
    waiting.sendall(
        b"GET /2015-02-01/file-systems HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 "
        b"Credential=k/1/us-east-1/elasticfilesystem/aws4_request, SignedHeaders=host, "
        b"Signature=0\r\n\r\n"
    )
    deadline = time.monotonic() + 5
    while not cloud.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cloud.calls
    cloud.close()
    assert b"UnrecognizedClientException" in waiting.recv(4096)
    waiting.close()
    assert set(threading.enumerate()) == before
    assert not directory.parent.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    cloud.close()  # again does no harm


def test_a_process_that_does_not_close_its_cloud_ends_nevertheless():
    program = (
        "import sys; sys.path[:0] = ['src', '.']\n"
        "from sandbox.aws import aws_cloud\n"
        "cloud = aws_cloud.Cloud.start(); cloud.hang(600); print(cloud.endpoint_url, flush=True)\n"
        "import socket; s = socket.create_connection(('127.0.0.1', cloud._server.port))\n"
        "s.sendall(b'GET / HTTP/1.1')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    port = int(ended.stdout.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
