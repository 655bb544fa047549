"""Report the nodes that have not mounted the volume: what is so, and what to do about it."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import problems
from cluster import nodes, pod_mounts
from cluster.jobs import job_observe

# A status has 120 characters, and the longest fix takes 80 of them.
_LONGEST_NAME = 24


@dataclasses.dataclass(frozen=True)
class UnprovenNode:
    """A node that was not proven.

    Attributes:
        node: The node.
        job: Its probe; None where it was not started yet.
        zone: Its zone; "" if unknown.
        needed: Whether it has to mount the volume.
    """

    node: nodes.Node
    job: job_observe.ObservedJob | None
    zone: str
    needed: bool


@dataclasses.dataclass(frozen=True)
class NodeReport:
    """What is told of the nodes that were not proven.

    Attributes:
        problems: The problems, those of many nodes first.
        unserved: The nodes that need not mount the volume, each with the reason why it cannot.
    """

    problems: tuple[problems.Problem, ...]
    unserved: Mapping[str, str]


def report(
    namespace: str, failures: Sequence[UnprovenNode], zones: Iterable[str], *, proven: bool
) -> NodeReport:
    """Return the problems of nodes; one problem for all nodes that have the same one.

    Args:
        namespace: The namespace of our Jobs.
        failures: The nodes that were not proven.
        zones: The zones with a proven node: other nodes of them may have no room for a pod.
        proven: Whether any node is proven. If none is, each one's failure is a problem.
    """
    needed = [each for each in failures if each.needed] or ([] if proven else list(failures))
    optional = [each for each in failures if each not in needed and each.job and each.job.cause]
    zones, grouped = set(zones), collections.defaultdict[tuple[bool, str], list[str]](list)
    pending = 0
    for each in needed:
        if each.job is None:
            pending += 1
        elif not (each.zone in zones and has_no_room(each.job)):
            blocked = bool(each.job.cause and each.job.cause.blocked)
            grouped[blocked, _text(namespace, each)].append(each.node.name)
    found: list[problems.Problem] = []
    for (blocked, text), names in sorted(grouped.items(), key=lambda item: -len(item[1])):
        kind = problems.Blocked if blocked else problems.Waiting
        found.append(kind(f"{format_nodes(names)}: {text}"))
    if pending:
        found.append(
            problems.Waiting(f"{pending} nodes are still to be probed: update-status continues")
        )
    unserved = {each.node.name: _text(namespace, each) for each in optional}
    return NodeReport(tuple(found), unserved)


def no_node(all_nodes: Iterable[nodes.Node]) -> problems.Waiting:
    """Return the problem that no node takes pods in a zone with a mount target.

    Args:
        all_nodes: The cluster's nodes.
    """
    states = collections.Counter(node.closed or "in a zone without" for node in all_nodes)
    if not states:
        return problems.Waiting("no ready node, the cluster has none at all: add a worker")
    counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return problems.Waiting(
        f"no ready node in a zone with a mount target ({counted}): see kubectl get nodes"
    )


def has_no_room(job: job_observe.ObservedJob) -> bool:
    """Tell whether the scheduler finds no room for a probe on its node.

    Args:
        job: The probe.
    """
    return job.cause is not None and job.cause.unscheduled


def format_nodes(names: Sequence[str]) -> str:
    """Return nodes as a message names them: the first one, and the number of others.

    Args:
        names: Their names.
    """
    first = short_name(min(names))
    if len(first) > _LONGEST_NAME:
        first = f"{first[: _LONGEST_NAME - 1]}…"
    return f"{first} +{len(names) - 1}" if len(names) > 1 else first


def short_name(node: str) -> str:
    """Return a node's name without its domain.

    Args:
        node: The name: a host name, or an address.
    """
    host = node.partition(".")[0]
    return node if host.isdecimal() else host


def _text(namespace: str, failure: UnprovenNode) -> str:
    job = failure.job
    if job is None or job.cause is None:
        missing = "written to" if job and job.phase == job_observe.RUNNING else "mounted"
        return f"the probe has not {missing} the volume yet"
    if job.phase == job_observe.FAILED:
        return f"{' '.join(job.reason.split())}; see kubectl -n {namespace} logs job/{job.name}"
    if job.cause.about_node == pod_mounts.no_client():
        return pod_mounts.no_client(failure.node.application)
    text = job.cause.about_node or job.cause.sentence.removeprefix(f"{failure.node.name} ")
    return " ".join(text.split())
