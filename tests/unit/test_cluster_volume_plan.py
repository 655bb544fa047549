"""The plan for volumes and claims, with a small model of what Kubernetes does for each step."""

from __future__ import annotations

import dataclasses

import hypothesis
import pytest
from hypothesis import strategies as st

import identity
import problems
from cluster.volumes import volume_plan, volume_resources, volume_steps

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")
SERVER = "fs-1.efs.us-east-1.amazonaws.com"
FREE = hypothesis.settings(deadline=None)  # other tests run at the same time
SIZES = ("1Gi", "100Gi", "1Ti")
OPTIONS = ((), ("nfsvers=4.1",), ("nfsvers=4.1", "hard"))


class Kubernetes:
    """A model of the API server and the volume binder; it refuses what they refuse."""

    def __init__(
        self, desired: volume_resources.DesiredVolumes, observed: volume_resources.ObservedVolumes
    ) -> None:
        self.desired = desired
        self.namespaces = dict(observed.namespaces)
        self.classes = {c.name: c for c in observed.storage_classes}
        self.volumes = {v.name: v for v in observed.volumes}
        self.claims = {(c.namespace, c.name): c for c in observed.claims}
        self.users = dict(observed.users or {})
        self.pairs = {p.group: p for p in volume_resources.desired_pairs(desired, OWNER)}
        self.made = 0

    def observed(self, *, with_users: bool) -> volume_resources.ObservedVolumes:
        return volume_resources.ObservedVolumes(
            namespaces=self.namespaces,
            storage_classes=tuple(self.classes.values()),
            volumes=tuple(self.volumes.values()),
            claims=tuple(
                dataclasses.replace(claim, ours=self.is_ours(claim))
                for claim in self.claims.values()
            ),
            users=self.users if with_users else None,
        )

    def is_ours(self, claim: volume_resources.ObservedClaim) -> bool:
        volume = self.volumes.get(claim.volume)
        named = volume is not None and volume.claim == claim.name
        return volume is not None and named and volume.claim_uid in ("", claim.uid)

    def apply(self, step: volume_steps.Step) -> None:
        if isinstance(step, volume_steps.Apply):
            getattr(self, f"apply_{step.kind}")(step.group)
        elif isinstance(step, volume_steps.SetCapacity):
            key = step.namespace, step.claim
            self.claims[key] = dataclasses.replace(self.claims[key], capacity=step.capacity)
        elif isinstance(step, volume_steps.Rebind):
            bound = dataclasses.replace(self.volumes[step.volume], claim_uid=step.uid)
            self.volumes[step.volume] = bound
        elif isinstance(step, volume_steps.Retain):
            kept = dataclasses.replace(self.volumes[step.volume], policy="Retain")
            self.volumes[step.volume] = kept
        elif isinstance(step, volume_steps.Delete):
            self.delete(step)
        elif isinstance(step, volume_steps.Check):
            assert self.namespaces[step.namespace].terminating is False

    def apply_Namespace(self, group: str) -> None:  # noqa: N802 - named after the kind
        assert group not in self.namespaces or self.namespaces[group].ours
        self.namespaces[group] = volume_resources.ObservedNamespace(
            group, ours=True, enforce="baseline"
        )

    def apply_StorageClass(self, group: str) -> None:  # noqa: N802
        name = self.desired.storage_class
        assert name not in self.classes or self.classes[name].matches, "422: immutable"
        self.classes[name] = volume_resources.ObservedStorageClass(name)

    def apply_PersistentVolume(self, group: str) -> None:  # noqa: N802
        pair = self.pairs[group]
        existing = self.volumes.get(pair.volume)
        assert existing is None or (existing.server, existing.path, existing.claim) == (
            self.desired.server,
            pair.path,
            "" if existing.vacant else pair.claim,
        ), "422: immutable"
        self.volumes[pair.volume] = volume_resources.ObservedVolume(
            name=pair.volume,
            server=self.desired.server,
            storage_class=pair.storage_class,
            mount_options=self.desired.mount_options,
            capacity=pair.capacity,
            policy="Retain",
            namespace=pair.namespace,
            claim=pair.claim,
            claim_uid=existing.claim_uid if existing else "",
            path=pair.path,
            view=pair.view,
        )

    def apply_PersistentVolumeClaim(self, group: str) -> None:  # noqa: N802
        pair = self.pairs[group]
        namespace = pair.namespace
        assert not self.namespaces[namespace].terminating, "403: being terminated"
        existing = self.claims.get((namespace, pair.claim))
        if existing is None:
            self.made += 1
            existing = volume_resources.ObservedClaim(
                namespace, pair.claim, "Pending", "", pair.request, pair.storage_class, pair.volume
            )
            existing = dataclasses.replace(existing, uid=f"new-{self.made}", view=pair.view)
        old, new = volume_plan.size(existing.request), volume_plan.size(pair.request)
        if old != new:
            assert existing.phase == "Bound", "403: only bound claims can be resized"
        if new < old:
            assert volume_plan.size(existing.capacity) < new, "422: less than status.capacity"
        if new > old:
            holds = volume_plan.size(self.volumes[pair.volume].capacity)
            assert holds >= volume_plan.size(pair.capacity), "the volume grows before its claim"
        self.claims[namespace, pair.claim] = dataclasses.replace(existing, request=pair.request)

    def delete(self, step: volume_steps.Delete) -> None:
        if step.kind == volume_steps.STORAGE_CLASS:
            del self.classes[step.name]
        elif step.kind == volume_steps.VOLUME:
            found = self.volumes[step.name]
            self.volumes[step.name] = dataclasses.replace(found, deleting=True)
        else:
            key = step.namespace, step.name
            assert not self.users.get(key), "a claim in use was deleted"
            volume = self.volumes.get(self.claims[key].volume)
            assert volume is None or volume.policy == "Retain", "the recycler deletes all files"
            self.claims[key] = dataclasses.replace(self.claims[key], deleting=True)

    def settle(self) -> None:
        """Do what the controllers do by themselves."""
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
    """Do one round of a reconcile."""
    planned = volume_plan.plan(world.desired, OWNER, world.observed(with_users=False))
    if planned.obsolete:
        planned = volume_plan.plan(world.desired, OWNER, world.observed(with_users=True))
    for step in planned.steps:
        world.apply(step)
    world.settle()
    return planned


