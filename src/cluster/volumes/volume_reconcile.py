"""Bring the storage class, volumes and claims in the cluster to the desired state."""

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
    """The result of a reconcile.

    Attributes:
        claims: The users' claims that exist, in the order of the option `namespaces`.
        problems: The problems of single namespaces; the others have their claims all the same.
    """

    claims: tuple[volume_resources.ObservedClaim, ...]
    problems: tuple[problems.Problem, ...]


def render_manifests(
    desired: volume_resources.DesiredVolumes, owner: identity.Owner
) -> list[manifests.Manifest]:
    """Return all manifests, in an order in which they can be applied.

    Args:
        desired: The desired volumes.
        owner: The application.
    """
    return list(_render(desired, owner).values())


def reconcile(
    cluster: client.Cluster, desired: volume_resources.DesiredVolumes, *, timeout_seconds: float
) -> VolumesOutcome:
    """Bring the cluster's volumes and claims to the desired state.

    Args:
        cluster: The cluster.
        desired: The desired volumes.
        timeout_seconds: The longest time to wait for claims to be bound, or deleted.

    Raises:
        problems.Problem: A problem that concerns all claims.
    """
    own = cluster.owner.application
    if own in desired.namespaces:
        raise problems.Blocked(
            f"namespace {own} is the charm's own: remove it from the option namespaces"
        )
    attempt = _Attempt(cluster, desired)
    polling.poll(attempt.run_round, lambda settled: settled, timeout_seconds)
    return attempt.outcome()


class _Attempt:
    """A reconcile: rounds of observe, plan and apply, until nothing is left to do or await."""

    def __init__(self, cluster: client.Cluster, desired: volume_resources.DesiredVolumes) -> None:
        self._cluster = cluster
        self._desired = desired
        self._pairs = {
            p.namespace: p for p in volume_resources.desired_pairs(desired, cluster.owner)
        }
        self._manifests = _render(desired, cluster.owner)
        self._observed = volume_resources.ObservedVolumes()
        self._planned = volume_plan.VolumePlan()
        self._refused: dict[str, problems.Problem] = {}

    def run_round(self) -> bool:
        """Observe, plan and apply once; tell whether nothing is left to do or await."""
        self._observed = volume_observe.observe(self._cluster, self._pairs)
        self._planned = self._plan()
        if self._planned.obsolete:
            users = volume_observe.find_claim_users(self._cluster)
            self._observed = dataclasses.replace(self._observed, users=users)
            self._planned = self._plan()
        steps = [s for s in self._planned.steps if s.group not in self._refused]
        for step in steps:
            self._try_step(step)
        return not steps and not self._pending()

    def outcome(self) -> VolumesOutcome:
        """Return the outcome of the last round."""
        failures = {**dict(self._planned.problems), **self._refused}
        for namespace, name in self._pending():
            if namespace not in failures:
                failures[namespace] = self._unsettled(namespace, name)
        claims = {c.namespace: c for c in self._observed.claims}
        existing = [claims[n] for n in self._desired.namespaces if n in claims]
        return VolumesOutcome(claims=tuple(existing), problems=tuple(failures.values()))

    def _plan(self) -> volume_plan.VolumePlan:
        return volume_plan.plan(self._desired, self._cluster.owner, self._observed)

    def _pending(self) -> list[tuple[str, str]]:
        """Return the claims that are not yet bound, or not yet deleted."""
        stopped = {*self._refused, *(namespace for namespace, _ in self._planned.problems)}
        bound = {(c.namespace, c.name) for c in self._observed.claims if c.bound}
        desired = {(p.namespace, p.claim) for p in self._pairs.values()}
        waiting = (desired - bound) | self._planned.obsolete
        return sorted(each for each in waiting if each[0] not in stopped)

    def _unsettled(self, namespace: str, name: str) -> problems.Problem:
        claims = {(c.namespace, c.name): c for c in self._observed.claims}
        claim = claims.get((namespace, name))
        phase = claim.phase if claim else "missing"
        if claim and claim.deleting:
            phase = "being deleted"
        return problems.Waiting(
            f"claim {namespace}/{name} is {phase}: kubectl -n {namespace} describe pvc {name}"
        )

    def _try_step(self, step: volume_plan.Step) -> None:
        if step.group in self._refused:
            return
        try:
            self._run_step(step)
        except problems.Problem as problem:
            if not step.group or isinstance(problem, errors.UnreachableError):
                raise
            self._refused[step.group] = problem

    def _run_step(self, step: volume_plan.Step) -> None:
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
        """Return the names of the objects of a kind that were observed with our labels."""
        observed = self._observed
        if kind == volume_plan.NAMESPACE:
            return {n.name for n in observed.namespaces.values() if n.ours}
        if kind == volume_plan.STORAGE_CLASS:
            return {c.name for c in observed.storage_classes if c.matches}
        if kind == volume_plan.VOLUME:
            return {v.name for v in observed.volumes}
        return {c.name for c in observed.claims if c.namespace == namespace}


def _render(
    desired: volume_resources.DesiredVolumes, owner: identity.Owner
) -> dict[tuple[str, str], manifests.Manifest]:
    """Return the manifests by kind and by the namespace whose claim needs them."""
    render, labels, own = manifests.render, client.labels(owner), owner.application
    rendered = {
        (volume_plan.NAMESPACE, own): render("namespace", name=own, labels=labels),
        (volume_plan.STORAGE_CLASS, ""): render(
            "storage-class", name=desired.storage_class, labels=labels
        ),
    }
    for pair in volume_resources.desired_pairs(desired, owner):
        rendered[volume_plan.VOLUME, pair.namespace] = render(
            "volume",
            name=pair.volume,
            labels=labels,
            storage_class=pair.storage_class,
            capacity=pair.capacity,
            mount_options=list(desired.mount_options),
            server=desired.server,
            namespace=pair.namespace,
            claim=pair.claim,
        )
        rendered[volume_plan.CLAIM, pair.namespace] = render(
            "claim",
            name=pair.claim,
            namespace=pair.namespace,
            labels=labels,
            storage_class=pair.storage_class,
            volume=pair.volume,
            request=pair.request,
        )
    return rendered
