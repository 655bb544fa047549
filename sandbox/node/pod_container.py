"""One container as a kubelet manages it: starts, restarts, exits and status."""

from __future__ import annotations

import dataclasses
import pathlib
import time
import uuid
from typing import Any

from sandbox.node import (
    container_command,
    container_process,
    image_pulls,
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
# From the start of a pull until it fails.
_PULL_SECONDS = 13.0
# From a failed synchronisation of a pod to the next (backOffPeriod in pkg/kubelet).
_RESYNC_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Kubelet:
    """The resources that all pods of the sandbox's nodes share.

    Attributes:
        api: The client of the API server.
        events: The event recorder.
        directory: The parent of the pods' directories.
        scale: The factor for the kubelet's own waits.
    """

    api: kubelet_client.KubeletClient
    events: kubelet_events.Recorder
    directory: pathlib.Path
    scale: float


class Container:
    """A container of a pod; call `start` when it is `due`, and `record_exit` when it has ended.

    Args:
        kubelet: The resources that all pods share.
        pod: The pod.
        spec: The container in the pod's spec.
        references: The objects that the pod refers to.
        volumes: The pod's volumes.
        field: The container's field in the pod's spec, for events.
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
        # A native sidecar: an init container that runs beside the others, until they have ended.
        self.sidecar = field == "spec.initContainers" and spec.get("restartPolicy") == "Always"
        self.process: container_process.ContainerProcess | None = None
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
        self._pulling = False

    @property
    def started(self) -> bool:
        """Return whether it was ever started."""
        return self._starts > 0

    @property
    def due(self) -> bool:
        """Return whether to start it now."""
        return not self.finished and self.process is None and time.monotonic() >= self.next_try

    @property
    def waiting(self) -> str:
        """Return the reason of the waiting state; empty in any other state."""
        return self.state.get("waiting", {}).get("reason", "")

    def set_waiting(self, reason: str) -> None:
        """Set the waiting state before the first start."""
        self.state = {"waiting": {"reason": reason}}

    def start(self) -> None:
        """Start it, or set the waiting state with the reason why it cannot start."""
        image: str = self._spec["image"]
        if error := image_pulls.failure(image):
            self._pull(image, error)
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
        self._record("Pulled", f'Container image "{image}" already present on machine')
        self._record("Created", "Container created")
        self._run(program)

    def record_exit(self, code: int, ended_at: str) -> None:
        """Record its exit, and decide whether to restart it."""
        reason = "Completed" if code == 0 else "Error"
        if self.process and self.process.out_of_memory:
            reason = "OOMKilled"
        self.process = None
        running = self.state["running"]
        self._end(code, reason, running["startedAt"], ended_at, self._message(code))

    def stop_restarting(self) -> None:
        """Forbid another start, because its pod ends."""
        self.finished = True

    def log(self, previous: bool = False) -> pathlib.Path | None:
        """Return the log of the latest run, or of the previous one."""
        run = self._starts - (1 if previous else 0)
        return self._log(run) if run > 0 else None

    def status(self) -> kubelet_client.Object:
        """Return its part of the pod's status."""
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
            self.process = container_process.ContainerProcess(
                program, root, self._log(self._starts)
            )
        except container_process.StartError as error:
            message = (
                "failed to create containerd task: failed to create shim task: OCI runtime create "
                "failed: runc create failed: unable to start container process: error during "
                f"container init: {error}"
            )
            self._warn("Failed", f"Error: {message}")
            self._end(_START_ERROR, "StartError", _EPOCH, kubelet_events.timestamp(), message)
            return
        self.state = {"running": {"startedAt": kubelet_events.timestamp()}}
        self._record("Started", "Container started")

    def _end(self, code: int, reason: str, started_at: str, ended_at: str, message: str) -> None:
        self.exit_code = code
        terminated = {
            "exitCode": code,
            "reason": reason,
            "startedAt": started_at,
            "finishedAt": ended_at,
            "containerID": self._id,
        }
        if message:
            terminated["message"] = message
        self.state = {"terminated": terminated}
        policy = self._pod["spec"].get("restartPolicy", "Always")
        policy = "Always" if self.sidecar else policy
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

    def _pull(self, image: str, error: str) -> None:
        """Take the next step of a pull that fails: try, ErrImagePull, ImagePullBackOff."""
        now = time.monotonic()
        if self._pulling:
            self._pulling = False
            self._warn("Failed", f'Failed to pull image "{image}": {error}')
            self._warn("Failed", "Error: ErrImagePull")
            self.state = {"waiting": {"reason": "ErrImagePull", "message": error}}
            self.next_try = now + _RESYNC_SECONDS * self._kubelet.scale
        elif self.waiting == "ErrImagePull":
            message = f'Back-off pulling image "{image}"'
            self._record("BackOff", message)
            self._warn("Failed", "Error: ImagePullBackOff")
            self._back_off("ImagePullBackOff", f"{message}: ErrImagePull: {error}")
        else:
            self._record("Pulling", f'Pulling image "{image}"')
            self._pulling = True
            self.next_try = now + _PULL_SECONDS * self._kubelet.scale

    def _back_off(self, reason: str, message: str) -> None:
        self.state = {"waiting": {"reason": reason, "message": message}}
        seconds = min(_BACK_OFF * 2**self._failures, _LONGEST_BACK_OFF)
        self._failures += 1
        self.next_try = time.monotonic() + seconds * self._kubelet.scale

    def _message(self, code: int) -> str:
        """Return the termination message, or the end of the log if the policy says so."""
        content = _read_end(self._termination(self._starts), _MESSAGE_BYTES)
        policy = self._spec.get("terminationMessagePolicy", "File")
        if not content and code != 0 and policy == "FallbackToLogsOnError":
            log = _read_end(self._log(self._starts), _LOG_MESSAGE_BYTES)
            content = b"".join(log.splitlines(keepends=True)[-_LOG_MESSAGE_LINES:])
        return content.decode(errors="replace")

    def _log(self, run: int) -> pathlib.Path:
        return self._directory / f"{run}.log"

    def _termination(self, run: int) -> pathlib.Path:
        return self._directory / f"{run}.termination"

    def _record(self, reason: str, message: str) -> None:
        self._kubelet.events.normal(self._pod, reason, message, self._field)

    def _warn(self, reason: str, message: str) -> None:
        self._kubelet.events.warning(self._pod, reason, message, self._field)


def _read_end(path: pathlib.Path, size: int) -> bytes:
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - size))
        return file.read()