def converge(world: Kubernetes) -> volume_plan.VolumePlan:
    for _ in range(12):
        planned = one_round(world)
        if not planned.steps:
            return planned
    raise AssertionError(f"plans do not end: {planned.steps}")


@st.composite
def desired_volumes(draw: st.DrawFn) -> volume_resources.DesiredVolumes:
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
        isolated=draw(st.booleans()),
    )


def all_namespaces(
    own: volume_resources.ObservedNamespace | None = None,
) -> volume_resources.ObservedVolumes:
    found = {name: volume_resources.ObservedNamespace(name) for name in "abcd"}
    return volume_resources.ObservedVolumes(
        namespaces={**found, **({own.name: own} if own else {})}
    )


def served(world: Kubernetes) -> set[tuple[str, ...]]:
    return {
        (
            c.namespace,
            c.name,
            c.phase,
            world.volumes[c.volume].server,
            world.volumes[c.volume].path,
        )
        for c in world.claims.values()
    }


def expected(desired: volume_resources.DesiredVolumes) -> set[tuple[str, ...]]:
    pairs = volume_resources.desired_pairs(desired, OWNER)
    return {(p.namespace, p.claim, "Bound", desired.server, p.path) for p in pairs}


@pytest.mark.parametrize("isolated", [False, True])
def test_five_hundred_namespaces_are_served_in_one_plan_and_most_of_them_go_in_the_next(isolated):
    names = tuple(f"user-{number:03}" for number in range(500))
    found = {name: volume_resources.ObservedNamespace(name) for name in names}
    desired = volume_resources.DesiredVolumes(
        SERVER, "100Gi", "100Gi", "aws-efs", names, "aws-efs", (), isolated=isolated
    )
    world = Kubernetes(desired, volume_resources.ObservedVolumes(namespaces=found))

    first = one_round(world)
    assert served(world) == expected(desired)
    # Each claim is checked and made, with its volume; ours, its namespace and the class besides.
    assert len(first.steps) == 3 * 500 * (1 + isolated) + 5
    assert not one_round(world).steps
    assert not one_round(world).problems

    world.desired = dataclasses.replace(desired, namespaces=names[:10])
    world.users = {(names[20], "aws-efs"): ("notebook",)}
    planned = one_round(world)
    left = [claim for claim in world.claims if claim[0] == names[20]]
    assert [claim for claim in left if claim[1] == "aws-efs"] == [(names[20], "aws-efs")]
    assert len(planned.problems) == 1
    assert "must be deleted but is used: delete pod notebook" in planned.problems[0][1].message
    del world.claims[names[20], "aws-efs"]
    assert served(world) == expected(world.desired)


