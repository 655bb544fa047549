"""The addresses of mount targets, which may be of IPv4, IPv6 or both."""

from __future__ import annotations

import botocore.session
import botocore.stub
import pytest

import polling
from aws import lookup, session

FILE_SYSTEM = "fs-0a1b2c3d4e5f60718"


@pytest.mark.parametrize(
    ("sent", "address", "ipv6_address"),
    [
        ({"IpAddress": "10.0.0.9"}, "10.0.0.9", ""),
        ({"IpAddress": "10.0.0.9", "Ipv6Address": "2001:db8::9"}, "10.0.0.9", "2001:db8::9"),
        ({"Ipv6Address": "2001:db8::9"}, "2001:db8::9", "2001:db8::9"),
        ({}, "", ""),
    ],
)
def test_a_mount_target_is_mounted_by_the_address_that_it_has(
    sent: dict[str, str], address: str, ipv6_address: str
) -> None:
    core = botocore.session.Session()
    core.set_credentials("a", "b")
    aws = session.Aws("us-east-1", core, {}, polling.Patience())
    described = {
        "MountTargetId": "fsmt-0a1b2c3d",
        "FileSystemId": FILE_SYSTEM,
        "SubnetId": "subnet-0a1b2c3d",
        "LifeCycleState": "available",
        "AvailabilityZoneName": "us-east-1a",
        **sent,
    }
    with botocore.stub.Stubber(aws.efs) as stub:
        stub.add_response("describe_mount_targets", {"MountTargets": [described]})
        (target,) = lookup.list_mount_targets(aws, FILE_SYSTEM, with_groups=False)
    assert (target.address, target.ipv6_address) == (address, ipv6_address)
