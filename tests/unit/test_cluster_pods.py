"""Messages for the user about a pod that does not run, from Kubernetes' own ones."""

from __future__ import annotations

import pytest
from lightkube.models import batch_v1, core_v1, meta_v1

from cluster import pods

PREFIX = 'MountVolume.SetUp failed for volume "aws-efs-6f4bf1dd-aws-efs" : mount failed: '
OUTPUT = PREFIX + "exit status 32\nMounting command: mount\nOutput: "


def pod(**status: object) -> core_v1.Pod:
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name="probe", namespace="aws-efs", uid="uid-1"),
        spec=core_v1.PodSpec(containers=[], nodeName="juju-1"),
        status=core_v1.PodStatus(**{"phase": "Pending", **status}),
    )


def event(
    message: str, *, uid: str = "uid-1", reason: str = "FailedMount", count: int = 1
) -> core_v1.Event:
    return core_v1.Event(
        involvedObject=core_v1.ObjectReference(uid=uid),
        metadata=meta_v1.ObjectMeta(uid="event-1"),
        reason=reason,
        message=message,
        count=count,
    )


@pytest.mark.parametrize(
    ("output", "sentence", "blocked"),
    [
        (
            "mount: /var/x: unknown filesystem type 'nfs'.",
            "no NFS client; juju exec",
            True,
        ),
        (
            "mount: /var/x: bad option; for several filesystems (e.g. nfs, cifs) you might need a "
            "/sbin/mount.<type> helper program.",
            "no NFS client; juju exec",
            True,
        ),
        (
            "mount.nfs: Failed to resolve server fs-1.efs.us-east-1.amazonaws.com: "
            "Name or service not known",
            "juju-1 cannot resolve the file system's name yet",
            False,
        ),
        (
            "mount.nfs: an incorrect mount option was specified",
            "juju-1 refuses mount-options: juju config efs --reset mount-options",
            True,
        ),
        ("mount.nfs: Connection refused", "juju-1 gets no answer on port 2049", True),
        ("mount.nfs: Connection timed out", "juju-1 gets no answer on port 2049", True),
        ("mount.nfs: access denied by server", "the file system denies juju-1 access", True),
        ("mount.nfs: something new", "juju-1 cannot mount: mount.nfs: something new", False),
    ],
)
def test_a_failed_mount_is_reported_with_its_cause(output, sentence, blocked):
    found = pods.find_cause(pod(), [event(OUTPUT + output)], "efs")
    assert found is not None
    assert found.sentence.startswith(sentence)
    assert found.blocked is blocked


def test_a_program_that_is_gone_is_told_with_the_way_to_bring_it_back():
    message = 'MountVolume.SetUp failed for volume "files" : configmap "files-1f" not found'
    found = pods.find_cause(pod(), [event(message)], "efs")
    assert found is not None
    assert found.sentence.endswith("deleted from the cluster: run the action again")
    assert found.blocked is True


def test_the_kubelets_own_time_out_says_nothing_about_the_server():
    message = "Unable to attach or mount volumes: unmounted volumes=[volume]: timed out waiting"
    assert pods.find_cause(pod(), [event(message)], "efs") is None


def test_another_pods_events_are_not_this_ones():
    message = OUTPUT + "mount.nfs: Connection refused"
    assert pods.find_cause(pod(), [event(message, uid="uid-2")], "efs") is None


def test_a_failure_that_occurs_again_has_another_stamp():
    message = OUTPUT + "mount.nfs: Connection refused"
    stamps = {pods.find_cause(pod(), [event(message, count=n)], "efs").stamp for n in (1, 2)}
    assert len(stamps) == 2


@pytest.mark.parametrize(
    ("container", "hint"),
    [("probe", "juju config efs loader-image=…"), ("loader", "check image")],
)
def test_an_image_that_cannot_be_pulled_names_the_option_or_the_parameter(container, hint):
    waiting = core_v1.ContainerStateWaiting(reason="ImagePullBackOff", message="Back-off")
    status = core_v1.ContainerStatus(
        image="example.com/missing:1",
        imageID="",
        name=container,
        ready=False,
        restartCount=0,
        state=core_v1.ContainerState(waiting=waiting),
    )
    found = pods.find_cause(pod(containerStatuses=[status]), [], "efs")
    assert found is not None
    assert found.sentence == (
        f"image example.com/missing:1 cannot be pulled (ImagePullBackOff): {hint}"
    )


def test_a_pod_that_no_node_accepts_is_reported_in_the_schedulers_words():
    condition = core_v1.PodCondition(
        type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes available"
    )
    found = pods.find_cause(pod(conditions=[condition]), [], "efs")
    assert found is not None
    assert found.sentence == "pod not scheduled: 0/3 nodes available"
    assert found.blocked is False


def test_a_running_pod_has_no_cause_whatever_its_old_events_say():
    message = OUTPUT + "mount.nfs: Connection refused"
    assert pods.find_cause(pod(phase="Running"), [event(message)], "efs") is None


@pytest.mark.parametrize(
    ("message", "blocked"),
    [
        ('pods "p" is forbidden: exceeded quota: none, requested: pods=1', True),
        ('pods "p" is forbidden: violates PodSecurity "restricted:latest"', True),
        ('pods "p" is forbidden: error looking up service account aws-efs/default', False),
        ("Internal error occurred: the server is too busy", False),
    ],
)
def test_a_pod_that_is_not_even_created_is_reported_in_the_servers_words(message, blocked):
    job = batch_v1.Job(metadata=meta_v1.ObjectMeta(name="load", uid="uid-1"))
    found = pods.find_refusal(job, [event(message, reason="FailedCreate")])
    assert found is not None
    assert (found.sentence, found.blocked) == (message, blocked)
