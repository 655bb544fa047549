"""One container as a kubelet sees it: when it starts, what became of it, what its status says."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import time
import uuid
from typing import Any

from sandbox.node import (
    container_command,
    container_process,
    kubelet_client,
    kubelet_events,
    pod_references,
    pod_volumes,
)

_MESSAGE_BYTES = 4096
_LOG_MESSAGE_BYTES = 2048
_LOG_MESSAGE_LINES = 80
_START_ERROR = 128
_EPOCH = "1970-01-01T00:00:00Z"
_BACK_OFF = 10.0
_LONGEST_BACK_OFF = 300.0
_PULL = 1.0


@dataclasses.dataclass(frozen=True)
class Kubelet:
    """What all pods of the sandbox's nodes have in common.

    Attributes:
        api: The API server.
        events: Where events go.
        directory: Where the pods' directories are.
        scale: By how much the kubelet's own waits are shortened.
    """

    api: kubelet_client.Api
    events: kubelet_events.Recorder
    directory: pathlib.Path
    scale: float


class Container:
    """A container of a pod; `start` it when it is `due`, and tell it when it has `exited`.

    Args:
        kubelet: What all pods have in common.
        pod: Its pod.
        spec: The container in the pod's spec.
        references: What the pod refers to.
        volumes: The pod's volumes.
        field: Where the container stands in the pod's spec, for its events.
    """

    def __init__(
        self,
        kubelet: Kubelet,
        pod: kubelet_client.Object,
        spec: kubelet_client.Object,
        references: pod_references.References,
        volumes: pod_volumes.Volumes,
        *,
        field: str,
    ) -> None:
        self.name: str = spec["name"]
        self.process: container_process.Process | None = None
        self.finished = False
        self.exit_code: int | None = None
        self.next_try = 0.0
        self._kubelet = kubelet
        self._pod = pod
        self._spec = spec
        self._references = references
        self._volumes = volumes
        self._field = f"{field}{{{self.name}}}"
        self._directory = kubelet.directory / pod["metadata"]["uid"] / "containers" / self.name
        self.state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        self._last_state: dict[str, Any] = {}
        self._id = ""
        self._starts = 0
        self._failures = 0

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._starts > 0

    @property
    def due(self) -> bool:
        """Whether it is time to start it."""
        return not self.finished and self.process is None and time.monotonic() >= self.next_try

    @property
    def waiting(self) -> str:
        """Why it is not running yet, or no more; empty while it runs or when it ended."""
        return self.state.get("waiting", {}).get("reason", "")

    def wait_for(self, reason: str) -> None:
        """Say what it waits for until it is started the first time."""
        self.state = {"waiting": {"reason": reason}}

    def start(self) -> None:
        """Start it, or find out why it can not be."""
        image: str = self._spec["image"]
        if not image_exists(image):
            self._pull(image)
            return
        try:
            program = container_command.build(
                self._pod, self._spec, self._references, self._volumes.mounts(self._spec)
            )
        except (
            container_command.ConfigError,
            pod_volumes.VolumeError,
            kubelet_client.ApiError,
            kubelet_client.UnreachableError,
        ) as error:
            self._warn("Failed", f"Error: {error}")
            self._back_off("CreateContainerConfigError", str(error))
            return
        self._tell("Pulled", f'Container image "{image}" already present on machine')
        self._tell("Created", "Container created")
        self._run(program)

    def exited(self, code: int) -> None:
        """Take note of its end, and decide whether it is started again."""
        self.process = None
        running = self.state["running"]
        reason = "Completed" if code == 0 else "Error"
        self._end(code, reason, running["startedAt"], self._message(code))

    def give_up(self) -> None:
        """Never starts it again, since its pod ends."""
        self.finished = True

    def log(self, previous: bool = False) -> pathlib.Path | None:
        """The log of its latest run, or of the one before."""
        run = self._starts - (1 if previous else 0)
        return self._log(run) if run > 0 else None

    def status(self) -> kubelet_client.Object:
        """Its part of the pod's status."""
        running = "running" in self.state
        image: str = self._spec["image"]
        return {
            "name": self.name,
            "image": image,
            "imageID": f"sandbox/{image}" if self._id else "",
            "containerID": self._id,
            "ready": running,
            "started": running,
            "restartCount": max(self._starts - 1, 0),
            "state": self.state,
            "lastState": self._last_state,
        }

    def _run(self, program: container_process.Program) -> None:
        self._starts += 1
        self._id = f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        root = self._directory / "root"
        root.mkdir(parents=True, exist_ok=True)
        termination = self._termination(self._starts)
        termination.touch()
        termination.chmod(0o666)
        target = self._spec.get("terminationMessagePath", "/dev/termination-log")
        mounts = (*program.mounts, container_process.Mount(termination, target))
        program = dataclasses.replace(program, mounts=mounts)
        try:
            self.process = container_process.Process(program, root, self._log(self._starts))
        except container_process.StartError as error:
            message = (
                "failed to create containerd task: failed to create shim task: OCI runtime create "
                "failed: runc create failed: unable to start container process: error during "
                f"container init: {error}"
            )
            self._warn("Failed", f"Error: {message}")
            self._end(_START_ERROR, "StartError", _EPOCH, message)
            return
        self.state = {"running": {"startedAt": kubelet_events.timestamp()}}
        self._tell("Started", "Container started")

    def _end(self, code: int, reason: str, started_at: str, message: str) -> None:
        self.exit_code = code
        terminated = {
            "exitCode": code,
            "reason": reason,
            "startedAt": started_at,
            "finishedAt": kubelet_events.timestamp(),
            "containerID": self._id,
        }
        if message:
            terminated["message"] = message
        self.state = {"terminated": terminated}
        policy = self._pod["spec"].get("restartPolicy", "Always")
        if policy == "Never" or (policy == "OnFailure" and code == 0):
            self.finished = True
        if self.finished:
            return
        self._last_state = self.state
        pod = self._pod["metadata"]
        where = f"{self.name} in pod {pod['name']}_{pod['namespace']}({pod['uid']})"
        if self._starts > 1:
            self._warn("BackOff", f"Back-off restarting failed container {where}")
            self._back_off("CrashLoopBackOff", f"back-off restarting failed container={where}")

    def _pull(self, image: str) -> None:
        """Fail to pull the image, twice: that is first the error, then the backing off."""
        tag = image if re.search(r":[^/]+$", image) else f"{image}:latest"
        why = (
            f'rpc error: code = NotFound desc = failed to pull and unpack image "{tag}": '
            f'failed to resolve reference "{tag}": {tag}: not found'
        )
        if self.waiting != "ErrImagePull":
            self._warn("Failed", f'Failed to pull image "{image}": {why}')
            self._warn("Failed", "Error: ErrImagePull")
            self.state = {"waiting": {"reason": "ErrImagePull", "message": why}}
            self.next_try = time.monotonic() + _PULL * self._kubelet.scale
            return
        message = f'Back-off pulling image "{image}"'
        self._tell("BackOff", message)
        self._warn("Failed", "Error: ImagePullBackOff")
        self._back_off("ImagePullBackOff", f"{message}: ErrImagePull: {why}")

    def _back_off(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        seconds = min(_BACK_OFF * 2**self._failures, _LONGEST_BACK_OFF)
        self._failures += 1
        self.next_try = time.monotonic() + seconds * self._kubelet.scale

    def _message(self, code: int) -> str:
        """The termination message: its own, or the end of its log where that was asked for."""
        content = _end_of(self._termination(self._starts), _MESSAGE_BYTES)
        policy = self._spec.get("terminationMessagePolicy", "File")
        if not content and code != 0 and policy == "FallbackToLogsOnError":
            log = _end_of(self._log(self._starts), _LOG_MESSAGE_BYTES)
            content = b"".join(log.splitlines(keepends=True)[-_LOG_MESSAGE_LINES:])
        return content.decode(errors="replace")

    def _log(self, run: int) -> pathlib.Path:
        return self._directory / f"{run}.log"

    def _termination(self, run: int) -> pathlib.Path:
        return self._directory / f"{run}.termination"

    def _tell(self, reason: str, message: str) -> None:
        self._kubelet.events.normal(self._pod, reason, message, self._field)

    def _warn(self, reason: str, message: str) -> None:
        self._kubelet.events.warning(self._pod, reason, message, self._field)


def image_exists(image: str) -> bool:
    """Whether the registries have an image: all but those called `missing` or tagged so."""
    return re.search(r"(^|[/:])missing([:@]|$)", image) is None


def _end_of(path: pathlib.Path, size: int) -> bytes:
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - size))
        return file.read()
