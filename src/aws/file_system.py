"""The file system with its security group and mount targets: look, plan, take the steps, wait.

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
from aws import errors, network, ownership, placement, plan, resources, steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import identity
    from aws import session

logger = logging.getLogger(__name__)

# How often a step is taken before it is held to be in vain. The pauses between grow to about two
# seconds together: what one call has made, the next may not see yet.
_TRIES = 4


@dataclasses.dataclass(frozen=True)
class FileSystemOutcome:
    """What there is now.

    Attributes:
        file_system_id: The file system.
        region: Where it is.
        dns_name: The name to mount it by, which each zone resolves to its own mount target.
        size_bytes: What AWS last metered.
        life_cycle: available, or updating, which mounts do not notice.
        addresses: The addresses of the mount targets that are available, by zone. This and the two
            below are empty where nobody was there to mount it.
        vpc_id: The VPC that it is mounted in.
        security_group_id: Our group there.
        problems: What is wrong and did not stop the rest.
    """

    file_system_id: str
    region: str
    dns_name: str
    size_bytes: int
    life_cycle: str
    addresses: Mapping[str, str]
    vpc_id: str
    security_group_id: str
    problems: tuple[problems.Problem, ...]

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones that have a mount target which is available."""
        return tuple(sorted(self.addresses))


def reconcile(
    aws: session.Aws, wanted: resources.DesiredFileSystem, *, timeout_seconds: float
) -> FileSystemOutcome:
    """Make AWS as wanted; nothing is written where it is so already.

    Each round looks at all there is and does what can be done now. That is also the whole answer
    to lost replies: whatever a call says, what counts is what the next look finds, and only what
    carries our tags is taken for ours.

    Args:
        aws: The region to do it in.
        wanted: What is asked for. Without units or nodes it is the file system alone.
        timeout_seconds: How long to wait for AWS to finish what it was asked for.

    Raises:
        problems.Waiting: The file system is not there yet, or AWS does not answer.
        problems.Blocked: It needs the user.
    """
    until = time.monotonic() + timeout_seconds
    taken: collections.Counter[steps.Step] = collections.Counter()
    given_up: dict[steps.Step, problems.Problem] = {}
    while True:
        observed = observe(aws, wanted)
        todo = [step for step in plan.plan(wanted, observed) if step not in given_up]
        if todo:
            given_up |= _apply_all(aws, todo, taken)
        elif plan.is_pending(observed) and time.monotonic() < until:
            settled = functools.partial(_is_settled, aws, wanted, observed)
            polling.poll(settled, bool, until - time.monotonic())
        else:
            return _outcome(aws, wanted, observed, tuple(given_up.values()))


def find(aws: session.Aws, owner: identity.Owner) -> resources.FileSystem | None:
    """Look for this application's file system, in one read.

    Raises:
        problems.Blocked: Somebody else's has our creation token.
    """
    found = _find_by_token(aws, owner)
    if found:
        ownership.check(owner, found.id, found.tags)
    return found


def list_mount_targets(aws: session.Aws, file_system_id: str) -> tuple[resources.MountTarget, ...]:
    """The file system's mount targets in the order of their zones, without their groups."""
    with errors.translated("look at the mount targets"):
        pages = aws.efs.get_paginator("describe_mount_targets").paginate(
            FileSystemId=file_system_id
        )
        found = [
            resources.MountTarget(
                id=target["MountTargetId"],
                zone=target.get("AvailabilityZoneName", ""),
                subnet_id=target["SubnetId"],
                vpc_id=target.get("VpcId", ""),
                address=target.get("IpAddress", ""),
                life_cycle=target["LifeCycleState"],
                interface_id=target.get("NetworkInterfaceId", ""),
                groups=None,
            )
            for page in pages
            for target in page["MountTargets"]
            if target["LifeCycleState"] != "deleted"
        ]
    return tuple(sorted(found, key=lambda target: target.zone))


