"""Plans what to change of volumes and claims, from what is wanted and observed, without I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightkube.utils import quantity

import problems
from cluster.volumes import volume_resources

if TYPE_CHECKING:
    import identity

NAMESPACE = "Namespace"
STORAGE_CLASS = "StorageClass"
VOLUME = "PersistentVolume"
CLAIM = "PersistentVolumeClaim"

_FOREIGN = "exists and is not ours: deploy the charm under another name"


@dataclasses.dataclass(frozen=True)
class Step:
    """One change, safe to repeat.

    Attributes:
        group: The namespace whose claim it is for: a refusal ends that namespace's steps alone.
            "" is what all claims need.
    """

    group: str


@dataclasses.dataclass(frozen=True)
class Check(Step):
    """Ask whether the namespace takes the claim (quota, policies) before a volume is made."""


@dataclasses.dataclass(frozen=True)
class Apply(Step):
    """Create or change the object of this kind that the group shall have."""

    kind: str


@dataclasses.dataclass(frozen=True)
class SetCapacity(Step):
    """Say in the claim's status what it has, as a resizer would."""

    claim: str
    capacity: str


@dataclasses.dataclass(frozen=True)
class Rebind(Step):
    """Point a volume that was bound to a claim of the past to the one that is there now."""

    volume: str
    uid: str


@dataclasses.dataclass(frozen=True)
class ClearJobs(Step):
    """Remove our Jobs: their pods hold the claim, finished ones, too."""


@dataclasses.dataclass(frozen=True)
class Delete(Step):
    """Delete an object of ours."""

    kind: str
    name: str


@dataclasses.dataclass(frozen=True)
class VolumePlan:
    """What to do.

    Attributes:
        steps: In this order.
        problems: What keeps the rest from being done, by namespace.
        doomed: Claims that have to go. None of them is touched before the observation says
            which pods use them.
    """

    steps: tuple[Step, ...] = ()
    problems: tuple[tuple[str, problems.Problem], ...] = ()
    doomed: frozenset[tuple[str, str]] = frozenset()


def plan(
    wanted: volume_resources.DesiredVolumes,
    owner: identity.Owner,
    observed: volume_resources.ObservedVolumes,
) -> VolumePlan:
    """The steps from what is to what shall be; none where it is so already.

    Args:
        wanted: What the user asked for.
        owner: Who we are.
        observed: What is there.
    """
    pairs = list(volume_resources.desired_pairs(wanted, owner))
    parts = [VolumePlan(steps=tuple(_class_steps(wanted, observed)))]
    parts += [_pair_plan(pair, wanted, observed) for pair in pairs]
    named = {pair.namespace for pair in pairs}
    there = {v.namespace for v in observed.volumes} | {c.namespace for c in observed.claims}
    parts += [_removal(namespace, observed) for namespace in sorted(there - named)]
    parts.append(VolumePlan(steps=tuple(_stale_class_steps(wanted, observed))))
    return VolumePlan(
        steps=tuple(step for part in parts for step in part.steps),
        problems=tuple(problem for part in parts for problem in part.problems),
        doomed=frozenset(claim for part in parts for claim in part.doomed),
    )


def _class_steps(
    wanted: volume_resources.DesiredVolumes, observed: volume_resources.ObservedVolumes
) -> Iterator[Step]:
    found = next((c for c in observed.storage_classes if c.name == wanted.storage_class), None)
    if found and not found.sound:
        # Nothing that is bound looks at its class again, so it can be made anew at any time.
        yield Delete("", STORAGE_CLASS, found.name)
    if not (found and found.sound and found.expands):
        yield Apply("", STORAGE_CLASS)


def _stale_class_steps(
    wanted: volume_resources.DesiredVolumes, observed: volume_resources.ObservedVolumes
) -> Iterator[Step]:
    used = {item.storage_class for item in (*observed.volumes, *observed.claims)}
    for found in observed.storage_classes:
        if found.name != wanted.storage_class and found.name not in used:
            yield Delete("", STORAGE_CLASS, found.name)


def _pair_plan(
    pair: volume_resources.DesiredPair,
    wanted: volume_resources.DesiredVolumes,
    observed: volume_resources.ObservedVolumes,
) -> VolumePlan:
    """What one namespace needs; the first thing that is in the way decides."""
    namespace = observed.namespaces.get(pair.namespace)
    volumes = [v for v in observed.volumes if v.namespace == pair.namespace]
    claims = [c for c in observed.claims if c.namespace == pair.namespace]
    opening: tuple[Step, ...] = ()
    if pair.own:
        if namespace and not namespace.ours and not namespace.terminating:
            return _problem(pair, problems.Blocked, _FOREIGN)
        if namespace is None or namespace.enforce != "baseline":
            opening = (Apply(pair.namespace, NAMESPACE),)
    if namespace and namespace.terminating:
        orphans = () if claims else _deletions(volumes, [])
        return _problem(
            pair, problems.Waiting, "is being deleted: no claim until it is gone", orphans
        )
    if namespace is None and not pair.own:
        hint = f"does not exist: kubectl create namespace {pair.namespace}"
        return _problem(pair, problems.Waiting, hint, _deletions(volumes, []))
    if not all(_fits(v, pair, wanted) for v in volumes) or not all(
        _names(c, pair) for c in claims
    ):
        removal = _removal(pair.namespace, observed, own=pair.own)
        return dataclasses.replace(removal, steps=(*opening, *removal.steps))
    claim = claims[0] if claims else None
    if claim and claim.deleting:
        return _held(claim, observed, "is being deleted")
    volume = volumes[0] if volumes else None
    return VolumePlan(steps=(*opening, *_pair_steps(pair, wanted, volume, claim)))


