"""Convert the application's options to what they add to Jobs and pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.jobs import pod_options

if TYPE_CHECKING:
    import config


def read(settings: config.Settings) -> pod_options.PodOptions:
    """Return what the options add to the charm's Jobs and their pods.

    Args:
        settings: The application's options.
    """
    return pod_options.PodOptions(
        tolerations=settings.tolerations,
        node_selector=settings.node_selector,
        image_pull_secret=settings.image_pull_secret,
        job_labels=settings.job_labels,
        labels=settings.pod_labels,
        annotations=settings.pod_annotations,
    )
