"""create-dataset: a data set becomes a Job in our namespace, and the Job's end an answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import problems
from cluster import jobs
from datasets import dataset

if TYPE_CHECKING:
    from cluster import client

KIND = "dataset"
NAME = "aws-efs/dataset"
FINGERPRINT = "aws-efs/fingerprint"
SOURCE = "aws-efs/source"
VERSION = "aws-efs/version"
LOADER = "loader.pyz"
# The loader's task holds the source with its query, which may be signed: so it is a secret.
TASK = "AWS_EFS_DATASET"


def create(
    cluster: client.Cluster,
    wanted: dataset.Dataset,
    *,
    image: str,
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
    wait_seconds: float,
) -> dict[str, str]:
    """Put a data set on the volume, or report on the one that is being put there, or is there.

    Args:
        cluster: The cluster.
        wanted: The data set.
        image: The image that our loader runs in.
        environment: Further environment of the loader: proxies.
        secrets: What of the user's own loader's environment comes from Juju secrets.
        wait_seconds: How long to wait for the result.

    Returns:
        The state so far, as an action's results.

    Raises:
        problems.Blocked: There is another one of that name, or it failed or is stuck: the loader's
            own last error, or the pod's own event.
    """
    name = f"{KIND}-{wanted.name}"
    state = jobs.state(cluster, name)
    if state is not None and _is_to_go(state, wanted):
        jobs.remove(cluster, name)
        jobs.wait_gone(cluster, name)
        state = None
    if state is None or state.phase == jobs.QUEUED:
        # One that is queued may have been cut off between its parts: starting it again goes on.
        version = state.annotations[VERSION] if state else dataset.new_version()
        job = _job(name, wanted, version, image=image, environment=environment, secrets=secrets)
        jobs.start(cluster, job)
    state = jobs.wait(cluster, name, wait_seconds)
    if state is None:
        raise problems.Waiting(f"data set {wanted.name} was deleted meanwhile: run it again")
    return _answer(cluster, wanted, state)


def _is_to_go(state: jobs.State, wanted: dataset.Dataset) -> bool:
    """Whether an earlier Job of the name has to make room for a new one."""
    if state.annotations.get(FINGERPRINT) == wanted.fingerprint():
        # What is stuck has not begun: a new Job has the settings that mend it.
        stuck = state.cause is not None and state.cause.blocked
        return stuck or state.phase == jobs.FAILED
    if not wanted.overwrite:
        raise problems.Blocked(
            f"data set {wanted.name} exists with other parameters (from "
            f"{state.annotations.get(SOURCE, 'elsewhere')}): overwrite=true replaces it"
        )
    return True


def _job(
    name: str,
    wanted: dataset.Dataset,
    version: str,
    *,
    image: str,
    environment: Mapping[str, str],
    secrets: Mapping[str, str],
) -> jobs.Wanted:
    main = jobs.Container(
        name=KIND,
        image=image,
        command=("python3", f"{jobs.FILES_PATH}/{LOADER}"),
        env=environment,
        secrets=(TASK,),
    )
    return jobs.Wanted(
        name=name,
        kind=KIND,
        main=main,
        before=_own_loader(main, wanted, version, secrets) if wanted.image else (),
        secrets={**secrets, TASK: wanted.spec(version=version, root=jobs.MOUNT_PATH)},
        files={LOADER: dataset.zipapp()},
        annotations={
            NAME: wanted.name,
            FINGERPRINT: wanted.fingerprint(),
            VERSION: version,
            SOURCE: wanted.shown_source(),
        },
    )


def _own_loader(
    main: jobs.Container, wanted: dataset.Dataset, version: str, secrets: Mapping[str, str]
) -> tuple[jobs.Container, ...]:
    """What runs before ours publishes: its directory is made, then the user's image fills it."""
    prepare = dataclasses.replace(main, name="prepare", command=(*main.command, dataset.PREPARE))
    load = jobs.Container(
        name="loader",
        image=wanted.image,
        command=wanted.command,
        env={**main.env, **{k: v for k, v in wanted.env.items() if k not in secrets}},
        secrets=tuple(secrets),
        directory=dataset.own_directory(wanted.name, version),
        as_root=False,
    )
    return prepare, load


def _answer(cluster: client.Cluster, wanted: dataset.Dataset, state: jobs.State) -> dict[str, str]:
    answer = {"name": wanted.name, "source": wanted.shown_source()}
    if state.phase == jobs.SUCCEEDED:
        result = dataset.outcome(state.message)
        if isinstance(result, dataset.Result):
            return answer | {
                "state": "published",
                "path": result.path,
                "files": str(result.files),
                "bytes": str(result.bytes),
                "seconds": str(result.seconds),
                "checksum": result.checksum,
            }
        raise problems.Blocked(f"data set {wanted.name}: {result.error}")
    if state.phase == jobs.FAILED:
        raise problems.Blocked(f"data set {wanted.name}: {_why(wanted, state)}")
    if state.cause is not None:
        raise problems.Blocked(f"data set {wanted.name} is stuck: {state.cause.sentence}")
    logs = f"kubectl -n {cluster.namespace} logs -f job/{state.name}"
    return answer | {
        "state": state.phase,
        "next": f"it goes on; run create-dataset again to see how far it is, or {logs}",
    }


def _why(wanted: dataset.Dataset, state: jobs.State) -> str:
    """The last error of our loader; or of the user's own, which says it in its own words."""
    if not state.message:
        return state.why
    result = dataset.outcome(state.message)
    if wanted.image and result == dataset.Failed(dataset.NO_LAST_WORDS):
        return state.message
    return result.error if isinstance(result, dataset.Failed) else state.why
