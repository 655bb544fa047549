"""The plan for volumes and claims, against a small model of what Kubernetes makes of each step."""

from __future__ import annotations

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

import identity
import problems
from cluster.volumes import volume_plan, volume_resources

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")
SERVER = "fs-1.efs.us-east-1.amazonaws.com"
FREE = hypothesis.settings(deadline=None)  # other tests run beside these
SIZES = ("1Gi", "100Gi", "1Ti")
OPTIONS = ((), ("nfsvers=4.1",), ("nfsvers=4.1", "hard"))


class Kubernetes:
    """What the API server and the volume binder make of steps; it refuses what they refuse."""

    def __init__(
        self, wanted: volume_resources.DesiredVolumes, observed: volume_resources.ObservedVolumes
    ) -> None:
        self.wanted = wanted
        self.namespaces = dict(observed.namespaces)
        self.classes = {c.name: c for c in observed.storage_classes}
        self.volumes = {v.name: v for v in observed.volumes}
        self.claims = {(c.namespace, c.name): c for c in observed.claims}
        self.users = dict(observed.users or {})
        self.pairs = {p.namespace: p for p in volume_resources.desired_pairs(wanted, OWNER)}
        self.made = 0

    def observed(self, *, looked: bool) -> volume_resources.ObservedVolumes:
        return volume_resources.ObservedVolumes(
            namespaces=self.namespaces,
            storage_classes=tuple(self.classes.values()),
            volumes=tuple(self.volumes.values()),
            claims=tuple(self.claims.values()),
            users=self.users if looked else None,
        )

    def take(self, step: volume_plan.Step) -> None:
        if isinstance(step, volume_plan.Apply):
            getattr(self, f"apply_{step.kind}")(step.group)
        elif isinstance(step, volume_plan.SetCapacity):
            key = step.group, step.claim
            self.claims[key] = dataclasses.replace(self.claims[key], capacity=step.capacity)
        elif isinstance(step, volume_plan.Rebind):
            bound = dataclasses.replace(self.volumes[step.volume], claim_uid=step.uid)
            self.volumes[step.volume] = bound
        elif isinstance(step, volume_plan.Delete):
            self.delete(step)
        elif isinstance(step, volume_plan.Check):
            assert self.namespaces[step.group].terminating is False

    def apply_Namespace(self, group: str) -> None:  # noqa: N802 - named after the kind
        assert group not in self.namespaces or self.namespaces[group].ours
        self.namespaces[group] = volume_resources.ObservedNamespace(
            group, ours=True, enforce="baseline"
        )

    def apply_StorageClass(self, group: str) -> None:  # noqa: N802
        name = self.wanted.storage_class
        assert name not in self.classes or self.classes[name].matches, "422: immutable"
        self.classes[name] = volume_resources.ObservedStorageClass(name)

    def apply_PersistentVolume(self, group: str) -> None:  # noqa: N802
        pair = self.pairs[group]
        there = self.volumes.get(pair.volume)
        assert there is None or (there.server, there.claim) == (self.wanted.server, pair.claim)
        self.volumes[pair.volume] = volume_resources.ObservedVolume(
            name=pair.volume,
            server=self.wanted.server,
            storage_class=pair.storage_class,
            mount_options=self.wanted.mount_options,
            capacity=pair.capacity,
            policy="Retain",
            namespace=group,
            claim=pair.claim,
            claim_uid=there.claim_uid if there else "",
        )

    def apply_PersistentVolumeClaim(self, group: str) -> None:  # noqa: N802
        pair = self.pairs[group]
        assert not self.namespaces[group].terminating, "403: being terminated"
        there = self.claims.get((group, pair.claim))
        if there is None:
            self.made += 1
            there = volume_resources.ObservedClaim(
                group, pair.claim, "Pending", "", pair.request, pair.storage_class, pair.volume
            )
            there = dataclasses.replace(there, uid=f"new-{self.made}")
        old, new = volume_plan.size(there.request), volume_plan.size(pair.request)
        if old != new:
            assert there.phase == "Bound", "403: only bound claims can be resized"
        if new < old:
            assert volume_plan.size(there.capacity) < new, "422: less than status.capacity"
        if new > old:
            holds = volume_plan.size(self.volumes[pair.volume].capacity)
            assert holds >= volume_plan.size(pair.capacity), "the volume grows before its claim"
        self.claims[group, pair.claim] = dataclasses.replace(there, request=pair.request)

    def delete(self, step: volume_plan.Delete) -> None:
        if step.kind == volume_plan.STORAGE_CLASS:
            del self.classes[step.name]
        elif step.kind == volume_plan.VOLUME:
            found = self.volumes[step.name]
            self.volumes[step.name] = dataclasses.replace(found, deleting=True)
        else:
            key = step.group, step.name
            assert not self.users.get(key), "a claim in use was deleted"
            self.claims[key] = dataclasses.replace(self.claims[key], deleting=True)

    def settle(self) -> None:
        """What the controllers do by themselves."""
        for key, claim in list(self.claims.items()):
            if claim.deleting and not self.users.get(key):
                del self.claims[key]
        for name, volume in list(self.volumes.items()):
            if volume.deleting and (volume.namespace, volume.claim) not in self.claims:
                del self.volumes[name]
        for key, claim in list(self.claims.items()):
            volume = self.volumes.get(claim.volume)
            if volume is None or volume.claim_uid not in ("", claim.uid):
                if claim.phase == "Bound":
                    self.claims[key] = dataclasses.replace(claim, phase="Lost")
                continue
            if volume.claim_uid == "" and claim.phase != "Pending":
                continue
            self.volumes[volume.name] = dataclasses.replace(volume, claim_uid=claim.uid)
            if claim.phase != "Bound":
                bound = dataclasses.replace(claim, phase="Bound", capacity=volume.capacity)
                self.claims[key] = bound


