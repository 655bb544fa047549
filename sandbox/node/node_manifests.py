"""What a node tells the API server of itself."""

from __future__ import annotations

import datetime
import platform

from sandbox.aws import aws_cloud
from sandbox.node import kubelet_client, kubelet_events

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_VERSION = "v1.37.2"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# More than any test asks for: how many pods fit on a node is not what the sandbox is about.
_ROOM = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
_LEASE_SECONDS = 40


def node(
    name: str, instance: aws_cloud.Instance, region: str, host: str, port: int
) -> kubelet_client.Object:
    """A worker's Node object.

    Args:
        name: Its name.
        instance: The machine that it is on.
        region: That machine's region.
        host: Where the API server reaches its kubelet.
        port: That kubelet's port.
    """
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": instance.zone,
    }
    pressure = [
        _condition(f"{kind}Pressure", is_so=False, reason=f"KubeletHas{enough}{kind}")
        for kind, enough in (("Memory", "Sufficient"), ("Disk", "No"), ("PID", "Sufficient"))
    ]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": instance.provider_id},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": instance.private_address},
                # The machine is made up: this is the one address that leads to the kubelet.
                {"type": "Hostname", "address": host},
            ],
            "capacity": _ROOM,
            "allocatable": _ROOM,
            "conditions": [*pressure, readiness(True)],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": {
                "architecture": architecture,
                "operatingSystem": "linux",
                "kubeletVersion": _VERSION,
                "kubeProxyVersion": "",
                "kernelVersion": platform.release(),
                "osImage": "Ubuntu 24.04 LTS",
                "containerRuntimeVersion": "containerd://2.1.4",
                "machineID": instance.id,
                "systemUUID": instance.id,
                "bootID": instance.id,
            },
        },
    }


def readiness(ready: bool) -> kubelet_client.Object:
    """The condition that a node is ready, or is not."""
    if ready:
        return _condition("Ready", is_so=True, reason="KubeletReady")
    return _condition("Ready", is_so=False, reason="KubeletNotReady")


def lease(name: str, uid: str) -> kubelet_client.Object:
    """A node's lease, which goes with the node."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    return {
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": now(),
        },
    }


def now() -> str:
    """Now, in the microseconds of a lease."""
    moment = datetime.datetime.now(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _condition(kind: str, *, is_so: bool, reason: str) -> kubelet_client.Object:
    moment = kubelet_events.timestamp()
    return {
        "type": kind,
        "status": str(is_so),
        "reason": reason,
        "message": "",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
