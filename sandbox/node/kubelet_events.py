"""Sending of a kubelet's events, with repeated ones counted."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import queue
import threading
import time

from sandbox.node import kubelet_client

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Event:
    pod_uid: str
    namespace: str
    pod: str
    field_path: str
    node: str
    type: str
    reason: str
    message: str


class Recorder:
    """A recorder that sends events in the background, in order.

    Args:
        api: The client of the API server.
    """

    def __init__(self, api: kubelet_client.KubeletClient) -> None:
        self._api = api
        self._events: queue.Queue[_Event | None] = queue.Queue()
        # The name and count of each sent event.
        self._sent: dict[_Event, tuple[str, int]] = {}
        self._thread = threading.Thread(target=self._run, name="kubelet-events", daemon=True)
        self._thread.start()

    def normal(
        self, pod: kubelet_client.Object, reason: str, message: str, container: str = ""
    ) -> None:
        """Record an event of type Normal."""
        self._events.put(_event(pod, "Normal", reason, message, container))

    def warning(
        self, pod: kubelet_client.Object, reason: str, message: str, container: str = ""
    ) -> None:
        """Record an event of type Warning."""
        self._events.put(_event(pod, "Warning", reason, message, container))

    def close(self) -> None:
        """Send the remaining events, and stop."""
        self._events.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            self._send(event)

    def _send(self, event: _Event) -> None:
        try:
            self._write(event)
        except (kubelet_client.ApiError, kubelet_client.UnreachableError) as error:
            # As on a real node: an event is lost when its namespace or the API server is gone.
            logger.debug("event %s of pod %s: %s", event.reason, event.pod, error)

    def _write(self, event: _Event) -> None:
        path = f"/api/v1/namespaces/{event.namespace}/events"
        now = timestamp()
        name, count = self._sent.get(event, ("", 0))
        if count:
            try:
                self._api.patch(f"{path}/{name}", {"count": count + 1, "lastTimestamp": now})
            except kubelet_client.ApiError as error:
                if error.status != 404:
                    raise
                count = 0
        if not count:
            name = f"{event.pod}.{time.time_ns():x}"
            self._api.post(path, _manifest(event, name, now))
        self._sent[event] = name, count + 1


def timestamp() -> str:
    """Return the current time in the API's format."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _event(
    pod: kubelet_client.Object, kind: str, reason: str, message: str, container: str
) -> _Event:
    metadata = pod["metadata"]
    return _Event(
        pod_uid=metadata["uid"],
        namespace=metadata["namespace"],
        pod=metadata["name"],
        field_path=container,
        node=pod["spec"]["nodeName"],
        type=kind,
        reason=reason,
        message=message[:1024],
    )


def _manifest(event: _Event, name: str, now: str) -> kubelet_client.Object:
    pod: kubelet_client.Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": event.namespace,
        "name": event.pod,
        "uid": event.pod_uid,
    }
    if event.field_path:
        pod["fieldPath"] = event.field_path
    source = {"component": "kubelet", "host": event.node}
    return {
        "metadata": {"name": name, "namespace": event.namespace},
        "involvedObject": pod,
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "source": source,
        "reportingComponent": source["component"],
        "reportingInstance": source["host"],
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
