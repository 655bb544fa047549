"""Reconcile the file system, its security group and mount targets: observe, plan, apply, wait.

It deletes nothing.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import logging
import time
from typing import TYPE_CHECKING

import polling
import problems
from aws import (
    adoption,
    diagnosis,
    errors,
    inventory,
    lookup,
    network,
    ownership,
    placement,
    plan,
    policies,
    resources,
    security_groups,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aws import session

logger = logging.getLogger(__name__)

# The attempts that a step gets. The pauses between them grow to about two seconds together, since
# a call may not see yet what the call before it has created.
_MAX_ATTEMPTS = 4


@dataclasses.dataclass(frozen=True)
class FileSystemOutcome:
    """The file system after a reconcile.

    Attributes:
        file_system_id: The file system.
        account_id: The AWS account that owns it.
        region: Its region.
        dns_name: The host name to mount; each zone resolves it to its own mount target.
        size_bytes: The size that AWS last metered.
        life_cycle: available, or updating, which does not affect mounts.
        addresses: The addresses of the mount targets that can be mounted, by zone. This and the
            two below are empty where there are no units or nodes to mount it.
        vpc_id: The VPC of the mount targets.
        security_group_id: The charm's security group in that VPC.
        throughput: The throughput that the charm set last; "" where it set none.
        policies_set: The policies that the charm set last.
        policies: Its policies, as far as options ask for them.
        problems: The problems that did not stop the rest.
        machine_zones: The zones of units and nodes, by address and by instance.
        unplaced: The addresses of machines that are in no subnet of the VPC.
    """

    file_system_id: str
    account_id: str
    region: str
    dns_name: str
    size_bytes: int
    life_cycle: str
    addresses: Mapping[str, str]
    vpc_id: str
    security_group_id: str
    throughput: str
    policies_set: Mapping[str, str]
    policies: resources.ObservedPolicies
    problems: tuple[problems.Problem, ...]
    machine_zones: Mapping[str, str]
    unplaced: tuple[str, ...]

    @property
    def zones(self) -> tuple[str, ...]:
        """Return the zones that have an available mount target."""
        return tuple(sorted(self.addresses))


def reconcile(
    aws: session.Aws,
    desired: resources.DesiredFileSystem,
    *,
    timeout_seconds: float,
    tell: Callable[[str], None],
) -> FileSystemOutcome:
    """Bring AWS to the desired state; write nothing where it is in that state already.

    Each round observes everything and applies the steps that are possible now. This also copes
    with lost replies: whatever a call returned, only the next observation counts, and only
    resources with the charm's tags are treated as its own.

    Args:
        aws: The region.
        desired: The desired state. Without units or nodes it is the file system alone.
        timeout_seconds: The time that AWS gets to finish its work.
        tell: Called with what the user has to know once: rules of theirs that were removed.

    Raises:
        problems.Waiting: The file system is not there yet, or AWS does not answer.
        problems.Blocked: The user has to act.
    """
    try:
        return _reconcile(aws, desired, timeout_seconds, tell)
    except ownership.TeardownBegan:
        raise inventory.observe(aws, desired.key).interrupted() from None


def _reconcile(
    aws: session.Aws,
    desired: resources.DesiredFileSystem,
    timeout_seconds: float,
    tell: Callable[[str], None],
) -> FileSystemOutcome:
    deadline = time.monotonic() + timeout_seconds
    attempts: collections.Counter[steps.Step] = collections.Counter()
    failed: dict[steps.Step, problems.Problem] = {}
    while True:
        observed = observe(aws, desired)
        planned = plan.plan(desired, observed)
        failed |= {
            step: _unseen()
            for step in planned
            if isinstance(step, steps.POLICIES) and attempts[step] >= _MAX_ATTEMPTS
        }
        planned = [step for step in planned if step not in failed]
        if planned:
            failed |= _apply_all(aws, planned, attempts, tell)
        elif plan.is_pending(observed) and time.monotonic() < deadline:
            settled = functools.partial(_is_settled, aws, desired, observed)
            polling.poll(settled, bool, deadline - time.monotonic())
        else:
            outcome = _outcome(aws, desired, observed, tuple(failed.values()))
            _tell_throughput(desired, observed.file_system, tell)
            policies.tell_others(desired, observed.policies, tell)
            return outcome


def observe(
    aws: session.Aws, desired: resources.DesiredFileSystem
) -> resources.ObservedFileSystem:
    """Observe the resources: one API call without units, else eight, and one a further page.

    Policies cost one more for each of their options that is set, once an hour.
    """
    key = desired.key
    file_system = lookup.find(aws, key)
    adoption.check_option(aws, key, file_system)
    if file_system is None or (key.adopted_id and not desired.mounted):
        # A teardown that stopped has left its tag on the group, on nothing else.
        for group in inventory.find_own_groups(aws, key):
            ownership.check_not_tearing_down(group.id, group.tags)
    found = policies.observe(aws, desired, file_system)
    if not desired.mounted:
        return resources.ObservedFileSystem(file_system, policies=found)
    targets = lookup.list_mount_targets(aws, file_system.id) if file_system else ()
    machines = network.find_instances(
        aws, desired.owner, instance_ids=desired.instance_ids, addresses=desired.addresses
    )
    placement.check_region(aws.region, desired.node_zones, machines)
    vpc_id = placement.choose_vpc(desired.vpc_id, {target.vpc_id for target in targets}, machines)
    vpc = network.observe(aws, desired.owner, vpc_id=vpc_id, instances=machines)
    if key.adopted_id and vpc.group is None:
        inventory.check_group_on_record(aws, key)
    return resources.ObservedFileSystem(
        file_system=file_system,
        mount_targets=targets,
        network=vpc,
        other_groups=_other_groups(aws, key, vpc.group, targets),
        policies=found,
    )


def _other_groups(
    aws: session.Aws,
    key: resources.ResourceKey,
    group: security_groups.SecurityGroup | None,
    targets: Sequence[resources.MountTarget],
) -> dict[str, security_groups.SecurityGroup]:
    """Return the security groups of mount targets that the charm did not create."""
    ours = adoption.own_targets(key, group, targets)
    ids = {each for target in targets if target not in ours for each in target.groups or ()}
    if group:
        ids.discard(group.id)
    if not ids:
        return {}
    with errors.translated("look at the mount targets' security groups"):
        return {each.id: each for each in security_groups.find(aws, {"group-id": ids})}


def _apply_all(
    aws: session.Aws,
    planned: Sequence[steps.Step],
    attempts: collections.Counter[steps.Step],
    tell: Callable[[str], None],
) -> dict[steps.Step, problems.Problem]:
    """Apply the steps; those that do not depend on each other at the same time.

    Args:
        aws: The region.
        planned: The steps.
        attempts: The number of attempts of each step so far; updated here.
        tell: Called with the rules that were removed.

    Returns:
        The separable steps that are not retried, with their problems.

    Raises:
        problems.Problem: A step failed that the others depend on.
    """
    repeats = max(attempts[step] for step in planned)
    if repeats >= _MAX_ATTEMPTS:
        raise _unseen()
    if repeats:
        polling.pause(repeats)
    separable = [step for step in planned if isinstance(step, steps.SEPARABLE)]
    for step in planned:
        if step in separable:
            continue
        attempts[step] += 1
        problem = _apply(aws, step)
        uncertain = problem is not None and errors.may_have_succeeded(problem)
        if isinstance(step, steps.Revoke) and (problem is None or uncertain):
            tell(f"revoked {step.describe()} in {step.group_id}: see the option allow-cidrs")
        if problem is not None:
            if _is_worth_a_look(problem) and attempts[step] < _MAX_ATTEMPTS:
                logger.info("observing again: %s", problem.message)
                return {}
            raise problem
    attempts.update(separable)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        apply = functools.partial(_apply, aws)
        outcomes = dict(zip(separable, pool.map(apply, separable), strict=True))
    return {
        step: problem
        for step, problem in outcomes.items()
        if problem and not (_is_worth_a_look(problem) and attempts[step] < _MAX_ATTEMPTS)
    }


def _unseen() -> problems.Problem:
    return problems.Waiting(
        "AWS does not show the latest changes yet: the next update-status continues"
    )


def _is_worth_a_look(problem: problems.Problem) -> bool:
    """Return whether a failed step may have succeeded; where AWS is mute, the next event looks."""
    return errors.may_have_succeeded(problem) and not errors.is_timeout(problem)


def _apply(aws: session.Aws, step: steps.Step) -> problems.Problem | None:
    try:
        step.apply(aws)
    except problems.Problem as problem:
        return problem
    return None


def _is_settled(
    aws: session.Aws, desired: resources.DesiredFileSystem, before: resources.ObservedFileSystem
) -> bool:
    """Return whether AWS has finished the pending work, with one API call."""
    file_system = before.file_system
    if file_system is None or plan.is_busy(file_system):
        return not plan.is_busy(lookup.find(aws, desired.key))
    targets = lookup.list_mount_targets(aws, file_system.id, with_groups=False)
    return not any(plan.is_busy(target) for target in targets)


def _outcome(
    aws: session.Aws,
    desired: resources.DesiredFileSystem,
    observed: resources.ObservedFileSystem,
    failures: tuple[problems.Problem, ...],
) -> FileSystemOutcome:
    file_system = observed.file_system
    if file_system is None or file_system.life_cycle == "creating":
        name = file_system.id if file_system else "the file system"
        raise problems.Waiting(
            f"{name} is being created in {aws.region}: the next update-status continues"
        )
    vpc = observed.network
    placed = plan.place(desired, observed, vpc) if vpc else None
    return FileSystemOutcome(
        file_system_id=file_system.id,
        account_id=file_system.account_id,
        region=aws.region,
        dns_name=aws.file_system_name(file_system.id),
        size_bytes=file_system.size_bytes,
        life_cycle=file_system.life_cycle,
        addresses={
            target.zone: target.address
            for target in observed.mount_targets
            if target.mountable  # a volume's address should not change for an update
        },
        vpc_id=vpc.vpc_id if vpc else "",
        security_group_id=vpc.group.id if vpc and vpc.group else "",
        throughput=_throughput(desired, file_system),
        policies_set=policies.applied(desired, observed.policies),
        policies=observed.policies,
        problems=(*failures, *diagnosis.find_problems(desired, observed)),
        machine_zones=placed.zones if placed else {},
        unplaced=placed.unplaced if placed else (),
    )


def _throughput(desired: resources.DesiredFileSystem, file_system: resources.FileSystem) -> str:
    """Return the throughput that the charm set last, which what others set does not change."""
    if desired.key.adopted_id:
        return ""
    is_set = file_system.throughput == desired.throughput
    return desired.throughput if is_set else desired.key.record.throughput


def _tell_throughput(
    desired: resources.DesiredFileSystem,
    file_system: resources.FileSystem | None,
    tell: Callable[[str], None],
) -> None:
    if file_system is None or desired.key.adopted_id:
        return
    if plan.is_throughput_of_others(desired, file_system):
        tell(
            f"throughput was set to {file_system.throughput} by others, not {desired.throughput}: "
            "set throughput-mode to it"
        )
