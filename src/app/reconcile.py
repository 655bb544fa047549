"""The reconcile: the file system in AWS, then the volumes in the cluster and their proof."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import identity
import problems
from app.datasets import update_index
from aws import file_system, resources, session
from cluster import client, nodes, probe
from cluster import manifests as rendering
from cluster.volumes import volume_reconcile, volume_resources
from config import Settings

VOLUMES_TIMEOUT_SECONDS = 30
PROBE_TIMEOUT_SECONDS = 90
# Where something is known to be wrong, waiting longer for the probe to fail tells no more.
HINDERED_PROBE_TIMEOUT_SECONDS = 10
# Above this many claims the summary counts them instead of naming each.
MOST_NAMED_CLAIMS = 3


@dataclasses.dataclass(frozen=True)
class Context:
    """The inputs of a reconcile and of a teardown.

    Attributes:
        owner: The application whose resources these are.
        settings: The application's options.
        aws: The region.
        access: Return the way into the cluster, or raise the problem that there is none.
        known_id: The file system that was made before; empty for none.
        addresses: The addresses of the related machines.
        environment: Further environment of pods: proxies.
        next_step: The command that relates a cluster, where none is related; else empty.
    """

    owner: identity.Owner
    settings: Settings
    aws: session.Aws
    access: Callable[[], identity.ClusterAccess]
    known_id: str = ""
    addresses: frozenset[str] = frozenset()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    next_step: str = ""


@dataclasses.dataclass(frozen=True)
class Reach:
    """The cluster as far as it can be reached.

    Attributes:
        cluster: The cluster; None where it is out of reach.
        nodes: Its nodes.
        problem: Why it is out of reach; None where it is not.
    """

    cluster: client.Cluster | None
    nodes: tuple[nodes.Node, ...] = ()
    problem: problems.Problem | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a reconcile.

    Attributes:
        file_system_id: The file system; empty where it is not there yet.
        manifests: The Kubernetes manifests that were applied; None where it did not come to it.
        problems: What is wrong, in the order of its discovery.
        summary: What is ready, in a sentence; empty where the cluster's half was not completed.
    """

    file_system_id: str = ""
    manifests: Sequence[rendering.Manifest] | None = None
    problems: tuple[problems.Problem, ...] = ()
    summary: str = ""


@contextlib.contextmanager
def reach(context: Context) -> Generator[Reach]:
    """Connect to the cluster and list its nodes; AWS's half goes on without."""
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(client.Cluster(context.access(), context.owner))
            found = Reach(cluster, cluster.nodes())
        except problems.Problem as problem:
            found = Reach(None, problem=problem)
        yield found


def reconcile(context: Context, *, timeout_seconds: float) -> Outcome:
    """Make AWS, then the cluster, as the settings ask for.

    Args:
        context: The inputs.
        timeout_seconds: How long to wait for AWS.
    """
    with reach(context) as reached:
        try:
            state = file_system.reconcile(
                context.aws, _file_system(context, reached.nodes), timeout_seconds=timeout_seconds
            )
        except problems.Problem as problem:
            return Outcome(problems=(problem,))
        outcome = Outcome(state.file_system_id, problems=state.problems)
        if context.next_step:
            ready = f"{state.file_system_id} ready in {state.region}; next: {context.next_step}"
            return _with(outcome, problems.Blocked(ready))
        if reached.cluster is None:
            return _with(outcome, reached.problem or problems.Waiting("waiting for the cluster"))
        return _reconcile_cluster(context, reached.cluster, state, outcome)


def _reconcile_cluster(
    context: Context,
    cluster: client.Cluster,
    state: file_system.FileSystemOutcome,
    outcome: Outcome,
) -> Outcome:
    desired = _volumes(context, state.dns_name)
    try:
        claims = volume_reconcile.reconcile(
            cluster, desired, timeout_seconds=VOLUMES_TIMEOUT_SECONDS
        )
        outcome = dataclasses.replace(
            _with(outcome, *claims.problems),
            manifests=volume_reconcile.render_manifests(desired, context.owner),
        )
        proof = probe.reconcile(
            cluster,
            _probe(context, state),
            timeout_seconds=(
                HINDERED_PROBE_TIMEOUT_SECONDS if state.problems else PROBE_TIMEOUT_SECONDS
            ),
        )
        outcome = _with(outcome, *proof.problems)
        update_index.save_ends(cluster)
    except problems.Problem as problem:
        return _with(outcome, problem)
    return dataclasses.replace(
        outcome,
        summary=summary(
            f"{state.file_system_id} in {state.region}",
            zones=len(proof.proven),
            claims=[f"{claim.namespace}/{claim.name}" for claim in claims.claims],
            capacity=context.settings.claim_request,
        ),
    )


def summary(file_system: str, *, zones: int, claims: Sequence[str], capacity: str) -> str:
    """Return the sentence of a whole reconcile.

    Args:
        file_system: The file system and its region.
        zones: How many zones are proven.
        claims: The claims that are bound.
        capacity: The capacity of each of them.
    """
    many = len(claims) > MOST_NAMED_CLAIMS
    names = (
        f"{len(claims)} claims" if many else f"claim{'s'[: len(claims) != 1]} {', '.join(claims)}"
    )
    return f"{file_system}: {zones} zone{'s'[: zones != 1]} proven, {names} bound ({capacity})"


def cluster_objects(context: Context) -> list[str]:
    """List what the charm makes in a cluster, a line each: kind and name."""
    made = volume_reconcile.render_manifests(_volumes(context, server=""), context.owner)
    return [
        f"{each['kind']} "
        + "/".join(filter(None, (each["metadata"].get("namespace"), each["metadata"]["name"])))
        for each in made
    ]


def _with(outcome: Outcome, *found: problems.Problem) -> Outcome:
    return dataclasses.replace(outcome, problems=(*outcome.problems, *found))


def _file_system(context: Context, found: Iterable[nodes.Node]) -> resources.DesiredFileSystem:
    """Return the desired file system, with a mount target in each zone of these machines."""
    settings, found = context.settings, tuple(found)
    return resources.DesiredFileSystem(
        owner=context.owner,
        performance_mode=settings.performance_mode,
        throughput_mode=settings.throughput_mode,
        encrypted=settings.encrypted,
        kms_key=settings.kms_key,
        tags=settings.tags,
        vpc_id=settings.vpc,
        addresses=context.addresses | {node.address for node in found},
        instance_ids=frozenset(node.instance_id for node in found if node.instance_id),
        known_id=context.known_id,
    )


def _volumes(context: Context, server: str) -> volume_resources.DesiredVolumes:
    """Return the desired storage class, and a volume with its claim for each namespace."""
    settings = context.settings
    return volume_resources.DesiredVolumes(
        server=server,
        capacity=settings.capacity,
        claim_capacity=settings.claim_request,
        claim_name=settings.claim(context.owner),
        namespaces=settings.namespaces,
        storage_class=settings.storage_class or context.owner.application,
        mount_options=settings.mount_options,
    )


def _probe(context: Context, state: file_system.FileSystemOutcome) -> probe.DesiredProbe:
    """Return the desired probe: a pod in each zone that has a mount target."""
    settings = context.settings
    return probe.DesiredProbe(
        file_system_id=state.file_system_id,
        zones=state.zones,
        mount_options=settings.mount_options,
        root_mode=settings.root_mode,
        image=settings.loader_image,
        environment=context.environment,
    )
