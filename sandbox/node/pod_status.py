"""A pod's status as a kubelet writes it, derived from the states of its containers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sandbox.node import kubelet_client, kubelet_events, pod_container


@dataclasses.dataclass
class PodStatus:
    """A pod's status, with the times at which its conditions changed.

    Attributes:
        address: The node's address, which is also the pod's.
        init: The pod's init containers.
        main: Its containers.
        failure: The `reason` and `message` of a failure of the whole pod; empty without one.
        final: The final phase that somebody else has set; "" where nobody has.
    """

    address: str
    init: Sequence[pod_container.Container]
    main: Sequence[pod_container.Container]
    failure: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    final: str = ""
    _started: str = dataclasses.field(default_factory=kubelet_events.timestamp)
    _conditions: dict[str, kubelet_client.Object] = dataclasses.field(
        default_factory=dict[str, kubelet_client.Object]
    )

    def manifest(self) -> kubelet_client.Object:
        """Return the status as JSON."""
        phase = self._phase()
        ended = phase in ("Succeeded", "Failed")
        running = phase == "Running"
        ready = running and all("running" in each.state for each in self.main)
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        not_ready = reason if ended else "ContainersNotReady"
        addresses: kubelet_client.Object = {}
        if running or ended:
            addresses = {"podIP": self.address, "podIPs": [{"ip": self.address}]}
        return {
            "phase": phase,
            "startTime": self._started,
            "hostIP": self.address,
            "hostIPs": [{"ip": self.address}],
            **addresses,
            **self.failure,
            "conditions": [
                self._condition("PodReadyToStartContainers", running, ""),
                self._condition("Initialized", self._initialized(), "ContainersNotInitialized"),
                self._condition("Ready", ready, not_ready),
                self._condition("ContainersReady", ready, not_ready),
            ],
            "initContainerStatuses": [each.status() for each in self.init],
            "containerStatuses": [each.status() for each in self.main],
        }

    def _phase(self) -> str:
        if self.final:
            return self.final
        # The end of a native sidecar counts for nothing.
        containers = [each for each in (*self.init, *self.main) if not each.sidecar]
        if all(each.finished for each in containers):
            succeeded = not self.failure and all(each.exit_code == 0 for each in containers)
            return "Succeeded" if succeeded else "Failed"
        # While a container has never started, the pod is pending, though others may run.
        if all(each.started for each in self.main):
            return "Running"
        return "Pending"

    def _initialized(self) -> bool:
        return all(
            each.started if each.sidecar else each.finished and each.exit_code == 0
            for each in self.init
        )

    def _condition(self, kind: str, value: bool, false_reason: str) -> kubelet_client.Object:
        condition: kubelet_client.Object = {"type": kind, "status": str(value)}
        # An empty reason removes the previous one.
        condition["reason"] = "" if value else false_reason
        before = self._conditions.get(kind, {})
        if before.get("status") == condition["status"]:
            condition["lastTransitionTime"] = before["lastTransitionTime"]
        else:
            condition["lastTransitionTime"] = kubelet_events.timestamp()
        self._conditions[kind] = condition
        return condition