def observe(aws: session.Aws, wanted: resources.DesiredFileSystem) -> resources.ObservedFileSystem:
    """Look at all that counts: one read without units, else eight and one a further page."""
    found = _find_by_token(aws, wanted.owner)
    if found is None:
        # A teardown that was cut short after the file system went has left its mark on the group.
        for group in network.find_own_groups(aws, wanted.owner):
            ownership.check_not_tearing_down(group.id, group.tags)
    if not wanted.mounted:
        return resources.ObservedFileSystem(found)
    targets = list_mount_targets(aws, found.id) if found else ()
    groups = network.read_interface_groups(
        aws, [target.interface_id for target in targets if target.interface_id]
    )
    machines = network.find_instances(
        aws, wanted.owner, instance_ids=wanted.instance_ids, addresses=wanted.addresses
    )
    vpc_id = placement.choose_vpc(wanted.vpc_id, {target.vpc_id for target in targets}, machines)
    return resources.ObservedFileSystem(
        file_system=found,
        mount_targets=tuple(
            dataclasses.replace(target, groups=groups.get(target.interface_id))
            for target in targets
        ),
        network=network.observe(aws, wanted.owner, vpc_id=vpc_id, instances=machines),
    )


def _find_by_token(aws: session.Aws, owner: identity.Owner) -> resources.FileSystem | None:
    with errors.translated("look for the file system"):
        answer = aws.efs.describe_file_systems(CreationToken=ownership.creation_token(owner))
    for found in answer["FileSystems"]:
        if found["LifeCycleState"] != "deleted":
            return resources.FileSystem(
                id=found["FileSystemId"],
                life_cycle=found["LifeCycleState"],
                performance_mode=found["PerformanceMode"],
                throughput_mode=found.get("ThroughputMode", "bursting"),
                encrypted=found.get("Encrypted", False),
                kms_key=found.get("KmsKeyId") or "",
                size_bytes=found["SizeInBytes"]["Value"],
                tags=ownership.from_list(found["Tags"]),
            )
    return None


def _apply_all(
    aws: session.Aws, todo: Sequence[steps.Step], taken: collections.Counter[steps.Step]
) -> dict[steps.Step, problems.Problem]:
    """Take the steps; those of the zones at the same time.

    Args:
        aws: The region.
        todo: The steps.
        taken: How often each has been taken before; counted on.

    Returns:
        The steps not to be tried again, and why; those only of which the rest does not depend.
    """
    repeats = max(taken[step] for step in todo)
    if repeats >= _TRIES:
        raise problems.Waiting(
            "AWS does not show yet what was changed: it goes on at the next update"
        )
    if repeats:
        polling.pause(repeats)
    apart = [step for step in todo if isinstance(step, steps.SEPARABLE)]
    for step in todo:
        if step in apart:
            continue
        taken[step] += 1
        if problem := _apply(aws, step):
            if errors.may_have_succeeded(problem) and taken[step] < _TRIES:
                logger.info("looking again: %s", problem.message)
                return {}
            raise problem
    taken.update(apart)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        attempt = functools.partial(_apply, aws)
        outcomes = dict(zip(apart, pool.map(attempt, apart), strict=True))
    return {
        step: problem
        for step, problem in outcomes.items()
        if problem and not (errors.may_have_succeeded(problem) and taken[step] < _TRIES)
    }


def _apply(aws: session.Aws, step: steps.Step) -> problems.Problem | None:
    try:
        step.take(aws)
    except problems.Problem as problem:
        return problem
    return None


def _is_settled(
    aws: session.Aws, wanted: resources.DesiredFileSystem, before: resources.ObservedFileSystem
) -> bool:
    """Whether AWS has done with what it was at work on, in one read."""
    found = before.file_system
    if found is None or plan.is_busy(found):
        return not plan.is_busy(_find_by_token(aws, wanted.owner))
    return not any(plan.is_busy(target) for target in list_mount_targets(aws, found.id))


def _outcome(
    aws: session.Aws,
    wanted: resources.DesiredFileSystem,
    observed: resources.ObservedFileSystem,
    told: tuple[problems.Problem, ...],
) -> FileSystemOutcome:
    found = observed.file_system
    if found is None or found.life_cycle == "creating":
        name = found.id if found else "the file system"
        raise problems.Waiting(f"{name} is being created in {aws.region}: the next update goes on")
    there = observed.network
    return FileSystemOutcome(
        file_system_id=found.id,
        region=aws.region,
        dns_name=aws.file_system_name(found.id),
        size_bytes=found.size_bytes,
        life_cycle=found.life_cycle,
        addresses={
            target.zone: target.address
            for target in observed.mount_targets
            if target.life_cycle == "available"
        },
        vpc_id=there.vpc_id if there else "",
        security_group_id=there.group.id if there and there.group else "",
        problems=(*told, *plan.find_problems(wanted, observed)),
    )
