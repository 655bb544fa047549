"""Plans for generated states of AWS: steps are applied until none is left."""

from __future__ import annotations

import dataclasses

import hypothesis
import hypothesis.strategies as st
import pytest

import identity
import problems
from aws import (
    adoption,
    diagnosis,
    network,
    ownership,
    placement,
    plan,
    resources,
    security_groups,
    steps,
)

OWNER = identity.Owner("6a1ff4ef-7a51-4a3c-8d6d-6a3cf1a0a001", "aws-efs")
VPC = "vpc-here"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
SUBNETS = tuple(
    network.Subnet(f"subnet-{number}", ZONES[number % 3], f"10.0.{number}.0/24", free=100)
    for number in range(6)
)


def make_desired(
    *, option: str = "", known_id: str = "", adopted: bool = False, **changes: object
) -> resources.DesiredFileSystem:
    record = resources.ResourceRecord(known_id, adopted=adopted)
    plain = resources.DesiredFileSystem(
        key=resources.ResourceKey(OWNER, option, record),
        performance_mode="generalPurpose",
        throughput_mode="elastic",
        encrypted=True,
        kms_key="",
        tags={},
        vpc_id="",
        allow_cidrs=frozenset(),
        addresses=frozenset(),
        instance_ids=frozenset(),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def make_network(**changes: object) -> network.Network:
    plain = network.Network(
        vpc_id=VPC,
        subnets=SUBNETS,
        group=None,
        dns_support=True,
        dns_hostnames=True,
        instances=(),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def file_system(**changes: object) -> resources.FileSystem:
    plain = resources.FileSystem(
        id="fs-1",
        account_id="111111111111",
        life_cycle="available",
        performance_mode="generalPurpose",
        throughput_mode="elastic",
        encrypted=True,
        kms_key="",
        size_bytes=6144,
        tags=ownership.tags(OWNER, {}),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def mount_target(zone: str, subnet_id: str, **changes: object) -> resources.MountTarget:
    plain = resources.MountTarget(
        id=f"fsmt-{zone}",
        zone=zone,
        subnet_id=subnet_id,
        vpc_id=VPC,
        address="10.0.0.9",
        life_cycle="available",
        interface_id=f"eni-{zone}",
        groups=frozenset({"sg-1"}),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def group(**changes: object) -> security_groups.SecurityGroup:
    plain = security_groups.SecurityGroup(
        id="sg-1",
        vpc_id=VPC,
        name=ownership.group_name(OWNER),
        description=ownership.GROUP_DESCRIPTION,
        tags=ownership.group_tags(OWNER, {}, ()),
        rules=frozenset(),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def after(before: resources.ObservedFileSystem, step: steps.Step) -> resources.ObservedFileSystem:  # noqa: PLR0911
    """Return the state after a step."""
    network_ = before.network
    match step:
        case steps.CreateFileSystem():
            made = file_system(
                life_cycle="creating",
                performance_mode=step.performance_mode,
                throughput_mode=step.throughput_mode,
                encrypted=step.encrypted,
                kms_key=step.kms_key,
                zone=step.zone,
                tags=dict(step.tags),
            )
            new = {"backup": step.backup or "false", "lifecycle": "none"}
            policies = resources.ObservedPolicies(new)
            return dataclasses.replace(before, file_system=made, policies=policies)
        case steps.ChangeThroughput():
            assert before.file_system
            changed = dataclasses.replace(before.file_system, throughput_mode=step.mode)
            return dataclasses.replace(before, file_system=changed)
        case steps.PutBackupPolicy():
            assert before.file_system and before.file_system.life_cycle == "available"
            seen = {**before.policies.seen, "backup": step.words}
            return dataclasses.replace(before, policies=resources.ObservedPolicies(seen))
        case steps.PutLifecycleConfiguration():
            assert before.file_system and before.file_system.life_cycle == "available"
            assert "archive=" not in step.words or before.file_system.throughput_mode == "elastic"
            seen = {**before.policies.seen, "lifecycle": step.words}
            return dataclasses.replace(before, policies=resources.ObservedPolicies(seen))
        case steps.CreateMountTarget():
            assert before.file_system and before.file_system.life_cycle == "available"
            assert step.zone not in {target.zone for target in before.mount_targets}
            made_target = mount_target(
                step.zone,
                step.subnet_id,
                life_cycle="creating",
                groups=frozenset({step.group_id}),
            )
            return dataclasses.replace(before, mount_targets=(*before.mount_targets, made_target))
        case steps.SetGroups():
            targets = tuple(
                dataclasses.replace(target, groups=frozenset(step.groups))
                if target.id == step.mount_target_id
                else target
                for target in before.mount_targets
            )
            return dataclasses.replace(before, mount_targets=targets)
        case steps.Tag() if step.resource_id == "fs-1":
            assert before.file_system
            tags = {**before.file_system.tags, **dict(step.tags)}
            tagged = dataclasses.replace(before.file_system, tags=tags)
            return dataclasses.replace(before, file_system=tagged)
        case steps.Untag() if step.resource_id == "fs-1":
            assert before.file_system
            tags = {k: v for k, v in before.file_system.tags.items() if k not in step.keys}
            tagged = dataclasses.replace(before.file_system, tags=tags)
            return dataclasses.replace(before, file_system=tagged)
        case _:
            assert network_
            changed_network = dataclasses.replace(network_, group=after_on_group(network_, step))
            return dataclasses.replace(before, network=changed_network)


def after_on_group(before: network.Network, step: steps.Step) -> security_groups.SecurityGroup:
    if isinstance(step, steps.CreateGroup):
        assert before.group is None
        return group(vpc_id=step.vpc_id, tags=dict(step.tags))
    assert before.group
    rules, tags = before.group.rules, before.group.tags
    match step:
        case steps.Allow():
            rules |= {security_groups.Rule.nfs(cidr) for cidr in step.cidrs}
        case steps.Revoke():
            assert set(step.rules) <= rules
            rules -= set(step.rules)
        case steps.Tag():
            tags = {**tags, **dict(step.tags)}
        case steps.Untag():
            tags = {key: value for key, value in tags.items() if key not in step.keys}
        case _:
            raise AssertionError(step)
    return dataclasses.replace(before.group, rules=rules, tags=tags)


def settled(world: resources.ObservedFileSystem) -> resources.ObservedFileSystem:
    """Return the state after AWS has finished its pending work."""
    found = world.file_system
    targets = [
        dataclasses.replace(target, life_cycle="available")
        for target in world.mount_targets
        if target.life_cycle != "deleting"
    ]
    return dataclasses.replace(
        world,
        file_system=found and dataclasses.replace(found, life_cycle="available"),
        mount_targets=tuple(targets),
    )


def converged(
    desired: resources.DesiredFileSystem, world: resources.ObservedFileSystem
) -> resources.ObservedFileSystem:
    """Apply plans until one is empty; a dozen rounds are more than enough."""
    for _ in range(12):
        planned = plan.plan(desired, world)
        if not planned and not plan.is_pending(world):
            return world
        for step in planned:
            world = after(world, step)
        world = world if planned else settled(world)
    raise AssertionError(f"plans do not end: {planned}")


USER_TAGS = st.dictionaries(
    st.sampled_from(["Name", "team", "cost centre", "juju-model-uuid", "aws-efs/state", "aws:x"]),
    st.text(max_size=3),
)
ADDRESSES = st.frozensets(
    st.builds("10.0.{}.{}".format, st.integers(0, 7), st.integers(4, 250)), min_size=1, max_size=8
)
RULES = st.frozensets(
    st.builds(
        security_groups.Rule,
        st.sampled_from(["tcp", "udp", "-1"]),
        st.sampled_from([22, 2049, None]),
        st.sampled_from([2049, None]),
        st.sampled_from(["0.0.0.0/0", "::/0", "sg-other", "pl-1", *(s.cidr for s in SUBNETS)]),
    ),
    max_size=6,
)


@st.composite
def worlds(draw: st.DrawFn) -> resources.ObservedFileSystem:
    subnets = tuple(
        dataclasses.replace(subnet, free=draw(st.sampled_from([0, 1, 100])))
        for subnet in SUBNETS[: draw(st.integers(1, 6))]
    )
    tags = ownership.tags(OWNER, draw(USER_TAGS))
    zones = draw(st.none() | st.sets(st.sampled_from(ZONES)))
    group_tags = tags if zones is None else {**tags, ownership.ZONES_TAG: " ".join(zones)}
    old_group = draw(st.none() | st.builds(lambda r: group(rules=r, tags=group_tags), RULES))
    life_cycle = draw(st.sampled_from(["creating", "available", "updating"]))
    found = draw(st.none() | st.just(file_system(life_cycle=life_cycle, tags=tags)))
    targets: list[resources.MountTarget] = []
    if found:
        for zone in draw(st.sets(st.sampled_from(ZONES))):
            groups = draw(st.sampled_from([{"sg-1"}, {"sg-user"}, set[str](), None]))
            life = draw(st.sampled_from(["creating", "available", "deleting"]))
            subnet_id = draw(st.sampled_from([s.id for s in SUBNETS if s.zone == zone]))
            kept = None if groups is None else frozenset(groups)
            targets.append(mount_target(zone, subnet_id, life_cycle=life, groups=kept))
    return resources.ObservedFileSystem(
        found, tuple(targets), make_network(subnets=subnets, group=old_group)
    )


@hypothesis.given(worlds(), ADDRESSES, USER_TAGS)
def test_from_any_state_of_ours_the_plans_end_in_the_desired_state(
    world: resources.ObservedFileSystem, addresses: frozenset[str], tags: dict[str, str]
) -> None:
    desired = make_desired(addresses=addresses, tags=tags)

    end = converged(desired, world)

    assert end.file_system and end.network and end.network.group
    used = placement.place(desired, end.network, end.mount_targets).used
    zones = [target.zone for target in end.mount_targets]
    assert len(zones) == len(set(zones))
    free = {subnet.zone for subnet in end.network.subnets if subnet.free}
    assert {subnet.zone for subnet in used} & free <= set(zones)
    assert {security_groups.Rule.nfs(subnet.cidr) for subnet in used} <= end.network.group.rules
    for tagged in (end.file_system.tags, end.network.group.tags):
        assert ownership.is_ours(OWNER, tagged)
        assert ownership.tags(OWNER, tags).items() <= tagged.items()


@hypothesis.given(worlds(), ADDRESSES, ADDRESSES, USER_TAGS)
def test_what_exists_stays_whatever_units_come_and_go(
    world: resources.ObservedFileSystem,
    first: frozenset[str],
    second: frozenset[str],
    tags: dict[str, str],
) -> None:
    before = converged(make_desired(addresses=first, tags=tags), world)

    end = converged(make_desired(addresses=second), before)

    assert {target.subnet_id for target in before.mount_targets} <= {
        target.subnet_id for target in end.mount_targets
    }
    assert before.network and before.network.group and end.network and end.network.group
    served = {target.zone for target in before.mount_targets}
    cidrs = {subnet.cidr for subnet in end.network.subnets if subnet.zone in served}
    kept = {rule for rule in before.network.group.rules if rule.source in cidrs}
    assert kept <= end.network.group.rules


BACKUP = st.sampled_from(["", "true", "false"])


@hypothesis.given(worlds(), BACKUP, st.sampled_from(["true", "false", "enabling", ""]), BACKUP)
def test_policies_become_as_desired_unless_somebody_else_set_them_or_aws_is_changing_them(
    world: resources.ObservedFileSystem, wanted: str, seen: str, set_before: str
) -> None:
    shown = resources.ObservedPolicies({"backup": seen} if seen else {})
    world = dataclasses.replace(world, policies=shown)
    plain = make_desired(policies={"backup": wanted} if wanted else {})
    record = resources.ResourceRecord(policies_set={"backup": set_before})
    desired = dataclasses.replace(plain, key=dataclasses.replace(plain.key, record=record))

    end = converged(desired, world)

    if world.file_system is None:
        assert end.policies.seen["backup"] == (wanted or "false")
    elif not wanted or not seen or seen == "enabling" or set_before == wanted:
        assert end.policies == shown
    else:
        assert end.policies.seen["backup"] == wanted


@hypothesis.given(
    worlds(),
    st.sampled_from(["elastic", "bursting"]),
    st.sampled_from(["ia=1d archive=7d", "none"]),
)
def test_a_lifecycle_follows_the_throughput_that_it_needs(
    world: resources.ObservedFileSystem, mode: str, seen: str
) -> None:
    shown = resources.ObservedPolicies({"lifecycle": seen})
    found = world.file_system and dataclasses.replace(world.file_system, throughput_mode=mode)
    world = dataclasses.replace(world, file_system=found, policies=shown)
    desired = make_desired(policies={"lifecycle": "archive=30d"})

    end = converged(desired, world)

    assert end.policies.seen["lifecycle"] == "archive=30d"
    assert end.file_system and end.file_system.throughput_mode == "elastic"


CIDRS = st.frozensets(st.sampled_from(["10.0.0.0/24", "10.20.0.0/16", "192.168.0.0/30"]))


@hypothesis.given(worlds(), ADDRESSES, CIDRS)
def test_the_group_lets_in_nothing_but_nfs_from_subnets_of_the_vpc_and_from_what_is_allowed(
    world: resources.ObservedFileSystem, addresses: frozenset[str], allowed: frozenset[str]
) -> None:
    end = converged(make_desired(addresses=addresses, allow_cidrs=allowed), world)

    assert end.network and end.network.group
    cidrs = {subnet.cidr for subnet in end.network.subnets} | allowed
    assert {security_groups.Rule.nfs(cidr) for cidr in allowed} <= end.network.group.rules
    for rule in end.network.group.rules:
        assert (rule.protocol, rule.from_port, rule.to_port) == ("tcp", 2049, 2049)
        assert rule.source in cidrs


@hypothesis.given(worlds(), ADDRESSES, USER_TAGS)
def test_no_step_ever_sets_a_tag_that_juju_deletes_by(
    world: resources.ObservedFileSystem, addresses: frozenset[str], tags: dict[str, str]
) -> None:
    end = converged(make_desired(addresses=addresses, tags=tags), world)

    assert end.file_system and end.network and end.network.group
    for tagged in (end.file_system.tags, end.network.group.tags):
        assert not [key for key in tagged if key.startswith(("juju-", "aws:"))]


@hypothesis.given(worlds(), ADDRESSES)
def test_the_same_state_is_always_planned_the_same_way(
    world: resources.ObservedFileSystem, addresses: frozenset[str]
) -> None:
    assert world.network
    turned = dataclasses.replace(
        world,
        network=dataclasses.replace(world.network, subnets=world.network.subnets[::-1]),
        mount_targets=world.mount_targets[::-1],
    )
    desired = make_desired(addresses=addresses)

    assert set(plan.plan(desired, world)) == set(plan.plan(desired, turned))


@hypothesis.given(st.uuids(), st.text(min_size=1, max_size=200), st.text(min_size=1))
def test_a_creation_token_is_short_and_one_applications_own(
    model: object, application: str, other: str
) -> None:
    token = ownership.creation_token(identity.Owner(str(model), application))

    assert len(token) <= 64
    assert token == ownership.creation_token(identity.Owner(str(model), application))
    hypothesis.assume(other != application)
    assert token != ownership.creation_token(identity.Owner(str(model), other))


def world_of(*targets: resources.MountTarget, **changes: object) -> resources.ObservedFileSystem:
    return resources.ObservedFileSystem(file_system(), targets, make_network(**changes))


def only(reported: list[problems.Problem]) -> str:
    (problem,) = reported
    assert len(problem.message) <= 120
    return problem.message


def test_without_units_only_the_file_system_is_planned() -> None:
    (step,) = plan.plan(make_desired(), resources.ObservedFileSystem(None))
    assert isinstance(step, steps.CreateFileSystem)
    assert step.token == ownership.creation_token(OWNER)


def test_a_mount_target_goes_to_the_units_subnet_that_has_free_addresses() -> None:
    full = tuple(dataclasses.replace(s, free=0 if s.id == "subnet-0" else 9) for s in SUBNETS)
    world = world_of(subnets=full, group=group())

    placed = placement.place(make_desired(addresses=frozenset({"10.0.0.7"})), world.network, ())  # type: ignore[arg-type]

    chosen = placed.new["us-east-1a"]
    assert chosen and chosen.id == "subnet-3"


def test_a_zone_without_free_addresses_is_reported_and_the_others_are_served() -> None:
    full = tuple(dataclasses.replace(s, free=0 if s.zone == ZONES[0] else 9) for s in SUBNETS)
    desired = make_desired(addresses=frozenset({"10.0.0.7", "10.0.1.7"}))
    end = converged(desired, world_of(subnets=full))

    assert [target.zone for target in end.mount_targets] == ["us-east-1b"]
    assert "us-east-1a: no subnet of vpc-here has a free address" in only(
        diagnosis.find_problems(desired, end)
    )


@pytest.mark.parametrize("zone", ["us-east-1-bos-1a", "us-east-1-wl1-bos-wlz-1"])
def test_a_zone_that_efs_does_not_serve_is_named_and_the_others_are_served(zone: str) -> None:
    subnets = tuple(
        dataclasses.replace(s, zone=zone) if s.zone == ZONES[0] else s for s in SUBNETS
    )
    desired = make_desired(addresses=frozenset({"10.0.0.7", "10.0.1.7"}))
    end = converged(desired, world_of(subnets=subnets))

    assert [target.zone for target in end.mount_targets] == ["us-east-1b"]
    message = only(diagnosis.find_problems(desired, end))
    assert message.startswith(f"{zone} is a Local or Wavelength Zone")
    assert len(message) <= 120


@pytest.mark.parametrize("zone", ["eusc-de-east-1a", "us-gov-west-1b", "ap-northeast-2d"])
def test_zones_of_all_partitions_are_served(zone: str) -> None:
    subnets = tuple(dataclasses.replace(s, zone=zone) for s in SUBNETS)
    end = converged(make_desired(addresses=frozenset({"10.0.0.7"})), world_of(subnets=subnets))
    assert [target.zone for target in end.mount_targets] == [zone]


def test_nodes_of_another_region_are_told_with_their_zone() -> None:
    with pytest.raises(
        problems.Blocked, match="nodes are in eu-west-1b, not in us-east-1"
    ) as told:
        placement.check_region("us-east-1", {"eu-west-1b", "eu-west-1c"}, ())
    assert len(told.value.message) <= 120
    here = network.Instance("i", VPC, "subnet", frozenset())
    placement.check_region("us-east-1", {"eu-west-1b"}, (here,))
    placement.check_region("us-east-1", {"eu-west-1b", "us-east-1a"}, ())
    placement.check_region("us-east-1", set(), ())


def test_machines_in_another_vpc_are_reported_and_do_not_choose_subnets_here() -> None:
    machines = (
        network.Instance("i-1", VPC, "subnet-0", frozenset({"10.0.0.7"})),
        network.Instance("i-2", "vpc-away", "subnet-x", frozenset({"10.0.1.7"})),
    )
    desired = make_desired(
        addresses=frozenset({"10.0.0.7", "10.0.1.7"}), instance_ids=frozenset({"i-1", "i-2"})
    )
    end = converged(desired, world_of(instances=machines))

    assert [target.zone for target in end.mount_targets] == ["us-east-1a"]
    reported = only(diagnosis.find_problems(desired, end))
    assert "vpc-away" in reported and VPC in reported


def test_addresses_in_no_subnet_are_named_where_no_machine_is_served() -> None:
    desired = make_desired(addresses=frozenset({"192.168.0.9", "node.example.com", "fd00::1"}))
    reported = only(diagnosis.find_problems(desired, world_of(group=group())))
    assert reported.startswith("192.168.0.9, node.example.com: in no subnet of vpc-here")


def test_addresses_in_no_subnet_are_no_problem_while_one_machine_is_served() -> None:
    # A node may have an address of IPv6 only, or none.
    addresses = frozenset({"10.0.0.7", "252.7.0.1", "192.168.0.9", "fd00::9", ""})
    desired = make_desired(addresses=addresses)
    end = converged(desired, world_of())
    assert diagnosis.find_problems(desired, end) == []
    assert end.network
    placed = plan.place(desired, end, end.network)
    assert placed.unplaced == ("192.168.0.9", "252.7.0.1")
    assert placed.zones == {"10.0.0.7": "us-east-1a"}


def test_a_nodes_instance_tells_where_it_is_whatever_its_address() -> None:
    machine = network.Instance("i-1", VPC, "subnet-1", frozenset({"10.0.1.7"}))
    desired = make_desired(
        addresses=frozenset({"252.7.0.1"}),
        instance_ids=frozenset({"i-1"}),
        node_instances={"252.7.0.1": "i-1"},
    )
    end = converged(desired, world_of(instances=(machine,)))
    assert end.network
    placed = plan.place(desired, end, end.network)
    assert (placed.unplaced, placed.zones) == ((), {"i-1": "us-east-1b"})
    assert [target.zone for target in end.mount_targets] == ["us-east-1b"]


def test_dns_flags_that_are_off_are_reported_with_the_command_that_sets_them() -> None:
    reported = diagnosis.find_problems(make_desired(), world_of(dns_hostnames=False))
    assert only(reported).endswith("modify-vpc-attribute --vpc-id vpc-here --enable-dns-hostnames")


def test_zones_that_wait_for_the_file_system_are_reported() -> None:
    world = dataclasses.replace(
        world_of(group=group()), file_system=file_system(life_cycle="updating")
    )
    reported = diagnosis.find_problems(make_desired(addresses=frozenset({"10.0.0.7"})), world)
    assert only(reported).startswith("us-east-1a: no mount target while fs-1 is updating")


def test_a_failed_mount_target_is_reported_and_not_replaced() -> None:
    target = mount_target("us-east-1a", "subnet-0", life_cycle="error")
    desired = make_desired(addresses=frozenset({"10.0.0.7"}))
    world = converged(desired, world_of(target))
    assert world.mount_targets == (target,)
    assert "delete-mount-target --mount-target-id fsmt-us-east-1a" in only(
        diagnosis.find_problems(desired, world)
    )


def test_tags_that_somebody_else_set_stay_and_those_of_a_former_configuration_go() -> None:
    present = {**ownership.tags(OWNER, {"team": "a", "old": "b"}), "auditor": "c"}
    world = resources.ObservedFileSystem(file_system(tags=present))

    end = converged(make_desired(tags={"team": "a2"}), world)

    assert end.file_system
    assert end.file_system.tags == {
        **ownership.tags(OWNER, {"team": "a2"}),
        "auditor": "c",
    }
    bare = converged(make_desired(), end).file_system
    assert bare and bare.tags == {**ownership.tags(OWNER, {}), "auditor": "c"}


def test_more_tags_than_fit_are_reported() -> None:
    many = {f"key-{number:02}": "x" for number in range(41)}
    value = ownership.tags(OWNER, many)["aws-efs/user-tags"]
    assert len(value) <= 256
    assert "tag key-40" in only(
        diagnosis.find_problems(make_desired(tags=many), resources.ObservedFileSystem(None))
    )


@pytest.mark.parametrize(
    ("change", "found", "message"),
    [
        ({"known_id": "fs-9"}, None, "fs-9 is gone from AWS: adopt a restored one"),
        ({"known_id": "fs-9"}, {}, "fs-9 is gone, fs-1 has its token: adopt it"),
        ({}, {"tags": {}}, "fs-1 has this application's name but not its tags"),
        ({}, {"life_cycle": "error"}, "fs-1 is in state error"),
        ({"known_id": "fs-1"}, {"life_cycle": "deleting"}, "fs-1 is in state deleting"),
        ({}, {"performance_mode": "maxIO"}, "generalPurpose but fs-1 was made with maxIO"),
        ({"zone": "us-east-1b"}, {}, "zone is us-east-1b but fs-1 was made with none"),
        ({}, {"zone": "us-east-1a"}, "zone is none but fs-1 was made with us-east-1a"),
        ({"encrypted": False}, {}, "encrypted is false but fs-1 was made with true"),
        ({"kms_key": "abc"}, {"kms_key": "arn:aws:kms:x:1:key/def"}, "kms-key is abc but"),
        ({}, {"tags": {**ownership.tags(OWNER, {}), "aws-efs/state": "tearing-down"}}, "teardown"),
    ],
)
def test_what_must_not_or_cannot_be_changed_blocks(
    change: dict[str, object], found: dict[str, object] | None, message: str
) -> None:
    world = resources.ObservedFileSystem(None if found is None else file_system(**found))
    with pytest.raises(problems.Blocked, match=message) as raised:
        plan.plan(make_desired(**change), world)
    assert len(raised.value.message) <= 120


def test_a_file_system_that_is_being_deleted_is_waited_for_when_none_is_on_record() -> None:
    with pytest.raises(problems.Waiting, match="fs-1 is being deleted"):
        plan.plan(make_desired(), resources.ObservedFileSystem(file_system(life_cycle="deleting")))


def test_a_key_may_be_given_by_its_id_its_arn_or_an_alias() -> None:
    arn = "arn:aws:kms:us-east-1:1:key/abc"
    for key in ("abc", arn, "alias/ours"):
        assert not plan.plan(
            make_desired(kms_key=key), resources.ObservedFileSystem(file_system(kms_key=arn))
        )


@pytest.mark.parametrize("tags", [{}, {**ownership.tags(OWNER, {}), "aws-efs/application": "b"}])
def test_a_foreign_group_with_our_name_blocks_with_its_id(tags: dict[str, str]) -> None:
    with pytest.raises(problems.Blocked, match="sg-1"):
        plan.plan(
            make_desired(addresses=frozenset({"10.0.0.7"})), world_of(group=group(tags=tags))
        )


def test_a_group_that_a_teardown_marked_blocks() -> None:
    marked = {**ownership.tags(OWNER, {}), "aws-efs/state": "tearing-down"}
    with pytest.raises(problems.Blocked, match="teardown of sg-1 began"):
        plan.plan(
            make_desired(addresses=frozenset({"10.0.0.7"})), world_of(group=group(tags=marked))
        )


@pytest.mark.parametrize(
    ("option", "mounted", "machines", "expected"),
    [
        ("", {"vpc-a"}, {"vpc-b"}, "vpc-a"),
        ("vpc-a", set(), {"vpc-b"}, "vpc-a"),
        ("", set(), {"vpc-b"}, "vpc-b"),
        ("vpc-b", {"vpc-a"}, set(), "vpc is vpc-b, mount targets are in vpc-a"),
        ("", set(), {"vpc-a", "vpc-b"}, "units are in vpc-a and vpc-b"),
        ("", set(), set(), "set the option vpc"),
    ],
)
def test_the_vpc_is_that_of_the_mount_targets_then_the_option_then_of_the_machines(
    option: str, mounted: set[str], machines: set[str], expected: str
) -> None:
    known = [network.Instance("i", vpc, "subnet", frozenset()) for vpc in machines]
    try:
        assert placement.choose_vpc(option, mounted, known) == expected
    except problems.Blocked as problem:
        assert expected in problem.message


def test_a_rule_is_sent_to_ec2_as_it_was_read() -> None:
    for source in ("10.0.0.0/24", "fd00::/64", "sg-2", "pl-3"):
        read = security_groups.Rule("tcp", 2049, 2049, source)
        assert security_groups.Rule.from_permission(read.to_permission()) == [read]
    # A group of a peered VPC in another account is known by its account, too.
    read = security_groups.Rule("tcp", 2049, 2049, "sg-2", "222222222222")
    assert security_groups.Rule.from_permission(read.to_permission()) == [read]


@hypothesis.given(worlds(), ADDRESSES, st.booleans())
def test_a_mount_target_of_somebody_else_is_never_changed(
    world: resources.ObservedFileSystem, addresses: frozenset[str], adopted: bool
) -> None:
    desired = make_desired(addresses=addresses, option="fs-1" if adopted else "")
    if adopted and not world.file_system:
        return
    assert world.network
    own = adoption.own_targets(desired.key, world.network.group, world.mount_targets)

    end = converged(desired, world)

    after_by_id = {target.id: target for target in end.mount_targets}
    for target in world.mount_targets:
        if target not in own and target.life_cycle != "deleting":
            assert after_by_id[target.id].groups == target.groups


@hypothesis.given(worlds(), ADDRESSES, USER_TAGS)
def test_an_adopted_file_system_is_never_created_tagged_or_changed(
    world: resources.ObservedFileSystem, addresses: frozenset[str], tags: dict[str, str]
) -> None:
    theirs = file_system(
        performance_mode="maxIO", throughput_mode="provisioned", encrypted=False, tags={"a": "b"}
    )
    world = dataclasses.replace(world, file_system=theirs)
    desired = make_desired(
        addresses=addresses, option="fs-1", tags=tags, kms_key="abc", policies={"backup": "true"}
    )
    shown = resources.ObservedPolicies({"backup": "false"})

    end = converged(desired, dataclasses.replace(world, policies=shown))

    assert end.file_system == theirs
    assert end.policies == shown


@hypothesis.given(worlds(), ADDRESSES, ADDRESSES, st.booleans())
def test_the_mount_targets_that_are_created_are_known_as_ours_afterwards(
    world: resources.ObservedFileSystem,
    first: frozenset[str],
    second: frozenset[str],
    adopted: bool,
) -> None:
    if adopted and not world.file_system:
        return
    before = {target.zone for target in world.mount_targets if target.life_cycle != "deleting"}
    option = "fs-1" if adopted else ""
    end = converged(make_desired(addresses=first, option=option), world)
    desired = make_desired(addresses=second, option=option)

    end = converged(desired, end)

    assert end.network
    own = adoption.own_targets(desired.key, end.network.group, end.mount_targets)
    created = {target.zone for target in end.mount_targets} - before
    assert created <= {target.zone for target in own}


def own(tags: dict[str, str], *targets: resources.MountTarget, option: str = "") -> set[str]:
    key = resources.ResourceKey(OWNER, option)
    return {t.zone for t in adoption.own_targets(key, group(tags=tags), targets)}


def test_a_mount_target_is_ours_by_the_zone_that_the_group_records_and_by_the_group_itself() -> (
    None
):
    ours = mount_target(ZONES[0], "subnet-0")
    lost = mount_target(ZONES[1], "subnet-1", groups=frozenset({"sg-user"}))
    given = mount_target(ZONES[2], "subnet-2", groups=frozenset({"sg-1", "sg-user"}))
    recorded = ownership.group_tags(OWNER, {}, ZONES[:2])
    # A user has added the charm's group to a mount target of theirs: it stays theirs.
    assert own(recorded, ours, lost, given) == set(ZONES[:2])
    assert own(recorded, ours, lost, given, option="fs-1") == {ZONES[0]}
    # Somebody has removed the record.
    assert own(ownership.tags(OWNER, {}), ours, lost, given) == {ZONES[0], ZONES[2]}


def test_a_one_zone_file_system_is_mounted_in_its_zone_and_the_others_are_named() -> None:
    world = dataclasses.replace(world_of(group=group()), file_system=file_system(zone=ZONES[0]))
    desired = make_desired(option="fs-1", addresses=frozenset({"10.0.0.7", "10.0.1.7"}))
    end = converged(desired, world)
    assert [target.zone for target in end.mount_targets] == [ZONES[0]]
    assert only(diagnosis.find_problems(desired, end)).startswith(
        "fs-1 is in us-east-1a only, not in us-east-1b: set the option server=address"
    )


@pytest.mark.parametrize("kind", ["one zone", "no free address", "a local zone"])
def test_a_zone_without_mount_target_is_no_problem_where_an_address_is_mounted(kind: str) -> None:
    changes = {
        "one zone": {},
        "no free address": {"free": 0},
        "a local zone": {"zone": "us-east-1-bos-1a"},
    }
    subnets = tuple(
        dataclasses.replace(each, **changes[kind]) if each.zone == ZONES[1] else each
        for each in SUBNETS
    )
    zone = ZONES[0] if kind == "one zone" else ""
    world = dataclasses.replace(world_of(subnets=subnets), file_system=file_system(zone=zone))
    addresses = frozenset({"10.0.0.7", "10.0.1.7"})
    desired = make_desired(option="fs-1", addresses=addresses, by_name=False)
    end = converged(desired, world)
    assert [target.zone for target in end.mount_targets] == [ZONES[0]]
    assert diagnosis.find_problems(desired, end) == []
    # An update, as of its security groups, does not affect who mounts it.
    (target,) = end.mount_targets
    updating = dataclasses.replace(target, life_cycle="updating")
    busy = dataclasses.replace(end, mount_targets=(updating,))
    assert only(diagnosis.find_problems(desired, busy)).startswith(
        "us-east-1a: mount target fsmt-us-east-1a is updating"
    )
    # Without any mount target there is no address either.
    if kind != "one zone":
        alone = dataclasses.replace(desired, addresses=frozenset({"10.0.1.7"}))
        assert only(diagnosis.find_problems(alone, converged(alone, world)))


def test_the_destination_of_a_replication_is_reported_as_read_only() -> None:
    world = resources.ObservedFileSystem(file_system(replica=True))
    assert "read-only" in only(diagnosis.find_problems(make_desired(option="fs-1"), world))


def rule(source: str, protocol: str = "tcp", first: int = 2049, last: int = 2049):
    return security_groups.Rule(protocol, first, last, source)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([], True),
        ([rule("10.0.0.0/24")], False),
        ([rule("10.0.0.0/16")], False),
        ([rule("10.0.0.0/25"), rule("10.0.0.128/25")], False),
        ([rule("10.0.0.0/25")], True),
        ([rule("10.0.1.0/24")], True),
        ([rule("10.0.0.0/16", first=0, last=65535)], False),
        ([rule("10.0.0.0/16", first=111, last=2048)], True),
        ([rule("10.0.0.0/16", "udp")], True),
        ([security_groups.Rule("-1", None, None, "0.0.0.0/0")], False),
        ([rule("::/0")], True),
        ([rule("pl-1")], False),
        ([rule("sg-node")], False),
        ([rule("sg-other")], True),
    ],
)
def test_an_existing_mount_target_that_does_not_let_the_subnet_in_is_told(
    rules: list[security_groups.Rule], told: bool
) -> None:
    theirs = security_groups.SecurityGroup("sg-2", VPC, "theirs", "", {}, frozenset(rules))
    machine = network.Instance(
        "i-1", VPC, "subnet-0", frozenset({"10.0.0.7"}), frozenset({"sg-node"})
    )
    target = mount_target(ZONES[0], "subnet-3", groups=frozenset({"sg-2"}))
    world = dataclasses.replace(
        world_of(target, group=group(), instances=(machine,)), other_groups={"sg-2": theirs}
    )
    found = diagnosis.find_problems(
        make_desired(option="fs-1", addresses=frozenset({"10.0.0.7"})), world
    )
    expected = "us-east-1a: sg-2 of its mount target does not allow tcp 2049 from 10.0.0.0/24"
    assert [each.message.startswith(expected) for each in found] == [True] * told


@pytest.mark.parametrize(
    ("option", "recorded", "adopted", "expected", "changed"),
    [
        ("", "", False, "", False),
        ("fs-b", "", False, "fs-b", False),
        ("", "fs-a", False, "", False),
        ("fs-a", "fs-a", False, "fs-a", False),
        ("fs-b", "fs-a", False, "", True),
        ("fs-b", "fs-b", True, "fs-b", False),
        ("", "fs-b", True, "fs-b", True),
        ("fs-c", "fs-b", True, "fs-b", True),
    ],
)
def test_a_record_counts_more_than_the_option(
    option: str, recorded: str, adopted: bool, expected: str, changed: bool
) -> None:
    key = make_desired(option=option, known_id=recorded, adopted=adopted).key
    assert (key.adopted_id, key.changed) == (expected, changed)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "no file system fs-1 in this account and region: correct file-system-id"),
        ({"life_cycle": "error"}, "fs-1 is in state error"),
        ({"life_cycle": "deleting"}, "fs-1 is in state deleting"),
        ({"tags": {"aws-efs/state": "tearing-down"}}, "fs-1 is marked by a teardown of its own"),
    ],
)
def test_what_cannot_be_adopted_blocks(found: dict[str, object] | None, message: str) -> None:
    world = resources.ObservedFileSystem(None if found is None else file_system(**found))
    with pytest.raises(problems.Blocked, match=message):
        plan.plan(make_desired(option="fs-1"), world)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "aws-efs-other"},
        {"description": "copied"},
        {"tags": {}},
        {"tags": {**ownership.tags(OWNER, {}), "aws-efs/model-uuid": "another"}},
    ],
)
def test_a_group_is_ours_by_name_description_and_tags_together(change: dict[str, object]) -> None:
    assert ownership.is_our_group(OWNER, group())
    assert not ownership.is_our_group(OWNER, group(**change))


