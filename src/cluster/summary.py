"""Summarise in lines what is ours in the cluster, for people who read a bug report. Read only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lightkube.resources import core_v1

from cluster import client, objects, ownership
from cluster.jobs import job_observe

MOST_EVENTS = 20


def nodes(cluster: client.Cluster) -> Iterator[str]:
    """Yield a line for each node; those that take no pods first, since a report is bounded."""
    for node in sorted(cluster.nodes(), key=lambda node: not node.closed):
        state = f"{node.closed or 'ready'}, zone {node.zone or '?'}"
        yield f"{node.name} {state}, {node.address} {node.instance_id}"


def volumes(cluster: client.Cluster) -> Iterator[str]:
    """Yield a line for each volume and claim of ours."""
    mark = ownership.mark(cluster.owner)
    for volume in cluster.select(core_v1.PersistentVolume, mark):
        phase = volume.status.phase if volume.status else ""
        yield f"{objects.title(type(volume), objects.name(volume))} {phase}"
    for claim in cluster.select(core_v1.PersistentVolumeClaim, mark):
        phase = claim.status.phase if claim.status else ""
        namespace = objects.meta(claim).namespace or ""
        yield f"{objects.title(type(claim), objects.name(claim), namespace)} {phase}"


def jobs(cluster: client.Cluster) -> Iterator[str]:
    """Yield a line for each of our Jobs, with its cause; those that have not succeeded first."""
    observed = job_observe.observe_all(cluster)
    for job in sorted(observed, key=lambda job: job.phase == job_observe.SUCCEEDED):
        reason = "" if job.phase == job_observe.SUCCEEDED else job.reason
        yield f"{job.name} {job.phase}{': ' if reason else ''}{reason}"


def events(cluster: client.Cluster) -> Iterator[str]:
    """Yield the last warnings of our namespace."""
    if not cluster.check_namespace():
        return
    warnings = cluster.select(
        core_v1.Event, {}, namespace=cluster.namespace, fields={"type": "Warning"}
    )
    for event in _latest(warnings):
        where = f"{event.involvedObject.kind} {event.involvedObject.name}"
        yield f"{objects.event_time(event)} {where}: {event.reason}: {event.message or ''}"


def _latest(warnings: Sequence[core_v1.Event]) -> list[core_v1.Event]:
    return sorted(warnings, key=objects.event_time)[-MOST_EVENTS:]
