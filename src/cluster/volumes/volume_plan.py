"""Plan the changes of volumes and claims, from desired and observed ones, without I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightkube.utils import quantity

import problems
from cluster import ownership
from cluster.volumes import volume_resources, volume_steps

if TYPE_CHECKING:
    import identity


@dataclasses.dataclass(frozen=True)
class VolumePlan:
    """The steps to take.

    Attributes:
        steps: The steps, in this order.
        problems: The problems that keep others from being taken, by group.
        obsolete: Claims that must be deleted. None of them is touched before the pods that use
            them were observed.
    """

    steps: tuple[volume_steps.Step, ...] = ()
    problems: tuple[tuple[str, problems.Problem], ...] = ()
    obsolete: frozenset[tuple[str, str]] = frozenset()


def plan(
    desired: volume_resources.DesiredVolumes,
    owner: identity.Owner,
    observed: volume_resources.ObservedVolumes,
    *,
    own_only: bool = False,
) -> VolumePlan:
    """Return the steps from the observed to the desired state; none if they agree.

    Args:
        desired: The desired volumes.
        owner: The application.
        observed: The observed volumes.
        own_only: Plan only the pair for our Jobs, and leave all others as they are.
    """
    pairs = list(volume_resources.desired_pairs(desired, owner))
    if own_only:
        return _pair_plan(pairs[0], desired, owner, observed)
    parts = [VolumePlan(steps=tuple(_class_steps(desired, observed)))]
    parts += [_pair_plan(pair, desired, owner, observed) for pair in pairs]
    kept = {pair.group for pair in pairs}
    used = {each.group for each in (*observed.volumes, *observed.own_claims)}
    parts += [_removal(group, observed) for group in sorted(used - kept)]
    parts.append(VolumePlan(steps=tuple(_stale_class_steps(desired, observed))))
    return VolumePlan(
        steps=tuple(step for part in parts for step in part.steps),
        problems=tuple(problem for part in parts for problem in part.problems),
        obsolete=frozenset(claim for part in parts for claim in part.obsolete),
    )


def _class_steps(
    desired: volume_resources.DesiredVolumes, observed: volume_resources.ObservedVolumes
) -> Iterator[volume_steps.Step]:
    current = next((c for c in observed.storage_classes if c.name == desired.storage_class), None)
    if current and not current.matches:
        # A bound volume or claim does not use its class any more: it can be replaced at any time.
        yield volume_steps.Delete("", volume_steps.STORAGE_CLASS, current.name)
    if not (current and current.matches and current.expands and current.labelled):
        yield volume_steps.Apply("", volume_steps.STORAGE_CLASS)


def _stale_class_steps(
    desired: volume_resources.DesiredVolumes, observed: volume_resources.ObservedVolumes
) -> Iterator[volume_steps.Step]:
    used = {item.storage_class for item in (*observed.volumes, *observed.own_claims)}
    for each in observed.storage_classes:
        if each.name != desired.storage_class and each.name not in used:
            yield volume_steps.Delete("", volume_steps.STORAGE_CLASS, each.name)


def _pair_plan(
    pair: volume_resources.DesiredPair,
    desired: volume_resources.DesiredVolumes,
    owner: identity.Owner,
    observed: volume_resources.ObservedVolumes,
) -> VolumePlan:
    """Plan one pair; the first obstacle decides."""
    namespace = observed.namespaces.get(pair.namespace)
    volumes = list(observed.volumes_by_group.get(pair.group, ()))
    # A claim that must be replaced and is not ours stays: the desired one is refused.
    claims = [
        claim
        for claim in observed.claims_by_group.get(pair.group, ())
        if claim.ours or _claim_fits(claim, pair)
    ]
    first_steps: tuple[volume_steps.Step, ...] = ()
    if pair.own:
        if namespace and not namespace.ours and not namespace.terminating:
            conflict = ownership.namespace_conflict(owner, namespace.labels)
            return VolumePlan(problems=((pair.group, conflict),))
        if namespace is None or namespace.enforce != "baseline" or not namespace.labelled:
            first_steps = (volume_steps.Apply(pair.group, volume_steps.NAMESPACE),)
    if namespace and namespace.terminating:
        orphans = () if claims else _deletions(volumes, [])
        return _problem(
            pair, problems.Waiting, "is being deleted: no claim until it is gone", orphans
        )
    if namespace is None and not pair.own:
        hint = f"does not exist: kubectl create namespace {pair.namespace}"
        return _problem(pair, problems.Waiting, hint, _deletions(volumes, []))
    if not all(_volume_fits(v, pair, desired) for v in volumes) or not all(
        _claim_fits(c, pair) for c in claims
    ):
        removal = _removal(pair.group, observed, own=pair.own)
        return dataclasses.replace(removal, steps=(*first_steps, *removal.steps))
    claim = claims[0] if claims else None
    if claim and claim.deleting:
        return (
            _await_jobs(claim, observed)
            if pair.own
            else _await_users(claim, observed, "is being deleted")
        )
    volume = volumes[0] if volumes else None
    return VolumePlan(steps=(*first_steps, *_pair_steps(pair, desired, volume, claim)))


def _problem(
    pair: volume_resources.DesiredPair,
    kind: type[problems.Problem],
    state: str,
    steps: tuple[volume_steps.Step, ...] = (),
) -> VolumePlan:
    problem = kind(f"namespace {pair.namespace} {state}")
    return VolumePlan(steps=steps, problems=((pair.group, problem),))


def _volume_fits(
    volume: volume_resources.ObservedVolume,
    pair: volume_resources.DesiredPair,
    desired: volume_resources.DesiredVolumes,
) -> bool:
    """Tell whether the volume can stay: all that differs can be changed in place."""
    source = (volume.name, volume.server, volume.path)
    claim = pair.claim if volume.vacant else volume.claim
    fixed = (*source, volume.storage_class, claim, volume.deleting)
    desired_source = (pair.volume, desired.server, pair.path)
    return fixed == (*desired_source, pair.storage_class, pair.claim, False)


def _claim_fits(claim: volume_resources.ObservedClaim, pair: volume_resources.DesiredPair) -> bool:
    fixed = (claim.name, claim.storage_class, claim.volume)
    return fixed == (pair.claim, pair.storage_class, pair.volume)


def _pair_steps(
    pair: volume_resources.DesiredPair,
    desired: volume_resources.DesiredVolumes,
    volume: volume_resources.ObservedVolume | None,
    claim: volume_resources.ObservedClaim | None,
) -> Iterator[volume_steps.Step]:
    group = pair.group
    stale = volume is None or _differs(volume, pair, desired)
    if claim is None:
        yield volume_steps.Check(group)
        if stale:
            yield volume_steps.Apply(group, volume_steps.VOLUME)
        yield volume_steps.Apply(group, volume_steps.CLAIM)
        return
    bound_to = volume.claim_uid if volume else ""
    if claim.phase == "Bound" and bound_to == claim.uid:
        yield from _resize_steps(pair, claim, stale=stale)
        return
    if stale:
        yield volume_steps.Apply(group, volume_steps.VOLUME)
    if bound_to != claim.uid and (bound_to or claim.phase != "Pending"):
        yield volume_steps.Rebind(group, pair.volume, claim.uid)


def _differs(
    volume: volume_resources.ObservedVolume,
    pair: volume_resources.DesiredPair,
    desired: volume_resources.DesiredVolumes,
) -> bool:
    return (
        size(volume.capacity) != size(pair.capacity)
        or volume.mount_options != desired.mount_options
        or volume.policy != volume_steps.RETAIN
        or (volume.addresses, volume.file_system) != (pair.addresses, pair.file_system)
        or not volume.labelled
        or volume.vacant
    )


def _resize_steps(
    pair: volume_resources.DesiredPair, claim: volume_resources.ObservedClaim, *, stale: bool
) -> Iterator[volume_steps.Step]:
    """Resize a bound claim, as its resizer.

    A claim may not request less than the capacity in its status. So to shrink, first set that
    capacity to just below the new request; to grow, first change the volume.
    """
    group, request = pair.group, size(pair.request)
    shrinks, grows = size(claim.request) > request, size(claim.request) < request
    if shrinks and size(claim.capacity) >= request:
        yield volume_steps.SetCapacity(group, claim.name, str(request - 1))
    if grows:
        yield volume_steps.Check(group)
    if shrinks or not (grows or claim.labelled):
        yield volume_steps.Apply(group, volume_steps.CLAIM)
    if stale:
        yield volume_steps.Apply(group, volume_steps.VOLUME)
    if grows:
        yield volume_steps.Apply(group, volume_steps.CLAIM)
    if shrinks or size(claim.capacity) != size(pair.capacity):
        yield volume_steps.SetCapacity(group, claim.name, pair.capacity)


def _removal(
    group: str, observed: volume_resources.ObservedVolumes, *, own: bool = False
) -> VolumePlan:
    """Delete the claims and volumes of a group, once no pod uses them."""
    volumes = list(observed.volumes_by_group.get(group, ()))
    claims = [c for c in observed.claims_by_group.get(group, ()) if c.ours]
    if own:
        clear = (volume_steps.ClearJobs(group),) if claims else ()
        return VolumePlan(steps=(*clear, *_deletions(volumes, claims)))
    waiting = [_await_users(claim, observed, "must be deleted") for claim in claims]
    obsolete = frozenset((c.namespace, c.name) for c in claims)
    if any(part.problems for part in waiting) or (obsolete and observed.users is None):
        problems_ = tuple(problem for part in waiting for problem in part.problems)
        return VolumePlan(problems=problems_, obsolete=obsolete)
    return VolumePlan(steps=_deletions(volumes, claims), obsolete=obsolete)


def _await_users(
    claim: volume_resources.ObservedClaim, observed: volume_resources.ObservedVolumes, state: str
) -> VolumePlan:
    """Report the pods that keep a claim from being deleted."""
    pods = (observed.users or {}).get((claim.namespace, claim.name), ())
    obsolete = frozenset({(claim.namespace, claim.name)})
    if not pods:
        return VolumePlan(obsolete=obsolete)
    users = volume_resources.format_pods(pods)
    problem = problems.Waiting(
        f"claim {claim.namespace}/{claim.name} {state} but is used: delete {users}"
    )
    return VolumePlan(problems=((claim.group, problem),), obsolete=obsolete)


def _await_jobs(
    claim: volume_resources.ObservedClaim, observed: volume_resources.ObservedVolumes
) -> VolumePlan:
    """Remove our Jobs that have ended, whose pods keep our own claim from being deleted."""
    awaited = _await_users(claim, observed, "is being deleted")
    unsettled = tuple(
        (
            group,
            problems.Waiting(
                f"claim {claim.namespace}/{claim.name} was deleted: it is made "
                "again when the loads that use it have ended"
            ),
        )
        for group, _ in awaited.problems
    )
    steps = (volume_steps.ClearJobs(claim.group, ended_only=True),)
    return dataclasses.replace(awaited, steps=steps, problems=unsettled)


def _deletions(
    volumes: list[volume_resources.ObservedVolume], claims: list[volume_resources.ObservedClaim]
) -> tuple[volume_steps.Step, ...]:
    """Delete claims first: Kubernetes keeps a volume until its claim is gone."""
    return (
        *(
            volume_steps.Retain(v.group, v.name)
            for v in volumes
            if claims and v.policy != volume_steps.RETAIN
        ),
        *(
            volume_steps.Delete(c.group, volume_steps.CLAIM, c.name)
            for c in claims
            if not c.deleting
        ),
        *(
            volume_steps.Delete(v.group, volume_steps.VOLUME, v.name)
            for v in volumes
            if not v.deleting
        ),
    )


def size(text: str) -> int:
    """Return a quantity in bytes; 0 for none.

    Args:
        text: The quantity, as in 100Gi, 1Ti or 5e3.
    """
    return int(quantity.parse_quantity(text or "0") or 0)
