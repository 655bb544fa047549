"""What is said of an object that has the name of one of ours: the way to get the name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import identity
import problems
from cluster import client, digest_key, ownership, records
from cluster.jobs import job_lifecycle
from cluster.volumes import volume_reconcile, volume_resources
from tests.clients import api_server

OWNER = identity.Owner("6f4bf1dd-0000-4000-8000-000000000000", "aws-efs")
FILE_SYSTEM = "fs-0a1b2c3d4e5f60718"
SERVER = f"{FILE_SYSTEM}.efs.us-east-1.amazonaws.com"
DESIRED = volume_resources.DesiredVolumes(
    SERVER, "1Gi", "1Gi", "shared", ("default",), "efs", (), file_system=FILE_SYSTEM
)
VOLUME = "aws-efs-6f4bf1dd-default"
Write = Callable[[client.Cluster], Any]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    running = api_server.ApiServer(tmp_path_factory.mktemp("api"))
    for name in ("aws-efs", "default"):
        labels = {"kubernetes.io/metadata.name": name}
        ours = ownership.labels(OWNER) if name == "aws-efs" else {}
        running.add("namespaces", {"metadata": {"name": name, "labels": {**labels, **ours}}})
    yield running
    running.close()


def reconcile(cluster: client.Cluster) -> None:
    """Reconcile for one round: what is not bound after that is waited for."""
    found = volume_reconcile.reconcile(cluster, DESIRED, timeout_seconds=0).problems
    (blocked,) = [problem for problem in found if isinstance(problem, problems.Blocked)]
    raise blocked


def start(cluster: client.Cluster) -> None:
    volume_reconcile.reconcile(cluster, DESIRED, timeout_seconds=0)
    main = job_lifecycle.Container("x", "python")
    job_lifecycle.start(cluster, job_lifecycle.DesiredJob("taken", "x", main, FILE_SYSTEM))


ANOTHER_NAME = "deploy the charm under another name than aws-efs"
TAKEN: dict[str, tuple[str, str, str, Write, str, str]] = {
    "record": (
        *("configmaps", "aws-efs", "dataset-taken"),
        lambda cluster: records.save(cluster, "dataset", "taken", "{}"),
        *("config map aws-efs/dataset-taken", "delete it"),
    ),
    "key": (
        *("secrets", "aws-efs", "digest-key", digest_key.read),
        *("secret aws-efs/digest-key", "delete it"),
    ),
    "job": ("jobs", "aws-efs", "taken", start, "job aws-efs/taken", "delete it"),
    "our claim": (
        *("persistentvolumeclaims", "aws-efs", "aws-efs", reconcile),
        *("claim aws-efs/aws-efs", "delete it"),
    ),
    "claim": (
        *("persistentvolumeclaims", "default", "shared", reconcile),
        *("claim default/shared", "juju config aws-efs claim-name=…"),
    ),
    "class": (
        *("storageclasses", "", "efs", reconcile),
        *("storage class efs", "juju config aws-efs storage-class=…"),
    ),
    "volume": (
        *("persistentvolumes", "", VOLUME, reconcile),
        *(f"volume {VOLUME}", ANOTHER_NAME),
    ),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_the_way_to_a_name_that_is_taken_is_told_and_the_object_stays(
    server: api_server.ApiServer, kind: str
) -> None:
    resource, namespace, name, write, title, fix = TAKEN[kind]
    theirs: dict[str, Any] = {
        "metadata": {"name": name, "namespace": namespace, "uid": "theirs"},
        "spec": {"template": {}, "volumeName": "theirs"},
        "provisioner": "theirs",
    }
    server.add(resource, theirs, namespace)
    access = identity.ClusterAccess(server.endpoint, server.ca, "token")
    with client.Cluster(access, OWNER) as cluster, pytest.raises(problems.Blocked) as raised:
        write(cluster)
    assert raised.value.message == f"{title} exists and is not ours: {fix}"
    assert server.objects[resource, namespace, name] is theirs