def _problem(
    pair: volume_resources.DesiredPair,
    kind: type[problems.Problem],
    what: str,
    steps: tuple[Step, ...] = (),
) -> VolumePlan:
    problem = kind(f"namespace {pair.namespace} {what}")
    return VolumePlan(steps=steps, problems=((pair.namespace, problem),))


def _fits(
    volume: volume_resources.ObservedVolume,
    pair: volume_resources.DesiredPair,
    wanted: volume_resources.DesiredVolumes,
) -> bool:
    """Whether the volume can stay: what differs in it can be changed."""
    there = (volume.name, volume.server, volume.storage_class, volume.claim, volume.deleting)
    return there == (pair.volume, wanted.server, pair.storage_class, pair.claim, False)


def _names(claim: volume_resources.ObservedClaim, pair: volume_resources.DesiredPair) -> bool:
    there = (claim.name, claim.storage_class, claim.volume)
    return there == (pair.claim, pair.storage_class, pair.volume)


def _pair_steps(
    pair: volume_resources.DesiredPair,
    wanted: volume_resources.DesiredVolumes,
    volume: volume_resources.ObservedVolume | None,
    claim: volume_resources.ObservedClaim | None,
) -> Iterator[Step]:
    group = pair.namespace
    stale = volume is None or _differs(volume, pair, wanted)
    if claim is None:
        yield Check(group)
        if stale:
            yield Apply(group, VOLUME)
        yield Apply(group, CLAIM)
        return
    bound_to = volume.claim_uid if volume else ""
    if claim.phase == "Bound" and bound_to == claim.uid:
        yield from _resize_steps(pair, claim, stale=stale)
        return
    if stale:
        yield Apply(group, VOLUME)
    if bound_to != claim.uid and (bound_to or claim.phase != "Pending"):
        yield Rebind(group, pair.volume, claim.uid)


def _differs(
    volume: volume_resources.ObservedVolume,
    pair: volume_resources.DesiredPair,
    wanted: volume_resources.DesiredVolumes,
) -> bool:
    return (
        size(volume.capacity) != size(pair.capacity)
        or volume.mount_options != wanted.mount_options
        or volume.policy != "Retain"
    )


def _resize_steps(
    pair: volume_resources.DesiredPair, claim: volume_resources.ObservedClaim, *, stale: bool
) -> Iterator[Step]:
    """A live claim's change of size, for which we are the resizer.

    A claim may not ask for less than its status says it has, so on the way down the status goes
    first, to just below what will be asked for; on the way up the volume goes first.
    """
    group, request = pair.namespace, size(pair.request)
    shrinks, grows = size(claim.request) > request, size(claim.request) < request
    if shrinks and size(claim.capacity) >= request:
        yield SetCapacity(group, claim.name, str(request - 1))
    if grows:
        yield Check(group)
    if shrinks:
        yield Apply(group, CLAIM)
    if stale:
        yield Apply(group, VOLUME)
    if grows:
        yield Apply(group, CLAIM)
    if shrinks or size(claim.capacity) != size(pair.capacity):
        yield SetCapacity(group, claim.name, pair.capacity)


def _removal(
    namespace: str, observed: volume_resources.ObservedVolumes, *, own: bool = False
) -> VolumePlan:
    """Take the claims and volumes of a namespace away, once no pod uses them."""
    volumes = [v for v in observed.volumes if v.namespace == namespace]
    claims = [c for c in observed.claims if c.namespace == namespace]
    if own:
        clear = (ClearJobs(namespace),) if claims else ()
        return VolumePlan(steps=(*clear, *_deletions(volumes, claims)))
    held = [_held(claim, observed, "has to go") for claim in claims]
    doomed = frozenset((c.namespace, c.name) for c in claims)
    if any(part.problems for part in held) or (doomed and observed.users is None):
        return VolumePlan(problems=tuple(p for part in held for p in part.problems), doomed=doomed)
    return VolumePlan(steps=_deletions(volumes, claims), doomed=doomed)


def _held(
    claim: volume_resources.ObservedClaim, observed: volume_resources.ObservedVolumes, what: str
) -> VolumePlan:
    pods = (observed.users or {}).get((claim.namespace, claim.name), ())
    doomed = frozenset({(claim.namespace, claim.name)})
    if not pods:
        return VolumePlan(doomed=doomed)
    users = volume_resources.format_pods(pods)
    problem = problems.Waiting(
        f"claim {claim.namespace}/{claim.name} {what} but is used: delete {users}"
    )
    return VolumePlan(problems=((claim.namespace, problem),), doomed=doomed)


def _deletions(
    volumes: list[volume_resources.ObservedVolume], claims: list[volume_resources.ObservedClaim]
) -> tuple[Step, ...]:
    """Claims first: Kubernetes holds a volume back until its claim is gone."""
    return (
        *(Delete(c.namespace, CLAIM, c.name) for c in claims if not c.deleting),
        *(Delete(v.namespace, VOLUME, v.name) for v in volumes if not v.deleting),
    )


def size(text: str) -> int:
    """A quantity in bytes; 0 for none.

    Args:
        text: As Kubernetes writes it: 100Gi, 1Ti, 5e3.
    """
    return int(quantity.parse_quantity(text or "0") or 0)
