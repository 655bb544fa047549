"""The loader as Jobs in our namespace: what each of them runs, and in how many pods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cluster import pods
from cluster.jobs import job_lifecycle
from datasets import dataset, protocol
from datasets.loader.base import tasks
from datasets.loader.store import volume

if TYPE_CHECKING:
    from cluster import client

LOAD, VERIFY, DELETE, INVENTORY = "dataset", "verify", "delete", "inventory"
# The container that the loader runs in, of all these Jobs.
CONTAINER = "dataset"
# The container of the user's own one.
OWN_LOADER = pods.USERS_CONTAINER
PROGRAM = "loader.pyz"
# Each goes on where the one before it stopped; but the user's own loader begins anew.
RETRIES, OWN_RETRIES = 5, 1


@dataclasses.dataclass(frozen=True)
class Loader:
    """Where the loader runs, and in what.

    Attributes:
        cluster: The cluster.
        image: An image with a Python from 3.9 on.
        environment: Further environment: proxies.
    """

    cluster: client.Cluster
    image: str
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def job_name(kind: str, name: str) -> str:
    """The name of a data set's Job.

    Args:
        kind: What the Job is for.
        name: The data set's name.
    """
    return f"{kind}-{name}"


def load(
    loader: Loader,
    wanted: dataset.Dataset,
    request: str,
    *,
    credentials: Mapping[str, str],
    secrets: Mapping[str, str],
) -> job_lifecycle.DesiredJob:
    """The Job that loads a data set.

    Args:
        loader: Where the loader runs.
        wanted: The data set.
        request: The name of this request.
        credentials: What opens its sources.
        secrets: What of the environment of the user's own loader is secret.
    """
    main = _container(loader)
    task = wanted.task(request=request, root=job_lifecycle.MOUNT_PATH, credentials=credentials)
    return job_lifecycle.DesiredJob(
        name=job_name(LOAD, wanted.name),
        kind=LOAD,
        main=main,
        before=_own_loader(main, wanted, request, secrets) if wanted.image else (),
        # It holds sources with their queries, and credentials.
        secrets={**secrets, protocol.TASK: task.to_json()},
        files={PROGRAM: dataset.zipapp()},
        annotations={
            protocol.DATASET_ANNOTATION: wanted.name,
            protocol.FINGERPRINT_ANNOTATION: wanted.fingerprint(),
            protocol.REQUEST_ANNOTATION: request,
            protocol.SOURCE_ANNOTATION: wanted.shown_source,
        },
        retries=OWN_RETRIES if wanted.image else RETRIES,
        parallelism=wanted.parallelism,
    )


def errand(loader: Loader, kind: str, name: str = "") -> job_lifecycle.DesiredJob:
    """The Job of one pod that verifies or deletes a data set, or looks at what there is.

    Args:
        loader: Where the loader runs.
        kind: What it is for.
        name: The data set's name; none where it is for all.
    """
    # The loader's task has a name even where it is for none.
    task = tasks.Task(name or kind, dataset.new_request(), "", root=job_lifecycle.MOUNT_PATH)
    verb = {
        VERIFY: protocol.VERIFY,
        DELETE: protocol.DELETE,
        INVENTORY: protocol.INVENTORY,
    }[kind]
    return job_lifecycle.DesiredJob(
        name=job_name(kind, name) if name else kind,
        kind=kind,
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
        # Each of its threads would have an arena of its own, which is never given back.
        env={**loader.environment, "MALLOC_ARENA_MAX": "2"},
        secrets=(protocol.TASK,),
    )


def _own_loader(
    main: job_lifecycle.Container,
    wanted: dataset.Dataset,
    request: str,
    secrets: Mapping[str, str],
) -> tuple[job_lifecycle.Container, ...]:
    """What runs before ours publishes: its directory is made, then the user's image fills it."""
    prepare = dataclasses.replace(main, name="prepare", command=(*main.command, protocol.PREPARE))
    environment = {k: v for k, v in main.env.items() if k != "MALLOC_ARENA_MAX"}
    given = {k: v for k, v in wanted.env.items() if k not in secrets}
    load = job_lifecycle.Container(
        name=OWN_LOADER,
        image=wanted.image,
        command=wanted.command,
        env={**environment, **given},
        secrets=tuple(secrets),
        directory=volume.custom_loader_files(wanted.name, request),
        as_root=False,
    )
    return prepare, load
