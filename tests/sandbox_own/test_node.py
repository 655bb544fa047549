"""A worker node of the sandbox runs pods as a kubelet does, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import boto3
import lightkube
import pytest
import tenacity
from lightkube.resources import batch_v1, coordination_v1, core_v1

from sandbox.aws import aws_cloud
from sandbox.kubernetes import control_plane
from sandbox.node import worker_nodes

MODEL = "0badc0de-1111-4222-8333-444455556666"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
OPTIONS = ["nfsvers=4.1", "hard"]
WAIT = 20.0
T = TypeVar("T")


@pytest.fixture(scope="module")
def plane(running_plane: control_plane.ControlPlane) -> control_plane.ControlPlane:
    return running_plane


@pytest.fixture(scope="module")
def cloud() -> Iterator[aws_cloud.Cloud]:
    with aws_cloud.Cloud.start() as running:
        yield running


@pytest.fixture(scope="module")
def instances(cloud: aws_cloud.Cloud) -> dict[str, aws_cloud.Instance]:
    return {
        zone: cloud.launch(str(number), zone, model_uuid=MODEL)
        for number, zone in enumerate(ZONES)
    }


@pytest.fixture
def nodes(
    plane: control_plane.ControlPlane,
    cloud: aws_cloud.Cloud,
    instances: dict[str, aws_cloud.Instance],
) -> Iterator[worker_nodes.Nodes]:
    plane.wipe()
    with worker_nodes.Nodes.start(plane, cloud, scale=0.05) as started:
        for instance in instances.values():
            started.add(instance)
        yield started


@pytest.fixture
def client(plane: control_plane.ControlPlane, nodes: worker_nodes.Nodes) -> lightkube.Client:
    return plane.client()


@pytest.fixture(scope="module")
def file_system(cloud: aws_cloud.Cloud) -> str:
    """Create a file system that can be mounted in the first two zones."""
    ec2, efs = aws_client(cloud, "ec2"), aws_client(cloud, "efs")
    made = efs.create_file_system(CreationToken="node")["FileSystemId"]
    group = ec2.create_security_group(
        GroupName="nfs", Description="for a test", VpcId=cloud.vpc_id
    )["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=2049, ToPort=2049, CidrIp="172.31.0.0/16"
    )
    for zone in ZONES[:2]:
        efs.create_mount_target(
            FileSystemId=made, SubnetId=cloud.subnets[zone], SecurityGroups=[group]
        )
    return made


def test_a_pods_status_has_its_exit_code_and_termination_message(
    client: lightkube.Client,
) -> None:
    script = "head -c 5000 /dev/zero | tr '\\0' x > /dev/termination-log; exit 3"
    pod = ended(client, run(client, "pod", "sh", "-c", script))
    assert pod["status"]["phase"] == "Failed"
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (3, "Error")
    assert terminated(pod)["message"] == "x" * 4096


@pytest.mark.parametrize(("code", "message"), [(0, None), (1, "y" * 2047 + "\n")])
def test_with_the_fallback_policy_the_end_of_the_log_is_the_message_of_a_failed_pod(
    client: lightkube.Client, code: int, message: str | None
) -> None:
    script = f"import sys; print('x' * 10 + 'y' * 2047); sys.exit({code})"
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    pod = ended(client, run(client, "pod", "python3", "-c", script, container=policy))
    assert terminated(pod).get("message") == message


def test_a_container_that_exceeds_its_memory_limit_is_out_of_memory(
    client: lightkube.Client,
) -> None:
    limit = {"resources": {"limits": {"memory": "64Mi"}}}
    script = "import time; kept = b'x' * (200 << 20); time.sleep(100)"
    pod = ended(client, run(client, "pod", "python3", "-c", script, container=limit))
    assert pod["status"]["phase"] == "Failed"
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (137, "OOMKilled")


def test_a_command_that_is_not_there_is_a_start_error(client: lightkube.Client) -> None:
    pod = ended(client, run(client, "pod", "nope", "--help"))
    assert pod["status"]["phase"] == "Failed"
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (128, "StartError")
    reason = 'exec: "nope": executable file not found in $PATH'
    assert reason in terminated(pod)["message"]
    assert reason in event(client, "pod", "Failed")["message"]


@pytest.mark.parametrize(
    ("image", "error"),
    [
        ("registry.test/missing:1", "rpc error: code = NotFound desc = failed to pull"),
        # The kubelet leaves out a code that says nothing.
        ("registry.invalid/x", "failed to pull and unpack image"),
    ],
)
def test_an_image_that_cannot_be_pulled_keeps_the_pod_waiting(
    client: lightkube.Client, image: str, error: str
) -> None:
    first = {"name": "first", "image": image, "command": ["true"]}
    run(client, "pod", "true", spec={"initContainers": [first]})
    eventually(lambda: event(client, "pod", "Pulling"))
    assert waiting(client, "pod", "init") == "PodInitializing"
    assert not event(client, "pod", "Failed")
    eventually(lambda: waiting(client, "pod", "init") == "ErrImagePull")
    eventually(lambda: waiting(client, "pod", "init") == "ImagePullBackOff")
    assert waiting(client, "pod") == "PodInitializing"
    assert read(client, "pod")["status"]["phase"] == "Pending"
    failed = event(client, "pod", "Failed", f'Failed to pull image "{image}": {error}')
    assert failed["message"].endswith((": not found", ": no such host"))
    assert "Back-off pulling image" in event(client, "pod", "BackOff")["message"]


def test_pods_of_two_zones_share_the_file_system(
    client: lightkube.Client, cloud: aws_cloud.Cloud, file_system: str
) -> None:
    claim(client, server(file_system))
    ended(client, run(client, "writer", "sh", "-c", "echo hello > /mnt/x", **claimed(ZONES[0])))
    pod = ended(client, run(client, "reader", "grep", "hello", "/mnt/x", **claimed(ZONES[1])))
    assert pod["status"]["phase"] == "Succeeded"
    assert (cloud.directory(file_system) / "x").read_text() == "hello\n"


def test_a_zone_without_mount_target_fails_to_mount_until_it_has_one(
    client: lightkube.Client, cloud: aws_cloud.Cloud
) -> None:
    efs = aws_client(cloud, "efs")
    made = efs.create_file_system(CreationToken="late")["FileSystemId"]
    claim(client, server(made))
    run(client, "pod", "true", **claimed(ZONES[2]))
    eventually(lambda: event(client, "pod", "FailedMount").get("count", 0) >= 3)
    assert waiting(client, "pod") == "ContainerCreating"
    seen = event(client, "pod", "FailedMount")
    assert seen["message"].startswith(
        'MountVolume.SetUp failed for volume "efs" : mount failed: exit status 32\n'
    )
    assert seen["message"].endswith(
        f"Output: mount.nfs: Failed to resolve server {server(made)}: Name or service not known\n"
    )
    assert seen["source"]["component"] == "kubelet"
    assert seen["source"]["host"] == read(client, "pod")["spec"]["nodeName"]
    groups = [group.id for group in cloud.security_groups() if group.name == "nfs"]
    subnet = cloud.subnets[ZONES[2]]
    efs.create_mount_target(FileSystemId=made, SubnetId=subnet, SecurityGroups=groups)
    assert ended(client, "pod")["status"]["phase"] == "Succeeded"


def test_a_node_without_nfs_common_cannot_mount_until_it_is_installed(
    client: lightkube.Client,
    nodes: worker_nodes.Nodes,
    instances: dict[str, aws_cloud.Instance],
    file_system: str,
) -> None:
    for name in [each.metadata.name for each in client.list(core_v1.Node)]:
        nodes.remove(name)
    bare = nodes.add(instances[ZONES[0]], nfs_common=False)
    claim(client, server(file_system))
    run(client, "pod", "true", **claimed(ZONES[0]))
    eventually(lambda: event(client, "pod", "FailedMount"))
    assert event(client, "pod", "FailedMount")["message"].endswith(
        ": unknown filesystem type 'nfs'.\n"
        "       dmesg(1) may have more information after failed mount system call.\n"
    )
    nodes.install_nfs_common(bare.name)
    assert ended(client, "pod")["status"]["phase"] == "Succeeded"


def test_where_dns_knows_no_names_a_node_mounts_by_its_hosts_file_or_an_address(
    client: lightkube.Client,
    cloud: aws_cloud.Cloud,
    nodes: worker_nodes.Nodes,
    file_system: str,
) -> None:
    nodes.knows_names = False
    claim(client, server(file_system))
    run(client, "pod", "true", **claimed(ZONES[0]))
    eventually(lambda: event(client, "pod", "FailedMount"))
    assert "Failed to resolve server fs-" in event(client, "pod", "FailedMount")["message"]
    (address,) = {
        target.address
        for target in cloud.mount_targets()
        if (target.file_system_id, target.zone) == (file_system, ZONES[1])
    }
    nodes.add_host(read(client, "pod")["spec"]["nodeName"], server(file_system), address)
    assert ended(client, "pod")["status"]["phase"] == "Succeeded"


def test_wrong_mount_options_are_refused(client: lightkube.Client, file_system: str) -> None:
    claim(client, server(file_system), options=["rize=12", "retry=2", "nfsvers=4.1", "retry=2"])
    run(client, "pod", "true", **claimed(ZONES[0]))
    eventually(lambda: event(client, "pod", "FailedMount"))
    message = event(client, "pod", "FailedMount")["message"]
    assert "Mounting arguments:  -t nfs -o nfsvers=4.1,retry=2,rize=12 fs-" in message
    assert "mount.nfs: an incorrect mount option was specified" in message


def test_only_root_writes_on_a_fresh_file_system_whatever_the_fs_group(
    client: lightkube.Client, cloud: aws_cloud.Cloud, file_system: str, nodes: worker_nodes.Nodes
) -> None:
    if nodes.isolation.value != "root":
        pytest.skip("this machine gives the sandbox one user only")
    claim(client, server(file_system))
    cloud.directory(file_system).chmod(0o755)
    context = {"securityContext": {"runAsUser": 1000, "fsGroup": 1000}}
    script = "id -u; id -G; touch /mnt/mine"
    pod = ended(client, run(client, "pod", "sh", "-c", script, **claimed(ZONES[0], spec=context)))
    assert pod["status"]["phase"] == "Failed"
    assert "1000\n0 1000\n" in logs(client, "pod")
    assert "Permission denied" in logs(client, "pod")


def test_root_without_capabilities_is_bound_by_permissions(
    client: lightkube.Client, cloud: aws_cloud.Cloud, file_system: str, nodes: worker_nodes.Nodes
) -> None:
    if nodes.isolation.value != "root":
        pytest.skip("this machine gives the sandbox one user only")
    claim(client, server(file_system))
    theirs = cloud.directory(file_system) / "theirs"
    theirs.touch(0o600)
    context = {"securityContext": {"runAsUser": 1000}}
    script = "chown 1000 /mnt/theirs"
    assert phase(client, run(client, "a", "sh", "-c", script, **claimed(ZONES[0]))) == "Succeeded"
    bare = {"securityContext": {"capabilities": {"drop": ["ALL"]}}}
    script = "echo x > /mnt/theirs"
    other = run(client, "b", "sh", "-c", script, **claimed(ZONES[0], container=bare))
    assert phase(client, other) == "Failed"
    owner = run(client, "c", "sh", "-c", script, **claimed(ZONES[0], spec=context))
    assert phase(client, owner) == "Succeeded"


@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o2775])
def test_a_sub_path_is_created_by_root_with_the_mode_of_the_volume(
    client: lightkube.Client, cloud: aws_cloud.Cloud, file_system: str, mode: int
) -> None:
    claim(client, server(file_system))
    cloud.directory(file_system).chmod(mode)
    volumes = claimed(ZONES[0], sub_path=f"{mode:o}/b")
    assert phase(client, run(client, "pod", "sh", "-c", "echo > /mnt/x", **volumes)) == "Succeeded"
    made = cloud.directory(file_system) / f"{mode:o}" / "b"
    assert (made / "x").exists()
    for each in (made, made.parent):
        assert each.stat().st_mode & 0o7777 == mode


def test_each_start_of_a_container_looks_its_sub_path_up_anew(
    client: lightkube.Client, cloud: aws_cloud.Cloud, file_system: str
) -> None:
    claim(client, server(file_system))
    volume = cloud.directory(file_system) / "published"
    for version in ("1", "2"):
        (volume / version).mkdir(parents=True)
        (volume / version / "x").write_text(version)
    (volume / "current").symlink_to("1")
    script = (
        "exec >/mnt/out 3</mnt/x; cat /mnt/x; touch /mnt/read; "
        "until test -e /mnt/go; do sleep 0.05; done; "
        "cat /mnt/x; rm /mnt/x; cat <&3; test $(cat /mnt/go) = end"
    )
    policy = {"restartPolicy": "OnFailure"}
    volumes = claimed(ZONES[0], sub_path="published/current", spec=policy)
    run(client, "pod", "sh", "-c", script, **volumes)
    eventually((volume / "1" / "read").exists)
    (volume / "next").symlink_to("2")
    (volume / "next").replace(volume / "current")
    (volume / "1" / "go").write_text("again")
    eventually((volume / "2" / "read").exists)
    (volume / "2" / "go").write_text("end")
    assert phase(client, "pod") == "Succeeded"
    assert [(volume / version / "out").read_text() for version in ("1", "2")] == ["111", "222"]


def test_nothing_is_written_on_a_read_only_volume(
    client: lightkube.Client, cloud: aws_cloud.Cloud, file_system: str
) -> None:
    (cloud.directory(file_system) / "inside").mkdir(exist_ok=True)
    claim(client, server(file_system), path="/inside", readOnly=True)
    pod = run(client, "a", "sh", "-c", "ls -a /mnt; touch /mnt/mine", **claimed(ZONES[0]))
    assert phase(client, pod) == "Failed"
    assert "Read-only file system" in logs(client, "a")
    run(client, "b", "true", **claimed(ZONES[0], sub_path="missing"))
    assert eventually(lambda: waiting(client, "b") == "CreateContainerConfigError")
    reason = 'failed to create subPath directory for volumeMount "efs" of container "main"'
    assert event(client, "b", "Failed")["message"] == f"Error: {reason}"
    assert not (cloud.directory(file_system) / "inside" / "missing").exists()


def test_a_finished_pod_holds_its_claim(client: lightkube.Client, file_system: str) -> None:
    claim(client, server(file_system))
    ended(client, run(client, "pod", "true", **claimed(ZONES[0])))
    client.delete(core_v1.PersistentVolumeClaim, "efs", namespace="default")
    time.sleep(0.5)
    kept = client.get(core_v1.PersistentVolumeClaim, "efs", namespace="default")
    assert kept.metadata and kept.metadata.deletionTimestamp
    client.delete(core_v1.Pod, "pod", namespace="default")
    eventually(lambda: gone(client, core_v1.PersistentVolumeClaim, "efs"))


def test_a_container_sees_the_objects_that_its_pod_refers_to(client: lightkube.Client) -> None:
    create(client, core_v1.ConfigMap, "files", data={"a.txt": "A"}, binaryData={"b": "AP8="})
    create(client, core_v1.Secret, "keys", stringData={"key": "K"})
    spec = {
        "automountServiceAccountToken": True,
        "volumes": [
            {"name": "files", "configMap": {"name": "files"}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
            {"name": "empty", "emptyDir": {}},
        ],
    }
    container = {
        "env": [
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
            {"name": "BOTH", "value": "$(NODE)/$(KEY)/$$(KEY)"},
        ],
        "envFrom": [{"prefix": "F_", "configMapRef": {"name": "files"}}],
        "volumeMounts": [
            {"name": "files", "mountPath": "/files"},
            {"name": "files", "mountPath": "/alone/b", "subPath": "b"},
            {"name": "keys", "mountPath": "/keys"},
            {"name": "empty", "mountPath": "/empty"},
        ],
    }
    script = """
