"""The probe, on a real control plane with running pods and a file system that may not mount."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import lightkube
import pytest
from lightkube.models import meta_v1
from lightkube.resources import batch_v1, core_v1

import identity
import polling
import problems
from cluster import client, ownership, probe
from cluster.jobs import job_lifecycle, job_observe
from cluster.volumes import volume_reconcile, volume_removal, volume_resources
from sandbox.aws import aws_cloud
from sandbox.kubernetes import control_plane
from sandbox.node import worker_nodes

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
WAIT = 30.0


@pytest.fixture(scope="module")
def plane(running_plane: control_plane.ControlPlane) -> control_plane.ControlPlane:
    return running_plane


@pytest.fixture(scope="module")
def cloud() -> Iterator[aws_cloud.Cloud]:
    with aws_cloud.Cloud.start() as running:
        yield running


@pytest.fixture
def nodes(
    plane: control_plane.ControlPlane, cloud: aws_cloud.Cloud
) -> Iterator[worker_nodes.Nodes]:
    plane.wipe()
    with worker_nodes.Nodes.start(plane, cloud, scale=0.05) as started:
        yield started


@pytest.fixture
def cluster(
    plane: control_plane.ControlPlane, nodes: worker_nodes.Nodes
) -> Iterator[client.Cluster]:
    access = identity.ClusterAccess(plane.endpoint, plane.ca, plane.admin_token)
    with client.Cluster(access, OWNER) as connected:
        yield connected


@pytest.fixture
def file_system(cloud: aws_cloud.Cloud) -> str:
    return make_file_system(cloud, ZONES)


def make_file_system(
    cloud: aws_cloud.Cloud, zones: tuple[str, ...], source: str = "172.31.0.0/16"
):
    """Make a file system with a mount target in each zone that allows NFS from the source."""
    efs, ec2 = (
        boto3.client(
            service,
            region_name=cloud.region,
            endpoint_url=cloud.endpoint_url,
            aws_access_key_id=cloud.administrator.access_key,
            aws_secret_access_key=cloud.administrator.secret_key,
        )
        for service in ("efs", "ec2")
    )
    token = f"probe-{len(cloud.file_systems())}"
    made = efs.create_file_system(CreationToken=token)["FileSystemId"]
    group = ec2.create_security_group(GroupName=token, Description="test", VpcId=cloud.vpc_id)
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"], IpProtocol="tcp", FromPort=2049, ToPort=2049, CidrIp=source
    )
    for zone in zones:
        efs.create_mount_target(
            FileSystemId=made, SubnetId=cloud.subnets[zone], SecurityGroups=[group["GroupId"]]
        )
    efs.close()
    ec2.close()
    return made


def add_node(
    cloud: aws_cloud.Cloud, nodes: worker_nodes.Nodes, zone: str, **how: Any
) -> worker_nodes.Node:
    instance = cloud.launch("9", zone, model_uuid=OWNER.model_uuid)
    return nodes.add(instance, **how)


def serve(cluster: client.Cluster, file_system: str, *options: str) -> None:
    desired = volume_resources.DesiredVolumes(
        server=f"{file_system}.efs.us-east-1.amazonaws.com",
        capacity="1Gi",
        claim_capacity="1Gi",
        claim_name="aws-efs",
        namespaces=(),
        storage_class="aws-efs",
        mount_options=options or ("nfsvers=4.1", "hard"),
    )
    assert volume_reconcile.reconcile(cluster, desired, timeout_seconds=WAIT).problems == ()


def prove(
    cluster: client.Cluster, file_system: str, timeout: float = WAIT, **changes: Any
) -> probe.ProbeOutcome:
    desired = {
        "file_system_id": file_system,
        "zones": ZONES,
        "mount_options": ("nfsvers=4.1", "hard"),
        "root_mode": "1777",
        "image": "python:3.12-slim",
    }
    return probe.reconcile(
        cluster, probe.DesiredProbe(**{**desired, **changes}), timeout_seconds=timeout
    )


def job_names(cluster: client.Cluster) -> set[str]:
    return {observed.name for observed in job_observe.observe_all(cluster, probe.KIND)}


def writes(admin: lightkube.Client) -> str:
    """Return a value that changes with every write to a Job."""
    found = admin.list(batch_v1.Job, namespace="aws-efs")
    return str(sorted((j.metadata.name, j.metadata.resourceVersion) for j in found))


def test_every_zone_with_a_node_is_proven_and_the_roots_mode_is_set(
    cloud, nodes, cluster, file_system
):
    for zone in ZONES:
        add_node(cloud, nodes, zone)
    serve(cluster, file_system)

    observed = prove(cluster, file_system)

    assert observed == probe.ProbeOutcome(proven=ZONES, problems=())
    root = cloud.directory(file_system)
    assert stat.S_IMODE(root.stat().st_mode) == 0o1777
    assert sorted(p.name for p in (root / ".aws-efs" / "probe").iterdir()) == list(ZONES)


def test_a_proven_volume_is_not_probed_again_at_every_hook(
    plane, cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0])
    serve(cluster, file_system)
    prove(cluster, file_system)
    admin = plane.client()
    before = writes(admin)

    assert prove(cluster, file_system).proven == ZONES[:1]

    assert writes(admin) == before


@pytest.mark.parametrize(
    "change", [{"root_mode": "0777"}, {"mount_options": ("nfsvers=4.2",)}, {"image": "python:3"}]
)
def test_it_is_probed_again_when_there_is_something_new_to_prove(
    cloud, nodes, cluster, file_system, change
):
    add_node(cloud, nodes, ZONES[0])
    serve(cluster, file_system)
    prove(cluster, file_system)
    before = job_names(cluster)

    assert prove(cluster, file_system, **change).proven == ZONES[:1]

    assert len(job_names(cluster)) == 1
    assert job_names(cluster).isdisjoint(before)


def test_a_new_node_is_the_one_that_is_probed(plane, cloud, nodes, cluster, file_system):
    add_node(cloud, nodes, ZONES[0], name="old")
    serve(cluster, file_system)
    prove(cluster, file_system)
    polling.poll(lambda: None, lambda _: False, 1.1)  # a node's age has whole seconds
    add_node(cloud, nodes, ZONES[0], name="new")

    assert prove(cluster, file_system).proven == ZONES[:1]

    (observed,) = [job_observe.observe(cluster, name) for name in job_names(cluster)]
    assert observed is not None
    assert observed.pods[-1].node == "new"


def test_a_node_without_nfs_client_blocks_at_once_with_the_command_that_fixes_it(
    cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0])
    add_node(cloud, nodes, ZONES[1], nfs_common=False, name="bare")
    serve(cluster, file_system)

    observed = prove(cluster, file_system)

    assert observed.proven == ZONES[:1]
    (problem,) = observed.problems
    assert isinstance(problem, problems.Blocked)
    assert problem.message == (
        "zone us-east-1b: no NFS client; juju exec --application kubernetes-worker -- "
        "sudo apt-get install -y nfs-common"
    )


def test_a_node_that_got_its_nfs_client_is_proven_by_the_pod_that_waited(
    cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0], nfs_common=False, name="bare")
    serve(cluster, file_system)
    prove(cluster, file_system)
    before = job_names(cluster)
    nodes.install_nfs_common("bare")

    assert prove(cluster, file_system) == probe.ProbeOutcome(proven=ZONES[:1], problems=())

    assert job_names(cluster) == before


def test_a_zone_without_mount_target_is_not_proven_and_says_why(cloud, nodes, cluster):
    for zone in ZONES[:2]:
        add_node(cloud, nodes, zone)
    made = make_file_system(cloud, ZONES[:1])
    serve(cluster, made)

    observed = prove(cluster, made, timeout=8)

    assert observed.proven == ZONES[:1]
    (problem,) = observed.problems
    assert isinstance(problem, problems.Waiting)
    assert problem.message.startswith("zone us-east-1b: ")
    assert "cannot resolve the file system's name yet" in problem.message


def test_a_security_group_that_lets_nobody_in_is_never_taken_for_success(cloud, nodes, cluster):
    add_node(cloud, nodes, ZONES[0])
    made = make_file_system(cloud, ZONES, source="192.0.2.0/24")
    serve(cluster, made)

    observed = prove(cluster, made, timeout=8)

    assert observed.proven == ()
    (problem,) = observed.problems
    assert problem.message.startswith("zone us-east-1a: ")


def test_mount_options_that_the_node_refuses_name_the_option(cloud, nodes, cluster, file_system):
    add_node(cloud, nodes, ZONES[0], name="worker")
    serve(cluster, file_system, "no-such-option")

    (problem,) = prove(cluster, file_system, mount_options=("no-such-option",)).problems

    assert isinstance(problem, problems.Blocked)
    assert problem.message == (
        "zone us-east-1a: worker refuses mount-options: juju config aws-efs --reset mount-options"
    )


def test_an_image_that_cannot_be_pulled_is_reported_and_another_one_works(
    cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0])
    serve(cluster, file_system)

    (problem,) = prove(cluster, file_system, image="registry.test/missing:1").problems
    assert isinstance(problem, problems.Blocked)
    named = "no such image: juju config aws-efs loader-image=… (registry.test/missing:1"
    assert named in problem.message

    assert prove(cluster, file_system).proven == ZONES[:1]


def test_without_any_ready_node_it_waits(cloud, nodes, cluster, file_system):
    add_node(cloud, nodes, ZONES[0], name="worker")
    nodes.not_ready("worker")
    serve(cluster, file_system)

    (problem,) = prove(cluster, file_system).problems

    assert isinstance(problem, problems.Waiting)
    assert "no ready node" in problem.message


def test_a_probe_that_failed_is_reported_in_its_own_words_and_runs_again(
    cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0])
    serve(cluster, file_system)
    (cloud.directory(file_system) / ".aws-efs").symlink_to("elsewhere")

    observed = prove(cluster, file_system)
    assert observed.proven == ()
    assert isinstance(observed.problems[0], problems.Blocked)
    assert ".aws-efs" in observed.problems[0].message

    (cloud.directory(file_system) / ".aws-efs").unlink()
    assert prove(cluster, file_system) == probe.ProbeOutcome(proven=ZONES[:1], problems=())


@pytest.fixture
def ready(cloud, nodes, cluster, file_system) -> client.Cluster:
    add_node(cloud, nodes, ZONES[0])
    serve(cluster, file_system)
    return cluster


@pytest.fixture
def job(file_system) -> Callable[..., job_lifecycle.DesiredJob]:
    def make(name: str = "load", **changes: Any) -> job_lifecycle.DesiredJob:
        secrets = changes.get("secrets", {})
        main = job_lifecycle.Container(
            name="main",
            image=changes.pop("image", "python:3.12-slim"),
            command=changes.pop("command", ("python3", "/loader/say.py")),
            env=changes.pop("env", {}),
            secrets=tuple(secrets),
        )
        plain = {"name": name, "kind": name, "files": {"say.py": b"print('said')"}}
        return job_lifecycle.DesiredJob(
            **{**plain, "main": main, "file_system": file_system, **changes}
        )

    return make


def finished(cluster: client.Cluster, name: str = "load") -> job_observe.ObservedJob:
    observed = job_lifecycle.wait(cluster, name, WAIT)
    assert observed is not None
    return observed


def test_a_job_runs_our_files_with_its_environment_on_the_volume(ready, job, cloud, file_system):
    script = (
        b"import os, pathlib\n"
        b"pathlib.Path('/mnt/aws-efs/x').write_text(os.environ['A'] + os.environ['B'])\n"
        b"pathlib.Path('/dev/termination-log').write_text('wrote x')\n"
    )
    desired = job(files={"say.py": script}, env={"A": "plain "}, secrets={"B": "hidden"})
    job_lifecycle.start(ready, desired)

    observed = finished(ready)

    assert (observed.phase, observed.message) == ("succeeded", "wrote x")
    assert (cloud.directory(file_system) / "x").read_text() == "plain hidden"
    assert "hidden" not in repr(desired)


def test_a_jobs_secret_is_in_no_job_and_goes_with_it(ready, job, plane):
    admin = plane.client()
    job_lifecycle.start(ready, job(secrets={"TOKEN": "hunter2-hunter2"}))
    finished(ready)
    assert "hunter2" not in str(admin.get(batch_v1.Job, "load", namespace="aws-efs").to_dict())
    secret = admin.get(core_v1.Secret, "load", namespace="aws-efs")
    assert base64.b64decode(secret.data["TOKEN"]) == b"hunter2-hunter2"

    assert job_lifecycle.remove(ready, "load")

    assert gone(admin, core_v1.Secret, core_v1.ConfigMap, core_v1.Pod)


def gone(admin: lightkube.Client, *kinds: Any) -> bool:
    def left() -> list[str]:
        return [
            item.metadata.name
            for kind in kinds
            for item in admin.list(kind, namespace="aws-efs", labels=ownership.labels(OWNER))
        ]

    return polling.poll(left, lambda found: not found, WAIT) == []


def test_jobs_that_run_the_same_files_share_them_until_the_last_is_gone(ready, job, plane):
    admin = plane.client()
    for name in ("one", "two"):
        job_lifecycle.start(ready, job(name))
        assert finished(ready, name).phase == "succeeded"
    (files,) = admin.list(core_v1.ConfigMap, namespace="aws-efs", labels=ownership.labels(OWNER))
    assert files.immutable
    assert len(files.metadata.ownerReferences) == 2

    job_lifecycle.remove(ready, "one")
    job_lifecycle.start(ready, job("three"))
    assert finished(ready, "three").phase == "succeeded"

    job_lifecycle.remove(ready)
    assert gone(admin, core_v1.ConfigMap)


def test_a_start_that_was_killed_halfway_is_finished_by_the_next(ready, job, plane, monkeypatch):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ready, "patch", die)
        with pytest.raises(KeyboardInterrupt):
            job_lifecycle.start(ready, job(secrets={"B": "hidden"}))
    assert job_observe.observe(ready, "load").phase == "queued"

    job_lifecycle.start(ready, job(secrets={"B": "hidden"}))

    assert finished(ready).phase == "succeeded"


def test_a_job_that_runs_already_is_not_started_again(ready, job):
    job_lifecycle.start(ready, job())
    job_lifecycle.start(ready, job(files={"say.py": b"print('other')"}))
    assert finished(ready).phase == "succeeded"
    assert len(ready.own(core_v1.ConfigMap)) == 1


def test_a_foreign_job_of_that_name_is_not_touched(ready, job, plane):
    foreign = batch_v1.Job.from_dict(
        {
            "metadata": {"name": "load", "namespace": "aws-efs"},
            "spec": {
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [
                            {"name": "main", "image": "busybox", "command": ["sleep", "60"]}
                        ],
                    }
                }
            },
        }
    )
    plane.client().create(foreign)

    with pytest.raises(problems.Blocked, match="job aws-efs/load exists and is not ours"):
        job_lifecycle.start(ready, job())
    assert job_observe.observe(ready, "load") is None
    assert not job_lifecycle.remove(ready, "load")


def test_a_removed_jobs_name_is_free_once_its_pods_are_gone(ready, job, plane):
    job_lifecycle.start(ready, job(secrets={"B": "first"}))
    finished(ready)
    job_lifecycle.remove(ready, "load")
    job_lifecycle.wait_gone(ready, "load")

    job_lifecycle.start(ready, job(secrets={"B": "second"}))

    assert finished(ready).phase == "succeeded"
    secret = plane.client().get(core_v1.Secret, "load", namespace="aws-efs")
    assert base64.b64decode(secret.data["B"]) == b"second"


def test_a_failed_job_has_its_last_words_as_reason(ready, job):
    script = b"import sys; print('no such host: example.test'); sys.exit(1)"
    job_lifecycle.start(ready, job(files={"say.py": script}, retries=0))

    observed = finished(ready)

    assert (observed.phase, observed.reason) == ("failed", "no such host: example.test")


def test_a_job_whose_pods_a_quota_refuses_says_so(ready, job, plane):
    quota = core_v1.ResourceQuota.from_dict(
        {
            "metadata": {"name": "none", "namespace": "aws-efs"},
            "spec": {"hard": {"count/pods": "0"}},
        }
    )
    admin = plane.client()
    admin.create(quota)
    polling.poll(
        lambda: admin.get(core_v1.ResourceQuota, "none", namespace="aws-efs"),
        lambda found: bool(found.status and found.status.hard),
        WAIT,
    )
    job_lifecycle.start(ready, job())

    seen = polling.poll(
        lambda: job_observe.observe(ready, "load"),
        lambda observed: bool(observed and observed.reason),
        WAIT,
    )

    assert seen is not None
    assert "quota none is exceeded: raise it in namespace" in seen.reason


def test_removal_takes_finished_jobs_first_since_their_pods_hold_the_claim(ready, job, plane):
    job_lifecycle.start(ready, job())
    finished(ready)
    reported: list[str] = []

    volume_removal.remove(ready, report=reported.append, timeout_seconds=WAIT)

    assert reported[:2] == ["deleted job load", "deleted claim aws-efs/aws-efs"]
    found = {n.metadata.name for n in plane.client().list(core_v1.Namespace)}
    assert "aws-efs" not in found


def test_another_file_system_takes_the_place_of_the_one_that_our_finished_jobs_held(
    ready, job, cloud, plane
):
    job_lifecycle.start(ready, job())
    finished(ready)
    other = make_file_system(cloud, ZONES)

    serve(ready, other)

    (volume,) = plane.client().list(core_v1.PersistentVolume)
    assert volume.spec.nfs.server.startswith(other)
    assert prove(ready, other).proven == ZONES[:1]


def test_a_pod_of_others_in_our_namespace_keeps_the_namespace_from_being_removed(ready, plane):
    foreign = core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name="theirs", namespace="aws-efs"),
        spec=core_v1.Pod.from_dict(
            {
                "spec": {
                    "containers": [
                        {"name": "main", "image": "busybox", "command": ["sleep", "60"]}
                    ],
                    "terminationGracePeriodSeconds": 0,
                }
            }
        ).spec,
    )
    plane.client().create(foreign)

    lines = volume_removal.remove(ready, report=lambda line: None, timeout_seconds=WAIT)

    assert lines[-2:] == [
        "stays in the cluster: pods/theirs in namespace aws-efs",
        "stays in the cluster: namespace aws-efs, since not all in it is ours: "
        "kubectl delete namespace aws-efs",
    ]
    assert "deleted claim aws-efs/aws-efs" in lines
    there = plane.client().get(core_v1.Pod, "theirs", namespace="aws-efs")
    assert there.metadata.deletionTimestamp is None
