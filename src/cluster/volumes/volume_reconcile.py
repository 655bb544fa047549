"""Bring the storage class, volumes and claims in the cluster to the desired state."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from lightkube.resources import core_v1

import polling
import problems
from cluster import client, errors, manifests, objects, ownership
from cluster.dynamic import provisioner_removal
from cluster.jobs import job_lifecycle
from cluster.volumes import volume_observe, volume_plan, volume_resources, volume_steps

if TYPE_CHECKING:
    import identity


# A hook begins no more claims after this time: the next one continues.
WRITING_SECONDS = 60
# If more claims are not bound yet, their number is told instead of their names.
MOST_NAMED_UNSETTLED = 3


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
    pairs = volume_resources.desired_pairs(desired, owner)
    kinds = (volume_steps.VOLUME, volume_steps.CLAIM)
    return [
        _render_namespace(owner),
        _render_class(desired, owner),
        *(_render_of_pair(kind, pair, desired, owner) for pair in pairs for kind in kinds),
    ]


def reconcile(
    cluster: client.Cluster,
    desired: volume_resources.DesiredVolumes,
    *,
    timeout_seconds: float,
    own_only: bool = False,
) -> VolumesOutcome:
    """Bring the cluster's volumes and claims to the desired state.

    Args:
        cluster: The cluster.
        desired: The desired volumes.
        timeout_seconds: The longest time to wait for claims to be bound, or deleted.
        own_only: Only the pair for our Jobs; all others stay as they are.

    Raises:
        problems.Problem: A problem that concerns all claims.
    """
    own = cluster.owner.application
    if own in desired.namespaces:
        raise problems.Blocked(
            f"namespace {own} is the charm's own: remove it from the option namespaces"
        )
    attempt = _Attempt(cluster, desired, own_only=own_only)
    polling.poll(attempt.run_round, lambda settled: settled, timeout_seconds)
    attempt.look_again()
    return attempt.outcome()


class _Attempt:
    """A reconcile: rounds of observe, plan and apply, until nothing is left to do or await."""

    def __init__(
        self,
        cluster: client.Cluster,
        desired: volume_resources.DesiredVolumes,
        *,
        own_only: bool,
    ) -> None:
        self._cluster = cluster
        self._desired = desired
        self._own_only = own_only
        self._deadline = time.monotonic() + WRITING_SECONDS
        self._pairs = [
            pair
            for pair in volume_resources.desired_pairs(desired, cluster.owner)
            if pair.own or not own_only
        ]
        self._pair_of = {pair.group: pair for pair in self._pairs}
        self._observed = volume_resources.ObservedVolumes()
        self._planned = volume_plan.VolumePlan()
        self._wrote = False
        self._refused: dict[str, problems.Problem] = {}
        # The conflicts of the last round, and the objects as its writes left them.
        self._conflicts: dict[str, problems.Problem] = {}
        self._references: dict[volume_resources.Key, objects.Reference] = {}

    def run_round(self) -> bool:
        """Observe, plan and apply once; tell whether nothing is left to do or await."""
        self._observe()
        self._references = dict(self._observed.references)
        self._conflicts = {}
        self._planned = self._plan()
        if self._planned.obsolete:
            users = volume_observe.find_claim_users(self._cluster)
            self._observed = dataclasses.replace(self._observed, users=users)
            self._planned = self._plan()
        steps = [s for s in self._planned.steps if s.group not in self._refused]
        group = ""
        for step in steps:
            # A claim that was begun is finished; the others are left to the next hook.
            if step.group != group and time.monotonic() > self._deadline:
                break
            group = step.group
            self._try_step(step)
        self._wrote = bool(steps)
        return not steps and not self._pending()

    def look_again(self) -> None:
        """Observe what the writes of the last round have led to, where it had any."""
        if self._wrote:
            self._observe()

    def _observe(self) -> None:
        self._observed = volume_observe.observe(
            self._cluster,
            {pair.namespace for pair in self._pairs},
            claims={pair.claim for pair in self._pairs},
            storage_class=self._desired.storage_class,
        )

    def outcome(self) -> VolumesOutcome:
        """Return the outcome of the last round."""
        failures = {**dict(self._planned.problems), **self._conflicts, **self._refused}
        waiting = [each for each in self._pending() if each[0] not in failures]
        given = {each[0]: self._given_away(each[0]) for each in waiting}
        failures |= {group: problem for group, problem in given.items() if problem}
        waiting = [each for each in waiting if each[0] not in failures]
        if len(waiting) > MOST_NAMED_UNSETTLED:
            unsettled = [self._many_unsettled(waiting)]
        else:
            unsettled = [self._unsettled(namespace, name) for _, namespace, name in waiting]
        name = self._desired.claim_name
        claims = {c.namespace: c for c in self._observed.own_claims if c.name == name}
        existing = [claims[n] for n in self._desired.namespaces if n in claims]
        return VolumesOutcome(claims=tuple(existing), problems=(*failures.values(), *unsettled))

    def _plan(self) -> volume_plan.VolumePlan:
        return volume_plan.plan(
            self._desired, self._cluster.owner, self._observed, own_only=self._own_only
        )

    def _pending(self) -> list[tuple[str, str, str]]:
        """Return the group, namespace and name of claims not yet bound, or not yet deleted."""
        stopped = {*self._refused, *(group for group, _ in self._planned.problems)}
        observed = {(c.group, c.namespace, c.name): c for c in self._observed.own_claims}
        bound = {key for key, claim in observed.items() if claim.bound}
        obsolete = {key for key in observed if key[1:] in self._planned.obsolete}
        desired = {(p.group, p.namespace, p.claim) for p in self._pairs}
        waiting = (desired - bound) | obsolete
        return sorted(each for each in waiting if each[0] not in stopped)

    def _given_away(self, group: str) -> problems.Problem | None:
        for volume in self._observed.volumes_by_group.get(group, ()):
            if volume.elsewhere:
                return volume_resources.given_away(volume.name, volume.elsewhere)
        return None

    def _unsettled(self, namespace: str, name: str) -> problems.Problem:
        claims = {(c.namespace, c.name): c for c in self._observed.claims}
        claim = claims.get((namespace, name))
        phase = claim.phase if claim else "missing"
        if claim and claim.deleting:
            phase = "being deleted"
        return problems.Waiting(
            f"claim {namespace}/{name} is {phase}: kubectl -n {namespace} describe pvc {name}"
        )

    def _many_unsettled(self, waiting: Collection[tuple[str, str, str]]) -> problems.Problem:
        """Return the number of claims that pods can use: Kubernetes binds a few in a second."""
        desired = {(p.group, p.namespace, p.claim) for p in self._pairs if not p.own}
        bound = {(c.group, c.namespace, c.name) for c in self._observed.own_claims if c.bound}
        going = sum(each[1:] in self._planned.obsolete for each in waiting)
        rest = f", {going} are being deleted" if going else ""
        return problems.Waiting(
            f"{len(desired & bound)} of {len(desired)} claims are bound{rest}: "
            "the next update-status continues"
        )

    def _try_step(self, step: volume_steps.Step) -> None:
        if step.group in self._refused or {"", step.group} & self._conflicts.keys():
            return
        try:
            self._run_step(step)
        except errors.ConflictError as conflict:
            # The next round observes what others have changed meanwhile, and plans anew.
            self._conflicts[step.group] = conflict
        except problems.Problem as problem:
            if not step.group or isinstance(problem, errors.UnreachableError):
                raise
            self._refused[step.group] = problem

    def _run_step(self, step: volume_steps.Step) -> None:
        namespace = step.namespace
        if isinstance(step, volume_steps.Check):
            self._apply(volume_steps.CLAIM, step.group, dry_run=True)
        elif isinstance(step, volume_steps.Apply):
            self._apply(step.kind, step.group)
        elif isinstance(step, volume_steps.SetCapacity):
            body = {"status": {"capacity": {"storage": step.capacity}}}
            claim = (volume_steps.CLAIM, namespace, step.claim)
            self._patch(claim, body, core_v1.PersistentVolumeClaimStatus)
        elif isinstance(step, volume_steps.Rebind):
            body = {"spec": {"claimRef": {"uid": step.uid, "resourceVersion": None}}}
            self._patch((volume_steps.VOLUME, "", step.volume), body, core_v1.PersistentVolume)
        elif isinstance(step, volume_steps.Retain):
            key = volume_steps.VOLUME, "", step.volume
            self._patch(key, volume_steps.RETAIN_PATCH, core_v1.PersistentVolume)
        elif isinstance(step, volume_steps.ClearJobs):
            job_lifecycle.remove(self._cluster, ended_only=step.ended_only)
            provisioner_removal.release_claim(self._cluster)  # it is made again afterwards
        elif isinstance(step, volume_steps.Delete):
            scope = namespace if step.kind == volume_steps.CLAIM else ""
            self._cluster.delete(self._references.pop((step.kind, scope, step.name)))

    def _apply(self, kind: str, group: str, *, dry_run: bool = False) -> None:
        resource = manifests.resource(self._render(kind, group))
        key = volume_observe.key(objects.reference(resource))
        applied = self._cluster.apply(resource, over=self._references.get(key), dry_run=dry_run)
        if not dry_run:
            self._references[key] = objects.reference(applied)

    def _render(self, kind: str, group: str) -> manifests.Manifest:
        """Return the manifest of a group's object; most hooks of many namespaces need none."""
        owner = self._cluster.owner
        if kind == volume_steps.NAMESPACE:
            return _render_namespace(owner)
        if kind == volume_steps.STORAGE_CLASS:
            return _render_class(self._desired, owner)
        return _render_of_pair(kind, self._pair_of[group], self._desired, owner)

    def _patch(self, key: volume_resources.Key, body: dict[str, Any], kind: type[Any]) -> None:
        target = dataclasses.replace(self._references[key], kind=kind)
        patched = objects.reference(self._cluster.patch(target, body))
        self._references[key] = dataclasses.replace(self._references[key], version=patched.version)


