"""The boto3 calls that the tests of the sandbox's AWS share."""

from __future__ import annotations

import contextlib
import dataclasses
import functools

import boto3
import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.session
import pytest

from sandbox.aws import aws_cloud

MODEL = "0badc0de-1111-4222-8333-444455556666"
SLOW = dataclasses.replace(
    aws_cloud.Latencies.real(), dns_seconds=60, mount_timeout_seconds=0, call_seconds=0
)


@contextlib.contextmanager
def started(monkeypatch, latencies):
    """Yield a cloud that all AWS clients of this process use; tests skip its latencies."""
    with aws_cloud.Cloud.start(latencies) as cloud:
        for name, value in cloud.environ().items():
            monkeypatch.setenv(name, value)
        yield cloud


def client(cloud, service, key=None, region=None):
    """Return a client of one service, by default with the administrator's key."""
    return _client(cloud, service, key or cloud.administrator, region or cloud.region)


@functools.lru_cache(maxsize=8)
def _client(cloud, service, key, region):
    session = botocore.session.get_session()
    session.register_component("data_loader", _models())
    return boto3.Session(
        key.access_key, key.secret_key, key.session_token or None, botocore_session=session
    ).client(
        service,
        region_name=region,
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )


@functools.cache
def _models():
    """Return a cached loader of service models, which take longer to read than a test to run."""
    return botocore.loaders.Loader()


def file_system(cloud, token="token", **params):
    made = client(cloud, "efs").create_file_system(CreationToken=token, **params)
    cloud.skip(12)
    return made["FileSystemId"]


def mount_target(cloud, file_system_id, zone="us-east-1a", groups=()):
    params = {"SecurityGroups": list(groups)} if groups else {}
    return client(cloud, "efs").create_mount_target(
        FileSystemId=file_system_id, SubnetId=cloud.subnets[zone], **params
    )["MountTargetId"]


def group(cloud, name="nfs", vpc_id=None, **params):
    return client(cloud, "ec2").create_security_group(
        GroupName=name, Description="for a test", VpcId=vpc_id or cloud.vpc_id, **params
    )["GroupId"]


def let_in(cloud, group_id, *cidrs, port=2049):
    client(cloud, "ec2").authorize_security_group_ingress(
        GroupId=group_id,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": port,
                "ToPort": port,
                "IpRanges": [{"CidrIp": cidr} for cidr in cidrs],
            }
        ],
    )


def refused(call, /, *args, **params):
    """Call AWS, and return its error: the code, the HTTP status and the whole response."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*args, **params)
    answer = caught.value.response
    return (
        answer["Error"]["Code"],
        answer["ResponseMetadata"]["HTTPStatusCode"],
        answer,
    )
