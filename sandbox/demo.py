"""The demo: the README's example as a user sees it, with real results from the sandbox."""

from __future__ import annotations

import concurrent.futures

from lightkube.resources import core_v1

from sandbox import demo_data, narrator
from sandbox.aws import aws_cloud
from sandbox.juju import kubernetes_bundle
from sandbox.kubernetes import control_plane, program_build
from sandbox.node import worker_nodes
from sandbox.stage import APPLICATION, Stage

# The factor for AWS's latencies: the whole demo takes less than a minute.
_SCALE = 0.01


def play() -> None:
    """Play the demo from deploy to teardown; the charm is deployed while Kubernetes is built."""
    out = narrator.Narrator()
    out.comment("The README's example on this machine. AWS is emulated and refuses what AWS does;")
    out.comment("Kubernetes is real, and its pods run as processes. Nothing leaves this machine.")
    if program_build.is_built():
        out.comment("It takes about a minute.")
    else:
        out.comment("The control plane is built first (once): 7 to 10 minutes on 2 cores.")
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        aws_cloud.Cloud.start(aws_cloud.Latencies.real().scaled(_SCALE)) as cloud,
    ):
        building = pool.submit(program_build.ensure, out.comment)
        stage = Stage(cloud)
        _deploy(out, stage)
        building.result()
        with (
            control_plane.ControlPlane.start() as plane,
            worker_nodes.Nodes.start(plane, cloud) as nodes,
        ):
            stage.attach(plane, nodes)
            _relate(out, stage)
            demo_data.load(out, stage)
            _change(out, stage)
            _tear_down(out, stage)
    out.comment(f"Finished in {out.seconds():.0f} s.")


def _deploy(out: narrator.Narrator, stage: Stage) -> None:
    out.command("juju deploy aws-efs --trust")
    stage.deploy()
    out.status(stage)


def _relate(out: narrator.Narrator, stage: Stage) -> None:
    out.comment("Charmed Kubernetes with one worker in each of three zones, without NFS clients.")
    kubernetes_bundle.deploy(stage.model, nfs_common=False)
    out.command("juju relate aws-efs:certificates easyrsa")
    stage.model.relate("aws-efs:certificates", "easyrsa")
    out.command("juju relate aws-efs:kube-control kubernetes-control-plane")
    stage.model.relate("aws-efs:kube-control", "kubernetes-control-plane")
    for target in stage.cloud.mount_targets():
        out.output(f"mount target {target.id} in {target.zone}")
    out.status(stage)
    out.command("juju exec --application kubernetes-worker -- sudo apt-get install -y nfs-common")
    stage.install_nfs_common()
    out.comment("At the next update-status:")
    stage.model.update_status()
    out.status(stage)
    out.command("juju relate aws-efs:workers kubernetes-worker")
    stage.model.relate("aws-efs:workers", "kubernetes-worker")
    out.status(stage)


def _change(out: narrator.Narrator, stage: Stage) -> None:
    out.command("juju config aws-efs capacity=200Gi")
    stage.model.config(APPLICATION, {"capacity": "200Gi"})
    out.status(stage)
    out.command("kubectl get pvc aws-efs -o jsonpath='{.status.phase} {.status.capacity.storage}'")
    status = stage.claim("default").status
    capacity: dict[str, str] = (status and status.capacity) or {}  # pyright: ignore
    out.output(f"{status and status.phase} {capacity['storage']}")
    out.command('juju config aws-efs namespaces="default research"')
    stage.model.config(APPLICATION, {"namespaces": "default research"})
    out.status(stage)
    out.command("kubectl create namespace research")
    stage.create_namespace("research")
    out.comment("At the next update-status:")
    stage.model.update_status()
    out.status(stage)


def _tear_down(out: narrator.Narrator, stage: Stage) -> None:
    out.command("juju run aws-efs/leader teardown")
    out.result(stage.run("teardown"))
    (only,) = stage.cloud.file_systems()
    out.command(f"juju run aws-efs/leader --wait=15m teardown confirm={only.id}")
    out.result(stage.run("teardown", confirm=only.id))
    out.status(stage)
    groups = [group for group in stage.cloud.security_groups() if "aws-efs" in group.name]
    volumes = list(
        stage.kube.list(core_v1.PersistentVolume)  # pyright: ignore[reportUnknownMemberType]
    )
    out.comment(
        f"Left in AWS: {len(stage.cloud.file_systems())} file systems, "
        f"{len(stage.cloud.mount_targets())} mount targets, {len(groups)} security groups; "
        f"in Kubernetes: {len(volumes)} volumes"
    )
