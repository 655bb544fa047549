"""Reconcile the file system in AWS, then the volumes in the cluster and the probe."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import identity
import problems
from app import advice, job_options
from app.datasets import index, update_index
from aws import file_system, resources, session
from cluster import client, nodes, probe
from cluster import manifests as rendering
from cluster.volumes import volume_observe, volume_reconcile, volume_resources
from config import Settings

VOLUMES_TIMEOUT_SECONDS = 30
PROBE_TIMEOUT_SECONDS = 90
# With a known problem in AWS a longer wait for the probe gives no more information.
SHORT_PROBE_TIMEOUT_SECONDS = 10
# With more claims the summary contains their number instead of their names.
MOST_NAMED_CLAIMS = 3


@dataclasses.dataclass(frozen=True)
class Context:
    """The inputs of a reconcile and of a teardown.

    Attributes:
        owner: The application whose resources these are.
        settings: The application's options.
        aws: The region.
        access: Return the address and credentials of the cluster, or raise a problem.
        record: What was recorded of the resources in AWS.
        tell: Called with what the user has to know once.
        addresses: The addresses of the related machines.
        next_step: The command that relates a cluster, where none is related; else empty.
    """

    owner: identity.Owner
    settings: Settings
    aws: session.Aws
    access: Callable[[], identity.ClusterAccess]
    record: resources.ResourceRecord = dataclasses.field(default_factory=resources.ResourceRecord)
    tell: Callable[[str], None] = lambda _: None
    addresses: frozenset[str] = frozenset()
    next_step: str = ""

    @property
    def key(self) -> resources.ResourceKey:
        """Return what identifies the application's resources in AWS."""
        return resources.ResourceKey(self.owner, self.settings.file_system_id, self.record)


