"""Objects from the API whose fields are none that Kubernetes lets them have."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube.resources import core_v1

import identity
import problems
from cluster import client, digest_key, errors, objects, ownership, service_networks
from tests.clients import api_server

OWNER = identity.Owner("6f4bf1dd-0000-4000-8000-000000000000", "aws-efs")
OURS = {"kubernetes.io/metadata.name": "aws-efs", **ownership.labels(OWNER)}
OBJECTS: dict[str, dict[str, Any]] = {
    "nodes": {"metadata": {"name": "juju-1", "labels": {"juju-application": "worker"}}},
    "persistentvolumes": {
        "metadata": {"name": "ours", "annotations": {"aws-efs/file-system": "fs-1"}},
        "spec": {"capacity": {"storage": "1Gi"}},
    },
    "persistentvolumeclaims": {
        "metadata": {"name": "shared", "namespace": "default"},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1.5Ti"}},
    },
    "pods": {
        "metadata": {"name": "web", "namespace": "default", "labels": {}},
        "spec": {"containers": []},
    },
    "configmaps": {"metadata": {"name": "kept", "namespace": "default"}, "data": {"a": "b"}},
    "secrets": {"metadata": {"name": "kept", "namespace": "default"}, "data": {"a": "eA=="}},
}
KINDS = {
    "nodes": core_v1.Node,
    "persistentvolumes": core_v1.PersistentVolume,
    "persistentvolumeclaims": core_v1.PersistentVolumeClaim,
    "pods": core_v1.Pod,
    "configmaps": core_v1.ConfigMap,
    "secrets": core_v1.Secret,
}
NO_TEXTS = [None, True, 0, 1e30, [], {}]
NO_QUANTITIES = [
    "x",
    "1e999999999",
    "9" * 70_000,
    "1Gi\x00",
    "\u0661Gi",
    "--1",
    ".",
    True,
    7,
]
GARBLED: list[tuple[str, tuple[str, ...], list[Any]]] = [
    *((kind, ("metadata", "name"), [None, ""]) for kind in KINDS),
    *((kind, ("metadata",), [None, {}]) for kind in KINDS),
    ("nodes", ("metadata", "labels", "juju-application"), NO_TEXTS),
    ("persistentvolumes", ("metadata", "annotations", "aws-efs/file-system"), NO_TEXTS),
    ("configmaps", ("data", "a"), NO_TEXTS),
    ("secrets", ("data", "a"), NO_TEXTS),
    ("persistentvolumes", ("spec",), [None]),
    ("persistentvolumes", ("spec", "capacity", "storage"), NO_QUANTITIES),
    ("persistentvolumeclaims", ("spec",), [None]),
    ("persistentvolumeclaims", ("metadata", "namespace"), [None, ""]),
    ("persistentvolumeclaims", ("spec", "resources", "requests", "storage"), NO_QUANTITIES),
    ("persistentvolumeclaims", ("status", "capacity", "storage"), NO_QUANTITIES),
    ("pods", ("spec",), [None]),
    ("pods", ("metadata", "namespace"), [None, ""]),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    running = api_server.ApiServer(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def cluster(server: api_server.ApiServer) -> Iterator[client.Cluster]:
    access = identity.ClusterAccess(server.endpoint, server.ca, "token")
    with client.Cluster(access, OWNER) as connected:
        yield connected


def changed(resource: str, path: tuple[str, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(OBJECTS[resource])
    place = body
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return body


@pytest.mark.parametrize("resource", KINDS)
def test_an_object_as_kubernetes_has_it_is_read(
    server: api_server.ApiServer, cluster: client.Cluster, resource: str
) -> None:
    server.objects = {(resource, "", "x"): OBJECTS[resource]}
    assert len(cluster.select(KINDS[resource], {})) == 1


@pytest.mark.parametrize(("resource", "path", "values"), GARBLED)
def test_an_object_with_a_field_that_it_cannot_have_is_waited_for(
    server: api_server.ApiServer,
    cluster: client.Cluster,
    resource: str,
    path: tuple[str, ...],
    values: list[Any],
) -> None:
    for value in values:
        server.objects = {(resource, "", "x"): changed(resource, path, value)}
        with pytest.raises(errors.UnreadableError) as raised:
            cluster.select(KINDS[resource], {})
        assert raised.value.message.endswith("trying again")
        assert len(raised.value.message) < 120


@pytest.mark.parametrize(
    "size", ["0", "1Gi", "1.5Ti", "100", "5e3", "1E", "107374182400m", ".5Gi"]
)
def test_what_kubernetes_writes_as_a_quantity_is_one(size: str) -> None:
    volume = {"metadata": {"name": "x"}, "spec": {"capacity": {"storage": size}}}
    objects.check(core_v1.PersistentVolume.from_dict(volume))


def test_a_time_without_a_zone_is_in_utc_and_none_is_before_1970() -> None:
    noon = datetime.datetime(2026, 1, 1, 12)
    assert objects.seconds(noon) == objects.seconds(noon.replace(tzinfo=datetime.timezone.utc))
    assert objects.seconds(datetime.datetime.min) == 0
    assert objects.seconds(None) == 0


def test_a_service_of_the_api_without_an_address_has_no_network(
    server: api_server.ApiServer, cluster: client.Cluster
) -> None:
    service = {"metadata": {"name": "kubernetes", "namespace": "default"}}
    addresses = ["None", "", "x", "10.152.183.1", "fd00::1"]
    server.objects = {}
    server.add("services", {**service, "spec": {"clusterIPs": addresses}}, "default")
    assert service_networks.find(cluster) == ("10.152.183.0/24", "fd00::/112")


@pytest.mark.parametrize("key", ["", "eA==", "\u0661", "\x00", "x"])
def test_a_key_that_is_not_ours_is_told(
    server: api_server.ApiServer, cluster: client.Cluster, key: str
) -> None:
    server.objects = {}
    server.add("namespaces", {"metadata": {"name": "aws-efs", "labels": OURS}})
    secret = {"metadata": {"name": "digest-key", "namespace": "aws-efs", "labels": OURS}}
    server.add("secrets", {**secret, "data": {"key": key}}, "aws-efs")
    with pytest.raises(problems.Blocked, match="delete it, then run it again"):
        digest_key.read(cluster)
