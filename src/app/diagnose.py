"""Run diagnose: gather what a bug report needs in one text, whatever cannot be reached."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import problems

if TYPE_CHECKING:
    import identity
    import polling
    from app import reconcile
    from aws import inventory
    from cluster import client

# A unit that is not the leader imports neither the client of AWS nor that of the cluster.

# All parts at their largest fit into a result, so that none is lost.
MOST_LINES = 45
LONGEST_LINE_BYTES = 300
# A mistake may put a secret into these.
HIDDEN_OPTIONS = frozenset({"credentials", "job-labels", "pod-annotations", "pod-labels"})

Section = Callable[[], Iterator[str]]
_Seen = TypeVar("_Seen")


def of_follower(
    about: Mapping[str, str], options: Mapping[str, object], leader: str
) -> dict[str, str]:
    """Return what a unit that is not the leader knows: it asks neither AWS nor the cluster.

    Args:
        about: Versions and the record, by name.
        options: The options as they are, valid or not.
        leader: The unit that asks them.
    """
    parts = [_part(title, section) for title, section in _own_parts(about, options).items()]
    parts.append(f"AWS and the cluster:\n  only the leader asks them: run diagnose on {leader}")
    return {"report": "\n".join(parts)}


def report(
    about: Mapping[str, str],
    options: Mapping[str, object],
    *,
    context: Callable[[], reconcile.Context],
    access: Callable[[], identity.ClusterAccess],
    owner: identity.Owner,
    patience: polling.Patience,
) -> dict[str, str]:
    """Return the report as an action's results; a part that cannot be seen says why.

    Args:
        about: Versions and the record, by name.
        options: The options as they are, valid or not.
        context: Return the inputs of a reconcile, or raise a problem.
        access: Return the address and credentials of the cluster, or raise a problem.
        owner: The application.
        patience: The time for late answers.
    """
    from aws import inventory
    from cluster import client, summary

    inputs = _once(context)
    standing = _once(lambda: inventory.observe(inputs().aws, inputs().key))
    sections: dict[str, Section] = {
        **_own_parts(about, options),
        "AWS": lambda: _aws(inputs(), standing),
    }
    parts = [_part(title, section) for title, section in sections.items()]
    try:
        with client.Cluster(access(), owner, patience) as cluster:
            seen: dict[str, Section] = {
                "nodes": lambda: summary.nodes(cluster),
                "volumes and claims": lambda: summary.volumes(cluster),
                "others that use the file system": lambda: _others(cluster, standing()),
                "jobs": lambda: summary.jobs(cluster),
                "last events": lambda: summary.events(cluster),
            }
            parts += [_part(title, section) for title, section in seen.items()]
    except problems.Problem as problem:
        parts.append(f"cluster:\n  {_short(f'cannot be seen: {problem.message}')}")
    return {"report": "\n".join(parts)}


def _own_parts(about: Mapping[str, str], options: Mapping[str, object]) -> dict[str, Section]:
    """Return the parts that every unit knows by itself."""
    return {
        "application": lambda: _named({**about, "python": platform.python_version()}),
        "options": lambda: _named({name: _shown(name, options[name]) for name in sorted(options)}),
    }


def _once(look: Callable[[], _Seen]) -> Callable[[], _Seen]:
    """Return a look that is taken once; what it saw, or its problem, is repeated."""
    seen: list[_Seen | problems.Problem] = []

    def repeat() -> _Seen:
        if not seen:
            try:
                seen.append(look())
            except problems.Problem as problem:
                seen.append(problem)
        (first,) = seen
        if isinstance(first, problems.Problem):
            raise first
        return first

    return repeat


def _part(title: str, section: Section) -> str:
    lines: list[str] = []
    try:
        for line in section():
            if len(lines) == MOST_LINES:
                lines.append("... more are left out")
                break
            lines.append(_short(line))
    except problems.Problem as problem:
        lines.append(_short(f"cannot be seen: {problem.message}"))
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines or ["none"])])


def _short(line: str) -> str:
    text = problems.printable(" ".join(line.split())).encode()
    if len(text) <= LONGEST_LINE_BYTES:
        return text.decode()
    return text[: LONGEST_LINE_BYTES - 3].decode(errors="ignore") + "..."


def _named(values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        yield f"{name}: {value}"


def _shown(name: str, value: object) -> str:
    if name in HIDDEN_OPTIONS:
        return "set, not shown" if value else ""
    return str(value)


def _aws(context: reconcile.Context, look: Callable[[], inventory.Inventory]) -> Iterator[str]:
    yield f"region {context.aws.region}"
    standing = look()
    if system := standing.file_system:
        kind = "adopted" if context.key.adopted_id else "own"
        yield (
            f"{kind} file system {system.id} {system.life_cycle}, {system.performance_mode}, "
            f"{system.throughput}, {system.size_bytes:,} bytes {system.zone}"
        )
    for target in standing.own_targets:
        yield f"mount target {target.id} {target.zone} {target.address} {target.life_cycle}"
    for group in standing.groups:
        rules = ", ".join(sorted(rule.describe() for rule in group.rules))
        yield f"security group {group.id} in {group.vpc_id}: {rules}"
    for target in standing.other_targets:
        yield f"not touched: mount target {target.id} {target.zone} {target.life_cycle}"
    for group in standing.look_alikes:
        yield f"not touched: security group {group.id} in {group.vpc_id}"


def _others(cluster: client.Cluster, standing: inventory.Inventory) -> Iterator[str]:
    from cluster import file_system_users

    if standing.file_system:
        id_ = standing.file_system.id
        users = file_system_users.observe(cluster, id_, standing.target_addresses)
        yield from (f"not touched: {each}" for each in users.foreign())
