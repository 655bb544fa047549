"""The charms of a Kubernetes cluster, deployed and related to each other on a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import ops

from sandbox.juju import juju_model, related_charms


def deploy(
    model: juju_model.Model,
    *,
    control_planes: int = 1,
    workers: Mapping[str, int] | None = None,
    ca_over: Literal["certificates", "secret"] = "certificates",
    nfs_common: bool = True,
    cloud_provider: bool = True,
    control_plane_name: str = "kubernetes-control-plane",
    endpoints: Mapping[int, Sequence[str]] | None = None,
    anchors: related_charms.Anchors | None = None,
) -> related_charms.Cluster:
    """Deploy the charms of a cluster: control plane, workers and certificate authority.

    Args:
        model: The model to deploy to.
        control_planes: The number of units of the control plane.
        workers: The number of workers per zone; one in each zone by default.
        ca_over: "certificates" for Charmed Kubernetes, whose CA comes from easyrsa; "secret" for
            Canonical Kubernetes, which sends its CA over kube-control.
        nfs_common: Whether the workers can mount NFS.
        cloud_provider: Whether aws-cloud-provider tells of the workers' zones and instances.
        control_plane_name: The control plane's application: kubernetes-master in older bundles.
        endpoints: The API servers that units of the control plane publish, by the unit's number.
        anchors: What the certificate authority publishes; by default the control plane's CA.

    Returns:
        The cluster that the units of the control plane share.
    """
    cluster = related_charms.Cluster(model.plane, ca_over, endpoints or {})
    control_plane = _bound(related_charms.ControlPlaneCharm, cluster=cluster)
    kubelets = _kubelets(model, nfs_common=nfs_common, cloud_provider=cloud_provider)
    worker = _bound(related_charms.WorkerCharm, kubelets=kubelets)
    model.deploy(
        control_plane, related_charms.CONTROL_PLANE, control_plane_name, units=control_planes
    )
    counts = dict.fromkeys(model.cloud.subnets, 1) if workers is None else workers
    zones = [zone for zone, count in counts.items() for _ in range(count)]
    if zones:
        model.deploy(worker, related_charms.WORKER, units=len(zones), zones=zones)
    # Canonical Kubernetes has no easyrsa, and its workers join over another relation.
    if ca_over == "certificates":
        sent = anchors or related_charms.Anchors(model.plane.ca)
        authority = _bound(related_charms.AuthorityCharm, anchors=sent)
        model.deploy(authority, related_charms.EASYRSA)
        if zones:
            name = related_charms.WORKER.name
            model.relate(f"{name}:kube-control", f"{control_plane_name}:kube-control")
    return cluster


def _bound(charm_type: type[ops.CharmBase], **attributes: object) -> type[ops.CharmBase]:
    """Return a charm class for one model, with the model's resources as attributes."""
    return cast("type[ops.CharmBase]", type(charm_type.__name__, (charm_type,), attributes))


def _kubelets(
    model: juju_model.Model, *, nfs_common: bool, cloud_provider: bool
) -> related_charms.Kubelets:
    """Return functions that start and stop kubelets if the model has nodes."""
    running: dict[str, str] = {}

    def start(unit: str) -> None:
        if model.nodes:
            instance = model.world.unit(unit).instance
            node = model.nodes.add(instance, nfs_common=nfs_common, cloud_provider=cloud_provider)
            running[unit] = node.name

    def stop(unit: str) -> None:
        if model.nodes and unit in running:
            model.nodes.remove(running.pop(unit))

    return related_charms.Kubelets(start, stop)
