"""One pod on a node, from its binding by the scheduler until its object is deleted."""

from __future__ import annotations

import contextlib
import logging
import queue
import shutil
import threading
import time
from collections.abc import Sequence

from sandbox.node import (
    container_process,
    kubelet_client,
    kubelet_events,
    pod_container,
    pod_references,
    pod_status,
    pod_volumes,
)

logger = logging.getLogger(__name__)

_FIRST_RETRY = 0.5
_LONGEST_RETRY = 122.0
_GRACE_SECONDS = 30
_API_RETRY = 0.2
# The kubelet looks for ended containers once a second, and then syncs their pod.
_RELIST_SECONDS = 1.5
_TERMINAL = ("Succeeded", "Failed")


class _DeletedError(Exception):
    """A request to delete the pod."""


class _DeadlineError(Exception):
    """A pod that was active longer than its deadline."""


class _FinalPhaseError(Exception):
    """A final phase in the pod's object that somebody else has set: the kubelet ends the pod."""


class _EndError(Exception):
    """The end of the pod's object or of the sandbox."""


_Exit = tuple[pod_container.Container, int, str]
_Message = kubelet_client.Object | _Exit | None


class Pod:
    """A pod that runs from `start` on; its containers are processes that end with its thread.

    Args:
        kubelet: The resources that all pods share.
        manifest: The pod's object.
        address: The node's address.
        mounter: The function that mounts NFS on the node.
        kubelet_runs: Set while the node's kubelet runs; without it nothing happens to the pod.
    """

    def __init__(
        self,
        kubelet: pod_container.Kubelet,
        manifest: kubelet_client.Object,
        address: str,
        mounter: pod_volumes.Mounter,
        kubelet_runs: threading.Event,
    ) -> None:
        metadata = manifest["metadata"]
        self.namespace: str = metadata["namespace"]
        self.name: str = metadata["name"]
        self.uid: str = metadata["uid"]
        self.node: str = manifest["spec"]["nodeName"]
        self._thread = threading.Thread(target=self._run, name=f"pod-{self.name}", daemon=True)
        self._kubelet = kubelet
        self._kubelet_runs = kubelet_runs
        self._manifest = manifest
        self._directory = kubelet.directory / self.uid
        self._inbox: queue.Queue[_Message] = queue.Queue()
        references = pod_references.References(kubelet.api, manifest, address)
        self._volumes = pod_volumes.Volumes(
            manifest, self._directory / "volumes", references, mounter
        )
        spec = manifest["spec"]
        self._init, self._main = (
            [
                pod_container.Container(
                    kubelet, manifest, container, references, self._volumes, field=f"spec.{kind}"
                )
                for container in spec.get(kind, [])
            ]
            for kind in ("initContainers", "containers")
        )
        self._status = pod_status.PodStatus(address, self._init, self._main)
        self._reported: kubelet_client.Object = {}
        self._sidecars: list[pod_container.Container] = []
        self._stopping = False
        self._deadline: float | None = None
        if "activeDeadlineSeconds" in spec:
            self._deadline = time.monotonic() + spec["activeDeadlineSeconds"]

    @property
    def running(self) -> bool:
        """Return whether the pod's thread is running."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the pod's thread."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until the pod's thread has ended, at most this long."""
        self._thread.join(seconds)

    def update(self, manifest: kubelet_client.Object) -> None:
        """Receive a changed pod object."""
        self._inbox.put(manifest)

    def end(self) -> None:
        """End the pod at once, because its object or node is gone."""
        self._inbox.put(None)

    def container(self, name: str) -> pod_container.Container | None:
        """Return a container by name."""
        return next((each for each in (*self._init, *self._main) if each.name == name), None)

    def _run(self) -> None:
        """Run the pod until its object is deleted."""
        logger.info("run pod %s/%s on %s", self.namespace, self.name, self.node)
        try:
            if self._manifest["status"].get("phase") not in _TERMINAL:
                self._run_to_completion()
            self._wait_for_deletion()
        except _EndError:
            pass
        finally:
            self._stopping = True
            for container in (*self._init, *self._main):
                if container.process:
                    container.process.kill()
            shutil.rmtree(self._directory, ignore_errors=True)
            logger.info("removed pod %s/%s", self.namespace, self.name)

    def _run_to_completion(self) -> None:
        try:
            if "deletionTimestamp" in self._manifest["metadata"]:
                raise _DeletedError
            for container in (*self._init, *self._main) if self._init else ():
                container.set_waiting("PodInitializing")
            self._report()
            self._set_up_volumes()
            if all(self._run_init_container(container) for container in self._init):
                self._run_containers(self._main)
            self._stop()
        except _DeletedError:
            self._stop()
        except _FinalPhaseError:
            self._status.final = self._manifest["status"]["phase"]
            self._stop()
        except _DeadlineError:
            message = "Pod was active on the node longer than the specified deadline"
            self._status.failure = {"reason": "DeadlineExceeded", "message": message}
            self._stop()
        for container in (*self._init, *self._main):
            container.stop_restarting()
        self._stopping = True
        self._report()

    def _set_up_volumes(self) -> None:
        seconds = _FIRST_RETRY
        while pending := self._volumes.pending():
            for volume in pending:
                self._set_up(volume)
            if self._volumes.pending():
                self._pause(seconds * self._kubelet.scale)
                seconds = min(seconds * 2, _LONGEST_RETRY)

    def _set_up(self, volume: kubelet_client.Object) -> None:
        try:
            self._volumes.set_up(volume)
        except pod_volumes.VolumeError as error:
            self._kubelet.events.warning(self._manifest, "FailedMount", str(error))
        except kubelet_client.UnreachableError as error:
            logger.debug("volume %s of %s: %s", volume["name"], self.name, error)

    def _run_init_container(self, container: pod_container.Container) -> bool:
        """Run an init container to its end, or until it has started if it is a sidecar."""
        if not container.sidecar:
            return self._run_containers([container])
        self._sidecars.append(container)
        while not container.started:
            self._start([container])
        return True

    def _run_containers(self, containers: Sequence[pod_container.Container]) -> bool:
        """Run containers until all have ended; return whether all succeeded."""
        while not all(container.finished for container in containers):
            self._start(containers)
        return all(container.exit_code == 0 for container in containers)

    def _start(self, containers: Sequence[pod_container.Container]) -> None:
        """Start the containers and sidecars that are due, and wait until something happens."""
        running = (*self._sidecars, *containers)
        for container in running:
            if container.due:
                container.start()
                self._watch(container)
        self._report()
        if all(container.finished for container in containers):
            return
        if all(container.started for container in containers) and containers[0].sidecar:
            return
        waiting = [each for each in running if not each.process and not each.finished]
        self._receive(min((each.next_try for each in waiting), default=None))

    def _watch(self, container: pod_container.Container) -> None:
        process = container.process
        if process:
            arguments = (container, process)
            threading.Thread(target=self._await_exit, args=arguments, daemon=True).start()

    def _await_exit(
        self, container: pod_container.Container, process: container_process.ContainerProcess
    ) -> None:
        code = process.wait()
        ended = kubelet_events.timestamp()
        if not self._stopping:
            time.sleep(_RELIST_SECONDS * self._kubelet.scale)
        self._inbox.put((container, code, ended))

    def _stop(self) -> None:
        """Stop the containers with SIGTERM, and with SIGKILL after the grace period."""
        self._stopping = True
        spec, metadata = self._manifest["spec"], self._manifest["metadata"]
        grace = spec.get("terminationGracePeriodSeconds", _GRACE_SECONDS)
        grace = metadata.get("deletionGracePeriodSeconds", grace)
        containers = (*self._init, *self._main)
        for container in containers:
            container.stop_restarting()
            if container.process:
                message = f"Stopping container {container.name}"
                self._kubelet.events.normal(self._manifest, "Killing", message)
                container.process.terminate()
        until = time.monotonic() + grace * self._kubelet.scale
        while any(each.process for each in containers) and time.monotonic() < until:
            self._receive(until)
        for container in containers:
            if container.process:
                container.process.kill()
        while any(each.process for each in containers):
            self._receive(None)

    def _wait_for_deletion(self) -> None:
        """Wait until deletion is requested, confirm it, and wait until the object is gone."""
        self._stopping = True
        while "deletionTimestamp" not in self._manifest["metadata"]:
            self._receive(None)
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        while True:
            try:
                self._kubelet.api.delete(path, options)
                break
            except kubelet_client.ApiError as error:
                logger.debug("delete pod %s: %s", self.name, error)
                break
            except kubelet_client.UnreachableError:
                self._pause(_API_RETRY)
        while True:
            self._receive(None)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._receive(until)

    def _receive(self, until: float | None) -> None:
        """Wait for a message, at most until a given time.

        Raises:
            _DeletedError, _FinalPhaseError, _DeadlineError, _EndError: The pod has to end.
        """
        moments = [until, None if self._stopping else self._deadline]
        until = min((moment for moment in moments if moment is not None), default=None)
        timeout = None if until is None else max(0.0, until - time.monotonic())
        message: _Message = self._manifest
        with contextlib.suppress(queue.Empty):
            message = self._inbox.get(timeout=timeout)
        self._kubelet_runs.wait()
        if message is None:
            raise _EndError
        if isinstance(message, tuple):
            container, code, ended = message
            container.record_exit(code, ended)
        else:
            self._manifest = message
        if self._stopping:
            return
        if "deletionTimestamp" in self._manifest["metadata"]:
            raise _DeletedError
        if self._manifest["status"].get("phase") in _TERMINAL:
            raise _FinalPhaseError
        if self._deadline and time.monotonic() >= self._deadline:
            raise _DeadlineError

    def _report(self) -> None:
        """Send the pod's status to the API server, with retries."""
        while (status := self._status.manifest()) != self._reported:
            self._kubelet_runs.wait()
            path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}/status"
            body = {"metadata": {"uid": self.uid}, "status": status}
            try:
                self._kubelet.api.patch(path, body, kubelet_client.STRATEGIC)
                self._reported = status
            except kubelet_client.ApiError as error:
                logger.debug("status of pod %s: %s", self.name, error)
                return  # the pod is gone or replaced: the watch will report it
            except kubelet_client.UnreachableError:
                self._pause(_API_RETRY)