def one_round(world: Kubernetes) -> volume_plan.VolumePlan:
    """What a reconcile does each time that it looks."""
    planned = volume_plan.plan(world.wanted, OWNER, world.observed(looked=False))
    if planned.obsolete:
        planned = volume_plan.plan(world.wanted, OWNER, world.observed(looked=True))
    for step in planned.steps:
        world.take(step)
    world.settle()
    return planned


def converge(world: Kubernetes) -> volume_plan.VolumePlan:
    for _ in range(12):
        planned = one_round(world)
        if not planned.steps:
            return planned
    raise AssertionError(f"it never ends: {planned.steps}")


@st.composite
def wishes(draw: st.DrawFn) -> volume_resources.DesiredVolumes:
    namespaces = draw(st.lists(st.sampled_from("abcd"), unique=True, max_size=3))
    capacity = draw(st.sampled_from(SIZES))
    return volume_resources.DesiredVolumes(
        server=draw(st.sampled_from((SERVER, "fs-2.example.internal"))),
        capacity=capacity,
        claim_capacity=draw(st.sampled_from(SIZES[: SIZES.index(capacity) + 1])),
        claim_name=draw(st.sampled_from(("aws-efs", "data"))),
        namespaces=tuple(namespaces),
        storage_class=draw(st.sampled_from(("aws-efs", "shared"))),
        mount_options=draw(st.sampled_from(OPTIONS)),
    )


def all_namespaces(
    own: volume_resources.ObservedNamespace | None = None,
) -> volume_resources.ObservedVolumes:
    found = {name: volume_resources.ObservedNamespace(name) for name in "abcd"}
    return volume_resources.ObservedVolumes(
        namespaces={**found, **({own.name: own} if own else {})}
    )


def served(world: Kubernetes) -> set[tuple[str, str, str, str]]:
    return {
        (c.namespace, c.name, c.phase, world.volumes[c.volume].server)
        for c in world.claims.values()
    }


def expected(wanted: volume_resources.DesiredVolumes) -> set[tuple[str, str, str, str]]:
    pairs = volume_resources.desired_pairs(wanted, OWNER)
    return {(p.namespace, p.claim, "Bound", wanted.server) for p in pairs}


@FREE
@hypothesis.given(st.lists(wishes(), min_size=1, max_size=4))
def test_a_chain_of_wishes_always_ends_at_the_last_one_and_then_nothing_is_to_do(chain):
    world = Kubernetes(chain[0], all_namespaces())
    for wanted in chain:
        world = Kubernetes(wanted, world.observed(looked=True))
        planned = converge(world)
        assert planned == volume_plan.VolumePlan()
        assert served(world) == expected(wanted)
        assert set(world.classes) == {wanted.storage_class}
        for claim in world.claims.values():
            pair = world.pairs[claim.namespace]
            assert volume_plan.size(claim.capacity) == volume_plan.size(pair.capacity)
            assert volume_plan.size(claim.request) == volume_plan.size(pair.request)
            assert world.volumes[claim.volume].mount_options == wanted.mount_options


