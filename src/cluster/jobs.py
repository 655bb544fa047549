"""Jobs in the charm's own namespace that mount the volume: started, looked at, removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from lightkube.models import batch_v1 as batch_models
from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1

import problems
from cluster import client, job_inputs, manifests, objects, pods, polling
from cluster import nodes as node_state

KIND = "aws-efs/kind"
MOUNT_PATH = "/mnt/aws-efs"
DATA_PATH = "/data"
FILES_PATH = "/loader"

QUEUED, RUNNING, SUCCEEDED, FAILED = "queued", "running", "succeeded", "failed"

_JOB_NAME = "batch.kubernetes.io/job-name"
_JOB_UID = "batch.kubernetes.io/controller-uid"


@dataclasses.dataclass(frozen=True)
class Container:
    """A container of a Job's pod.

    Attributes:
        name: Its name in the pod.
        image: Its image.
        command: Its command; none for the image's own.
        env: Its environment.
        secrets: The names of those values of the Job's `secrets` that it gets as environment.
        directory: The directory of the volume that it finds at `DATA_PATH`, and then nothing
            else; "" for the whole volume at `MOUNT_PATH`.
        as_root: Whether it runs as root, whatever the image says.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    directory: str = ""
    as_root: bool = True


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A Job of one pod that mounts the volume.

    Attributes:
        name: Its name.
        kind: What it is for: "probe", "dataset".
        main: The container whose end is the Job's.
        before: The containers that run before it, one after the other.
        secrets: Secret values by name: kept in a Kubernetes Secret.
        files: Files by name, mounted at `FILES_PATH`: kept in an immutable ConfigMap named by its
            content, so that a later pod of the Job runs what the first one ran.
        labels: Further labels of the Job and its pod.
        annotations: The Job's annotations.
        zone: The availability zone that it has to run in.
        prefer_node: The node that it shall run on if that one takes it.
        retries: How many failures of its pod are forgiven.
    """

    name: str
    kind: str
    main: Container
    before: tuple[Container, ...] = ()
    secrets: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], repr=False)
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict[str, bytes], repr=False)
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    zone: str = ""
    prefer_node: str = ""
    retries: int = 2


@dataclasses.dataclass(frozen=True)
class State:
    """How far a Job is.

    Attributes:
        name: Its name.
        phase: queued (no container runs yet), running, succeeded or failed.
        message: What its last container left as its last words.
        cause: What keeps it from running, or made it fail before it could say anything.
        node: Where its last pod is.
        labels: Its labels.
        annotations: Its annotations.
    """

    name: str
    phase: str
    message: str = ""
    cause: pods.Cause | None = None
    node: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def finished(self) -> bool:
        """Whether it is over, either way."""
        return self.phase in (SUCCEEDED, FAILED)

    @property
    def why(self) -> str:
        """The most telling thing there is to say of a Job that has not succeeded."""
        return self.message or (self.cause.sentence if self.cause else "")


def start(cluster: client.Cluster, wanted: Wanted) -> None:
    """Start a Job; one of that name that is ours already is left to run.

    Its Secret and ConfigMap belong to the Job and go with it. So it is made suspended, and let go
    when they are there; after a crash in between, the next start goes on.

    Args:
        cluster: The cluster.
        wanted: The Job.

    Raises:
        problems.Blocked: A foreign Job has that name, or Kubernetes refuses ours.
    """
    job = cluster.find(batch_v1.Job, wanted.name, cluster.namespace)
    if job is not None and not cluster.owns(job):
        raise problems.Blocked(f"job {cluster.namespace}/{wanted.name} exists and is not ours")
    if job is None:
        made: batch_v1.Job = manifests.resource(_manifest(cluster, wanted))
        job = cluster.apply(made, known=False)
    if not (job.spec and job.spec.suspend):
        return
    uid = objects.meta(job).uid or ""
    owner = meta_v1.OwnerReference(apiVersion="batch/v1", kind="Job", name=wanted.name, uid=uid)
    if wanted.secrets:
        job_inputs.keep_secret(cluster, owner, wanted.secrets)
    if wanted.files:
        job_inputs.share_files(cluster, owner, wanted.files)
    cluster.patch(batch_v1.Job, wanted.name, cluster.namespace, {"spec": {"suspend": False}})


def state(cluster: client.Cluster, name: str) -> State | None:
    """How far a Job is; None where there is none.

    Args:
        cluster: The cluster.
        name: Its name.
    """
    job = cluster.find(batch_v1.Job, name, cluster.namespace)
    if job is None or not cluster.owns(job):
        return None
    return _states(cluster, [job], {_JOB_NAME: name})[0]


def states(cluster: client.Cluster, kind: str) -> list[State]:
    """How far all Jobs of a kind are: one call where all have succeeded, else three.

    Args:
        cluster: The cluster.
        kind: What they are for.
    """
    found = cluster.ours(batch_v1.Job, {KIND: kind})
    if all(_phase(job, None) == SUCCEEDED for job in found):
        return [_state(job, None, [], cluster.namespace) for job in found]
    return _states(cluster, found, {**cluster.labels, KIND: kind})


def wait(cluster: client.Cluster, name: str, timeout_seconds: float) -> State | None:
    """Wait until a Job is over, or the time is up.

    Args:
        cluster: The cluster.
        name: Its name.
        timeout_seconds: How long to wait.
    """
    return polling.until(
        lambda: state(cluster, name), lambda seen: seen is None or seen.finished, timeout_seconds
    )


def wait_gone(cluster: client.Cluster, name: str, timeout_seconds: float = 60) -> None:
    """Wait until the pods of a Job that was removed are gone, so that another can take its name.

    Args:
        cluster: The cluster.
        name: The Job's name.
        timeout_seconds: How long to wait: a pod has 30 s to end, by default.

    Raises:
        problems.Waiting: One is still there.
    """

    def left() -> list[core_v1.Pod]:
        return cluster.select(core_v1.Pod, {_JOB_NAME: name}, namespace=cluster.namespace)

    if polling.until(left, lambda found: not found, timeout_seconds):
        raise problems.Waiting(f"the pod of job {name} is still ending: run it again")


def remove(
    cluster: client.Cluster,
    name: str = "",
    *,
    say: Callable[[str], object] = bool,
    dry_run: bool = False,
) -> list[str]:
    """Remove our Jobs, and with them their pods, Secrets and ConfigMaps.

    Args:
        cluster: The cluster.
        name: The one to remove; "" for all.
        say: Told of each as it goes.
        dry_run: Only tell what would go.

    Returns:
        What was said.
    """
    lines: list[str] = []
    one = cluster.find(batch_v1.Job, name, cluster.namespace) if name else None
    found = cluster.ours(batch_v1.Job) if not name else [one] if one else []
    for job in found:
        metadata = objects.meta(job)
        if cluster.owns(job) and metadata.deletionTimestamp is None:
            if not dry_run:
                cluster.delete(batch_v1.Job, metadata.name or "", metadata.namespace or "")
            lines.append(f"{'would delete' if dry_run else 'deleted'} job {metadata.name}")
            say(lines[-1])
    return lines


def _manifest(cluster: client.Cluster, wanted: Wanted) -> manifests.Manifest:
    return manifests.render(
        "job",
        job=wanted,
        namespace=cluster.namespace,
        claim=cluster.namespace,
        labels={**cluster.labels, **wanted.labels, KIND: wanted.kind},
        files=job_inputs.files_name(wanted.files) if wanted.files else "",
        files_path=FILES_PATH,
        mount_path=MOUNT_PATH,
        data_path=DATA_PATH,
        zone_label=node_state.ZONE,
    )


def _states(
    cluster: client.Cluster, jobs: list[batch_v1.Job], selector: Mapping[str, str]
) -> list[State]:
    namespace = cluster.namespace
    found = cluster.select(core_v1.Pod, selector, namespace=namespace)
    newest: dict[str, core_v1.Pod] = {}
    for pod in sorted(found, key=lambda pod: str(objects.meta(pod).creationTimestamp)):
        newest[objects.labels_of(pod).get(_JOB_UID, "")] = pod
    warnings: list[core_v1.Event] = []
    if any(not _ended(job) for job in jobs):
        fields = {"type": "Warning"}
        warnings = cluster.select(core_v1.Event, {}, namespace=namespace, fields=fields)
    application = cluster.owner.application
    return [
        _state(job, newest.get(objects.meta(job).uid or ""), warnings, application) for job in jobs
    ]


def _state(
    job: batch_v1.Job, pod: core_v1.Pod | None, warnings: list[core_v1.Event], application: str
) -> State:
    phase = _phase(job, pod)
    cause = None
    if phase == QUEUED:
        cause = pods.cause(pod, warnings, application) if pod else pods.refused(job, warnings)
    if phase == FAILED:
        said = next((c.message for c in _conditions(job) if c.type == "Failed"), None)
        cause = pods.Cause(said or "it failed", blocked=True, stamp=objects.meta(job).uid or "")
    return State(
        name=objects.name(job),
        phase=phase,
        message=pods.last_words(pod) if pod else "",
        cause=cause,
        node=(pod and pod.spec and pod.spec.nodeName) or "",
        labels=objects.labels_of(job),
        annotations=objects.annotations_of(job),
    )


def _phase(job: batch_v1.Job, pod: core_v1.Pod | None) -> str:
    ended = _ended(job)
    if ended:
        return ended
    return RUNNING if pod is not None and pods.started(pod) else QUEUED


def _ended(job: batch_v1.Job) -> str:
    true = {condition.type for condition in _conditions(job) if condition.status == "True"}
    return SUCCEEDED if "Complete" in true else FAILED if "Failed" in true else ""


def _conditions(job: batch_v1.Job) -> list[batch_models.JobCondition]:
    return (job.status and job.status.conditions) or []
