"""The whole sandbox with the charm: the common start of tests, demo and benchmarks."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal

import lightkube
import tenacity
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import core_v1

import charm
from sandbox.aws import aws_cloud
from sandbox.juju import charm_files, juju_model, kubernetes_bundle, model_state
from sandbox.kubernetes import control_plane
from sandbox.node import worker_nodes

ROOT = pathlib.Path(__file__).parents[1]
APPLICATION = "aws-efs"


class Stage:
    """A cloud, a cluster and a model, with shortcuts for scenarios with the charm.

    Args:
        cloud: AWS.
        plane: The Kubernetes control plane; `attach` can add it later.
        nodes: The nodes of the cluster.
        version: The version of Juju.
        proxies: The model's proxies.

    Attributes:
        cloud: AWS.
        model: The Juju model.
    """

    plane: control_plane.ControlPlane
    nodes: worker_nodes.Nodes

    def __init__(
        self,
        cloud: aws_cloud.Cloud,
        plane: control_plane.ControlPlane | None = None,
        nodes: worker_nodes.Nodes | None = None,
        *,
        version: Literal["2.9", "3.6"] = "3.6",
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        self.cloud = cloud
        self.model = juju_model.Model(cloud, version=version, proxies=proxies)
        if plane and nodes:
            self.attach(plane, nodes)

    def attach(self, plane: control_plane.ControlPlane, nodes: worker_nodes.Nodes) -> None:
        """Add a cluster for the Kubernetes charms that are deployed from now on."""
        self.plane = self.model.plane = plane
        self.nodes = self.model.nodes = nodes

    @classmethod
    @contextlib.contextmanager
    def set_up(
        cls, plane: control_plane.ControlPlane, latencies: aws_cloud.Latencies
    ) -> Generator[Stage]:
        """Yield a stage on a running cluster, which keeps running afterwards."""
        with (
            aws_cloud.Cloud.start(latencies) as cloud,
            worker_nodes.Nodes.start(plane, cloud) as nodes,
        ):
            yield cls(cloud, plane, nodes)

    def deploy(
        self,
        application: str = APPLICATION,
        *,
        trust: bool = True,
        units: int = 1,
        config: Mapping[str, charm_files.ConfigValue] | None = None,
    ) -> str:
        """Deploy the charm."""
        return self.model.deploy(
            charm.AwsEfsCharm, ROOT, application, trust=trust, units=units, config=config
        )

    def relate(self, application: str = APPLICATION) -> None:
        """Relate the charm to the certificate authority and the control plane."""
        self.model.relate(f"{application}:certificates", "easyrsa")
        self.model.relate(f"{application}:kube-control", "kubernetes-control-plane")

    def settle(
        self,
        *,
        units: int = 1,
        config: Mapping[str, charm_files.ConfigValue] | None = None,
        workers: Mapping[str, int] | None = None,
    ) -> None:
        """Deploy a cluster and the charm, relate them, and run all hooks."""
        kubernetes_bundle.deploy(self.model, workers=workers)
        self.deploy(units=units, config=config)
        self.relate()

    def status(self, name: str = f"{APPLICATION}/leader") -> model_state.Status:
        """Return the status of a unit or application."""
        return self.model.status(name)

    def run(self, action: str, unit: str = f"{APPLICATION}/leader", **params: Any) -> Any:
        """Run an action; underscores in parameter names become hyphens."""
        renamed = {key.replace("_", "-"): value for key, value in params.items()}
        return self.model.run(unit, action, renamed)

    @property
    def kube(self) -> lightkube.Client:
        """Return a client with all permissions."""
        return self.plane.client()

    def claim(self, namespace: str, name: str = APPLICATION) -> core_v1.PersistentVolumeClaim:
        """Return a claim from the API server."""
        return self.kube.get(core_v1.PersistentVolumeClaim, name, namespace=namespace)

    def install_nfs_common(self) -> None:
        """Install nfs-common on all workers, as `juju exec` with `apt-get install` does."""
        for each in self.kube.list(core_v1.Node):  # pyright: ignore[reportUnknownMemberType]
            self.nodes.install_nfs_common((each.metadata and each.metadata.name) or "")

    def create_namespace(self, name: str) -> None:
        """Create a namespace, as `kubectl create namespace` does."""
        self.kube.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name=name)))

    @tenacity.retry(
        wait=tenacity.wait_fixed(0.1),
        stop=tenacity.stop_after_delay(10),
        # A new namespace does not have a service account at once.
        retry=tenacity.retry_if_exception_type(lightkube.ApiError),
        reraise=True,
    )
    def hold_claim(self, namespace: str = "default", *, name: str = "reader") -> None:
        """Start a user's pod that mounts the claim and runs for a long time."""
        source = models.PersistentVolumeClaimVolumeSource(claimName=APPLICATION)
        container = models.Container(
            name="main",
            image="docker.io/library/busybox:1",
            command=["sleep", "600"],
            volumeMounts=[models.VolumeMount(name="data", mountPath="/data")],
        )
        spec = models.PodSpec(
            automountServiceAccountToken=False,
            containers=[container],
            volumes=[models.Volume(name="data", persistentVolumeClaim=source)],
        )
        metadata = meta_v1.ObjectMeta(name=name, namespace=namespace)
        self.kube.create(core_v1.Pod(metadata=metadata, spec=spec))

    def volume(self) -> pathlib.Path:
        """Return the root directory of the only file system."""
        (only,) = self.cloud.file_systems()
        return self.cloud.directory(only.id)

    def writes(self) -> Sequence[str]:
        """Return the writing AWS operations since the last `reset_calls`."""
        return [call.operation for call in self.cloud.calls if call.write]
