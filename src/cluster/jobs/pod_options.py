"""What the application's options add to Jobs and pods: placement, image pulls, metadata."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

Toleration = Mapping[str, str]

# It tolerates every taint.
EVERY_TAINT: Toleration = {"operator": "Exists"}
# Kueue, which admits Jobs by a label with this prefix, holds them back until there is room.
QUEUES = "kueue.x-k8s.io/"


@dataclasses.dataclass(frozen=True)
class PodOptions:
    """The options for the Jobs' pods, in the words of their manifests.

    Attributes:
        tolerations: The taints of nodes that they tolerate.
        node_selector: The labels of the nodes on which they run.
        image_pull_secret: The Secret, in the charm's namespace, with which images are pulled; ""
            for none.
        job_labels: Further labels of the Jobs.
        labels: Further labels of the pods; they replace those that opt out of meshes.
        annotations: Further annotations of the pods; they replace those that opt out, too.
    """

    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    image_pull_secret: str = ""
    job_labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def on_every_node(self) -> PodOptions:
        """Return the options of pods that run wherever a pod can run, and wait in no queue."""
        labels = {key: self.job_labels[key] for key in self.job_labels if QUEUES not in key}
        return dataclasses.replace(
            self, tolerations=(EVERY_TAINT,), node_selector={}, job_labels=labels
        )

    @property
    def queue(self) -> bool:
        """Return whether a queue, not the charm, decides when a Job runs."""
        return any(key.startswith(QUEUES) for key in self.job_labels)