@dataclasses.dataclass(frozen=True)
class ClusterConnection:
    """The connection to the cluster, or the problem that prevents it.

    Attributes:
        cluster: The cluster; None where it cannot be reached.
        nodes: Its nodes.
        problem: The problem; None where the cluster can be reached.
    """

    cluster: client.Cluster | None
    nodes: tuple[nodes.Node, ...] = ()
    problem: problems.Problem | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a reconcile.

    Attributes:
        record: The resources in AWS to be recorded; without a file system where there is none yet.
        manifests: The applied Kubernetes manifests; None where none were applied.
        problems: The problems, in the order of their discovery.
        summary: The status message of success; empty where the volumes are not ready.
        notes: What show-mount tells besides, by the names of its results; None where the nodes
            were not observed.
        endpoint: The API server that answered, where there are several.
    """

    record: resources.ResourceRecord = dataclasses.field(default_factory=resources.ResourceRecord)
    manifests: Sequence[rendering.Manifest] | None = None
    problems: tuple[problems.Problem, ...] = ()
    summary: str = ""
    notes: Mapping[str, str] | None = None
    endpoint: str = ""


@contextlib.contextmanager
def connect(context: Context) -> Generator[ClusterConnection]:
    """Connect to the cluster and list its nodes; AWS is reconciled even if that fails."""
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(client.Cluster(context.access(), context.owner))
            connection = ClusterConnection(cluster, cluster.nodes())
        except problems.Problem as problem:
            connection = ClusterConnection(None, problem=problem)
        yield connection


def reconcile(context: Context, *, timeout_seconds: float) -> Outcome:
    """Bring AWS, then the cluster, to the state that the settings describe.

    Args:
        context: The inputs.
        timeout_seconds: The time that AWS gets.
    """
    with connect(context) as connection:
        try:
            efs = file_system.reconcile(
                context.aws,
                _file_system(context, connection.nodes),
                timeout_seconds=timeout_seconds,
                tell=context.tell,
            )
        except problems.Problem as problem:
            return Outcome(problems=(problem,))
        outcome = Outcome(
            _record(context, efs),
            problems=efs.problems,
            endpoint=connection.cluster.chosen if connection.cluster else "",
        )
        if context.next_step:
            ready = f"{efs.file_system_id} ready in {efs.region}; next: {context.next_step}"
            return _with(outcome, problems.Blocked(ready))
        return _reconcile_cluster(context, connection, efs, outcome)


def _reconcile_cluster(
    context: Context,
    connection: ClusterConnection,
    efs: file_system.FileSystemOutcome,
    outcome: Outcome,
) -> Outcome:
    cluster = connection.cluster
    if cluster is None:
        return _with(outcome, connection.problem or problems.Waiting("waiting for the cluster"))
    timeout = SHORT_PROBE_TIMEOUT_SECONDS if efs.problems else PROBE_TIMEOUT_SECONDS
    try:
        # First, since Jobs that have ended may have to go.
        update_index.save_results(index.Index(cluster, efs.file_system_id))
        server = _server(context, cluster, efs)
        desired = _volumes(context, server, efs)
        claims = volume_reconcile.reconcile(
            cluster,
            desired,
            timeout_seconds=VOLUMES_TIMEOUT_SECONDS,
            own_only=desired.isolated,
        )
        proof = probe.reconcile(
            cluster, _probe(context, server, efs), connection.nodes, timeout_seconds=timeout
        )
        if desired.isolated and proof.prepared:
            # The probe makes the directories of the namespaces: no volume is there before them.
            claims = volume_reconcile.reconcile(
                cluster, desired, timeout_seconds=VOLUMES_TIMEOUT_SECONDS
            )
        outcome = dataclasses.replace(
            _with(outcome, *claims.problems, *proof.problems),
            manifests=volume_reconcile.render_manifests(desired, context.owner),
            notes=advice.find(proof, efs.unplaced) | _mount_targets(context, efs),
        )
    except problems.Problem as problem:
        return _with(outcome, problem)
    return dataclasses.replace(
        outcome,
        summary=format_summary(
            f"{efs.file_system_id} in {efs.region}",
            proven=format_proven(proof),
            claims=[f"{claim.namespace}/{claim.name}" for claim in claims.claims],
            capacity=context.settings.claim_request,
        ),
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
    """Return the kind and name of each object that the charm creates in a cluster."""
    objects = volume_reconcile.render_manifests(_volumes(context, server=""), context.owner)
    return [
        f"{each['kind']} "
        + "/".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"])))
        for each in objects
    ]


def _with(outcome: Outcome, *more: problems.Problem) -> Outcome:
    """Return the outcome with further problems; two parts may notice the same one."""
    known = {problem.message: problem for problem in (*outcome.problems, *more)}
    return dataclasses.replace(outcome, problems=tuple(known.values()))


def _record(context: Context, efs: file_system.FileSystemOutcome) -> resources.ResourceRecord:
    """Return the record; a security group stays in it, as does one in a former VPC."""
    groups = {*context.record.security_groups, efs.security_group_id} - {""}
    return resources.ResourceRecord(
        file_system_id=efs.file_system_id,
        account_id=efs.account_id,
        adopted=bool(context.key.adopted_id),
        security_groups=tuple(sorted(groups)),
        throughput=efs.throughput,
    )


def _file_system(context: Context, listed: Iterable[nodes.Node]) -> resources.DesiredFileSystem:
    """Return the desired file system, with a mount target in each zone of machines and nodes."""
    settings, listed = context.settings, tuple(listed)
    return resources.DesiredFileSystem(
        key=context.key,
        performance_mode=settings.performance_mode,
        throughput_mode=settings.throughput_mode,
        throughput_mibps=settings.throughput_mibps,
        encrypted=settings.encrypted,
        kms_key=settings.kms_key,
        tags=settings.tags,
        vpc_id=settings.vpc,
        allow_cidrs=frozenset(settings.allow_cidrs),
        addresses=context.addresses | {node.address for node in listed},
        instance_ids=frozenset(node.instance_id for node in listed if node.instance_id),
        node_zones=frozenset(node.zone for node in listed if node.zone),
        by_name=settings.server == "dns",
        node_instances={node.address: node.instance_id for node in listed if node.instance_id},
    )


def _volumes(
    context: Context, server: str, efs: file_system.FileSystemOutcome | None = None
) -> volume_resources.DesiredVolumes:
    """Return the desired storage class, and for each namespace a volume with its claim."""
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


def _mount_targets(context: Context, efs: file_system.FileSystemOutcome) -> dict[str, str]:
    """Return the address of each zone's mount target, for hosts that cannot resolve the name."""
    if context.settings.server == "dns":
        return {}
    lines = [f"{zone} {address}" for zone, address in sorted(efs.addresses.items())]
    return {"mount-targets": "\n".join(lines)}


def _probe(
    context: Context, server: str, efs: file_system.FileSystemOutcome
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
        namespaces=settings.namespaces if settings.isolated else (),
        namespace_mode=settings.root_mode,
        image=settings.loader_image,
        options=job_options.read(settings),
        places=efs.machine_zones,
    )
