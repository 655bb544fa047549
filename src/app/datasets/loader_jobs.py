"""Describe the Jobs that run the loader: their containers, inputs and number of pods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.datasets import index
from cluster import pods
from cluster.jobs import job_lifecycle
from datasets import dataset, protocol
from datasets.loader.base import tasks
from datasets.loader.store import volume

if TYPE_CHECKING:
    from cluster import client

LOAD, VERIFY, DELETE, INVENTORY = index.KIND, "verify", "delete", "inventory"
# The container of the loader in all these Jobs.
CONTAINER = "dataset"
# The container of a custom loader.
CUSTOM_LOADER = pods.USERS_CONTAINER
PROGRAM = "loader.pyz"
# A retry of the loader continues where it stopped; a custom loader starts over.
RETRIES, CUSTOM_RETRIES = 5, 1


@dataclasses.dataclass(frozen=True)
class Loader:
    """The cluster, image and environment that the loader runs in.

    Attributes:
        cluster: The cluster.
        image: An image with Python 3.9 or newer.
        file_system: The file system that its pods mount.
        environment: Further environment variables: proxies.
    """

    cluster: client.Cluster
    image: str
    file_system: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def index(self) -> index.Index:
        """Return the index of the file system's data sets."""
        return index.Index(self.cluster, self.file_system)


def job_name(kind: str, name: str) -> str:
    """Return the name of a data set's Job.

    Args:
        kind: The kind of the Job.
        name: The data set's name.
    """
    return f"{kind}-{name}"


def load_job(
    loader: Loader,
    desired: dataset.Dataset,
    request: str,
    *,
    credentials: Mapping[str, str],
    secrets: Mapping[str, str],
) -> job_lifecycle.DesiredJob:
    """Return the Job that loads a data set.

    Args:
        loader: The loader's cluster, image and environment.
        desired: The data set.
        request: The id of the request.
        credentials: The credentials for its sources.
        secrets: The custom loader's environment variables from Juju secrets.
    """
    main = _container(loader)
    task = desired.task(request=request, root=job_lifecycle.MOUNT_PATH, credentials=credentials)
    return job_lifecycle.DesiredJob(
        name=job_name(LOAD, desired.name),
        kind=LOAD,
        file_system=loader.file_system,
        main=main,
        init_containers=_custom_loader(main, desired, request, secrets) if desired.image else (),
        # The task contains credentials, and sources with their queries.
        secrets={**secrets, protocol.TASK: task.to_json()},
        files={PROGRAM: dataset.zipapp()},
        annotations={
            protocol.DATASET_ANNOTATION: desired.name,
            protocol.FINGERPRINT_ANNOTATION: desired.fingerprint(),
            protocol.REQUEST_ANNOTATION: request,
            protocol.SOURCE_ANNOTATION: desired.shown_source,
        },
        retries=CUSTOM_RETRIES if desired.image else RETRIES,
        parallelism=desired.parallelism,
    )


def maintenance_job(loader: Loader, kind: str, name: str = "") -> job_lifecycle.DesiredJob:
    """Return the Job, of one pod, that verifies or deletes a data set, or lists all of them.

    Args:
        loader: The loader's cluster, image and environment.
        kind: The kind of the Job.
        name: The data set's name; empty for all.
    """
    # The loader requires a name in its task, also for an inventory.
    task = tasks.Task(name or kind, dataset.new_request(), "", root=job_lifecycle.MOUNT_PATH)
    verb = {
        VERIFY: protocol.VERIFY,
        DELETE: protocol.DELETE,
        INVENTORY: protocol.INVENTORY,
    }[kind]
    return job_lifecycle.DesiredJob(
        name=job_name(kind, name) if name else kind,
        kind=kind,
        file_system=loader.file_system,
        main=_container(loader, verb),
        secrets={protocol.TASK: task.to_json()},
        files={PROGRAM: dataset.zipapp()},
        annotations={protocol.DATASET_ANNOTATION: name} if name else {},
    )


def _container(loader: Loader, verb: str = "") -> job_lifecycle.Container:
    return job_lifecycle.Container(
        name=CONTAINER,
        image=loader.image,
        command=("python3", f"{job_lifecycle.FILES_PATH}/{PROGRAM}", *([verb] if verb else [])),
        # Otherwise glibc keeps an arena per thread, and never returns its memory.
        env={**loader.environment, "MALLOC_ARENA_MAX": "2"},
        secrets=(protocol.TASK,),
    )


def _custom_loader(
    main: job_lifecycle.Container,
    desired: dataset.Dataset,
    request: str,
    secrets: Mapping[str, str],
) -> tuple[job_lifecycle.Container, ...]:
    """Return the containers that create a directory and then run the custom loader in it."""
    prepare = dataclasses.replace(main, name="prepare", command=(*main.command, protocol.PREPARE))
    environment = {k: v for k, v in main.env.items() if k != "MALLOC_ARENA_MAX"}
    plain = {k: v for k, v in desired.env.items() if k not in secrets}
    custom = job_lifecycle.Container(
        name=CUSTOM_LOADER,
        image=desired.image,
        command=desired.command,
        env={**environment, **plain},
        secrets=tuple(secrets),
        directory=volume.custom_loader_files(desired.name, request),
        as_root=False,
    )
    return prepare, custom
