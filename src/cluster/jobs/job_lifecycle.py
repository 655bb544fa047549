"""Jobs in the charm's own namespace that mount the volume: started, waited for, removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1

import polling
import problems
from cluster import client, manifests, nodes, objects
from cluster.jobs import job_inputs, job_observe

MOUNT_PATH = "/mnt/aws-efs"
DATA_PATH = "/data"
FILES_PATH = "/loader"

# A pod that is told to end writes down what it has done.
GRACE_SECONDS = 30


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
class DesiredJob:
    """A Job whose pods mount the volume.

    Attributes:
        name: Its name.
        kind: What it is for: "probe", "dataset", ...
        main: The container whose end is the Job's.
        before: The containers that run before it, one after the other.
        secrets: Secret values by name: kept in a Kubernetes Secret.
        files: Files by name, mounted at `FILES_PATH`: kept in an immutable ConfigMap named by its
            content, so that a later pod of the Job runs what the first one ran.
        labels: Further labels of the Job and its pods.
        annotations: The Job's annotations.
        zone: The availability zone that it has to run in.
        prefer_node: The node that it shall run on if that one takes it.
        retries: How many failures of a pod are forgiven; what disrupts one does not count.
        parallelism: How many pods there are, an index each, on nodes and in zones of their own as
            far as there are some; 0 for one that has none.
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
    parallelism: int = 0


def start(cluster: client.Cluster, wanted: DesiredJob) -> None:
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
        job_inputs.save_secret(cluster, owner, wanted.secrets)
    if wanted.files:
        job_inputs.share_files(cluster, owner, wanted.files)
    cluster.patch(batch_v1.Job, wanted.name, cluster.namespace, {"spec": {"suspend": False}})


def wait(
    cluster: client.Cluster,
    name: str,
    timeout_seconds: float,
    done: Callable[[job_observe.ObservedJob], bool] = lambda _: False,
) -> job_observe.ObservedJob | None:
    """Wait until a Job is over, or needs the user, or the time is up.

    Args:
        cluster: The cluster.
        name: Its name.
        timeout_seconds: How long to wait.
        done: What else ends the waiting.
    """

    def decided(seen: job_observe.ObservedJob | None) -> bool:
        return seen is None or seen.finished or seen.stuck or done(seen)

    return polling.poll(lambda: job_observe.observe(cluster, name), decided, timeout_seconds)


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
        return cluster.select(
            core_v1.Pod, {job_observe.JOB_NAME: name}, namespace=cluster.namespace
        )

    if polling.poll(left, lambda found: not found, timeout_seconds):
        raise problems.Waiting(f"the pod of job {name} is still ending: run it again")


def label(cluster: client.Cluster, name: str, labels: Mapping[str, str]) -> None:
    """Put labels on a Job of ours.

    Args:
        cluster: The cluster.
        name: Its name.
        labels: The labels.
    """
    body = {"metadata": {"labels": dict(labels)}}
    cluster.patch(batch_v1.Job, name, cluster.namespace, body)


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


def _manifest(cluster: client.Cluster, wanted: DesiredJob) -> manifests.Manifest:
    return manifests.render(
        "job",
        job=wanted,
        namespace=cluster.namespace,
        claim=cluster.namespace,
        labels={**cluster.labels, **wanted.labels, job_observe.KIND: wanted.kind},
        files=job_inputs.files_name(wanted.files) if wanted.files else "",
        files_path=FILES_PATH,
        mount_path=MOUNT_PATH,
        data_path=DATA_PATH,
        zone_label=nodes.ZONE,
        job_label=job_observe.JOB_NAME,
        grace_seconds=GRACE_SECONDS,
    )
