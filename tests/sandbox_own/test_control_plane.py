"""The control plane is a real one, and can be wiped, stopped and started."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import pathlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import lightkube
import pytest
import tenacity
from lightkube import codecs
from lightkube.resources import batch_v1, core_v1, storage_v1

from sandbox.base import certificates
from sandbox.kubernetes import api_gateway, control_plane, program_build


@pytest.fixture(scope="module")
def running_plane() -> Iterator[control_plane.ControlPlane]:
    with control_plane.ControlPlane.start() as plane:
        yield plane


@pytest.fixture
def plane(running_plane: control_plane.ControlPlane) -> Iterator[control_plane.ControlPlane]:
    yield running_plane
    running_plane.wipe()


@pytest.fixture
def client(plane: control_plane.ControlPlane) -> lightkube.Client:
    return plane.client()


def test_it_has_the_version_of_kubernetes_that_it_was_built_from(
    plane: control_plane.ControlPlane,
) -> None:
    status, body = _get(plane, "/version", plane.admin_token)
    assert (status, json.loads(body)["gitVersion"]) == (200, "v1.37.2")


def test_a_program_that_fails_is_named_with_its_output(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in program_build.PROGRAMS:
        text = "exec sleep 60" if name != "etcd" else "echo no space left on device; exit 1"
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(control_plane.ControlPlaneError, match="etcd ended: no space left"):
        control_plane.ControlPlane.start()


def test_without_a_token_only_its_health_can_be_read(plane: control_plane.ControlPlane) -> None:
    answers = [_get(plane, path)[0] for path in ("/readyz", "/livez", "/version", "/api")]
    assert answers == [200, 200, 401, 401]


def test_a_client_that_does_not_trust_its_authority_does_not_connect(
    plane: control_plane.ControlPlane,
) -> None:
    port = int(plane.endpoint.rpartition(":")[2])
    stranger = http.client.HTTPSConnection("127.0.0.1", port, timeout=5)
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.request("GET", "/readyz")
    stranger.close()


def test_a_gateway_shows_its_own_certificate_and_forwards_while_it_is_alive(
    plane: control_plane.ControlPlane, tmp_path: pathlib.Path
) -> None:
    for name in ("root", "below", "other"):
        (tmp_path / name).mkdir()
    root = certificates.Authority(tmp_path / "root")
    below = certificates.Authority(tmp_path / "below", root)
    other = certificates.Authority(tmp_path / "other")

    def version(ca: str) -> int:
        context = ssl.create_default_context(cadata=ca)
        port = int(gateway.endpoint.rpartition(":")[2])
        with contextlib.closing(
            http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        ) as connection:
            headers = {"Authorization": f"Bearer {plane.admin_token}"}
            connection.request("GET", "/version", headers=headers)
            return connection.getresponse().status

    gateway = api_gateway.ApiGateway(plane, below.issue("api", hosts=[api_gateway.HOST]))
    assert version(f"{root.pem}{below.pem}") == 200
    # It does not send the chain.
    with pytest.raises(ssl.SSLCertVerificationError):
        version(root.pem)
    gateway.renew(other.issue("api", hosts=[api_gateway.HOST]))
    assert version(other.pem) == 200
    gateway.alive, gateway.connections = False, 0
    with pytest.raises(OSError):
        version(other.pem)
    assert gateway.connections == 1
    gateway.close()
    with pytest.raises(ConnectionRefusedError):
        version(other.pem)


def test_a_token_has_the_permissions_of_its_user(
    plane: control_plane.ControlPlane, client: lightkube.Client
) -> None:
    token = plane.token("reader", ["readers"])
    assert _get(plane, "/api/v1/namespaces", token)[0] == 403
    _apply(client, _cluster_role_binding("readers", "view"))
    assert _eventually(lambda: _get(plane, "/api/v1/namespaces", token)[0] == 200)
    assert _get(plane, "/api/v1/nodes", token)[0] == 403


def test_a_revoked_token_is_refused_at_once(plane: control_plane.ControlPlane) -> None:
    token, other = (plane.token("unit", ["system:masters"]) for _ in range(2))
    assert [_get(plane, "/api", each)[0] for each in (token, other)] == [200, 200]
    plane.revoke(token)
    assert [_get(plane, "/api", each)[0] for each in (token, other)] == [401, 200]


def test_a_client_can_connect_with_a_kubeconfig_file(
    plane: control_plane.ControlPlane, tmp_path: pathlib.Path
) -> None:
    path = plane.kubeconfig(tmp_path / "config")
    assert path.stat().st_mode & 0o077 == 0
    config = lightkube.KubeConfig.from_file(path)
    with lightkube.Client(config, trust_env=False) as client:
        assert client.get(core_v1.Namespace, "default")


def test_a_pre_bound_volume_is_bound(client: lightkube.Client) -> None:
    _apply(client, _volume("data"), _claim("data"))
    assert _eventually(lambda: _phase(client, "data") == "Bound")


def test_a_pod_goes_to_the_node_in_its_zone(client: lightkube.Client) -> None:
    for zone in "ab":
        _apply_node(client, f"node-{zone}", zone)
    _apply(client, _pod("here", nodeSelector={"topology.kubernetes.io/zone": "b"}))
    assert _eventually(lambda: client.get(core_v1.Pod, "here").spec.nodeName == "node-b")


def test_a_pod_gets_its_service_account_and_a_baseline_namespace_no_host_path(
    client: lightkube.Client,
) -> None:
    _apply(client, _pod("plain"))
    pod = client.get(core_v1.Pod, "plain")
    assert pod.spec.serviceAccountName == "default"
    assert [volume.projected is not None for volume in pod.spec.volumes] == [True]
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    _apply(client, _object("v1", "Namespace", "strict", labels=labels))
    host_path = [{"name": "root", "hostPath": {"path": "/"}}]
    with pytest.raises(lightkube.ApiError, match="violates PodSecurity"):
        _apply(client, _pod("bad", namespace="strict", volumes=host_path))


def test_a_wipe_restores_a_fresh_cluster(
    plane: control_plane.ControlPlane, client: lightkube.Client
) -> None:
    fresh = _everything(client)
    for index in range(20):
        _apply(client, _object("v1", "Namespace", f"n{index}"))
    _apply(client, _volume("data"), _claim("data"))
    _apply(client, _object("v1", "ConfigMap", "kept", finalizers=["example.com/never"]))
    _apply(client, _object("v1", "Namespace", "default", labels={"changed": "yes"}))
    _apply_node(client, "node-a", "a")
    client.delete(core_v1.Namespace, "n0")
    client.delete(core_v1.ConfigMap, "kept")
    client.delete(core_v1.ServiceAccount, "default")
    plane.wipe()
    assert _everything(client) == fresh
    assert "changed" not in client.get(core_v1.Namespace, "default").metadata.labels


def test_after_a_wipe_the_same_names_work_again(
    plane: control_plane.ControlPlane, client: lightkube.Client
) -> None:
    for _ in range(3):
        _apply_node(client, "node-a", "a")
        _apply(client, _volume("data"), _claim("data"), _pod("user"))
        assert _eventually(lambda: _phase(client, "data") == "Bound")
        assert _eventually(lambda: client.get(core_v1.Pod, "user").spec.nodeName)
        plane.wipe()


def test_after_a_wipe_no_controller_makes_pods_of_jobs_that_are_gone(
    plane: control_plane.ControlPlane, client: lightkube.Client
) -> None:
    for index in range(5):
        _apply(client, _job(f"job{index}", parallelism=5))
    assert _eventually(lambda: len(list(client.list(core_v1.Pod))) == 25)
    plane.wipe()
    time.sleep(1)
    assert not list(client.list(core_v1.Pod))
    assert not list(client.list(batch_v1.Job))


def test_a_stopped_api_refuses_connections_and_works_again_after_a_start(
    plane: control_plane.ControlPlane, client: lightkube.Client
) -> None:
    token = plane.token("unit", ["system:masters"])
    _apply(client, _volume("before"), _claim("before"))
    plane.stop_api()
    with pytest.raises(ConnectionRefusedError):
        _get(plane, "/readyz")
    plane.start_api()
    assert _get(plane, "/api", token)[0] == 200
    _apply(client, _volume("after"), _claim("after"))
    assert _eventually(lambda: _phase(client, "before") == _phase(client, "after") == "Bound")


def test_logs_are_fetched_from_a_node_with_a_certificate_of_the_authority(
    plane: control_plane.ControlPlane, client: lightkube.Client
) -> None:
    pair = plane.kubelet_server_certificate("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(plane.ca_path))
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.HTTPServer(("127.0.0.1", 0), _LogServer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        _apply_node(client, "node-a", "a", port=server.server_port)
        _apply(client, _pod("talker", nodeName="node-a"))
        assert list(client.log("talker")) == ["said /containerLogs/default/talker/main\n"]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _LogServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"said {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


def _get(plane: control_plane.ControlPlane, path: str, token: str = "") -> tuple[int, bytes]:
    port = int(plane.endpoint.rpartition(":")[2])
    context = ssl.create_default_context(cadata=plane.ca)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _eventually(condition: Callable[[], Any]) -> bool:
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda result: not result),
        wait=tenacity.wait_exponential(multiplier=0.05, max=1),
        stop=tenacity.stop_after_delay(20),
        retry_error_callback=lambda _: False,
    )
    return bool(retry(condition))


def _everything(client: lightkube.Client) -> set[str]:
    kinds = (
        core_v1.Namespace,
        core_v1.Node,
        core_v1.PersistentVolume,
        storage_v1.StorageClass,
    )
    in_namespaces = (
        core_v1.ConfigMap,
        core_v1.PersistentVolumeClaim,
        core_v1.Pod,
        core_v1.Secret,
        core_v1.ServiceAccount,
    )
    found = {
        f"{kind.__name__} {each.metadata.name}" for kind in kinds for each in client.list(kind)
    }
    return found | {
        f"{kind.__name__} {each.metadata.namespace}/{each.metadata.name}"
        for kind in in_namespaces
        for each in client.list(kind, namespace="*")
    }


def _phase(client: lightkube.Client, claim: str) -> str | None:
    status = client.get(core_v1.PersistentVolumeClaim, claim).status
    return status.phase if status else None


def _apply(client: lightkube.Client, *objects: dict[str, Any]) -> None:
    for each in objects:
        client.apply(codecs.from_dict(each))


def _apply_node(client: lightkube.Client, name: str, zone: str, port: int = 10250) -> None:
    labels = {"topology.kubernetes.io/zone": zone}
    _apply(client, _object("v1", "Node", name, labels=labels))
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.4"},
            {"type": "Hostname", "address": "127.0.0.1"},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    client.patch(core_v1.Node.Status, name, {"status": status})


def _object(
    api_version: str,
    kind: str,
    name: str,
    *,
    labels: dict[str, str] | None = None,
    finalizers: list[str] | None = None,
    namespace: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": labels or {},
        "finalizers": finalizers or [],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _volume(name: str) -> dict[str, Any]:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteMany"],
        "nfs": {"server": "files.example.com", "path": "/"},
        "claimRef": {"namespace": "default", "name": name},
    }
    return _object("v1", "PersistentVolume", name, spec=spec)


def _claim(name: str) -> dict[str, Any]:
    spec = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
        "volumeName": name,
    }
    return _object("v1", "PersistentVolumeClaim", name, namespace="default", spec=spec)


def _pod(name: str, *, namespace: str = "default", **fields: Any) -> dict[str, Any]:
    tolerations = [{"operator": "Exists"}]
    containers = [{"name": "main", "image": "busybox"}]
    spec = {"containers": containers, "tolerations": tolerations, **fields}
    return _object("v1", "Pod", name, namespace=namespace, spec=spec)


def _job(name: str, *, parallelism: int) -> dict[str, Any]:
    containers = [{"name": "main", "image": "busybox"}]
    template = {"spec": {"containers": containers, "restartPolicy": "Never"}}
    spec = {"parallelism": parallelism, "completions": parallelism, "template": template}
    return _object("batch/v1", "Job", name, namespace="default", spec=spec)


def _cluster_role_binding(group: str, role: str) -> dict[str, Any]:
    api = "rbac.authorization.k8s.io"
    return _object(
        f"{api}/v1",
        "ClusterRoleBinding",
        group,
        subjects=[{"kind": "Group", "name": group, "apiGroup": api}],
        roleRef={"kind": "ClusterRole", "name": role, "apiGroup": api},
    )
