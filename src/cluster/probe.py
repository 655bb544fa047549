"""Probe the volume in each zone: a Job mounts it, writes, and reads what other zones wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping

import polling
import problems
from cluster import client, nodes, objects
from cluster.jobs import job_lifecycle, job_observe, pod_options

KIND = "probe"
# The volume's root may be another user's, and its mode may keep all others out.
CAPABILITIES = ("DAC_OVERRIDE", "FOWNER")
_ZONE = "aws-efs/zone"
_SCRIPT = pathlib.Path(__file__).with_name("probe_script.py")


@dataclasses.dataclass(frozen=True)
class DesiredProbe:
    """The volume to probe, and where.

    Attributes:
        file_system_id: The file system.
        zones: The zones that have a mount target.
        mount_options: The volumes' NFS options.
        root_mode: The mode that the volume's root gets, in octal; "" to leave it as it is.
        namespaces: The namespaces that have a directory of their own.
        namespace_mode: The mode of these directories, in octal.
        image: An image with Python 3.9 or newer.
        options: What the application's options add to its Jobs.
    """

    file_system_id: str
    zones: tuple[str, ...]
    mount_options: tuple[str, ...]
    root_mode: str
    image: str
    namespaces: tuple[str, ...] = ()
    namespace_mode: str = ""
    options: pod_options.PodOptions = dataclasses.field(default_factory=pod_options.PodOptions)


@dataclasses.dataclass(frozen=True)
class ProbeOutcome:
    """The results of the probes.

    Attributes:
        proven: The zones in which a pod wrote and read back.
        problems: The problems of the other zones.
    """

    proven: tuple[str, ...]
    problems: tuple[problems.Problem, ...]


def reconcile(
    cluster: client.Cluster,
    desired: DesiredProbe,
    *,
    timeout_seconds: float,
) -> ProbeOutcome:
    """Run a probe in each zone that has ready nodes, and return the results.

    A probe runs again when the file system, the options, the mode, the image, its program or the
    ready nodes of its zone have changed. If all zones are proven, two calls are made and nothing
    is written.

    Args:
        cluster: The cluster.
        desired: The volume to probe, and where.
        timeout_seconds: The longest time to wait for the probes.
    """
    all_nodes = cluster.nodes()
    ready = {
        zone: [node for node in all_nodes if node.ready and node.zone == zone]
        for zone in desired.zones
    }
    names = {zone: _name(desired, zone, usable) for zone, usable in ready.items() if usable}
    if not names:
        no_node = problems.Waiting("no ready node in a zone with a mount target: add a worker")
        return ProbeOutcome(proven=(), problems=(no_node,))
    before = {job.name: job for job in job_observe.observe_phases(cluster, KIND)}
    for name, job in before.items():
        if name not in names.values() or job.phase == job_observe.FAILED:
            job_lifecycle.remove(cluster, name)
    for zone, name in names.items():
        if name not in before or before[name].phase == job_observe.FAILED:
            job_lifecycle.start(cluster, _job(desired, zone, name, ready[zone]))
    return _outcome(cluster, names, before, timeout_seconds)


def _name(desired: DesiredProbe, zone: str, ready: list[nodes.Node]) -> str:
    """Return the probe's name: another one as soon as something of it changes."""
    node_ages = sorted((node.name, node.created.isoformat()) for node in ready)
    options = list(desired.mount_options)
    # Another program may prepare the volume in another way.
    program = _SCRIPT.read_text(encoding="utf-8")
    inputs = [
        desired.file_system_id,
        options,
        desired.root_mode,
        desired.namespaces,
        desired.namespace_mode,
        desired.image,
        node_ages,
        program,
        dataclasses.asdict(desired.options),
    ]
    digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:8]
    return objects.make_name(KIND, zone, digest)


def _job(
    desired: DesiredProbe, zone: str, name: str, ready: list[nodes.Node]
) -> job_lifecycle.DesiredJob:
    return job_lifecycle.DesiredJob(
        name=name,
        kind=KIND,
        main=job_lifecycle.Container(
            name=KIND,
            image=desired.image,
            command=("python3", "-c", _SCRIPT.read_text(encoding="utf-8")),
            env={
                "PYTHONDONTWRITEBYTECODE": "1",
                "PROBE_ROOT": job_lifecycle.MOUNT_PATH,
                "PROBE_ROOT_MODE": desired.root_mode,
                "PROBE_NAMESPACES": " ".join(desired.namespaces),
                "PROBE_NAMESPACE_MODE": desired.namespace_mode,
                "PROBE_ZONE": zone,
                "PROBE_RUN": name,
            },
            capabilities=CAPABILITIES,
        ),
        file_system=desired.file_system_id,
        options=desired.options,
        labels={_ZONE: zone},
        retries=0,  # a failure is reported at once; the next reconcile tries again
        zone=zone,
        # The newest node was probed least.
        prefer_node=max(ready, key=lambda node: (node.created, node.name)).name,
    )


def _outcome(
    cluster: client.Cluster,
    names: Mapping[str, str],
    before: Mapping[str, job_observe.ObservedJob],
    timeout_seconds: float,
) -> ProbeOutcome:
    def observe() -> dict[str, job_observe.ObservedJob]:
        found = {job.name: job for job in job_observe.observe_phases(cluster, KIND)}
        for job in found.values():
            job_lifecycle.end_sidecars(cluster, job)
        return found

    def decided(observed: Mapping[str, job_observe.ObservedJob]) -> bool:
        return all(_decided(observed.get(name), before.get(name)) for name in names.values())

    observed = dict(before)
    if not decided(observed):
        observed = polling.poll(observe, decided, timeout_seconds)
    jobs = {zone: observed.get(name) for zone, name in names.items()}
    proven = [zone for zone, job in jobs.items() if job and job.phase == job_observe.SUCCEEDED]
    failures = [_problem(cluster, zone, jobs[zone]) for zone in jobs if zone not in proven]
    return ProbeOutcome(proven=tuple(sorted(proven)), problems=tuple(failures))


def _decided(now: job_observe.ObservedJob | None, before: job_observe.ObservedJob | None) -> bool:
    """Tell whether there is nothing left to wait for.

    The kubelet retries, and its last event may be older than the fix: a cause that was observed
    before counts only when it occurs again.
    """
    if now is None:
        return False
    if now.phase == job_observe.SUCCEEDED:
        return True
    if now.cause is None or not now.cause.blocked:
        return False
    if before is None or before.cause is None or not now.cause.stamp:
        return True
    return now.cause.stamp != before.cause.stamp


def _problem(
    cluster: client.Cluster, zone: str, job: job_observe.ObservedJob | None
) -> problems.Problem:
    if job is None:
        return problems.Waiting(f"zone {zone}: the probe's Job was deleted: it is made again")
    if job.phase == job_observe.FAILED:
        logs = f"kubectl -n {cluster.namespace} logs job/{job.name}"
        return problems.Blocked(f"zone {zone}: {' '.join(job.reason.split())}; see {logs}")
    if job.cause is None:
        missing = "written to" if job.phase == job_observe.RUNNING else "mounted"
        return problems.Waiting(f"zone {zone}: the probe has not {missing} the volume yet")
    kind = problems.Blocked if job.cause.blocked else problems.Waiting
    return kind(f"zone {zone}: {' '.join(job.cause.sentence.split())}")
