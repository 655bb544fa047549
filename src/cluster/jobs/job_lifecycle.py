"""Start, await and remove Jobs in the charm's own namespace that mount the volume."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1

import polling
import problems
from cluster import client, errors, manifests, nodes, objects, ownership
from cluster.jobs import job_inputs, job_observe, pod_observe, pod_options
from cluster.volumes import volume_observe

MOUNT_PATH = "/mnt/aws-efs"
DATA_PATH = "/data"
FILES_PATH = "/loader"

# A loader that gets SIGTERM saves its journal.
GRACE_SECONDS = 30
# The limit of each container.
MEMORY_GIB = 1


@dataclasses.dataclass(frozen=True)
class Container:
    """A container of a Job's pod.

    Attributes:
        name: Its name in the pod.
        image: Its image.
        command: Its command; empty for the image's own.
        env: Its environment.
        secrets: The names of the Job's `secrets` that it gets as environment variables.
        directory: The only directory of the volume that it mounts, at `DATA_PATH`; "" for the
            whole volume, at `MOUNT_PATH`.
        as_root: Whether it runs as root, whatever the image's user.
        capabilities: The capabilities that its root user has; by default none.
        read_only_root: Whether it can write only to its mounts, not to the image's own files.
        requests: The resources that the scheduler reserves for it.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    directory: str = ""
    as_root: bool = True
    capabilities: tuple[str, ...] = ()
    read_only_root: bool = True
    requests: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {"cpu": "100m", "memory": "256Mi"}
    )


@dataclasses.dataclass(frozen=True)
class DesiredJob:
    """A Job whose pods mount the volume.

    Attributes:
        deadline_seconds: The longest time that it may run; then its pods are stopped.
        name: Its name.
        kind: Its purpose: "probe", "dataset", ...; its name begins with it.
        main: The main container; the Job ends with it.
        file_system: The file system that its pods mount.
        init_containers: The init containers, which run one after the other.
        secrets: Secret values by name: kept in a Kubernetes Secret.
        files: Files by name, mounted at `FILES_PATH`: kept in an immutable ConfigMap named by its
            content, so that a later pod of the Job runs what the first one ran.
        keep_seconds: The time after its end after which Kubernetes removes it; None for never.
        labels: Further labels of the Job and its pods.
        annotations: The Job's annotations.
        node: The node on which it must run; "" for any.
        retries: The number of times that a failed pod is replaced; disruptions do not count.
        parallelism: The number of pods, each with an index, spread over nodes and zones where
            possible; 0 for one pod without an index.
        options: What the application's options add to it.
    """

    name: str
    kind: str
    main: Container
    file_system: str
    init_containers: tuple[Container, ...] = ()
    secrets: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], repr=False)
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict[str, bytes], repr=False)
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    node: str = ""
    retries: int = 2
    parallelism: int = 0
    keep_seconds: int | None = None
    deadline_seconds: int = 7 * 86400
    options: pod_options.PodOptions = dataclasses.field(default_factory=pod_options.PodOptions)


def start(cluster: client.Cluster, job: DesiredJob) -> None:
    """Start a Job; one of ours that has the name already keeps running.

    The Job owns its Secret and ConfigMap, so it is created first, suspended, and resumed when
    they exist. After a crash in between, the next start continues; if that is of another release
    of the charm, it makes the Job again, since it does not have the files of the first one. A
    queue may resume the Job before they exist: then its pods wait for them.

    Args:
        cluster: The cluster.
        job: The Job.

    Raises:
        problems.Blocked: A foreign Job has that name, or Kubernetes refuses ours, or the namespace
            of our name belongs to somebody else.
        problems.Waiting: The claim that its pods mount is not bound to the file system yet.
    """
    volume_observe.check_own_claim(cluster, job.file_system)
    observed = cluster.find(batch_v1.Job, job.name, cluster.namespace)
    if observed is not None and not cluster.owns(observed):
        raise problems.Blocked(
            f"job {cluster.namespace}/{job.name} exists and is not ours: delete it"
        )
    if observed is not None and _is_outdated(observed, job):
        remove(cluster, job.name)
        wait_gone(cluster, job.name)
        observed = None
    if observed is None:
        resource: batch_v1.Job = manifests.resource(_manifest(cluster, job))
        observed = cluster.apply(resource)
    if job_observe.is_started(observed):
        return
    queued = job.options.queue
    if not (queued or job_observe.is_suspended(observed)):
        return
    uid = objects.meta(observed).uid or ""
    owner = meta_v1.OwnerReference(apiVersion="batch/v1", kind="Job", name=job.name, uid=uid)
    if job.secrets:
        job_inputs.save_secret(cluster, owner, job.secrets)
    if job.files:
        job_inputs.share_files(cluster, owner, job.files)
    body: dict[str, Any] = {"metadata": {"annotations": {job_observe.STARTED: "true"}}}
    # A queue resumes what it has admitted, and suspends at once what somebody else resumes.
    _patch(cluster, job.name, uid, body if queued else {**body, "spec": {"suspend": False}})


