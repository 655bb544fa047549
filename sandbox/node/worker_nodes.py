"""Worker nodes, which register themselves and run their pods on this machine.

One small kubelet with one watch serves all nodes. A pod's containers are processes in separate
namespaces (see container_process); the volumes are directories of the sandbox's AWS.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import logging
import pathlib
import threading
import time
from collections.abc import Sequence

from sandbox.aws import aws_cloud
from sandbox.base import ports, scratch
from sandbox.kubernetes import control_plane
from sandbox.node import (
    container_process,
    kubelet_client,
    kubelet_events,
    kubelet_server,
    node_manifests,
    pod_container,
    pod_lifecycle,
)

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_SCALE = 0.1
_HEARTBEAT_SECONDS = 3
_RETRY_SECONDS = 0.2
_CLOSE_SECONDS = 10
# The condition that the pod garbage collector sets (gcOrphaned in pkg/controller/podgc).
_ORPHANED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "DeletionByPodGC",
    "message": "PodGC: node no longer exists",
}


@dataclasses.dataclass
class Node:
    """A worker node.

    Attributes:
        name: The name in Kubernetes.
        instance: The machine.
        nfs_common: Whether the machine has mount.nfs.
        system: Its operating system.
        cloud_provider: Whether AWS's cloud provider tells of the machine's zone and id.
        kubelet_runs: Whether its kubelet runs.
        hosts: The addresses in its /etc/hosts, by name.
    """

    name: str
    instance: aws_cloud.Instance
    nfs_common: bool = True
    system: str = "linux"
    cloud_provider: bool = True
    kubelet_runs: threading.Event = dataclasses.field(default_factory=threading.Event)
    hosts: dict[str, str] = dataclasses.field(default_factory=dict[str, str])


class Nodes:
    """The cluster's workers; `with Nodes.start(plane, cloud) as nodes`.

    Attributes:
        isolation: The isolation of the pods that this machine allows.
        knows_names: Whether the machines' DNS is that of their VPC, which knows AWS's names.
    """

    def __init__(
        self, plane: control_plane.ControlPlane, cloud: aws_cloud.Cloud, scale: float
    ) -> None:
        self.isolation = container_process.isolation()
        self.knows_names = True
        self._cloud = cloud
        self._nodes: dict[str, Node] = {}
        self._pods: dict[str, pod_lifecycle.Pod] = {}
        self._ending: list[pod_lifecycle.Pod] = []
        self._closed = threading.Event()
        self._scratch = scratch.ScratchDirectory()
        self._api = kubelet_client.KubeletClient(plane.client("kubelet"))
        self._events = kubelet_events.Recorder(self._api)
        self._kubelet = pod_container.Kubelet(self._api, self._events, self._scratch.path, scale)
        pair = plane.kubelet_server_certificate(_HOST)
        self._server = kubelet_server.Server(self._find, pair, plane.ca_path)
        self._closed_port = ports.Port()
        self._threads = [
            threading.Thread(target=work, name=work.__name__, daemon=True)
            for work in (self._follow, self._beat)
        ]

    @classmethod
    def start(
        cls, plane: control_plane.ControlPlane, cloud: aws_cloud.Cloud, *, scale: float = _SCALE
    ) -> Nodes:
        """Start the kubelet without nodes.

        Args:
            plane: The control plane of the nodes.
            cloud: The cloud of their machines.
            scale: The factor for the kubelet's own waits (retries, back-offs, grace periods).
        """
        nodes = cls(plane, cloud, scale)
        for thread in nodes._threads:
            thread.start()
        return nodes

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all pods' processes and the kubelet, as in a power failure."""
        self._closed.set()
        for node in self._nodes.values():
            node.kubelet_runs.set()
        self._api.close()
        self._threads[0].join(_CLOSE_SECONDS)
        for uid in list(self._pods):
            self._end(uid)
        until = time.monotonic() + _CLOSE_SECONDS
        for pod in self._ending:
            pod.join(max(0.0, until - time.monotonic()))
        self._events.close()
        self._threads[1].join(_CLOSE_SECONDS)
        self._server.close()
        self._closed_port.close()
        self._scratch.close()

    def add(
        self,
        instance: aws_cloud.Instance,
        *,
        nfs_common: bool = True,
        name: str = "",
        system: str = "linux",
        cloud_provider: bool = True,
    ) -> Node:
        """Register a machine as a worker.

        Args:
            instance: The machine.
            nfs_common: Whether it has mount.nfs.
            name: The node's name; by default made from the machine's address.
            system: The machine's operating system.
            cloud_provider: Whether AWS's cloud provider tells of the machine's zone and id.
        """
        name = name or f"ip-{instance.private_address.replace('.', '-')}"
        node = Node(name, instance, nfs_common, system, cloud_provider)
        self._nodes[name] = node
        self.start_kubelet(name)
        logger.info("added node %s in %s", name, instance.zone)
        return node

    def remove(self, name: str) -> None:
        """Remove a worker, as with its machine: its Node object and, at once, its processes."""
        node = self._nodes.pop(name)
        with contextlib.suppress(kubelet_client.ApiError):  # somebody may have deleted it
            self._api.delete(f"/api/v1/nodes/{name}", {})
        node.kubelet_runs.set()
        for pod in list(self._pods.values()):
            if pod.node == name:
                pod.end()
        logger.info("removed node %s", name)

    def start_kubelet(self, name: str) -> None:
        """Start a node's kubelet: it registers the node if there is no Node object of its name."""
        node = self._nodes[name]
        manifest = node_manifests.node(
            name,
            node.instance,
            self._cloud.region,
            _HOST,
            self._server.port,
            system=node.system,
            cloud_provider=node.cloud_provider,
        )
        try:
            self._api.post("/api/v1/nodes", manifest)
        except kubelet_client.ApiError as error:
            if error.status != http.client.CONFLICT:
                raise
            self._set_port(name, self._server.port)
        self._renew(name)
        node.kubelet_runs.set()

    def stop_kubelet(self, name: str) -> None:
        """Stop a node's kubelet: its containers run on, but nobody reports them or reads a log."""
        self._nodes[name].kubelet_runs.clear()
        self._set_port(name, self._closed_port.number)

    def collect_orphans(self, name: str) -> None:
        """Do what the pod garbage collector does a minute after a Node object was deleted."""
        for pod in list(self._pods.values()):
            if pod.node == name:
                path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
                status = {"phase": "Failed", "conditions": [_ORPHANED]}
                self._api.patch(f"{path}/status", {"status": status}, kubelet_client.STRATEGIC)
                self._api.delete(path, {"gracePeriodSeconds": 0})

    def not_ready(self, name: str) -> None:
        """Report a node as not ready."""
        self._report_ready(name, ready=False)

    def ready(self, name: str) -> None:
        """Report a node as ready again."""
        self._report_ready(name, ready=True)

    def install_nfs_common(self, name: str) -> None:
        """Install mount.nfs on a node; waiting pods use it at their next try."""
        self._nodes[name].nfs_common = True

    def add_host(self, name: str, host: str, address: str) -> None:
        """Add a line to a node's /etc/hosts; waiting pods use it at their next try."""
        self._nodes[name].hosts[host] = address

    def _report_ready(self, name: str, *, ready: bool) -> None:
        status = {"status": {"conditions": [node_manifests.readiness(ready)]}}
        self._api.patch(f"/api/v1/nodes/{name}/status", status, kubelet_client.STRATEGIC)

    def _set_port(self, name: str, port: int) -> None:
        endpoints = {"kubeletEndpoint": {"Port": port}}
        status = {"status": {"daemonEndpoints": endpoints}}
        self._api.patch(f"/api/v1/nodes/{name}/status", status, kubelet_client.STRATEGIC)

    def _mount(self, node: Node, server: str, options: Sequence[str], point: str) -> pathlib.Path:
        if node.system != "linux":
            raise aws_cloud.MountError("NFS volumes are not supported on windows")
        if not node.nfs_common:
            raise aws_cloud.MountError(
                f"mount: {point}: unknown filesystem type 'nfs'.\n"
                "       dmesg(1) may have more information after failed mount system call."
            )
        address = node.hosts.get(server, server)
        if not (self.knows_names or address[0].isdigit()):
            raise aws_cloud.MountError(
                f"mount.nfs: Failed to resolve server {server}: Name or service not known"
            )
        return self._cloud.mount(address, node.instance.id, options)

    def _find(self, namespace: str, name: str) -> pod_lifecycle.Pod | None:
        for pod in list(self._pods.values()):
            if (pod.namespace, pod.name) == (namespace, name):
                return pod
        return None

    def _follow(self) -> None:
        """Follow the API server's pods until the nodes are closed."""
        while not self._closed.is_set():
            with contextlib.suppress(kubelet_client.ApiError, kubelet_client.UnreachableError):
                self._list_and_watch()
            self._closed.wait(_RETRY_SECONDS)

    def _list_and_watch(self) -> None:
        path, selector = "/api/v1/pods", {"fieldSelector": "spec.nodeName!="}
        listing = self._api.get(path, **selector)
        self._replace(listing["items"])
        version = listing["metadata"]["resourceVersion"]
        for change, pod in self._api.watch(path, resourceVersion=version, **selector):
            self._apply(change, pod)

    def _replace(self, manifests: Sequence[kubelet_client.Object]) -> None:
        present = {manifest["metadata"]["uid"] for manifest in manifests}
        for uid in self._pods.keys() - present:
            self._end(uid)
        for manifest in manifests:
            self._apply("MODIFIED", manifest)

    def _apply(self, change: str, manifest: kubelet_client.Object) -> None:
        uid: str = manifest["metadata"]["uid"]
        node = self._nodes.get(manifest["spec"]["nodeName"])
        pod = self._pods.get(uid)
        if change == "DELETED":
            self._end(uid)
        elif pod:
            pod.update(manifest)
        elif node and not self._closed.is_set():
            self._pods[uid] = self._started(manifest, node)

    def _end(self, uid: str) -> None:
        pod = self._pods.pop(uid, None)
        if pod:
            pod.end()
            self._ending = [each for each in (*self._ending, pod) if each.running]

    def _started(self, manifest: kubelet_client.Object, node: Node) -> pod_lifecycle.Pod:
        def mount(server: str, options: Sequence[str], point: str) -> pathlib.Path:
            return self._mount(node, server, options, point)

        address = node.instance.private_address
        pod = pod_lifecycle.Pod(self._kubelet, manifest, address, mount, node.kubelet_runs)
        pod.start()
        return pod

    def _beat(self) -> None:
        """Renew the nodes' leases; without it the controllers mark the nodes as not ready."""
        while not self._closed.wait(_HEARTBEAT_SECONDS):
            for name, node in list(self._nodes.items()):
                if not node.kubelet_runs.is_set():
                    continue
                with contextlib.suppress(kubelet_client.ApiError, kubelet_client.UnreachableError):
                    self._renew(name)

    def _renew(self, name: str) -> None:
        renewal = {"spec": {"renewTime": node_manifests.now()}}
        try:
            self._api.patch(f"{node_manifests.LEASES}/{name}", renewal)
        except kubelet_client.ApiError as error:
            if error.status != http.client.NOT_FOUND:
                raise
            uid = self._api.get(f"/api/v1/nodes/{name}")["metadata"]["uid"]
            self._api.post(node_manifests.LEASES, node_manifests.lease(name, uid))
