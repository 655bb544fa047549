"""Read from a node its zone, its EC2 instance, and whether pods can be sent to it."""

from __future__ import annotations

import dataclasses
import re

from lightkube.models import core_v1

from cluster import objects

ZONE = "topology.kubernetes.io/zone"
# The label that Juju's worker charms put on their nodes.
_APPLICATION = "juju-application"
_OS = "kubernetes.io/os"

NOT_READY, CORDONED, NOT_LINUX, LEAVING = "not ready", "cordoned", "not Linux", "being removed"
VIRTUAL = "virtual"

# What the cluster itself says of a node that takes no pods now. All other taints are the user's:
# they keep pods for GPUs, teams or tests apart, and such pods need the volume, too.
_UNREADY_TAINTS = frozenset(
    {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/network-unavailable",
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/pid-pressure",
        "node.cloudprovider.kubernetes.io/uninitialized",
        "karpenter.sh/unregistered",
        "node.cluster.x-k8s.io/uninitialized",
    }
)
# Taints that a node has until its network, its storage or its hooks are there.
_STARTING_TAINT = re.compile(
    r".+/agent-not-ready|startup-taint\.cluster-autoscaler\.kubernetes\.io/.+"
)
_HANDLER_TAINTS = "aws-node-termination-handler/"
# A virtual node stands for a service that runs pods, such as Fargate; it mounts no NFS volume.
_VIRTUAL_TAINTS = (
    "virtual-kubelet.io/",
    "virtual-node.",
    "eks.amazonaws.com/compute-type",
)
_VIRTUAL_LABELS = frozenset(
    {
        ("type", "virtual-kubelet"),
        ("liqo.io/type", "virtual-node"),
        ("eks.amazonaws.com/compute-type", "fargate"),
    }
)
_LEAVING_TAINTS = frozenset(
    {
        "node.kubernetes.io/out-of-service",
        "node.cloudprovider.kubernetes.io/shutdown",
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",
    }
)
# Few pods besides the system's run there.
_CONTROL_PLANE_TAINTS = frozenset(
    {
        "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/master",
        "juju.is/kubernetes-control-plane",
    }
)


@dataclasses.dataclass(frozen=True)
class Node:
    """A node of the cluster.

    Attributes:
        name: Its name.
        uid: Its uid: another one when it joins the cluster again.
        address: Its InternalIP, the IPv4 one where it has both; "" if unknown.
        zone: The availability zone in its label, "" if unknown.
        instance_id: Its EC2 instance, "" if unknown.
        closed: The reason why pods are not sent to it now; "" where they are.
        control_plane: Whether it is tainted as one of the control plane.
        application: The Juju application of its machine, "" if unknown.
    """

    name: str
    uid: str
    address: str
    zone: str
    instance_id: str
    closed: str = ""
    control_plane: bool = False
    application: str = ""


def read_node(node: core_v1.Node) -> Node:
    """Return a node from the API's object.

    Args:
        node: The API's object.
    """
    labels = objects.labels_of(node)
    application = labels.get(_APPLICATION, "")
    return Node(
        name=objects.name(node),
        uid=objects.meta(node).uid or "",
        address=_address(node),
        zone=labels.get(ZONE, ""),
        instance_id=_instance_id((node.spec and node.spec.providerID) or ""),
        closed=_closed(node),
        control_plane=bool(_taints(node) & _CONTROL_PLANE_TAINTS),
        application=application if re.fullmatch(r"[a-z][a-z0-9-]*", application) else "",
    )


def _address(node: core_v1.Node) -> str:
    addresses = (node.status and node.status.addresses) or []
    internal = [each.address for each in addresses if each.type == "InternalIP"]
    return next((each for each in internal if ":" not in each), next(iter(internal), ""))


def _closed(node: core_v1.Node) -> str:
    info = node.status and node.status.nodeInfo
    system = objects.labels_of(node).get(_OS) or (info and info.operatingSystem) or "linux"
    if system != "linux":
        return NOT_LINUX
    taints = _taints(node)
    virtual = any(key.startswith(_VIRTUAL_TAINTS) for key in taints)
    if virtual or _VIRTUAL_LABELS & objects.labels_of(node).items():
        return VIRTUAL
    handled = any(key.startswith(_HANDLER_TAINTS) for key in taints)
    if handled or taints & _LEAVING_TAINTS or objects.meta(node).deletionTimestamp is not None:
        return LEAVING
    if node.spec and node.spec.unschedulable:
        return CORDONED
    conditions = (node.status and node.status.conditions) or []
    ready = any(each.type == "Ready" and each.status == "True" for each in conditions)
    starting = taints & _UNREADY_TAINTS or any(map(_STARTING_TAINT.fullmatch, taints))
    return "" if ready and not starting else NOT_READY


def _taints(node: core_v1.Node) -> set[str]:
    """Return the keys of the taints that keep pods off."""
    taints = (node.spec and node.spec.taints) or []
    return {taint.key for taint in taints if taint.effect in ("NoSchedule", "NoExecute")}


def _instance_id(provider_id: str) -> str:
    """Return the instance in aws:///us-east-1a/i-0123456789abcdef0; "" for another cloud's id."""
    instance = provider_id.rpartition("/")[2]
    return instance if provider_id.startswith("aws://") and instance.startswith("i-") else ""