@FREE
@hypothesis.given(st.lists(desired_volumes(), min_size=1, max_size=4))
def test_changes_of_the_options_always_end_in_the_last_ones_and_then_nothing_is_left_to_do(chain):
    world = Kubernetes(chain[0], all_namespaces())
    for desired in chain:
        world = Kubernetes(desired, world.observed(with_users=True))
        planned = converge(world)
        assert planned == volume_plan.VolumePlan()
        assert served(world) == expected(desired)
        assert set(world.classes) == {desired.storage_class}
        for claim in world.claims.values():
            pair = world.pairs[claim.group]
            assert volume_plan.size(claim.capacity) == volume_plan.size(pair.capacity)
            assert volume_plan.size(claim.request) == volume_plan.size(pair.request)
            assert world.volumes[claim.volume].mount_options == desired.mount_options


@FREE
@hypothesis.given(desired_volumes(), desired_volumes(), st.integers(0, 20))
def test_a_reconcile_killed_after_any_step_is_finished_by_the_next(first, second, steps):
    world = Kubernetes(first, all_namespaces())
    converge(world)
    world = Kubernetes(second, world.observed(with_users=True))
    planned = volume_plan.plan(second, OWNER, world.observed(with_users=True))
    for step in planned.steps[:steps]:
        world.apply(step)
    world.settle()

    assert converge(world) == volume_plan.VolumePlan()
    assert served(world) == expected(second)


@FREE
@hypothesis.given(desired_volumes(), desired_volumes(), st.sets(st.sampled_from("abcd")))
def test_no_claim_that_a_pod_uses_is_ever_deleted_and_its_pods_are_named(first, second, busy):
    world = Kubernetes(first, all_namespaces())
    converge(world)
    used = {key: ("pod-1",) for key in world.claims if key[0] in busy}
    world = Kubernetes(second, dataclasses.replace(world.observed(with_users=True), users=used))

    planned = converge(world)  # deleting one would raise in it

    kept = {key for key in used if key in world.claims}
    assert kept == set(used)
    stuck = {group.partition(".")[0] for group, _ in planned.problems}
    desired = {(p.namespace, p.claim) for p in volume_resources.desired_pairs(second, OWNER)}
    assert {key[0] for key in used if key not in desired} <= stuck
    assert all("delete pod pod-1" in problem.message for _, problem in planned.problems)


@FREE
@hypothesis.given(
    desired_volumes(),
    st.sets(st.sampled_from("abcd")),
    st.sampled_from(["claim", "volume", "both", "deleting claim", "deleting volume"]),
)
def test_what_the_user_deletes_comes_back(desired, hit, what):
    world = Kubernetes(desired, all_namespaces())
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
    assert served(world) == expected(desired)


@FREE
@hypothesis.given(desired_volumes(), st.sets(st.sampled_from(["aws-efs", *"abcd"])))
def test_a_volume_whose_reference_to_its_claim_was_removed_gets_it_back_and_stays(desired, hit):
    world = Kubernetes(desired, all_namespaces())
    converge(world)
    pods = dict.fromkeys(world.claims, ("pod-1",))
    world = Kubernetes(desired, dataclasses.replace(world.observed(with_users=True), users=pods))
    before = dict(world.volumes)
    for name, volume in before.items():
        if volume.namespace in hit:
            removed = dataclasses.replace(volume, claim="", claim_uid="", vacant=True)
            world.volumes[name] = removed

    converge(world)  # a volume that was deleted would stay in deletion

    assert world.volumes == before
    assert served(world) == expected(desired)


