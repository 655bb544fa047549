from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from sandbox import stage as sandbox_stage
    from sandbox.kubernetes import control_plane

# Tests must not fail on a busy machine.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

# AWS's latencies, scaled: a file system takes 24 ms and a mount target 170 ms.
SCALE = 0.002


@pytest.fixture(scope="session")
def running_plane() -> Iterator[control_plane.ControlPlane]:
    """Start one control plane for all tests of a worker; that takes seconds."""
    from sandbox.kubernetes import control_plane

    with control_plane.ControlPlane.start() as plane:
        yield plane


@pytest.fixture
def plane(running_plane: control_plane.ControlPlane) -> control_plane.ControlPlane:
    """Wipe the cluster, so that it is as new."""
    running_plane.wipe()
    return running_plane


@pytest.fixture
def stage(plane: control_plane.ControlPlane) -> Iterator[sandbox_stage.Stage]:
    """Set up everything except the charm, which the test deploys."""
    from sandbox import stage as sandbox_stage
    from sandbox.aws import aws_cloud as sandbox_aws

    latencies = sandbox_aws.Latencies.real().scaled(SCALE)
    with sandbox_stage.Stage.set_up(plane, latencies) as stage:
        yield stage