@FREE
@hypothesis.given(wishes(), wishes(), st.integers(0, 20))
def test_a_reconcile_killed_after_any_step_is_finished_by_the_next(first, second, steps):
    world = Kubernetes(first, all_namespaces())
    converge(world)
    world = Kubernetes(second, world.observed(looked=True))
    planned = volume_plan.plan(second, OWNER, world.observed(looked=True))
    for step in planned.steps[:steps]:
        world.take(step)
    world.settle()

    assert converge(world) == volume_plan.VolumePlan()
    assert served(world) == expected(second)


@FREE
@hypothesis.given(wishes(), wishes(), st.sets(st.sampled_from("abcd")))
def test_no_claim_that_a_pod_uses_is_ever_deleted_and_its_pods_are_named(first, second, busy):
    world = Kubernetes(first, all_namespaces())
    converge(world)
    used = {key: ("pod-1",) for key in world.claims if key[0] in busy}
    world = Kubernetes(second, dataclasses.replace(world.observed(looked=True), users=used))

    planned = converge(world)  # deleting one would raise in it

    kept = {key for key in used if key in world.claims}
    assert kept == set(used)
    stuck = {namespace for namespace, _ in planned.problems}
    wanted = {(p.namespace, p.claim) for p in volume_resources.desired_pairs(second, OWNER)}
    assert {key[0] for key in used if key not in wanted} <= stuck
    assert all("delete pod pod-1" in problem.message for _, problem in planned.problems)


@FREE
@hypothesis.given(
    wishes(),
    st.sets(st.sampled_from("abcd")),
    st.sampled_from(["claim", "volume", "both", "deleting claim", "deleting volume"]),
)
def test_what_the_user_deletes_comes_back(wanted, hit, what):
    world = Kubernetes(wanted, all_namespaces())
    converge(world)
    for claim in [c for c in world.claims.values() if c.namespace in hit]:
        key = claim.namespace, claim.name
        if what in ("claim", "both"):
            del world.claims[key]
        if what in ("volume", "both"):
            del world.volumes[claim.volume]
        if what == "deleting claim":
            world.claims[key] = dataclasses.replace(claim, deleting=True)
        if what == "deleting volume":
            found = world.volumes[claim.volume]
            world.volumes[claim.volume] = dataclasses.replace(found, deleting=True)
    world.settle()

    converge(world)
    assert served(world) == expected(wanted)


@pytest.mark.parametrize("terminating", [False, True], ids=["missing", "terminating"])
def test_a_namespace_that_is_not_there_gets_no_step_but_the_others_do(terminating):
    wanted = volume_resources.DesiredVolumes(
        SERVER, "1Gi", "1Gi", "aws-efs", ("a", "b"), "aws-efs", ()
    )
    found = {"b": volume_resources.ObservedNamespace("b")}
    if terminating:
        found["a"] = volume_resources.ObservedNamespace("a", terminating=True)

    planned = volume_plan.plan(wanted, OWNER, volume_resources.ObservedVolumes(namespaces=found))

    assert "a" not in {step.group for step in planned.steps}
    assert "b" in {step.group for step in planned.steps}
    ((namespace, problem),) = planned.problems
    assert namespace == "a"
    assert isinstance(problem, problems.Waiting)


def test_a_foreign_namespace_of_our_name_is_left_alone():
    own = volume_resources.ObservedNamespace("aws-efs", ours=False)
    wanted = volume_resources.DesiredVolumes(
        SERVER, "1Gi", "1Gi", "aws-efs", ("a",), "aws-efs", ()
    )

    planned = volume_plan.plan(wanted, OWNER, all_namespaces(own))

    assert "aws-efs" not in {step.group for step in planned.steps}
    ((_, problem),) = planned.problems
    assert isinstance(problem, problems.Blocked)


def test_nobody_is_asked_about_pods_while_nothing_has_to_go():
    wanted = volume_resources.DesiredVolumes(
        SERVER, "1Gi", "1Gi", "aws-efs", ("a",), "aws-efs", ()
    )
    world = Kubernetes(wanted, all_namespaces())
    converge(world)
    bigger = dataclasses.replace(wanted, capacity="1Ti", claim_capacity="1Ti")
    assert not volume_plan.plan(bigger, OWNER, world.observed(looked=False)).obsolete


@pytest.mark.parametrize(
    ("written", "size"),
    [("", 0), ("1Ti", 1 << 40), ("1024Gi", 1 << 40), ("1e3", 1000), ("1500m", 1), ("5", 5)],
)
def test_quantities_are_compared_as_kubernetes_means_them(written, size):
    assert volume_plan.size(written) == size