def _render_namespace(owner: identity.Owner) -> manifests.Manifest:
    return manifests.render("namespace", name=owner.application, labels=ownership.labels(owner))


def _render_class(
    desired: volume_resources.DesiredVolumes, owner: identity.Owner
) -> manifests.Manifest:
    return manifests.render(
        "storage-class",
        name=desired.storage_class,
        labels=ownership.labels(owner),
        annotations={ownership.OWN_NAME: desired.storage_class},
    )


def _render_of_pair(
    kind: str,
    pair: volume_resources.DesiredPair,
    desired: volume_resources.DesiredVolumes,
    owner: identity.Owner,
) -> manifests.Manifest:
    """Return the manifest of a pair's volume or claim."""
    access_mode = "ReadOnlyMany" if pair.view else "ReadWriteMany"
    if kind == volume_steps.VOLUME:
        return manifests.render(
            "volume",
            name=pair.volume,
            labels=ownership.labels(owner),
            annotations=_volume_annotations(pair),
            storage_class=pair.storage_class,
            capacity=pair.capacity,
            mount_options=list(desired.mount_options),
            access_mode=access_mode,
            server=desired.server,
            path=pair.path,
            read_only=pair.view,
            namespace=pair.namespace,
            claim=pair.claim,
        )
    return manifests.render(
        "claim",
        name=pair.claim,
        namespace=pair.namespace,
        labels=volume_observe.claim_labels(owner, pair.namespace),
        access_mode=access_mode,
        storage_class=pair.storage_class,
        volume=pair.volume,
        request=pair.request,
    )


def _volume_annotations(pair: volume_resources.DesiredPair) -> dict[str, str]:
    kept = {
        volume_observe.ADDRESSES: ",".join(pair.addresses),
        ownership.FILE_SYSTEM: pair.file_system,
    }
    return {name: value for name, value in kept.items() if value}
