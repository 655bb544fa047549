"""The README's story, told as a user of Juju would see it, with the sandbox's real answers."""

from __future__ import annotations

import concurrent.futures
import time

import rich.console
from lightkube.resources import core_v1

from sandbox import demo_data
from sandbox.aws import aws_cloud
from sandbox.juju import juju_model, kubernetes_bundle
from sandbox.kubernetes import control_plane, program_build
from sandbox.node import worker_nodes
from sandbox.stage import APPLICATION, Stage

# AWS's own waits, so much shorter that the whole story takes less than a minute.
_SCALE = 0.01


class Narrator:
    """Shows commands as they are typed, what Juju answers, and how long it took."""

    def __init__(self) -> None:
        self._console = rich.console.Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Tell what is going on."""
        self._console.print(f"[dim]# {text}[/dim]")

    def command(self, line: str) -> None:
        """Show a command that the user types."""
        self._console.print(f"\n[bold]$ {line}[/bold]")

    def answer(self, text: str) -> None:
        """Show what it answers."""
        for line in text.splitlines():
            self._console.print(f"  {line}", markup=False)

    def status(self, stage: Stage) -> None:
        """Show `juju status` of the application."""
        status = stage.status()
        color = {"active": "green", "blocked": "red"}.get(status.name, "yellow")
        self._console.print(
            f"  [{color}]{APPLICATION}/0*  {status.name}[/{color}]  {status.message}"
        )

    def result(self, result: juju_model.ActionResult) -> None:
        """Show what `juju run` prints of an action."""
        for line in result.log:
            self.answer(line)
        if result.status == "failed":
            self.answer(f"failed: {result.message}")
        for key, value in result.results.items():
            if value.splitlines() != list(result.log):
                self.answer(f"{key}: {value}")

    def seconds(self) -> float:
        """How long the story has taken so far."""
        return time.monotonic() - self._started


def play() -> None:
    """Play it from deploy to teardown; what needs AWS alone goes on while Kubernetes is built."""
    tell = Narrator()
    tell.say("The README's story on this machine. AWS is emulated, and says no as AWS does;")
    tell.say("Kubernetes is real, and its pods run as processes. Nothing leaves this machine.")
    if program_build.ready():
        tell.say("It takes about a minute.")
    else:
        tell.say("The control plane is built first, once: 7 to 10 minutes on 2 cores.")
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        aws_cloud.Cloud.start(aws_cloud.Latencies.real().scaled(_SCALE)) as cloud,
    ):
        building = pool.submit(program_build.ensure, tell.say)
        stage = Stage(cloud)
        _deploy(tell, stage)
        building.result()
        with (
            control_plane.ControlPlane.start() as plane,
            worker_nodes.Nodes.start(plane, cloud) as nodes,
        ):
            stage.attach(plane, nodes)
            _relate(tell, stage)
            demo_data.seed(tell, stage)
            _change(tell, stage)
            _tear_down(tell, stage)
    tell.say(f"The end, after {tell.seconds():.0f} s.")


def _deploy(tell: Narrator, stage: Stage) -> None:
    tell.command("juju deploy aws-efs --trust")
    stage.deploy()
    tell.status(stage)


def _relate(tell: Narrator, stage: Stage) -> None:
    tell.say("A Charmed Kubernetes with a worker in each of three zones, without an NFS client.")
    kubernetes_bundle.deploy(stage.model, nfs_common=False)
    tell.command("juju relate aws-efs:certificates easyrsa")
    stage.model.relate("aws-efs:certificates", "easyrsa")
    tell.command("juju relate aws-efs:kube-control kubernetes-control-plane")
    stage.model.relate("aws-efs:kube-control", "kubernetes-control-plane")
    for target in stage.cloud.mount_targets():
        tell.answer(f"mount target {target.id} in {target.zone}")
    tell.status(stage)
    tell.command("juju exec --application kubernetes-worker -- sudo apt-get install -y nfs-common")
    stage.install_nfs_common()
    tell.say("the next update-status:")
    stage.model.update_status()
    tell.status(stage)
    tell.command("juju relate aws-efs:workers kubernetes-worker")
    stage.model.relate("aws-efs:workers", "kubernetes-worker")
    tell.status(stage)


def _change(tell: Narrator, stage: Stage) -> None:
    tell.command("juju config aws-efs capacity=200Gi")
    stage.model.config(APPLICATION, {"capacity": "200Gi"})
    tell.status(stage)
    tell.command(
        "kubectl get pvc aws-efs -o jsonpath='{.status.phase} {.status.capacity.storage}'"
    )
    status = stage.claim("default").status
    capacity: dict[str, str] = (status and status.capacity) or {}  # pyright: ignore
    tell.answer(f"{status and status.phase} {capacity['storage']}")
    tell.command('juju config aws-efs namespaces="default research"')
    stage.model.config(APPLICATION, {"namespaces": "default research"})
    tell.status(stage)
    tell.command("kubectl create namespace research")
    stage.create_namespace("research")
    tell.say("the next update-status:")
    stage.model.update_status()
    tell.status(stage)


def _tear_down(tell: Narrator, stage: Stage) -> None:
    tell.command("juju run aws-efs/leader teardown")
    tell.result(stage.run("teardown"))
    (only,) = stage.cloud.file_systems()
    tell.command(f"juju run aws-efs/leader --wait=15m teardown confirm={only.id}")
    tell.result(stage.run("teardown", confirm=only.id))
    tell.status(stage)
    groups = [group for group in stage.cloud.security_groups() if "aws-efs" in group.name]
    volumes = list(
        stage.kube.list(core_v1.PersistentVolume)  # pyright: ignore[reportUnknownMemberType]
    )
    tell.say(
        f"left in AWS: {len(stage.cloud.file_systems())} file systems, "
        f"{len(stage.cloud.mount_targets())} mount targets, {len(groups)} security groups; "
        f"in Kubernetes: {len(volumes)} volumes"
    )
