"""How a message names many things: the first ones, and the number of the others."""

from __future__ import annotations

import botocore.session
import botocore.stub
import pytest

import identity
import polling
from aws import inventory, obstacles, resources, session
from cluster import file_system_users
from cluster.volumes import volume_resources
from problems import list_some, name_some

NAMES = ["a", "b", "c", "d", "e", "f", "g"]
OWNER = identity.Owner("6f4bf1dd-0000-4000-8000-000000000000", "aws-efs")
FOUND = resources.FileSystem(
    id="fs-0a1b2c3d4e5f60718",
    account_id="123456789012",
    life_cycle="available",
    performance_mode="generalPurpose",
    throughput_mode="elastic",
    encrypted=True,
    kms_key="",
    size_bytes=0,
    tags={},
)


@pytest.mark.parametrize(
    ("count", "most", "text"),
    [
        (0, 2, ""),
        (1, 2, "a"),
        (2, 2, "a, b"),
        (3, 2, "a, b and 1 more"),
        (7, 5, "a, b, c, d, e and 2 more"),
        (7, 1, "a and 6 more"),
    ],
)
def test_the_first_names_are_told_and_how_many_others_there_are(count: int, most: int, text: str):
    assert name_some(NAMES[:count], most) == text


@pytest.mark.parametrize(
    ("count", "most", "lines"),
    [(0, 2, []), (2, 2, ["a", "b"]), (3, 2, ["a", "b", "1 more"]), (7, 1, ["a", "6 more"])],
)
def test_a_line_at_the_end_tells_how_many_others_there_are(
    count: int, most: int, lines: list[str]
):
    assert list_some(NAMES[:count], most) == lines


def test_that_line_may_have_words_of_its_own():
    assert list_some(NAMES, 2, "and {} more objects")[-1] == "and 5 more objects"


def test_five_users_of_a_file_system_are_named():
    assert file_system_users.name_some(NAMES) == "a, b, c, d, e and 2 more"
    assert file_system_users.name_some(NAMES[:5]) == "a, b, c, d, e"


def test_two_pods_are_named():
    assert volume_resources.format_pods(["default/a", "default/b", "x/c", "x/d"]) == (
        "pod default/a, default/b and 2 more"
    )


@pytest.mark.parametrize(
    ("count", "named"),
    [
        (1, "fsap-0"),
        (5, "fsap-0, fsap-1, fsap-2, fsap-3, fsap-4"),
        (8, "fsap-0, fsap-1, fsap-2, fsap-3, fsap-4 and 3 more"),
    ],
)
def test_five_access_points_that_keep_a_file_system_are_named(count: int, named: str):
    core = botocore.session.Session()
    core.set_credentials("a", "b")
    aws = session.Aws("us-east-1", core, {}, polling.Patience())
    standing = inventory.Inventory(
        key=resources.ResourceKey(OWNER),
        file_system=FOUND,
        own_targets=(),
        other_targets=(),
        groups=(),
        look_alikes=(),
    )
    points = [
        {"AccessPointId": f"fsap-{number}", "LifeCycleState": "available"}
        for number in range(count)
    ]
    with botocore.stub.Stubber(aws.efs) as stub:
        stub.add_client_error("describe_replication_configurations", "ReplicationNotFound")
        stub.add_response("describe_access_points", {"AccessPoints": points})
        (problem,) = obstacles.find(aws, standing)
    assert problem.message == (
        f"the charm did not create access point {named}: "
        "aws efs delete-access-point --access-point-id fsap-0"
    )
