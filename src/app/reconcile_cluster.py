"""Reconcile the cluster with the file system: the volumes and claims, then the probe."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import problems
from app import advice, job_options
from app.datasets import index, update_index
from cluster import probe
from cluster.dynamic import provisioner_manifests, provisioner_reconcile, provisioner_removal
from cluster.volumes import (
    namespace_selection,
    volume_observe,
    volume_reconcile,
    volume_resources,
)

if TYPE_CHECKING:
    import config
    from app.reconcile import Context
    from aws import file_system
    from cluster import client, nodes
    from cluster import manifests as rendering

VOLUMES_TIMEOUT_SECONDS = 30
PROVISIONER_TIMEOUT_SECONDS = 30
PROBE_TIMEOUT_SECONDS = 90
# With a known problem in AWS a longer wait for the probe gives no more information.
SHORT_PROBE_TIMEOUT_SECONDS = 10
# With more claims the summary contains their number instead of their names.
MOST_NAMED_CLAIMS = 3


@dataclasses.dataclass(frozen=True)
class ClusterOutcome:
    """The result of the cluster's half.

    Attributes:
        problems: The problems, in the order of their discovery.
        manifests: The applied Kubernetes manifests; None where not all were.
        summary: The status message of success; empty where the volumes are not ready.
        notes: What show-mount tells besides, by the names of its results; None where the probe
            has not run.
        server: What the volumes mount; empty where that is not known.
    """

    problems: tuple[problems.Problem, ...] = ()
    manifests: Sequence[rendering.Manifest] | None = None
    summary: str = ""
    notes: Mapping[str, str] | None = None
    server: str = ""


def reconcile(
    context: Context,
    cluster: client.Cluster,
    listed: Sequence[nodes.Node],
    efs: file_system.FileSystemOutcome,
) -> ClusterOutcome:
    """Bring the volumes to the state that the settings describe, and prove them on each node.

    Args:
        context: The inputs.
        cluster: The cluster.
        listed: Its nodes.
        efs: The file system.
    """
    try:
        return _reconcile(context, cluster, listed, efs)
    except problems.Problem as problem:
        return ClusterOutcome((problem,))


def _reconcile(
    context: Context,
    cluster: client.Cluster,
    listed: Sequence[nodes.Node],
    efs: file_system.FileSystemOutcome,
) -> ClusterOutcome:
    timeout = SHORT_PROBE_TIMEOUT_SECONDS if efs.problems else PROBE_TIMEOUT_SECONDS
    namespaces, unmatched = find_namespaces(cluster, context.settings)
    # First, since Jobs that have ended may have to go.
    update_index.save_results(index.Index(cluster, efs.file_system_id))
    server = _server(context, cluster, efs)
    named = _volumes(context, server, efs)
    desired = dataclasses.replace(named, namespaces=namespaces)
    claims = volume_reconcile.reconcile(
        cluster,
        desired,
        timeout_seconds=VOLUMES_TIMEOUT_SECONDS,
        own_only=desired.isolated,
    )
    proof = probe.reconcile(
        cluster, _probe(context, server, efs, namespaces), listed, timeout_seconds=timeout
    )
    if desired.isolated and proof.prepared:
        # The probe makes the directories of the namespaces: no volume is there before them.
        claims = volume_reconcile.reconcile(
            cluster, desired, timeout_seconds=VOLUMES_TIMEOUT_SECONDS
        )
    dynamic = _reconcile_dynamic(
        context, cluster, server, efs.file_system_id, ready=proof.prepared
    )
    return ClusterOutcome(
        (*claims.problems, *proof.problems, *unmatched, *dynamic),
        # Those of selected namespaces would be many, and wake the control plane with each label.
        manifests=_manifests(context, named),
        notes=advice.find(proof, efs.unplaced) | _addresses(context, server, efs),
        server=server,
        summary=format_summary(
            f"{efs.file_system_id} in {efs.region}",
            proven=format_proven(proof),
            claims=[f"{claim.namespace}/{claim.name}" for claim in claims.claims],
            capacity=context.settings.claim_request,
        ),
    )


def find_namespaces(
    cluster: client.Cluster, settings: config.Settings
) -> tuple[tuple[str, ...], tuple[problems.Problem, ...]]:
    """Return the namespaces that get a claim, the named ones first, and what is wrong with them.

    Args:
        cluster: The cluster.
        settings: The options.

    Raises:
        problems.Problem: It is not known which ones they are: then nothing may be changed.
    """
    selected = namespace_selection.find(cluster, settings.namespace_selector)
    namespaces = tuple(dict.fromkeys((*settings.namespaces, *selected)))
    if selected or not settings.namespace_selector:
        return namespaces, ()
    none = problems.Waiting(
        f"namespace-selector {problems.quote(settings.namespace_selector)} matches no namespace: "
        "kubectl label namespace"
    )
    return namespaces, (none,)


def _reconcile_dynamic(
    context: Context, cluster: client.Cluster, server: str, file_system_id: str, *, ready: bool
) -> list[problems.Problem]:
    """Run the provisioner of dynamic volumes, or stop it; return what keeps it from that."""
    try:
        if not context.settings.dynamic:
            left = provisioner_removal.remove(cluster, PROVISIONER_TIMEOUT_SECONDS)
            if left:
                named = problems.name_some(left, MOST_NAMED_CLAIMS)
                context.tell(f"dynamic=false: these stay, with their directories: {named}")
            return []
        if not ready:  # the probe makes the directory, and tells why it has not
            return []
        # Its pod would keep a claim in use that is to be made again.
        volume_observe.check_own_claim(cluster, file_system_id)
        problem = provisioner_reconcile.reconcile(
            cluster, _provisioner(context, server), timeout_seconds=PROVISIONER_TIMEOUT_SECONDS
        )
    except problems.Problem as raised:
        problem = raised
    return [problem] if problem else []


def _provisioner(context: Context, server: str) -> provisioner_manifests.DesiredProvisioner:
    settings = context.settings
    return provisioner_manifests.DesiredProvisioner(
        server=server,
        storage_class=f"{settings.storage_class or context.owner.application}-dynamic",
        mount_options=settings.mount_options,
        image=settings.dynamic_image,
        options=job_options.read(settings),
    )


def format_summary(file_system: str, *, proven: str, claims: Sequence[str], capacity: str) -> str:
    """Return the status message of a successful reconcile.

    Args:
        file_system: The file system and its region.
        proven: The proven zones and nodes.
        claims: The bound claims.
        capacity: The capacity of each claim.
    """
    many = len(claims) > MOST_NAMED_CLAIMS
    names = (
        f"{len(claims)} claims" if many else f"claim{'s'[: len(claims) != 1]} {', '.join(claims)}"
    )
    return f"{file_system}: {proven} proven, {names} bound ({capacity})"


def format_proven(proof: probe.ProbeOutcome) -> str:
    """Return the number of proven zones and nodes, as in "3 zones, 12 nodes".

    Args:
        proof: The results of the probes.
    """
    zones, nodes_ = len(proof.zones), len(proof.nodes)
    count = f"{nodes_} of {proof.total}" if nodes_ < proof.total else f"{nodes_}"
    counted = f"{count} node{'s'[: proof.total != 1]}"
    return f"{zones} zone{'s'[: zones != 1]}, {counted}" if zones else counted


def cluster_objects(context: Context) -> list[str]:
    """Return the kind and name of each object that the charm creates in a cluster.

    Which namespaces the option namespace-selector has matched, only the cluster tells.
    """
    objects = _manifests(context, _volumes(context, server=""))
    lines = [
        f"{each['kind']} "
        + "/".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"])))
        for each in objects
    ]
    if selector := context.settings.namespace_selector:
        lines.append(f"the volumes and claims of the namespaces that {selector} has matched")
    return lines


def _manifests(
    context: Context, desired: volume_resources.DesiredVolumes
) -> list[rendering.Manifest]:
    """Return the manifests of all that lasts in the cluster."""
    rendered = volume_reconcile.render_manifests(desired, context.owner)
    if context.settings.dynamic:
        provisioner = _provisioner(context, desired.server)
        rendered += provisioner_manifests.render(provisioner, context.owner)
    return rendered


def _volumes(
    context: Context, server: str, efs: file_system.FileSystemOutcome | None = None
) -> volume_resources.DesiredVolumes:
    """Return the desired storage class, and for each named namespace a volume with its claim."""
    settings = context.settings
    return volume_resources.DesiredVolumes(
        server=server,
        capacity=settings.capacity,
        claim_capacity=settings.claim_request,
        claim_name=settings.claim(context.owner),
        namespaces=settings.namespaces,
        storage_class=settings.storage_class or context.owner.application,
        mount_options=settings.mount_options,
        addresses=tuple(sorted(efs.addresses.values())) if efs else (),
        file_system=efs.file_system_id if efs else "",
        isolated=settings.isolated,
    )


def _server(context: Context, cluster: client.Cluster, efs: file_system.FileSystemOutcome) -> str:
    """Return what the volumes mount.

    A volume's server cannot be changed. So an address stays, as long as a mount target has it.
    """
    if context.settings.server == "dns":
        return efs.dns_name
    if not efs.addresses:
        raise problems.Waiting("no mount target yet, server=address needs one: add a worker")
    current = volume_observe.find_own_server(cluster)
    if current in efs.addresses.values():
        return current
    machines = collections.Counter(efs.machine_zones.values())
    zone = min(efs.addresses, key=lambda zone: (-machines[zone], zone))
    return efs.addresses[zone]


def _addresses(
    context: Context, server: str, efs: file_system.FileSystemOutcome
) -> dict[str, str]:
    """Return what show-mount tells of the addresses, for hosts that cannot resolve the name."""
    if not efs.addresses:
        return {}
    targets = sorted(efs.addresses.items())
    found = {"mount-targets": "\n".join(f"{zone} {address}" for zone, address in targets)}
    if context.settings.server == "address":
        zone = next(zone for zone, address in targets if address == server)
        found["volumes-mount"] = f"{server} in {zone}, from all zones"
        lines = (f"{address} {efs.dns_name} # {zone}" for zone, address in targets)
        found["hosts"] = "\n".join(lines)
    return found


def _probe(
    context: Context,
    server: str,
    efs: file_system.FileSystemOutcome,
    namespaces: tuple[str, ...],
) -> probe.DesiredProbe:
    """Return the desired probe: a pod on each node of the zones that have a mount target."""
    settings = context.settings
    return probe.DesiredProbe(
        file_system_id=efs.file_system_id,
        # An address is mounted from all zones.
        zones=efs.zones if server == efs.dns_name else tuple(sorted(efs.machine_zones.values())),
        server=server,
        mount_options=settings.mount_options,
        # The root of an adopted file system stays as its owner made it.
        root_mode="" if context.key.adopted_id else settings.root_mode,
        namespaces=namespaces if settings.isolated else (),
        namespace_mode=settings.root_mode,
        image=settings.loader_image,
        options=job_options.read(settings),
        places=efs.machine_zones,
    )