def wait(
    cluster: client.Cluster,
    name: str,
    timeout_seconds: float,
    done: Callable[[job_observe.ObservedJob], bool] = lambda _: False,
) -> job_observe.ObservedJob | None:
    """Wait until a Job has ended, or needs the user, or the time is up.

    Args:
        cluster: The cluster.
        name: Its name.
        timeout_seconds: The longest time to wait.
        done: Tells of an observed Job whether to stop waiting.
    """

    def decided(job: job_observe.ObservedJob | None) -> bool:
        return job is None or job.finished or job.stuck or done(job)

    def observe() -> job_observe.ObservedJob | None:
        job = job_observe.observe(cluster, name)
        if job is not None:
            end_sidecars(cluster, job)
        return job

    return polling.poll(observe, decided, timeout_seconds)


def end_sidecars(cluster: client.Cluster, job: job_observe.ObservedJob) -> None:
    """End the pods that containers of others keep running after ours have ended.

    Otherwise their Job would never end. The kubelet stops the containers of a pod whose phase is
    final, and the Job counts it by our container's exit code.

    Args:
        cluster: The cluster.
        job: The Job with its pods.
    """
    for pod in job.pods:
        if not pod.outlived:
            continue
        found = cluster.find(core_v1.Pod, pod.name, cluster.namespace)
        if found is None or objects.job_uid(found) != job.uid:
            continue
        target = dataclasses.replace(objects.reference(found), kind=core_v1.PodStatus)
        phase = "Succeeded" if pod.phase == job_observe.SUCCEEDED else "Failed"
        with contextlib.suppress(errors.ConflictError):  # the kubelet writes it, too: next time
            cluster.patch(target, {"status": {"phase": phase}})


def wait_gone(cluster: client.Cluster, name: str, timeout_seconds: float = 60) -> None:
    """Wait until the pods of a removed Job are gone, so that another Job can have its name.

    Args:
        cluster: The cluster.
        name: The Job's name.
        timeout_seconds: The longest time to wait; a pod has `GRACE_SECONDS` to end.

    Raises:
        problems.Waiting: One still exists.
    """

    def left() -> list[core_v1.Pod]:
        return cluster.select(
            core_v1.Pod, {job_observe.JOB_NAME: name}, namespace=cluster.namespace
        )

    if polling.poll(left, lambda pods: not pods, timeout_seconds):
        raise problems.Waiting(f"the pod of job {name} is still terminating: run it again")


def label(cluster: client.Cluster, name: str, labels: Mapping[str, str]) -> None:
    """Put labels on a Job of ours, if it exists.

    Args:
        cluster: The cluster.
        name: Its name.
        labels: The labels.
    """
    found = cluster.find_own(batch_v1.Job, name)
    if found is not None:
        uid = objects.meta(found).uid or ""
        _patch(cluster, name, uid, {"metadata": {"labels": dict(labels)}})


def remove_secret(cluster: client.Cluster, job: job_observe.ObservedJob) -> None:
    """Remove the Secret of a Job whose pods do not need it, if it is still there.

    Args:
        cluster: The cluster.
        job: The Job: it has ended, or is still suspended, and starting it makes the Secret again.
    """
    secret = cluster.find_own(core_v1.Secret, job.name)
    owners = (objects.meta(secret).ownerReferences or []) if secret else []
    if secret is not None and any(owner.uid == job.uid for owner in owners):
        cluster.remove(objects.reference(secret))


def remove(cluster: client.Cluster, name: str = "", *, ended_only: bool = False) -> bool:
    """Remove our Jobs, and with them their pods, Secrets and ConfigMaps.

    Args:
        cluster: The cluster.
        name: The one to remove; "" for all.
        ended_only: Whether those that have not ended stay.

    Returns:
        Whether there were any.
    """
    one = cluster.find_own(batch_v1.Job, name) if name else None
    jobs = job_observe.list_own(cluster) if not name else [one] if one else []
    left = [
        job
        for job in jobs
        if objects.meta(job).deletionTimestamp is None
        and (job_observe.has_ended(job) or not ended_only)
    ]
    for job in left:
        cluster.remove(objects.reference(job))
    return bool(left)


def _is_outdated(observed: batch_v1.Job, job: DesiredJob) -> bool:
    """Return whether a Job was not started, and waits for other files than those of now."""
    if job_observe.is_started(observed) or not job_observe.is_suspended(observed):
        return False
    return job_inputs.mounted_files(observed) != job_inputs.files_name(job.files)


def _patch(cluster: client.Cluster, name: str, uid: str, body: Mapping[str, Any]) -> None:
    """Change a Job of ours that others change too: its controller; nothing if it is gone."""

    def patch() -> None:
        found = cluster.find_own(batch_v1.Job, name)
        if found is not None and objects.meta(found).uid == uid:
            cluster.patch(objects.reference(found), body)

    client.repeat(patch)


def _manifest(cluster: client.Cluster, job: DesiredJob) -> manifests.Manifest:
    annotations = {**job.annotations, ownership.FILE_SYSTEM: job.file_system}
    return manifests.render(
        "job",
        job=dataclasses.replace(job, annotations=annotations),
        namespace=cluster.namespace,
        claim=cluster.namespace,
        labels={**cluster.labels, **job.labels, job_observe.KIND: job.kind},
        files=job_inputs.files_name(job.files),
        files_path=FILES_PATH,
        mount_path=MOUNT_PATH,
        data_path=DATA_PATH,
        zone_label=nodes.ZONE,
        main_container_annotation=pod_observe.MAIN_CONTAINER,
        job_label=job_observe.JOB_NAME,
        grace_seconds=GRACE_SECONDS,
        memory_gib=MEMORY_GIB,
    )
