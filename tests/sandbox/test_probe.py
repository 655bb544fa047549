"""The probe, on a real control plane with running pods and a file system that may not mount."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable, Iterator, Sequence
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
from tests.sandbox.waiting import until

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


def put_policy(cloud: aws_cloud.Cloud, file_system: str, **conditions: Any) -> None:
    """Give a file system a policy that grants everything to everybody, on conditions."""
    efs = boto3.client(
        "efs",
        region_name=cloud.region,
        endpoint_url=cloud.endpoint_url,
        aws_access_key_id=cloud.administrator.access_key,
        aws_secret_access_key=cloud.administrator.secret_key,
    )
    grant = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Resource": "*"}
    statement = {**grant, "Action": "elasticfilesystem:*", **conditions}
    efs.put_file_system_policy(
        FileSystemId=file_system, Policy=json.dumps({"Statement": [statement]})
    )
    efs.close()


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
        cluster,
        probe.DesiredProbe(**{**desired, **changes}),
        cluster.nodes(),
        timeout_seconds=timeout,
    )


def job_names(cluster: client.Cluster) -> set[str]:
    return {observed.name for observed in job_observe.observe_all(cluster, probe.KIND)}


def assert_probed(cluster: client.Cluster, nodes: Sequence[str]) -> None:
    """Assert to which nodes probes were sent, each once a pod; events may come a little later."""
    until(lambda: probed(cluster) == sorted(nodes))


def probed(cluster: client.Cluster) -> list[str]:
    events = cluster.select(core_v1.Event, {}, namespace="aws-efs")
    messages = [each.message or "" for each in events if each.reason == "SuccessfulCreate"]
    pods = [each.partition("probe-")[2] for each in messages if "pod: probe-" in each]
    return sorted(pod.rsplit("-", 2)[0] for pod in pods)


def taint(plane: control_plane.ControlPlane, node: str, key: str, effect: str) -> None:
    taints = {"spec": {"taints": [{"key": key, "value": "true", "effect": effect}]}}
    plane.client().patch(core_v1.Node, node, taints)


def label(plane: control_plane.ControlPlane, node: str, **labels: str | None) -> None:
    plane.client().patch(core_v1.Node, node, {"metadata": {"labels": labels}})


def test_every_node_is_proven_and_the_roots_mode_is_set(cloud, nodes, cluster, file_system):
    for name, zone in (("a1", 0), ("a2", 0), ("b1", 1), ("c1", 2)):
        add_node(cloud, nodes, ZONES[zone], name=name)
    serve(cluster, file_system)

    observed = prove(cluster, file_system)

    assert observed == probe.ProbeOutcome(
        zones=ZONES, nodes=("a1", "a2", "b1", "c1"), prepared=True, total=4
    )
    root = cloud.directory(file_system)
    assert stat.S_IMODE(root.stat().st_mode) == 0o1777
    assert sorted(p.name for p in (root / ".aws-efs" / "probe").iterdir()) == list(ZONES)


def test_proven_nodes_cost_no_pod_and_no_write_afterwards(
    plane, cloud, nodes, cluster, file_system
):
    for name in ("one", "two"):
        add_node(cloud, nodes, ZONES[0], name=name)
    serve(cluster, file_system)
    prove(cluster, file_system)
    admin = plane.client()
    before = versions(admin)

    assert prove(cluster, file_system).nodes == ("one", "two")

    assert job_names(cluster) == set()
    assert versions(admin) == before
    assert_probed(cluster, ["one", "two"])


def versions(admin: lightkube.Client) -> str:
    """Return a value that changes with every write to a Job or a record."""
    found = [
        *admin.list(batch_v1.Job, namespace="aws-efs"),
        *admin.list(core_v1.ConfigMap, namespace="aws-efs"),
    ]
    return str(sorted((each.metadata.name, each.metadata.resourceVersion) for each in found))


@pytest.mark.parametrize(
    "change",
    [
        {"root_mode": "0777"},
        {"image": "python:3"},
        {"namespaces": ("default",), "namespace_mode": "1777"},
        {"mount_options": ("nfsvers=4.2",)},
    ],
)
def test_a_mount_is_proven_again_on_each_node_and_all_else_in_each_zone(
    cloud, nodes, cluster, file_system, change
):
    names = ("a1", "a2", "b1")
    for name in names:
        add_node(cloud, nodes, ZONES["ab".index(name[0])], name=name)
    serve(cluster, file_system)
    prove(cluster, file_system)

    observed = prove(cluster, file_system, **change)

    assert (observed.nodes, observed.problems, observed.prepared) == (names, (), True)
    again = names if "mount_options" in change else ("a1", "b1")
    assert_probed(cluster, [*names, *again])


def test_only_a_new_node_is_probed_and_one_that_joins_again(cloud, nodes, cluster, file_system):
    add_node(cloud, nodes, ZONES[0], name="old")
    serve(cluster, file_system)
    prove(cluster, file_system)
    add_node(cloud, nodes, ZONES[0], name="new")
    # A node that is not ready yet is left to the next hook.
    until(lambda: prove(cluster, file_system).nodes == ("new", "old"))
    assert_probed(cluster, ["new", "old"])

    nodes.remove("old")
    add_node(cloud, nodes, ZONES[0], name="old")
    until(lambda: prove(cluster, file_system).nodes == ("new", "old"))
    assert_probed(cluster, ["new", "old", "old"])


def test_nodes_are_probed_in_batches_of_bounded_size(
    cloud, nodes, cluster, file_system, monkeypatch
):
    monkeypatch.setattr(probe, "BATCH", 2)
    names = [f"n{number}" for number in range(5)]
    for name in names:
        add_node(cloud, nodes, ZONES[0], name=name)
    serve(cluster, file_system)

    observed = prove(cluster, file_system, timeout=0)

    assert len(job_names(cluster)) <= 2
    assert any("are still to be probed" in problem.message for problem in observed.problems)
    assert prove(cluster, file_system).nodes == tuple(names)
    assert_probed(cluster, names)


def test_probes_that_a_killed_hook_left_are_taken_over(cloud, nodes, cluster, file_system):
    for name in ("one", "two"):
        add_node(cloud, nodes, ZONES[0], name=name)
    serve(cluster, file_system)
    prove(cluster, file_system, timeout=0)

    assert prove(cluster, file_system).nodes == ("one", "two")

    assert_probed(cluster, ["one", "two"])


def test_a_node_without_nfs_client_is_named_with_its_fix_and_the_others_are_proven(
    plane, cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0], name="good")
    add_node(cloud, nodes, ZONES[0], nfs_common=False, name="bare.ec2.internal")
    add_node(cloud, nodes, ZONES[1], name="other")
    label(plane, "bare.ec2.internal", **{"juju-application": "gpu-workers"})
    serve(cluster, file_system)

    observed = prove(cluster, file_system)

    assert (observed.zones, observed.nodes, observed.total) == (ZONES[:2], ("good", "other"), 3)
    (problem,) = observed.problems
    assert isinstance(problem, problems.Blocked)
    assert problem.message == (
        "bare: no NFS client; juju exec --application gpu-workers -- "
        "sudo apt-get install -y nfs-common"
    )


def test_a_file_system_policy_that_demands_tls_is_told_as_the_cause(
    cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0], name="one")
    serve(cluster, file_system)
    put_policy(cloud, file_system, Condition={"Bool": {"aws:SecureTransport": "true"}})

    (problem,) = prove(cluster, file_system).problems

    assert isinstance(problem, problems.Blocked)
    assert problem.message == (
        "one: is denied access: check the file system's policy, which may demand TLS or IAM"
    )
    put_policy(cloud, file_system)
    observed = prove(cluster, file_system)
    assert (observed.nodes, observed.problems) == (("one",), ())


def test_many_nodes_with_one_cause_are_one_problem(cloud, nodes, cluster, file_system):
    for name in ("x", "y", "z"):
        add_node(cloud, nodes, ZONES[0], nfs_common=False, name=name)
    serve(cluster, file_system)
    (problem,) = prove(cluster, file_system).problems
    assert problem.message.startswith("x +2: no NFS client; juju exec")


def test_stuck_nodes_do_not_keep_others_from_their_turn(
    cloud, nodes, cluster, file_system, monkeypatch
):
    monkeypatch.setattr(probe, "BATCH", 1)
    for name in ("x", "y"):
        add_node(cloud, nodes, ZONES[0], nfs_common=False, name=name)
    add_node(cloud, nodes, ZONES[0], name="z")
    serve(cluster, file_system)
    assert prove(cluster, file_system).nodes == ("z",)


def test_a_node_that_got_its_nfs_client_is_proven_by_the_pod_that_waited(
    cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0], nfs_common=False, name="bare")
    serve(cluster, file_system)
    prove(cluster, file_system)
    nodes.install_nfs_common("bare")

    observed = prove(cluster, file_system)

    assert (observed.nodes, observed.problems) == (("bare",), ())
    assert_probed(cluster, ["bare"])


def test_nodes_that_are_tainted_for_some_pods_are_proven_too(
    plane, cloud, nodes, cluster, file_system
):
    effects = {"a": "NoSchedule", "b": "NoExecute"}
    for name, effect in effects.items():
        add_node(cloud, nodes, ZONES[0], name=name)
        taint(plane, name, "nvidia.com/gpu", effect)
    serve(cluster, file_system)
    assert prove(cluster, file_system).nodes == ("a", "b")


def test_a_node_that_takes_no_pods_now_is_left_alone(plane, cloud, nodes, cluster, file_system):
    for name in ("cordoned", "leaving", "good"):
        add_node(cloud, nodes, ZONES[0], name=name)
    add_node(cloud, nodes, ZONES[0], name="windows", system="windows")
    plane.client().patch(core_v1.Node, "cordoned", {"spec": {"unschedulable": True}})
    taint(plane, "leaving", "ToBeDeletedByClusterAutoscaler", "NoSchedule")
    serve(cluster, file_system)

    observed = prove(cluster, file_system)

    assert (observed.nodes, observed.problems, observed.total) == (("good",), (), 1)
    assert_probed(cluster, ["good"])


def test_a_node_without_room_is_no_problem_while_its_zone_is_proven(
    plane, cloud, nodes, cluster, file_system
):
    for name in ("full", "good"):
        add_node(cloud, nodes, ZONES[0], name=name)
    admin = plane.client()
    status = {"status": {"allocatable": {"pods": "0"}, "capacity": {"pods": "0"}}}
    admin.patch(core_v1.NodeStatus, "full", status)
    serve(cluster, file_system)

    observed = prove(cluster, file_system, timeout=8)

    assert (observed.nodes, observed.problems, observed.total) == (("good",), (), 2)


def test_a_node_whose_resources_are_all_requested_is_proven(
    plane, cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0], name="busy")
    nothing = {"cpu": "0", "memory": "0"}
    status = {"status": {"allocatable": nothing, "capacity": nothing}}
    plane.client().patch(core_v1.NodeStatus, "busy", status)
    serve(cluster, file_system)
    assert prove(cluster, file_system).nodes == ("busy",)


def test_a_nodes_zone_is_that_of_its_address_or_instance_where_it_has_no_label(
    cloud, nodes, cluster, file_system
):
    one = add_node(cloud, nodes, ZONES[0], name="one", cloud_provider=False)
    add_node(cloud, nodes, ZONES[1], name="two")
    serve(cluster, file_system)

    places = {one.instance.private_address: ZONES[0]}
    observed = prove(cluster, file_system, places=places)

    assert (observed.zones, observed.nodes) == (ZONES[:2], ("one", "two"))


def test_a_node_of_an_unknown_place_or_the_control_plane_may_do_without(
    plane, cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0], name="good")
    add_node(cloud, nodes, ZONES[0], name="far", cloud_provider=False, nfs_common=False)
    add_node(cloud, nodes, ZONES[0], name="fan", cloud_provider=False)
    add_node(cloud, nodes, ZONES[0], name="master", nfs_common=False)
    taint(plane, "master", "node-role.kubernetes.io/control-plane", "NoSchedule")
    serve(cluster, file_system)

    observed = prove(cluster, file_system)

    assert (observed.zones, observed.nodes) == (ZONES[:1], ("fan", "good"))
    assert observed.problems == ()
    assert {name: text[:13] for name, text in observed.unserved.items()} == {
        "far": "no NFS client",
        "master": "no NFS client",
    }


def test_where_no_other_node_is_proven_even_such_nodes_are_told_of(
    cloud, nodes, cluster, file_system
):
    add_node(cloud, nodes, ZONES[0], name="far", cloud_provider=False, nfs_common=False)
    serve(cluster, file_system)
    (problem,) = prove(cluster, file_system).problems
    assert problem.message.startswith("far: no NFS client; juju exec")


def test_a_zone_without_mount_target_is_not_proven_and_says_why(cloud, nodes, cluster):
    for zone in ZONES[:2]:
        add_node(cloud, nodes, zone)
    made = make_file_system(cloud, ZONES[:1])
    serve(cluster, made)

    observed = prove(cluster, made, timeout=8)

    assert observed.zones == ZONES[:1]
    (problem,) = observed.problems
    assert isinstance(problem, problems.Waiting)
    assert problem.message.startswith("ip-172-31-")
    assert "cannot resolve the file system's name yet" in problem.message


def test_a_security_group_that_lets_nobody_in_is_never_taken_for_success(cloud, nodes, cluster):
    add_node(cloud, nodes, ZONES[0])
    made = make_file_system(cloud, ZONES, source="192.0.2.0/24")
    serve(cluster, made)

    observed = prove(cluster, made, timeout=8)

    assert observed.nodes == ()
    (problem,) = observed.problems
    assert problem.message.startswith("ip-172-31-")


def test_mount_options_that_the_node_refuses_name_the_option(cloud, nodes, cluster, file_system):
    add_node(cloud, nodes, ZONES[0], name="worker")
    serve(cluster, file_system, "no-such-option")

    (problem,) = prove(cluster, file_system, mount_options=("no-such-option",)).problems

    assert isinstance(problem, problems.Blocked)
    assert problem.message == (
        "worker: refuses mount-options: juju config aws-efs --reset mount-options"
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

    assert prove(cluster, file_system).zones == ZONES[:1]


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
    assert observed.nodes == ()
    assert isinstance(observed.problems[0], problems.Blocked)
    assert ".aws-efs" in observed.problems[0].message

    (cloud.directory(file_system) / ".aws-efs").unlink()
    assert prove(cluster, file_system).problems == ()


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


def test_a_start_that_was_killed_halfway_is_finished_by_the_next(ready, job, monkeypatch):
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

    deleted = [line for line in reported if line.startswith("deleted ")]
    assert deleted[:2] == ["deleted job load", "deleted claim aws-efs/aws-efs"]
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
    assert prove(ready, other).zones == ZONES[:1]


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