import os, pathlib, urllib.request
print(os.environ["BOTH"], sorted(os.listdir("/files")), pathlib.Path("/alone/b").read_bytes())
print(pathlib.Path("/keys/key").read_text(), oct(os.stat("/keys/key").st_mode))
print(oct(os.stat("/empty").st_mode), os.path.exists("/usr/bin"), os.path.exists("/work"))
token = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
print(len((token / "token").read_text()) > 100, (token / "namespace").read_text())
try:
    pathlib.Path("/files/new").touch()
except OSError as error:
    print(error.strerror)
"""
    pod = ended(
        client, run(client, "pod", "python3", "-c", script, container=container, spec=spec)
    )
    name = pod["spec"]["nodeName"]
    version = [line for line in logs(client, "pod").splitlines() if "..data" in line]
    assert version and version[0].startswith(f"{name}/K/$(KEY) ['..2")
    assert version[0].endswith(", '..data', 'a.txt', 'b'] b'\\x00\\xff'")
    assert logs(client, "pod").splitlines()[1:] == [
        "K 0o100400",
        "0o40777 True False",
        "True default",
        "Read-only file system",
    ]


def test_a_container_waits_for_a_missing_reference(client: lightkube.Client) -> None:
    reference = {"secretKeyRef": {"name": "late", "key": "key"}}
    container = {"env": [{"name": "KEY", "valueFrom": reference}]}
    run(client, "pod", "sh", "-c", "test $KEY = K", container=container)
    eventually(lambda: waiting(client, "pod") == "CreateContainerConfigError")
    assert event(client, "pod", "Failed")["message"] == 'Error: secret "late" not found'
    create(client, core_v1.Secret, "late", stringData={"key": "K"})
    assert ended(client, "pod")["status"]["phase"] == "Succeeded"


def test_a_shell_as_pid_1_takes_its_whole_grace_period(client: lightkube.Client) -> None:
    run(client, "deaf", "sh", "-c", "sleep 100; true")
    eventually(lambda: read(client, "deaf")["status"]["phase"] == "Running")
    assert seconds_to_go(client, "deaf") >= 1.4  # 30 seconds, scaled
    assert "Stopping container main" in event(client, "deaf", "Killing")["message"]


def test_a_pod_is_ended_at_its_own_deadline(client: lightkube.Client) -> None:
    spec = {"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1}
    pod = ended(client, run(client, "pod", "sleep", "100", spec=spec))
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert terminated(pod)["exitCode"] == 137


def test_init_containers_run_first_and_their_failure_fails_the_pod(
    client: lightkube.Client,
) -> None:
    shared = {"volumes": [{"name": "shared", "emptyDir": {}}]}
    mounts = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    first = {"name": "first", "image": "busybox", "command": ["touch", "/shared/x"], **mounts}
    good = {**shared, "initContainers": [first]}
    name = run(client, "good", "ls", "/shared/x", container=mounts, spec=good)
    assert phase(client, name) == "Succeeded"
    bad = {**shared, "initContainers": [{**first, "command": ["false"]}]}
    pod = ended(client, run(client, "bad", "true", container=mounts, spec=bad))
    assert pod["status"]["phase"] == "Failed"
    state = pod["status"]["containerStatuses"][0]["state"]
    assert state == {"waiting": {"reason": "PodInitializing"}}


def test_a_container_is_restarted_according_to_the_pods_policy(client: lightkube.Client) -> None:
    spec = {"restartPolicy": "OnFailure", "volumes": [{"name": "kept", "emptyDir": {}}]}
    container = {"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
    script = "echo >> /kept/tries; test $(wc -l < /kept/tries) = 3"
    pod = ended(client, run(client, "pod", "sh", "-c", script, container=container, spec=spec))
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 2


def test_a_job_completes_and_its_pods_know_their_index(client: lightkube.Client) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [main("sh", "-c", "echo $I")]}}
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    template["spec"]["containers"][0]["env"] = [
        {"name": "I", "valueFrom": {"fieldRef": {"fieldPath": index}}}
    ]
    spec = {
        "completionMode": "Indexed",
        "completions": 2,
        "parallelism": 2,
        "template": template,
    }
    create(client, batch_v1.Job, "job", spec=spec)
    eventually(lambda: job(client, "job").get("succeeded") == 2)
    names = [pod.metadata.name for pod in client.list(core_v1.Pod, namespace="default")]
    assert sorted(logs(client, name) for name in names) == ["0\n", "1\n"]


def test_a_failed_mount_does_not_count_as_a_retry_and_the_jobs_deadline_deletes_the_pod(
    client: lightkube.Client,
) -> None:
    claim(client, "fs-0a1b2c3d4e5f60718.efs.us-east-1.amazonaws.com")
    volumes = claimed(ZONES[0])
    template = {"spec": {"restartPolicy": "Never", **volumes["spec"]}}
    template["spec"]["containers"] = [{**main("true"), **volumes["container"]}]
    spec = {"activeDeadlineSeconds": 2, "backoffLimit": 0, "template": template}
    create(client, batch_v1.Job, "job", spec=spec)
    eventually(lambda: job(client, "job").get("failed"))
    eventually(lambda: not list(client.list(core_v1.Pod, namespace="default")))
    assert job(client, "job")["conditions"][-1]["reason"] == "DeadlineExceeded"
    reasons = [event.reason for event in client.list(core_v1.Event, namespace="default")]
    assert "FailedMount" in reasons


def test_logs_can_be_read_from_the_start_until_the_pod_is_deleted(
    client: lightkube.Client,
) -> None:
    claim(client, "fs-0a1b2c3d4e5f60718.efs.us-east-1.amazonaws.com")
    run(client, "stuck", "true", **claimed(ZONES[0]))
    eventually(lambda: event(client, "stuck", "FailedMount"))
    with pytest.raises(lightkube.ApiError, match="is waiting to start: ContainerCreating"):
        logs(client, "stuck")
    run(client, "pod", "sh", "-c", "echo one; sleep 0.5; echo two")
    eventually(lambda: read(client, "pod")["status"]["phase"] == "Running")
    assert list(client.log("pod", namespace="default", follow=True)) == ["one\n", "two\n"]
    assert list(client.log("pod", namespace="default", tail_lines=1)) == ["two\n"]
    client.delete(core_v1.Pod, "pod", namespace="default")
    eventually(lambda: gone(client, core_v1.Pod, "pod"))
    with pytest.raises(lightkube.ApiError, match="not found"):
        logs(client, "pod")


def test_a_node_that_is_not_ready_gets_no_pods(
    client: lightkube.Client, nodes: worker_nodes.Nodes
) -> None:
    name = next(each.metadata.name for each in client.list(core_v1.Node) if each.metadata)
    ended(client, run(client, "before", "true", spec=on(name)))
    nodes.not_ready(name)
    eventually(lambda: "NoSchedule" in str(client.get(core_v1.Node, name).to_dict()["spec"]))
    run(client, "pod", "true", spec=on(name))
    time.sleep(0.5)
    assert "nodeName" not in read(client, "pod")["spec"]
    nodes.ready(name)
    assert ended(client, "pod")["status"]["phase"] == "Succeeded"


def test_the_nodes_stay_ready(client: lightkube.Client, nodes: worker_nodes.Nodes) -> None:
    before = renewals(client)
    assert len(before) == len(ZONES)
    eventually(lambda: all(at > before[name] for name, at in renewals(client).items()))


def test_without_its_kubelet_a_nodes_containers_run_on_unseen(
    client: lightkube.Client, nodes: worker_nodes.Nodes
) -> None:
    run(client, "pod", "sh", "-c", "echo on; sleep 4717.25")
    eventually(lambda: processes("4717.25"))
    eventually(lambda: read(client, "pod")["status"]["phase"] == "Running")
    name = read(client, "pod")["spec"]["nodeName"]
    nodes.stop_kubelet(name)
    with pytest.raises(lightkube.ApiError, match="connection refused") as refusal:
        logs(client, "pod")
    assert refusal.value.status.code == 500
    (process,) = processes("4717.25")
    os.kill(int(process), signal.SIGKILL)
    run(client, "next", "true", spec=on(name))
    eventually(lambda: not processes("4717.25"))
    eventually(lambda: read(client, "next")["spec"].get("nodeName"))
    time.sleep(0.5)
    assert read(client, "pod")["status"]["phase"] == "Running"
    assert read(client, "next")["status"]["phase"] == "Pending"
    nodes.start_kubelet(name)
    assert terminated(ended(client, "pod"))["exitCode"] == 137
    assert logs(client, "pod").startswith("on\n")
    assert phase(client, "next") == "Succeeded"


def test_the_pods_of_a_deleted_node_object_run_on_until_they_are_collected(
    client: lightkube.Client, nodes: worker_nodes.Nodes
) -> None:
    kept = {"metadata": {"finalizers": ["example.com/kept"]}}
    run(client, "pod", "sleep", "4718.25")
    client.patch(core_v1.Pod, "pod", kept, namespace="default")
    eventually(lambda: processes("4718.25"))
    name = read(client, "pod")["spec"]["nodeName"]
    client.delete(core_v1.Node, name)
    time.sleep(4)  # longer than the kubelet's heartbeat
    assert processes("4718.25")
    assert read(client, "pod")["status"]["phase"] == "Running"
    assert name not in [each.metadata.name for each in client.list(core_v1.Node)]
    nodes.collect_orphans(name)
    pod = ended(client, "pod")
    assert pod["status"]["phase"] == "Failed"
    (condition,) = [
        each for each in pod["status"]["conditions"] if each["type"] == "DisruptionTarget"
    ]
    assert condition["message"] == "PodGC: node no longer exists"
    eventually(lambda: not processes("4718.25"))
    nodes.start_kubelet(name)
    assert phase(client, run(client, "next", "true", spec=on(name))) == "Succeeded"


def test_a_removed_nodes_processes_end(
    client: lightkube.Client, nodes: worker_nodes.Nodes
) -> None:
    run(client, "pod", "sleep", "4711.25")
    eventually(lambda: processes("4711.25"))
    nodes.remove(read(client, "pod")["spec"]["nodeName"])
    eventually(lambda: not processes("4711.25"))


def test_nothing_is_left_when_the_nodes_are_closed(
    plane: control_plane.ControlPlane,
    cloud: aws_cloud.Cloud,
    instances: dict[str, aws_cloud.Instance],
) -> None:
    plane.wipe()
    client = plane.client()
    mounts = pathlib.Path("/proc/self/mounts").read_text()
    with worker_nodes.Nodes.start(plane, cloud) as nodes:
        nodes.add(instances[ZONES[0]])
        run(client, "pod", "sh", "-c", "sleep 4712.25 & sleep 4713.25")
        eventually(lambda: processes("4713.25"))
        assert pathlib.Path("/proc/self/mounts").read_text() == mounts
    assert not processes("4712.25")
    assert not processes("4713.25")


def test_changes_while_the_api_was_down_are_reported_when_it_is_back(
    client: lightkube.Client, plane: control_plane.ControlPlane
) -> None:
    run(client, "pod", "sleep", "1")
    eventually(lambda: read(client, "pod")["status"]["phase"] == "Running")
    plane.stop_api()
    time.sleep(1.5)
    plane.start_api()
    assert ended(client, "pod")["status"]["phase"] == "Succeeded"
    assert phase(client, run(client, "next", "true")) == "Succeeded"


def aws_client(cloud: aws_cloud.Cloud, service: Any) -> Any:
    key = cloud.administrator
    return boto3.Session(key.access_key, key.secret_key).client(
        service, region_name=cloud.region, endpoint_url=cloud.endpoint_url
    )


def server(file_system_id: str) -> str:
    return f"{file_system_id}.efs.us-east-1.amazonaws.com"


def claim(
    client: lightkube.Client, host: str, options: list[str] = OPTIONS, path: str = "/", **nfs: bool
) -> None:
    spec: dict[str, Any] = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    volume = {
        **spec,
        "capacity": {"storage": "1Gi"},
        "claimRef": {"namespace": "default", "name": "efs"},
        "mountOptions": options,
        "nfs": {"server": host, "path": path, **nfs},
    }
    create(client, core_v1.PersistentVolume, "efs", spec=volume)
    bound = {**spec, "volumeName": "efs", "resources": {"requests": {"storage": "1Gi"}}}
    create(client, core_v1.PersistentVolumeClaim, "efs", spec=bound)


def claimed(
    zone: str,
    *,
    spec: dict[str, Any] | None = None,
    container: dict[str, Any] | None = None,
    sub_path: str = "",
) -> dict[str, Any]:
    """Return arguments of `run` that mount the claim at /mnt, in a zone."""
    volume = {"name": "efs", "persistentVolumeClaim": {"claimName": "efs"}}
    selector = {"topology.kubernetes.io/zone": zone}
    mount = {"name": "efs", "mountPath": "/mnt", "subPath": sub_path}
    return {
        "container": {"volumeMounts": [mount], **(container or {})},
        "spec": {"nodeSelector": selector, "volumes": [volume], **(spec or {})},
    }


def on(name: str) -> dict[str, Any]:
    return {"nodeSelector": {"kubernetes.io/hostname": name}}


def main(*command: str) -> dict[str, Any]:
    return {"name": "main", "image": "python:3.12-slim", "command": list(command)}


def run(client: lightkube.Client, name: str, *command: str, **more: Any) -> str:
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [{**main(*command), **more.get("container", {})}],
        **more.get("spec", {}),
    }
    create(client, core_v1.Pod, name, spec=spec)
    return name


def create(client: lightkube.Client, kind: Any, name: str, **content: Any) -> None:
    metadata = {"name": name}
    if kind is not core_v1.PersistentVolume:
        metadata["namespace"] = "default"
    client.create(kind.from_dict({"metadata": metadata, **content}))


def read(client: lightkube.Client, name: str) -> dict[str, Any]:
    return client.get(core_v1.Pod, name, namespace="default").to_dict()


def job(client: lightkube.Client, name: str) -> dict[str, Any]:
    return client.get(batch_v1.Job, name, namespace="default").to_dict().get("status", {})


def ended(client: lightkube.Client, name: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        pod = read(client, name)
        return pod if pod["status"]["phase"] in ("Succeeded", "Failed") else None

    pod = eventually(look)
    assert pod
    return pod


def phase(client: lightkube.Client, name: str) -> str:
    return ended(client, name)["status"]["phase"]


def terminated(pod: dict[str, Any]) -> dict[str, Any]:
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


def waiting(client: lightkube.Client, name: str, kind: str = "") -> str:
    field = "initContainerStatuses" if kind == "init" else "containerStatuses"
    statuses = read(client, name)["status"].get(field, [{}])
    return statuses[0].get("state", {}).get("waiting", {}).get("reason", "")


def event(client: lightkube.Client, pod: str, reason: str, begin: str = "") -> dict[str, Any]:
    """Return the pod's event with this reason and beginning, and the highest count."""
    found = [
        each.to_dict()
        for each in client.list(core_v1.Event, namespace="default")
        if each.reason == reason and each.involvedObject.name == pod
        if (each.message or "").startswith(begin)
    ]
    return max(found, key=lambda each: each["count"], default={})


def logs(client: lightkube.Client, name: str) -> str:
    return "".join(client.log(name, namespace="default"))


def gone(client: lightkube.Client, kind: Any, name: str) -> bool:
    try:
        client.get(kind, name, namespace="default")
    except lightkube.ApiError as error:
        return error.status.code == 404
    return False


def seconds_to_go(client: lightkube.Client, name: str) -> float:
    began = time.monotonic()
    client.delete(core_v1.Pod, name, namespace="default")
    eventually(lambda: gone(client, core_v1.Pod, name))
    return time.monotonic() - began


def renewals(client: lightkube.Client) -> dict[str, Any]:
    leases = client.list(coordination_v1.Lease, namespace="kube-node-lease")
    return {each.metadata.name: each.spec.renewTime for each in leases}


def processes(argument: str) -> list[str]:
    """Return the ids of the processes with this argument."""
    found: list[str] = []
    for command in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may just end
            if argument in command.read_text().split("\0"):
                found.append(command.parent.name)
    return found


def eventually(condition: Callable[[], T]) -> T:
    return tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda result: not result),
        wait=tenacity.wait_exponential(multiplier=0.02, exp_base=1.3, max=0.5),
        stop=tenacity.stop_after_delay(WAIT),
    )(condition)
