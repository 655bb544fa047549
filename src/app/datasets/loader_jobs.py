"""Describe the Jobs that run the loader: their containers, inputs and number of pods."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.datasets import index
from cluster import pods
from cluster.jobs import job_lifecycle, pod_options
from datasets import dataset, loader_program, protocol, request_ids
from datasets.loader.base import tasks
from datasets.loader.store import volume

if TYPE_CHECKING:
    from cluster import client

LOAD, VERIFY, DELETE, INVENTORY = index.KIND, "verify", "delete", "inventory"
VERSIONS, ROLLBACK = "versions", "rollback"
# The verb of the loader for each kind of Job that maintains data sets.
MAINTENANCE: Mapping[str, str] = {
    VERIFY: protocol.VERIFY,
    DELETE: protocol.DELETE,
    INVENTORY: protocol.INVENTORY,
    VERSIONS: protocol.VERSIONS,
    ROLLBACK: protocol.ROLLBACK,
}
# The container of the loader in all these Jobs.
CONTAINER = "dataset"
# The loader's container that runs before a custom loader.
PREPARE = "prepare"
# The container of a custom loader.
CUSTOM_LOADER = pods.USERS_CONTAINER
PROGRAM = "loader.pyz"
# Root without capabilities cannot do what other users do not let it. A load gives files to other
# owners, and opens them again for their other parts; it reads what a custom loader has written.
LOAD_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE")
# Directories of other owners become root's before they are emptied.
REMOVAL_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE")
# The other verbs read files and directories of any owner and mode.
MAINTENANCE_CAPABILITIES = ("DAC_OVERRIDE",)
# A rollback changes only what is root's.
ROLLBACK_CAPABILITIES = ()
# A custom loader may unpack archives with their owners, and change to a user of its own.
USERS_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
# A retry of the loader continues where it stopped; a custom loader starts over.
RETRIES, CUSTOM_RETRIES = 5, 1
# A deletion that has ended tells that to whoever asks again.
KEPT_DELETION_SECONDS = 3600
_NOTHING: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Loader:
    """The cluster, image and proxies of the loader.

    Attributes:
        cluster: The cluster.
        image: An image with Python 3.9 or newer.
        file_system: The file system that its pods mount.
        proxies: The environment variables of the model's proxies, whose URLs may have passwords.
        options: What the application's options add to its Jobs.
    """

    cluster: client.Cluster
    image: str
    file_system: str
    proxies: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], repr=False)
    options: pod_options.PodOptions = dataclasses.field(default_factory=pod_options.PodOptions)

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
        loader: The loader's cluster, image and proxies.
        desired: The data set.
        request: The id of the request.
        credentials: The credentials for its sources.
        secrets: The custom loader's environment variables from Juju secrets.
    """
    task = desired.task(request=request, root=job_lifecycle.MOUNT_PATH, credentials=credentials)
    # The task contains credentials, and sources with their queries.
    own = {protocol.TASK: task.to_json(), **({} if desired.image else loader.proxies)}
    main = _container(loader, capabilities=LOAD_CAPABILITIES, secrets=tuple(own))
    return job_lifecycle.DesiredJob(
        name=job_name(LOAD, desired.name),
        kind=LOAD,
        file_system=loader.file_system,
        main=main,
        init_containers=_custom_loader(loader, desired, request, secrets) if desired.image else (),
        secrets={**secrets, **own},
        files={PROGRAM: loader_program.zipapp()},
        annotations={
            protocol.DATASET_ANNOTATION: desired.name,
            protocol.FINGERPRINT_ANNOTATION: desired.fingerprint(),
            protocol.REQUEST_ANNOTATION: request,
            protocol.SOURCE_ANNOTATION: desired.shown_source,
        },
        retries=CUSTOM_RETRIES if desired.image else RETRIES,
        parallelism=desired.parallelism,
        deadline_seconds=desired.deadline_seconds,
        options=loader.options,
    )


def maintenance_job(
    loader: Loader, kind: str, name: str = "", *, version: str = ""
) -> job_lifecycle.DesiredJob:
    """Return the Job, of one pod, that maintains a data set, or lists all of them.

    Args:
        loader: The loader's cluster, image and proxies.
        kind: The kind of the Job.
        name: The data set's name; empty for all.
        version: The version that a rollback publishes; empty for the one before.
    """
    # The loader requires a name in its task, also for an inventory.
    task = tasks.Task(
        name or kind, request_ids.new(), "", version=version, root=job_lifecycle.MOUNT_PATH
    )
    annotations = {protocol.DATASET_ANNOTATION: name, protocol.VERSION_ANNOTATION: version}
    capabilities = {DELETE: REMOVAL_CAPABILITIES, ROLLBACK: ROLLBACK_CAPABILITIES}
    return job_lifecycle.DesiredJob(
        name=job_name(kind, name) if name else kind,
        kind=kind,
        file_system=loader.file_system,
        main=_container(
            loader,
            MAINTENANCE[kind],
            capabilities=capabilities.get(kind, MAINTENANCE_CAPABILITIES),
            env={protocol.TASK: task.to_json()},
        ),
        files={PROGRAM: loader_program.zipapp()},
        keep_seconds=KEPT_DELETION_SECONDS if kind == DELETE else None,
        annotations={key: value for key, value in annotations.items() if value},
        options=loader.options,
    )


def _container(
    loader: Loader,
    verb: str = "",
    *,
    capabilities: tuple[str, ...],
    env: Mapping[str, str] = _NOTHING,
    secrets: tuple[str, ...] = (),
) -> job_lifecycle.Container:
    return job_lifecycle.Container(
        name=CONTAINER,
        image=loader.image,
        command=("python3", f"{job_lifecycle.FILES_PATH}/{PROGRAM}", *([verb] if verb else [])),
        env={
            **env,
            # Otherwise glibc keeps an arena per thread, and never returns its memory.
            "MALLOC_ARENA_MAX": "2",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        secrets=secrets,
        capabilities=capabilities,
    )


def _custom_loader(
    loader: Loader, desired: dataset.Dataset, request: str, secrets: Mapping[str, str]
) -> tuple[job_lifecycle.Container, ...]:
    """Return the containers that create a directory and then run the custom loader in it."""
    prepare = dataclasses.replace(
        _container(
            loader,
            protocol.PREPARE,
            capabilities=REMOVAL_CAPABILITIES,
            secrets=(protocol.TASK,),
        ),
        name=PREPARE,
    )
    # The image is not ours: it gets the model's proxies without their passwords.
    proxies = {name: _without_login(value) for name, value in loader.proxies.items()}
    plain = {**proxies, **desired.env}
    custom = job_lifecycle.Container(
        name=CUSTOM_LOADER,
        image=desired.image,
        command=desired.command,
        env={name: value for name, value in plain.items() if name not in secrets},
        secrets=tuple(secrets),
        directory=volume.custom_loader_files(desired.name, request),
        as_root=False,
        capabilities=USERS_CAPABILITIES,
        read_only_root=False,
    )
    return prepare, custom


def _without_login(proxy: str) -> str:
    """Return a proxy's URL, or a list of hosts, without user and password."""
    if "@" not in proxy:
        return proxy
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", proxy)
    return (scheme[0] if scheme else "") + proxy.rpartition("@")[2]
