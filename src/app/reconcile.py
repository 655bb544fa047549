"""Reconcile the file system in AWS, then the volumes in the cluster and the probe."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import identity
import polling
import problems
from aws import file_system, resources, session
from config import Settings

if TYPE_CHECKING:
    from cluster import client, nodes
    from cluster import manifests as rendering

# Before there is a cluster to ask, no hook imports its client: this module and AWS's need none.


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
        clients: The applications that mount the file system over a relation.
        next_step: The command that relates a cluster, where none is related; else empty.
        patience: The time for late answers, of AWS and of the cluster.
    """

    owner: identity.Owner
    settings: Settings
    aws: session.Aws
    access: Callable[[], identity.ClusterAccess]
    record: resources.ResourceRecord = dataclasses.field(default_factory=resources.ResourceRecord)
    tell: Callable[[str], None] = lambda _: None
    addresses: frozenset[str] = frozenset()
    clients: tuple[str, ...] = ()
    next_step: str = ""
    patience: polling.Patience = dataclasses.field(default_factory=polling.Patience)

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
        server: The host that machines mount; empty where there is none yet, or none is known.
        unserved: The addresses of the machines that cannot mount it yet.
    """

    record: resources.ResourceRecord = dataclasses.field(default_factory=resources.ResourceRecord)
    manifests: Sequence[rendering.Manifest] | None = None
    problems: tuple[problems.Problem, ...] = ()
    summary: str = ""
    notes: Mapping[str, str] | None = None
    endpoint: str = ""
    server: str = ""
    unserved: frozenset[str] = frozenset()


@contextlib.contextmanager
def connect(context: Context) -> Generator[ClusterConnection]:
    """Connect to the cluster and list its nodes; AWS is reconciled even if that fails."""
    with contextlib.ExitStack() as stack:
        try:
            access = context.access()
            from cluster import client

            cluster = stack.enter_context(client.Cluster(access, context.owner, context.patience))
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
            server=efs.dns_name if efs.addresses and context.settings.server == "dns" else "",
            unserved=_unserved(context, efs, connection.nodes),
        )
        if context.next_step:
            ready = f"{efs.file_system_id} ready in {efs.region}; next: {context.next_step}"
            return _with(outcome, problems.Blocked(ready))
        if connection.cluster is None:
            return _with(
                outcome, connection.problem or problems.Waiting("waiting for the cluster")
            )
        from app import reconcile_cluster

        done = reconcile_cluster.reconcile(context, connection.cluster, connection.nodes, efs)
        return dataclasses.replace(
            _with(outcome, *done.problems),
            manifests=done.manifests,
            summary=done.summary,
            notes=done.notes,
            server=outcome.server or done.server,
        )


def _with(outcome: Outcome, *more: problems.Problem) -> Outcome:
    """Return the outcome with further problems; two parts may notice the same one."""
    known = {problem.message: problem for problem in (*outcome.problems, *more)}
    return dataclasses.replace(outcome, problems=tuple(known.values()))


def _unserved(
    context: Context, efs: file_system.FileSystemOutcome, listed: Iterable[nodes.Node]
) -> frozenset[str]:
    """Return the machines whose zone has no mount target; an address serves all zones."""
    if context.settings.server != "dns":
        return frozenset()
    zones = efs.machine_zones.items()
    unserved = {machine for machine, zone in zones if zone not in efs.addresses}
    # A node is placed by its instance; a related unit is known by its address.
    unserved |= {node.address for node in listed if node.instance_id in unserved}
    return frozenset(unserved)


def _record(context: Context, efs: file_system.FileSystemOutcome) -> resources.ResourceRecord:
    """Return the record; a security group stays in it, as does one in a former VPC."""
    groups = {*context.record.security_groups, efs.security_group_id} - {""}
    return resources.ResourceRecord(
        file_system_id=efs.file_system_id,
        account_id=efs.account_id,
        adopted=bool(context.key.adopted_id),
        security_groups=tuple(sorted(groups)),
        throughput=efs.throughput,
        policies_set=efs.policies_set,
        policies_seen=efs.policies.seen,
        policies_seen_at=efs.policies.seen_at,
    )


def _file_system(context: Context, listed: Iterable[nodes.Node]) -> resources.DesiredFileSystem:
    """Return the desired file system, with a mount target in each zone of machines and nodes."""
    settings, listed = context.settings, tuple(listed)
    return resources.DesiredFileSystem(
        key=context.key,
        zone=settings.availability_zone,
        dual_stack=settings.ip_address_type == "dual-stack",
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
        policies=settings.policies,
    )