def test_a_rule_is_described_in_words() -> None:
    described = [
        security_groups.Rule("tcp", 22, 22, "0.0.0.0/0").describe(),
        security_groups.Rule("udp", 1, 9, "sg-1").describe(),
        security_groups.Rule("-1", None, None, "::/0").describe(),
    ]
    assert described == ["tcp 22 from 0.0.0.0/0", "udp 1-9 from sg-1", "all traffic from ::/0"]


@pytest.mark.parametrize(
    ("address", "cidrs", "told"),
    [
        ("10.0.0.9", (), 1),
        ("10.0.0.9", ("::/0", "2001:db8::/64"), 1),
        ("10.0.0.9", ("::/0", "10.0.0.0/16"), 0),
        ("2001:db8::9", (), 0),
        ("2001:db8::9", ("10.0.0.0/16",), 0),
    ],
)
def test_rules_for_ipv4_are_asked_for_where_a_mount_target_has_an_ipv4_address(
    address: str, cidrs: tuple[str, ...], told: int
) -> None:
    rules = frozenset(map(security_groups.Rule.nfs, cidrs))
    theirs = group(id="sg-2", tags={}, rules=rules)
    target = mount_target(ZONES[0], "subnet-0", groups=frozenset({"sg-2"}), address=address)
    world = dataclasses.replace(world_of(target, group=group()), other_groups={"sg-2": theirs})
    desired = make_desired(option="fs-1", addresses=frozenset({"10.0.0.7"}))
    assert world.network
    placed = plan.place(desired, world, world.network)
    assert len(adoption.find_problems(desired, world, placed)) == told
