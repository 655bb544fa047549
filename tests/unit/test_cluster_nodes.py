"""Nodes as clusters have them: which of them take the pods that prove the volume."""

from __future__ import annotations

from typing import Any

import pytest
from lightkube.models import core_v1

from cluster import nodes


def node(
    *,
    labels: dict[str, str] | None = None,
    taints: tuple[str, ...] = (),
    addresses: tuple[tuple[str, str], ...] = (("InternalIP", "10.0.0.7"),),
    ready: str = "True",
    provider: str = "aws:///us-east-1a/i-0123456789abcdef0",
    **changes: Any,
) -> nodes.Node:
    body = {
        "metadata": {"name": "node-1", "uid": "uid-1", "labels": labels or {}},
        "spec": {
            "providerID": provider,
            "unschedulable": changes.get("unschedulable", False),
            "taints": [
                {"key": key, "effect": changes.get("effect", "NoSchedule")} for key in taints
            ],
        },
        "status": {
            "addresses": [{"type": kind, "address": address} for kind, address in addresses],
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": changes.get("info"),
        },
    }
    return nodes.read_node(core_v1.Node.from_dict(body))


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ({}, ""),
        # Taints of users: their pods need the volume, too.
        ({"taints": ("nvidia.com/gpu", "team", "node-role.kubernetes.io/master")}, ""),
        ({"taints": ("dedicated",), "effect": "NoExecute"}, ""),
        ({"taints": ("node.kubernetes.io/not-ready",), "effect": "PreferNoSchedule"}, ""),
        ({"taints": ("DeletionCandidateOfClusterAutoscaler",), "effect": "PreferNoSchedule"}, ""),
        # What starts, and will take pods soon.
        ({"ready": "False"}, nodes.NOT_READY),
        ({"ready": "Unknown"}, nodes.NOT_READY),
        ({"taints": ("node.cilium.io/agent-not-ready",)}, nodes.NOT_READY),
        ({"taints": ("efs.csi.aws.com/agent-not-ready",)}, nodes.NOT_READY),
        ({"taints": ("startup-taint.cluster-autoscaler.kubernetes.io/x",)}, nodes.NOT_READY),
        ({"taints": ("node.cluster.x-k8s.io/uninitialized",)}, nodes.NOT_READY),
        ({"taints": ("node.cloudprovider.kubernetes.io/uninitialized",)}, nodes.NOT_READY),
        # What goes.
        ({"taints": ("aws-node-termination-handler/spot-itn",)}, nodes.LEAVING),
        ({"taints": ("aws-node-termination-handler/scheduled-maintenance",)}, nodes.LEAVING),
        ({"taints": ("karpenter.sh/disrupted",)}, nodes.LEAVING),
        ({"taints": ("ToBeDeletedByClusterAutoscaler",)}, nodes.LEAVING),
        ({"unschedulable": True}, nodes.CORDONED),
        # What is no machine, or none of Linux.
        ({"labels": {"kubernetes.io/os": "windows"}}, nodes.NOT_LINUX),
        ({"labels": {"type": "virtual-kubelet"}}, nodes.VIRTUAL),
        ({"labels": {"liqo.io/type": "virtual-node"}}, nodes.VIRTUAL),
        ({"taints": ("virtual-kubelet.io/provider",)}, nodes.VIRTUAL),
        ({"labels": {"eks.amazonaws.com/compute-type": "fargate"}}, nodes.VIRTUAL),
        ({"taints": ("eks.amazonaws.com/compute-type",)}, nodes.VIRTUAL),
    ],
)
def test_a_node_takes_probes_where_pods_of_users_run(changes: dict[str, Any], closed: str) -> None:
    assert node(**changes).closed == closed


@pytest.mark.parametrize(
    ("addresses", "address"),
    [
        ((("InternalIP", "10.0.0.7"), ("InternalIP", "fd00::7")), "10.0.0.7"),
        ((("InternalIP", "fd00::7"), ("InternalIP", "10.0.0.7")), "10.0.0.7"),
        ((("InternalIP", "fd00::7"),), "fd00::7"),
        ((("Hostname", "node-1"), ("ExternalIP", "52.0.0.1")), ""),
        ((), ""),
    ],
)
def test_the_ipv4_address_inside_the_vpc_is_the_one_that_counts(
    addresses: tuple[tuple[str, str], ...], address: str
) -> None:
    assert node(addresses=addresses).address == address


@pytest.mark.parametrize(
    ("provider", "instance"),
    [
        ("aws:///us-east-1a/i-0123456789abcdef0", "i-0123456789abcdef0"),
        ("aws://us-east-1a/i-0123456789abcdef0", "i-0123456789abcdef0"),
        ("aws:///us-east-1a/4d5e/fargate-ip-10-0-0-7.ec2.internal", ""),
        ("eks-hybrid:///us-east-1/cluster/mi-0123456789abcdef0", ""),
        ("k3s://node-1", ""),
        ("", ""),
    ],
)
def test_the_instance_is_known_from_what_the_cloud_provider_writes(
    provider: str, instance: str
) -> None:
    assert node(provider=provider).instance_id == instance
