"""The objects with which a node registers at the API server."""

from __future__ import annotations

import datetime
import platform

from sandbox.aws import aws_cloud
from sandbox.node import kubelet_client, kubelet_events

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_VERSION = "v1.37.2"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# More than any test needs: the sandbox does not limit the pods of a node.
_CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
_LEASE_SECONDS = 40


def node(
    name: str,
    instance: aws_cloud.Instance,
    region: str,
    host: str,
    port: int,
    *,
    system: str,
    cloud_provider: bool,
) -> kubelet_client.Object:
    """Return a worker's Node object.

    Args:
        name: The node's name.
        instance: The node's machine.
        region: The machine's region.
        host: The host name of the kubelet for the API server.
        port: The kubelet's port.
        system: The machine's operating system.
        cloud_provider: Whether AWS's cloud provider tells of the machine's zone and id.
    """
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": system,
        "kubernetes.io/arch": architecture,
    }
    if cloud_provider:
        labels["topology.kubernetes.io/region"] = region
        labels["topology.kubernetes.io/zone"] = instance.zone
    pressure = [
        _condition(f"{kind}Pressure", value=False, reason=f"KubeletHas{enough}{kind}")
        for kind, enough in (("Memory", "Sufficient"), ("Disk", "No"), ("PID", "Sufficient"))
    ]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": instance.provider_id} if cloud_provider else {},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": instance.private_address},
                # The machine is emulated: only this address reaches the kubelet.
                {"type": "Hostname", "address": host},
            ],
            "capacity": _CAPACITY,
            "allocatable": _CAPACITY,
            "conditions": [*pressure, readiness(True)],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": {
                "architecture": architecture,
                "operatingSystem": system,
                "kubeletVersion": _VERSION,
                "kubeProxyVersion": "",
                "kernelVersion": platform.release(),
                "osImage": "Ubuntu 24.04 LTS" if system == "linux" else "Windows Server 2025",
                "containerRuntimeVersion": "containerd://2.1.4",
                "machineID": instance.id,
                "systemUUID": instance.id,
                "bootID": instance.id,
            },
        },
    }


def readiness(ready: bool) -> kubelet_client.Object:
    """Return the Ready condition of a node."""
    if ready:
        return _condition("Ready", value=True, reason="KubeletReady")
    return _condition("Ready", value=False, reason="KubeletNotReady")


def lease(name: str, uid: str) -> kubelet_client.Object:
    """Return a node's lease, which the node owns."""
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
    """Return the current time in a lease's format, with microseconds."""
    moment = datetime.datetime.now(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _condition(kind: str, *, value: bool, reason: str) -> kubelet_client.Object:
    moment = kubelet_events.timestamp()
    return {
        "type": kind,
        "status": str(value),
        "reason": reason,
        "message": "",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
