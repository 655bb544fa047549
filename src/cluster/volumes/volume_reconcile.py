"""StorageClass, volumes and claims in the cluster: brought to what is wanted, and removed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from lightkube.resources import core_v1, storage_v1

import polling
import problems
from cluster import client, errors, manifests
from cluster.jobs import job_lifecycle
from cluster.volumes import volume_observe, volume_plan, volume_resources

if TYPE_CHECKING:
    import identity

_KINDS: dict[str, type[Any]] = {
    volume_plan.NAMESPACE: core_v1.Namespace,
    volume_plan.STORAGE_CLASS: storage_v1.StorageClass,
    volume_plan.VOLUME: core_v1.PersistentVolume,
    volume_plan.CLAIM: core_v1.PersistentVolumeClaim,
}


@dataclasses.dataclass(frozen=True)
class VolumesOutcome:
    """What came of a reconcile.

    Attributes:
        claims: The users' claims that there are, in the order in which they were asked for.
        problems: What is wrong with single namespaces; the others are served all the same.
    """

    claims: tuple[volume_resources.ObservedClaim, ...]
    problems: tuple[problems.Problem, ...]


def render_manifests(
    wanted: volume_resources.DesiredVolumes, owner: identity.Owner
) -> list[manifests.Manifest]:
    """All that is applied, in an order in which it can be.

    Args:
        wanted: What the user asked for.
        owner: Whose labels it carries.
    """
    return list(_render(wanted, owner).values())


def reconcile(
    cluster: client.Cluster, wanted: volume_resources.DesiredVolumes, *, timeout_seconds: float
) -> VolumesOutcome:
    """Bring the cluster's volumes and claims to what is wanted.

    Args:
        cluster: The cluster.
        wanted: What the user asked for.
        timeout_seconds: How long to wait for claims to be bound, or to go.

    Raises:
        problems.Problem: What stands in the way of all claims.
    """
    own = cluster.owner.application
    if own in wanted.namespaces:
        raise problems.Blocked(f"namespace {own} is the charm's own: take it off namespaces")
    attempt = _Attempt(cluster, wanted)
    polling.poll(attempt.go_on, lambda settled: settled, timeout_seconds)
    return attempt.state()


class _Attempt:
    """One reconcile: rounds of observe, plan and apply, until nothing is left to do or await."""

    def __init__(self, cluster: client.Cluster, wanted: volume_resources.DesiredVolumes) -> None:
        self._cluster = cluster
        self._wanted = wanted
        self._pairs = {
            p.namespace: p for p in volume_resources.desired_pairs(wanted, cluster.owner)
        }
        self._manifests = _render(wanted, cluster.owner)
        self._observed = volume_resources.ObservedVolumes()
        self._planned = volume_plan.VolumePlan()
        self._refused: dict[str, problems.Problem] = {}

    def go_on(self) -> bool:
        """One round; whether it is settled."""
        self._observed = volume_observe.observe(self._cluster, self._pairs)
        self._planned = self._plan()
        if self._planned.doomed:
            found = volume_observe.find_claim_users(self._cluster)
            self._observed = dataclasses.replace(self._observed, users=found)
            self._planned = self._plan()
        steps = [s for s in self._planned.steps if s.group not in self._refused]
        for step in steps:
            self._take(step)
        return not steps and not self._pending()

    def state(self) -> VolumesOutcome:
        """What the last round saw."""
        wrong = {**dict(self._planned.problems), **self._refused}
        for namespace, name in self._pending():
            if namespace not in wrong:
                wrong[namespace] = self._unsettled(namespace, name)
        claims = {c.namespace: c for c in self._observed.claims}
        served = [claims[n] for n in self._wanted.namespaces if n in claims]
        return VolumesOutcome(claims=tuple(served), problems=tuple(wrong.values()))

    def _plan(self) -> volume_plan.VolumePlan:
        return volume_plan.plan(self._wanted, self._cluster.owner, self._observed)

    def _pending(self) -> list[tuple[str, str]]:
        """The claims that are still to be bound, or to go."""
        stopped = {*self._refused, *(namespace for namespace, _ in self._planned.problems)}
        bound = {(c.namespace, c.name) for c in self._observed.claims if c.bound}
        wanted = {(p.namespace, p.claim) for p in self._pairs.values()}
        waiting = (wanted - bound) | self._planned.doomed
        return sorted(each for each in waiting if each[0] not in stopped)

    def _unsettled(self, namespace: str, name: str) -> problems.Problem:
        found = [c for c in self._observed.claims if (c.namespace, c.name) == (namespace, name)]
        phase = "not there" if not found else "going" if found[0].deleting else found[0].phase
        return problems.Waiting(
            f"claim {namespace}/{name} is {phase}: kubectl -n {namespace} describe pvc {name}"
        )

    def _take(self, step: volume_plan.Step) -> None:
        if step.group in self._refused:
            return
        try:
            self._do(step)
        except problems.Problem as problem:
            if not step.group or isinstance(problem, errors.UnreachableError):
                raise
            self._refused[step.group] = problem

    def _do(self, step: volume_plan.Step) -> None:
        cluster, namespace = self._cluster, step.group
        if isinstance(step, volume_plan.Check):
            self._apply(volume_plan.CLAIM, namespace, dry_run=True)
        elif isinstance(step, volume_plan.Apply):
            self._apply(step.kind, namespace)
        elif isinstance(step, volume_plan.SetCapacity):
            body = {"status": {"capacity": {"storage": step.capacity}}}
            cluster.patch(core_v1.PersistentVolumeClaimStatus, step.claim, namespace, body)
        elif isinstance(step, volume_plan.Rebind):
            reference = {"uid": step.uid, "resourceVersion": None}
            body = {"spec": {"claimRef": reference}}
            cluster.patch(core_v1.PersistentVolume, step.volume, "", body)
        elif isinstance(step, volume_plan.ClearJobs):
            job_lifecycle.remove(cluster)
        elif isinstance(step, volume_plan.Delete):
            scope = namespace if step.kind == volume_plan.CLAIM else ""
            cluster.delete(_KINDS[step.kind], step.name, scope)

    def _apply(self, kind: str, namespace: str, *, dry_run: bool = False) -> None:
        manifest = self._manifests[kind, namespace]
        name = manifest["metadata"]["name"]
        known = name in self._known(kind, namespace)
        self._cluster.apply(manifests.resource(manifest), known=known, dry_run=dry_run)

    def _known(self, kind: str, namespace: str) -> set[str]:
        """The names of the objects of a kind that were seen with our labels."""
        seen = self._observed
        if kind == volume_plan.NAMESPACE:
            return {n.name for n in seen.namespaces.values() if n.ours}
        if kind == volume_plan.STORAGE_CLASS:
            return {c.name for c in seen.storage_classes if c.sound}
        if kind == volume_plan.VOLUME:
            return {v.name for v in seen.volumes}
        return {c.name for c in seen.claims if c.namespace == namespace}


def _render(
    wanted: volume_resources.DesiredVolumes, owner: identity.Owner
) -> dict[tuple[str, str], manifests.Manifest]:
    """What is applied, by kind and by the namespace that it is for."""
    render, labels, own = manifests.render, client.labels(owner), owner.application
    made = {
        (volume_plan.NAMESPACE, own): render("namespace", name=own, labels=labels),
        (volume_plan.STORAGE_CLASS, ""): render(
            "storage-class", name=wanted.storage_class, labels=labels
        ),
    }
    for pair in volume_resources.desired_pairs(wanted, owner):
        made[volume_plan.VOLUME, pair.namespace] = render(
            "volume",
            name=pair.volume,
            labels=labels,
            storage_class=pair.storage_class,
            capacity=pair.capacity,
            mount_options=list(wanted.mount_options),
            server=wanted.server,
            namespace=pair.namespace,
            claim=pair.claim,
        )
        made[volume_plan.CLAIM, pair.namespace] = render(
            "claim",
            name=pair.claim,
            namespace=pair.namespace,
            labels=labels,
            storage_class=pair.storage_class,
            volume=pair.volume,
            request=pair.request,
        )
    return made