@FREE
@hypothesis.given(desired_volumes(), desired_volumes(), st.sampled_from(["Recycle", "Delete", ""]))
def test_no_claim_is_deleted_while_its_volume_has_another_policy_than_to_keep_the_data(
    first, second, policy
):
    world = Kubernetes(first, all_namespaces())
    converge(world)
    world = Kubernetes(second, world.observed(with_users=True))
    for name, volume in world.volumes.items():
        world.volumes[name] = dataclasses.replace(volume, policy=policy)
    converge(world)
    assert served(world) == expected(second)
    assert {volume.policy for volume in world.volumes.values()} == {"Retain"}


@pytest.mark.parametrize("terminating", [False, True], ids=["missing", "terminating"])
def test_a_missing_namespace_gets_no_step_but_the_others_do(terminating):
    desired = volume_resources.DesiredVolumes(
        SERVER, "1Gi", "1Gi", "aws-efs", ("a", "b"), "aws-efs", ()
    )
    found = {"b": volume_resources.ObservedNamespace("b")}
    if terminating:
        found["a"] = volume_resources.ObservedNamespace("a", terminating=True)

    planned = volume_plan.plan(desired, OWNER, volume_resources.ObservedVolumes(namespaces=found))

    assert "a" not in {step.group for step in planned.steps}
    assert "b" in {step.group for step in planned.steps}
    ((namespace, problem),) = planned.problems
    assert namespace == "a"
    assert isinstance(problem, problems.Waiting)


def test_a_foreign_namespace_of_our_name_is_left_alone():
    own = volume_resources.ObservedNamespace("aws-efs", ours=False)
    desired = volume_resources.DesiredVolumes(
        SERVER, "1Gi", "1Gi", "aws-efs", ("a",), "aws-efs", ()
    )

    planned = volume_plan.plan(desired, OWNER, all_namespaces(own))

    assert "aws-efs" not in {step.group for step in planned.steps}
    ((_, problem),) = planned.problems
    assert isinstance(problem, problems.Blocked)


def test_pods_are_not_observed_while_no_claim_must_be_deleted():
    desired = volume_resources.DesiredVolumes(
        SERVER, "1Gi", "1Gi", "aws-efs", ("a",), "aws-efs", ()
    )
    world = Kubernetes(desired, all_namespaces())
    converge(world)
    bigger = dataclasses.replace(desired, capacity="1Ti", claim_capacity="1Ti")
    assert not volume_plan.plan(bigger, OWNER, world.observed(with_users=False)).obsolete


@FREE
@hypothesis.given(desired_volumes())
def test_an_isolated_namespace_sees_its_own_directory_and_the_data_sets_only(desired):
    isolated = dataclasses.replace(desired, isolated=True)
    own, *others = volume_resources.desired_pairs(isolated, OWNER)
    assert own.path == "/"
    seen = {(pair.namespace, pair.path, pair.view) for pair in others}
    assert seen == {
        each
        for name in desired.namespaces
        for each in ((name, f"/namespaces/{name}", False), (name, "/datasets", True))
    }


@FREE
@hypothesis.given(desired_volumes(), desired_volumes())
def test_planning_our_jobs_pair_alone_touches_no_other(first, second):
    world = Kubernetes(first, all_namespaces())
    converge(world)
    observed = world.observed(with_users=True)
    planned = volume_plan.plan(second, OWNER, observed, own_only=True)
    assert {step.group for step in planned.steps} <= {OWNER.application}


@pytest.mark.parametrize(
    ("written", "size"),
    [("", 0), ("1Ti", 1 << 40), ("1024Gi", 1 << 40), ("1e3", 1000), ("1500m", 1), ("5", 5)],
)
def test_quantities_are_compared_as_kubernetes_means_them(written, size):
    assert volume_plan.size(written) == size
