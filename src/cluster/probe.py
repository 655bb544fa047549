"""Probe the volume on each node: a pod mounts it, writes, and reads what other pods wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable, Mapping

import polling
import problems
from cluster import client, nodes, objects, probe_problems, probe_record
from cluster.jobs import job_lifecycle, job_observe, pod_options

KIND = probe_record.KIND
# The volume's root may be another user's, and its mode may keep all others out.
CAPABILITIES = ("DAC_OVERRIDE", "FOWNER")
# The number of probes under way at a time, and of those that failed or cannot go on besides.
BATCH = 20
MOST_STUCK = 80
# The time for a probe whose obstacle is known already: the kubelet tries again every two minutes.
KNOWN_SECONDS = 10
_SCRIPT = pathlib.Path(__file__).with_name("probe_script.py")
_READ_AHEAD = re.compile(r"read-ahead (\d{1,9}) KiB$")


@dataclasses.dataclass(frozen=True)
class DesiredProbe:
    """The volume to probe, and where.

    Attributes:
        file_system_id: The file system.
        zones: The zones whose nodes must mount it.
        mount_options: The volumes' NFS options.
        root_mode: The mode that the volume's root gets, in octal; "" to leave it as it is.
        namespaces: The namespaces that have a directory of their own.
        namespace_mode: The mode of these directories, in octal.
        image: An image with Python 3.9 or newer.
        options: What the application's options add to its Jobs.
        server: The name or the address that is mounted.
        places: The zones of nodes by address and by instance. Other nodes' zone is in their label.
    """

    file_system_id: str
    zones: tuple[str, ...]
    mount_options: tuple[str, ...]
    root_mode: str
    image: str
    namespaces: tuple[str, ...] = ()
    namespace_mode: str = ""
    options: pod_options.PodOptions = dataclasses.field(default_factory=pod_options.PodOptions)
    server: str = ""
    places: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def mount(self) -> str:
        """Return a digest of what a node mounts, and how."""
        return _digest(self.file_system_id, self.server, self.mount_options)

    @property
    def preparation(self) -> str:
        """Return a digest of what a pod does on the volume: a proven node does it again."""
        program = _SCRIPT.read_text(encoding="utf-8")
        modes = (self.root_mode, self.namespace_mode)
        options = dataclasses.asdict(self.options)
        return _digest(modes, self.namespaces, self.image, program, options)


@dataclasses.dataclass(frozen=True)
class ProbeOutcome:
    """The results of the probes.

    Attributes:
        zones: The zones in which a node has mounted the volume, written and read back.
        nodes: The names of the nodes that have, of those that take pods now.
        problems: The problems of the other nodes.
        prepared: Whether the volume has the directories and modes that the options ask for.
        read_ahead_kib: The read-ahead of these nodes' mounts in KiB by node, where it is known.
        unserved: The nodes that cannot mount it and need not, each with the reason.
        total: The number of the nodes that are proven or have to be.
    """

    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    problems: tuple[problems.Problem, ...] = ()
    prepared: bool = False
    read_ahead_kib: Mapping[str, int] = dataclasses.field(default_factory=dict[str, int])
    unserved: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    total: int = 0


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """A node that takes pods.

    Attributes:
        node: The node.
        zone: Its zone; "" if unknown.
        needed: Whether it has to mount the volume. A machine outside the VPC, or one of the
            control plane, may do without.
    """

    node: nodes.Node
    zone: str
    needed: bool


def reconcile(
    cluster: client.Cluster,
    desired: DesiredProbe,
    all_nodes: Iterable[nodes.Node],
    *,
    timeout_seconds: float,
) -> ProbeOutcome:
    """Probe the nodes that have not mounted the volume yet, and return the results.

    A node is probed once, and again when the file system or the mount options have changed, or
    the node has joined again. When something else has changed, one node of each zone is. If there
    is nothing to probe, three calls are made and nothing is written.

    Args:
        cluster: The cluster.
        desired: The volume to probe, and where.
        all_nodes: The cluster's nodes.
        timeout_seconds: The longest time to wait for the probes.
    """
    all_nodes = tuple(all_nodes)
    candidates = _candidates(desired, all_nodes)
    if not candidates:
        return ProbeOutcome(problems=(probe_problems.no_node(all_nodes),))
    attempt = _Attempt(cluster, desired, candidates, {node.uid for node in all_nodes})
    if not attempt.advance():
        limit = timeout_seconds if attempt.has_news else min(timeout_seconds, KNOWN_SECONDS)
        polling.poll(attempt.run_round, bool, limit)
    return attempt.outcome()


def _candidates(desired: DesiredProbe, all_nodes: Iterable[nodes.Node]) -> list[_Candidate]:
    """Return the nodes that take pods, and are in no zone without a mount target."""
    found: list[_Candidate] = []
    for node in all_nodes:
        # The label may be somebody's own, and name no zone of AWS.
        label = node.zone if node.zone in desired.zones else ""
        zone = desired.places.get(node.instance_id) or desired.places.get(node.address) or label
        if not node.closed and (zone in desired.zones or not zone):
            found.append(_Candidate(node, zone, bool(zone) and not node.control_plane))
    return sorted(found, key=lambda each: (not each.needed, each.zone, each.node.name))


class _Attempt:
    """The probes of one hook: rounds of observe, remember, remove and start."""

    def __init__(
        self,
        cluster: client.Cluster,
        desired: DesiredProbe,
        candidates: list[_Candidate],
        uids: set[str],
    ) -> None:
        self._cluster = cluster
        self._desired = desired
        self._candidates = candidates
        self._uids = uids
        self._proofs = probe_record.load(cluster, desired.mount)
        self._started: set[str] = set()
        # The Jobs of former hooks, and all as they were seen last.
        self._former = self._observe()
        self._jobs = dict(self._former)
        # Asked for once: each reads the program.
        self._preparation = desired.preparation

    @property
    def has_news(self) -> bool:
        """Tell whether a probe was started, or is under way that was not known to be stuck."""
        return bool(self._started) or any(map(self._is_under_way, self._jobs))

    def run_round(self) -> bool:
        """Observe the probes, and advance."""
        self._jobs = self._observe()
        return self.advance()

    def advance(self) -> bool:
        """Remember, remove and start probes; tell whether nothing is left to do or await."""
        self._remember()
        wanted = self._wanted()
        for name, job in list(self._jobs.items()):
            again = job.phase == job_observe.FAILED and name not in self._started
            if name not in wanted or again:
                job_lifecycle.remove(self._cluster, name)
                del self._jobs[name]
        # Those that failed before come last, so that they do not keep others from their turn.
        missing = [name for name in wanted if name not in self._jobs]
        missing.sort(key=self._former.__contains__)
        under_way = sum(map(self._is_under_way, self._jobs))
        room = min(BATCH - under_way, BATCH + MOST_STUCK - len(self._jobs))
        for name in missing[: max(room, 0)]:
            job_lifecycle.start(self._cluster, self._job(name, wanted[name]))
            self._started.add(name)
            under_way += 1
        return not under_way and all(map(self._is_decided, self._jobs))

    def outcome(self) -> ProbeOutcome:
        """Return the outcome of the last round."""
        proven = [each for each in self._candidates if each.node.uid in self._proofs.nodes]
        zones = {each.zone for each in proven} - {""}
        failed = [
            probe_problems.UnprovenNode(each.node, self._jobs.get(name), each.zone, each.needed)
            for name, each in self._wanted().items()
        ]
        measured = {each.node.name: self._proofs.nodes[each.node.uid] for each in proven}
        report = probe_problems.report(self._cluster.namespace, failed, zones, proven=bool(proven))
        return ProbeOutcome(
            zones=tuple(sorted(zones)),
            nodes=tuple(sorted(each.node.name for each in proven)),
            problems=report.problems,
            prepared=self._preparation in self._proofs.prepared.values(),
            read_ahead_kib={name: kib for name, kib in measured.items() if kib},
            unserved=report.unserved,
            total=sum(each.needed or each in proven for each in self._candidates),
        )

    def _observe(self) -> dict[str, job_observe.ObservedJob]:
        found = {job.name: job for job in job_observe.observe_all(self._cluster, KIND)}
        for job in found.values():
            job_lifecycle.end_sidecars(self._cluster, job)
        return found

    def _wanted(self) -> dict[str, _Candidate]:
        """Return the nodes to probe by the names of their Jobs, the needed ones first.

        They are those that have not mounted the volume, and of the others one in each zone where
        it was not prepared as it has to be now.
        """
        unproven = [each for each in self._candidates if each.node.uid not in self._proofs.nodes]
        proven = [each for each in self._candidates if each.node.uid in self._proofs.nodes]
        repeated: dict[str, _Candidate] = {}
        for each in proven:
            if self._proofs.prepared.get(each.zone) != self._preparation:
                repeated.setdefault(each.zone, each)
        return {self._name(each): each for each in (*repeated.values(), *unproven)}

    def _name(self, candidate: _Candidate) -> str:
        """Return the probe's name: another one as soon as something of it changes."""
        node = candidate.node
        digest = _digest(self._proofs.mount, self._preparation, node.uid)
        name = probe_problems.short_name(node.name).replace(".", "-").lower()
        return objects.make_name(KIND, name, digest)

    def _remember(self) -> None:
        """Save the proofs of probes that have succeeded."""
        proofs = self._proofs
        for name, candidate in self._wanted().items():
            job = self._jobs.get(name)
            if job is None or job.phase != job_observe.SUCCEEDED:
                continue
            match = _READ_AHEAD.search(job.message)
            read_ahead = int(match[1]) if match else 0
            uid, zone = candidate.node.uid, candidate.zone
            proofs = proofs.with_proof(uid, read_ahead, zone, self._preparation)
        if proofs != self._proofs:
            zones = (each.zone for each in self._candidates)
            self._proofs = proofs.without_former(self._uids, zones)
            probe_record.save(self._cluster, self._proofs)

    def _is_under_way(self, name: str) -> bool:
        """Tell whether a probe may end soon, as far as is known."""
        job, former = self._jobs[name], self._former.get(name)
        if job.finished or job.stuck:
            return False
        # A new node may have room in a moment; one without room in an earlier hook is full.
        full = former is not None and probe_problems.has_no_room(former)
        return not (full and probe_problems.has_no_room(job))

    def _is_decided(self, name: str) -> bool:
        """Tell whether there is nothing to wait for.

        The kubelet retries, and its last event may be older than the fix: a cause that was
        observed before counts only when it occurs again. Room on a node is not waited for.
        """
        job, former = self._jobs[name], self._former.get(name)
        if job.finished or former is None or former.cause is None or job.cause is None:
            return True
        seen_now = not job.cause.stamp or job.cause.stamp != former.cause.stamp
        return seen_now or not job.cause.blocked

    def _job(self, name: str, candidate: _Candidate) -> job_lifecycle.DesiredJob:
        desired = self._desired
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
                    "PROBE_ZONE": candidate.zone or "elsewhere",
                    "PROBE_RUN": name,
                },
                capabilities=CAPABILITIES,
                # A node whose resources are all requested has room for it, too.
                requests={"cpu": "0", "memory": "0"},
            ),
            file_system=desired.file_system_id,
            retries=0,  # a failure is reported at once; the next reconcile tries again
            node=candidate.node.name,
            options=desired.options.on_every_node(),
        )


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
