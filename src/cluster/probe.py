"""Proves the volume zone by zone: a Job in each mounts it, writes, and reads what others wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping

import polling
import problems
from cluster import client, nodes, objects
from cluster.jobs import job_lifecycle, job_observe

KIND = "probe"
_ZONE = "aws-efs/zone"
_SCRIPT = pathlib.Path(__file__).with_name("probe_script.py")


@dataclasses.dataclass(frozen=True)
class DesiredProbe:
    """What is to be proven.

    Attributes:
        file_system_id: The file system.
        zones: The zones that have a mount target.
        mount_options: The volumes' NFS options.
        root_mode: The mode that the volume's root gets, in octal.
        image: An image with a Python from 3.9 on.
        environment: Further environment of the pods: proxies.
    """

    file_system_id: str
    zones: tuple[str, ...]
    mount_options: tuple[str, ...]
    root_mode: str
    image: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


@dataclasses.dataclass(frozen=True)
class ProbeOutcome:
    """What is proven.

    Attributes:
        proven: The zones in which a pod wrote and read back.
        problems: Why others are not.
    """

    proven: tuple[str, ...]
    problems: tuple[problems.Problem, ...]


def reconcile(
    cluster: client.Cluster,
    wanted: DesiredProbe,
    *,
    timeout_seconds: float,
) -> ProbeOutcome:
    """Have a probe for each zone that has ready nodes, and tell what they found.

    A probe runs anew when what it proved has changed: file system, options, mode, image, or the
    ready nodes of its zone. Where all is proven, it costs two calls and writes nothing.

    Args:
        cluster: The cluster.
        wanted: What is to be proven.
        timeout_seconds: How long to wait for the probes.
    """
    listed = cluster.nodes()
    ready = {
        zone: [node for node in listed if node.ready and node.zone == zone]
        for zone in wanted.zones
    }
    names = {zone: _name(wanted, zone, here) for zone, here in ready.items() if here}
    if not names:
        nowhere = problems.Waiting("no ready node in a zone with a mount target: add a worker")
        return ProbeOutcome(proven=(), problems=(nowhere,))
    before = {state.name: state for state in job_observe.observe_phases(cluster, KIND)}
    for name, state in before.items():
        if name not in names.values() or state.phase == job_observe.FAILED:
            job_lifecycle.remove(cluster, name)
    for zone, name in names.items():
        if name not in before or before[name].phase == job_observe.FAILED:
            job_lifecycle.start(cluster, _job(wanted, zone, name, ready[zone]))
    return _outcome(cluster, names, before, timeout_seconds)


def _name(wanted: DesiredProbe, zone: str, ready: list[nodes.Node]) -> str:
    """A name that another probe has as soon as there is something new to prove."""
    here = sorted((node.name, node.created.isoformat()) for node in ready)
    options = list(wanted.mount_options)
    proves = [wanted.file_system_id, options, wanted.root_mode, wanted.image, here]
    digest = hashlib.sha256(json.dumps(proves).encode()).hexdigest()[:8]
    return objects.make_name(KIND, zone, digest)


def _job(
    wanted: DesiredProbe, zone: str, name: str, ready: list[nodes.Node]
) -> job_lifecycle.DesiredJob:
    return job_lifecycle.DesiredJob(
        name=name,
        kind=KIND,
        main=job_lifecycle.Container(
            name=KIND,
            image=wanted.image,
            command=("python3", "-c", _SCRIPT.read_text(encoding="utf-8")),
            env={
                **wanted.environment,
                "PROBE_ROOT": job_lifecycle.MOUNT_PATH,
                "PROBE_ROOT_MODE": wanted.root_mode,
                "PROBE_ZONE": zone,
                "PROBE_RUN": name,
            },
        ),
        labels={_ZONE: zone},
        annotations={"aws-efs/file-system": wanted.file_system_id},
        retries=0,  # a failure is told at once, and the next reconcile tries again
        zone=zone,
        # The newest node is the one of which least is known.
        prefer_node=max(ready, key=lambda node: (node.created, node.name)).name,
    )


def _outcome(
    cluster: client.Cluster,
    names: Mapping[str, str],
    before: Mapping[str, job_observe.ObservedJob],
    timeout_seconds: float,
) -> ProbeOutcome:
    def look() -> dict[str, job_observe.ObservedJob]:
        return {state.name: state for state in job_observe.observe_phases(cluster, KIND)}

    def decided(seen: Mapping[str, job_observe.ObservedJob]) -> bool:
        return all(_decided(seen.get(name), before.get(name)) for name in names.values())

    seen = dict(before)
    if not decided(seen):
        seen = polling.poll(look, decided, timeout_seconds)
    found = {zone: seen.get(name) for zone, name in names.items()}
    proven = [
        zone for zone, state in found.items() if state and state.phase == job_observe.SUCCEEDED
    ]
    wrong = [_problem(cluster, zone, found[zone]) for zone in found if zone not in proven]
    return ProbeOutcome(proven=tuple(sorted(proven)), problems=tuple(wrong))


def _decided(now: job_observe.ObservedJob | None, before: job_observe.ObservedJob | None) -> bool:
    """Whether waiting longer would tell no more.

    The kubelet goes on trying, and its last word may be of before the mend: a cause that was
    there when we came is believed only when it is seen anew.
    """
    if now is None:
        return False
    if now.phase == job_observe.SUCCEEDED:
        return True
    if now.cause is None or not now.cause.blocked:
        return False
    return before is None or before.cause is None or now.cause.stamp != before.cause.stamp


def _problem(
    cluster: client.Cluster, zone: str, state: job_observe.ObservedJob | None
) -> problems.Problem:
    if state is None:
        return problems.Waiting(f"zone {zone}: its probe is gone: it starts again")
    if state.phase == job_observe.FAILED:
        logs = f"kubectl -n {cluster.namespace} logs job/{state.name}"
        return problems.Blocked(f"zone {zone}: {' '.join(state.why.split())}; see {logs}")
    if state.cause is None:
        done = "written to" if state.phase == job_observe.RUNNING else "mounted"
        return problems.Waiting(f"zone {zone}: the probe has not {done} the volume yet")
    kind = problems.Blocked if state.cause.blocked else problems.Waiting
    return kind(f"zone {zone}: {' '.join(state.cause.sentence.split())}")
