"""Messages for the user about a pod that does not run, from Kubernetes' own ones."""

from __future__ import annotations

import datetime

import pytest
from lightkube.models import batch_v1, core_v1, meta_v1

from cluster import pods

PREFIX = 'MountVolume.SetUp failed for volume "aws-efs-6f4bf1dd-aws-efs" : mount failed: '
OURS = pods.OurContainers("dataset", ("prepare", "loader"))
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
            "mount: /var/x: fsconfig() failed: NFS: mount program didn't pass remote address.\n"
            "       dmesg(1) may have more information after failed mount system call.",
            "no NFS client; juju exec",
            True,
        ),
        ("mount.nfs: No such device", "has no NFS in its kernel: juju exec", True),
        (
            "mount.nfs: requested NFS version or transport protocol is not supported for /var/x",
            "refuses mount-options: juju config efs",
            True,
        ),
        ("mount.nfs: Protocol not supported", "refuses mount-options: juju config efs", True),
        (
            "mount.nfs: rpc.statd is not running but is required for remote locking.\n"
            "mount.nfs: Either use '-o nolock' to keep locks local, or start statd.",
            "refuses mount-options: juju config efs",
            True,
        ),
        ("mount.nfs: mount(2): Invalid argument", "refuses mount-options: juju config", True),
        ("mount.nfs: Network is unreachable", "gets no answer on port 2049", True),
        (
            "mount.nfs: Failed to resolve server fs-1.efs.us-east-1.amazonaws.com: "
            "Name or service not known",
            "cannot resolve the file system's name yet",
            False,
        ),
        (
            "mount.nfs: an incorrect mount option was specified",
            "refuses mount-options: juju config efs --reset mount-options",
            True,
        ),
        ("mount.nfs: Connection refused", "gets no answer on port 2049", True),
        ("mount.nfs: Connection timed out", "gets no answer on port 2049", True),
        (
            "mount.nfs: access denied by server while mounting fs-1.efs.us-east-1.amazonaws.com:/",
            "is denied access: check the file system's policy, which may demand TLS or IAM",
            True,
        ),
        (
            "mount.nfs4: access denied by server while mounting 10.0.0.1:/",
            "is denied access: check the file system's policy, which may demand TLS or IAM",
            True,
        ),
        ("mount.nfs: something new", "cannot mount: mount.nfs: something new", False),
        (
            "mount.nfs: new for 10.0.0.1:/ on /var/x\ndmesg(1) may have more information after "
            "failed mount system call.",
            "cannot mount: mount.nfs: new for 10.0.0.1:/ on /var/x",
            False,
        ),
    ],
)
def test_a_failed_mount_is_reported_with_its_cause(output, sentence, blocked):
    found = pods.find_cause(pod(), [event(OUTPUT + output)], "efs", OURS)
    assert found is not None
    assert found.about_node.startswith(sentence)
    assert found.sentence == f"juju-1: {found.about_node}"
    assert found.blocked is blocked


def test_a_program_that_is_gone_is_told_with_the_way_to_bring_it_back():
    message = 'MountVolume.SetUp failed for volume "files" : configmap "files-1f" not found'
    found = pods.find_cause(pod(), [event(message)], "efs", OURS)
    assert found is not None
    assert found.sentence.endswith("deleted from the cluster: run the action again")
    assert found.blocked is True


@pytest.mark.parametrize(("seconds", "blocked"), [(0, False), (179, False), (180, True)])
def test_a_name_that_does_not_resolve_for_three_minutes_is_told_with_the_option(seconds, blocked):
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    failed = event(OUTPUT + "mount.nfs: Failed to resolve server fs-1: Name or service not known")
    failed.lastTimestamp = start + datetime.timedelta(seconds=seconds)
    found = pods.find_cause(pod(startTime=start), [failed], "efs", OURS)
    assert found is not None
    assert found.blocked is blocked
    assert ("juju config efs server=address" in found.sentence) is blocked


def test_the_kubelets_own_time_out_says_nothing_about_the_server():
    message = "Unable to attach or mount volumes: unmounted volumes=[volume]: timed out waiting"
    assert pods.find_cause(pod(), [event(message)], "efs", OURS) is None


def test_another_pods_events_are_not_this_ones():
    message = OUTPUT + "mount.nfs: Connection refused"
    assert pods.find_cause(pod(), [event(message, uid="uid-2")], "efs", OURS) is None


def test_a_failure_that_occurs_again_has_another_stamp():
    message = OUTPUT + "mount.nfs: Connection refused"
    stamps = {pods.find_cause(pod(), [event(message, count=n)], "efs", OURS).stamp for n in (1, 2)}
    assert len(stamps) == 2


CONTAINERD = 'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
IMAGE = "docker.io/library/python:9"
FIX = "juju config efs loader-image=…"
LOGIN = "juju config efs image-pull-secret=…"


def container(name: str, image: str = IMAGE, **state: object) -> core_v1.ContainerStatus:
    return core_v1.ContainerStatus(
        image=image,
        imageID="",
        name=name,
        ready=False,
        restartCount=0,
        state=core_v1.ContainerState(**state),
    )


def waiting(message: str, reason: str = "ImagePullBackOff") -> dict[str, object]:
    return {"waiting": core_v1.ContainerStateWaiting(reason=reason, message=message)}


def ended(code: int, **fields: object) -> dict[str, object]:
    return {"terminated": core_v1.ContainerStateTerminated(exitCode=code, **fields)}


RUNNING = {"running": core_v1.ContainerStateRunning()}


@pytest.mark.parametrize(
    ("words", "message", "blocked"),
    [
        (CONTAINERD + "{image}: not found", f"there is no such image: {FIX}", True),
        (
            "reading manifest 9 in docker.io/library/python: manifest unknown",
            f"there is no such image: {FIX}",
            True,
        ),
        (
            CONTAINERD + "pull access denied, repository does not exist or may require "
            "authorization: server message: insufficient_scope: authorization failed",
            f"the registry wants a login for this image, or has none of its name: {LOGIN}",
            True,
        ),
        (
            CONTAINERD + "failed to authorize: failed to fetch anonymous token: unexpected status "
            "from GET request to https://ghcr.io/token?scope=x: 401 Unauthorized",
            f"the registry wants a login for this image, or has none of its name: {LOGIN}",
            True,
        ),
        (
            CONTAINERD + "unexpected status from HEAD request to https://x: 403 Forbidden",
            f"the registry wants a login for this image, or has none of its name: {LOGIN}",
            True,
        ),
        (
            'failed to pull and unpack image "{image}": failed to copy: httpReadSeeker: failed '
            "open: unexpected status code https://registry-1.docker.io/v2/x: 429 Too Many "
            "Requests - Server message: toomanyrequests: You have reached your unauthenticated "
            "pull rate limit.",
            f"the registry's rate limit is reached: {LOGIN}, or a mirror by {FIX}",
            True,
        ),
        (
            CONTAINERD + 'failed to do request: Head "https://x": dial tcp: lookup x on '
            "10.0.0.2:53: no such host",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            CONTAINERD + 'failed to do request: Head "https://x": dial tcp 10.1.1.1:443: i/o '
            "timeout",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            CONTAINERD + 'failed to do request: Head "https://x": proxyconnect tcp: dial tcp '
            "10.1.1.1:3128: connect: connection refused",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            CONTAINERD + 'failed to do request: Head "https://x": tls: failed to verify '
            "certificate: x509: certificate signed by unknown authority",
            f"juju-1 does not trust the registry's certificate: add its CA there, or {FIX}",
            True,
        ),
        (
            'failed to pull and unpack image "{image}": failed to extract layer sha256:1: write '
            "/var/lib/containerd/x: no space left on device",
            "juju-1 has no disk space for the image: free some there",
            True,
        ),
        (
            'failed to pull and unpack image "{image}": no match for platform in manifest: '
            "not found",
            f"the image is not made for the processor of juju-1: {FIX}",
            True,
        ),
        # Docker, by dockershim or cri-dockerd.
        (
            "Error response from daemon: pull access denied for library/python, repository does "
            "not exist or may require 'docker login': denied: requested access to the resource "
            "is denied",
            f"the registry wants a login for this image, or has none of its name: {LOGIN}",
            True,
        ),
        (
            "Error response from daemon: manifest for {image} not found: manifest unknown: "
            "manifest unknown",
            f"there is no such image: {FIX}",
            True,
        ),
        (
            'Error response from daemon: Get "https://registry-1.docker.io/v2/": net/http: '
            "request canceled while waiting for connection (Client.Timeout exceeded)",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            "image operating system windows cannot be used on this platform",
            f"the image is not made for the processor of juju-1: {FIX}",
            True,
        ),
        (
            'failed to retrieve credentials: error getting credentials - err: exec: "x": '
            "executable file not found in $PATH",
            f"the registry wants a login for this image, or has none of its name: {LOGIN}",
            True,
        ),
        # CRI-O.
        (
            'Failed to inspect image "": short-name "python:9" '
            "did not resolve to an alias and no unqualified-search registries are defined",
            f"the image's name has no registry, and juju-1 knows no default: {FIX}",
            True,
        ),
        (
            "choosing image instance: no image found in image index for architecture arm64",
            f"the image is not made for the processor of juju-1: {FIX}",
            True,
        ),
        (
            "image pull failed for {image} because the registry is unavailable",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            "Source image rejected: A signature was required, but no signature exists",
            f"juju-1 does not accept the image's signature: {FIX}",
            True,
        ),
        # A proxy or mirror between node and registry.
        (
            CONTAINERD + 'failed to do request: Head "https://x": Proxy Authentication Required',
            f"juju-1's proxy wants a login for the image's registry: check its proxy, or {FIX}",
            True,
        ),
        (
            'failed to pull and unpack image "{image}": failed to unpack image on snapshotter '
            "overlayfs: unexpected media type text/html for sha256:1: not found",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            CONTAINERD + "unexpected status from HEAD request to https://x: 504 Gateway Time-out",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            CONTAINERD + 'failed to do request: Head "https://x": dial tcp 10.1.1.1:443: '
            "connect: permission denied",
            f"juju-1 does not reach the image's registry: check its network, or {FIX}",
            True,
        ),
        (
            CONTAINERD + 'failed to do request: Head "https://x": tls: failed to verify '
            "certificate: x509: certificate has expired or is not yet valid: current time 1970",
            "the registry's certificate is out of date, or the clock of juju-1: renew it",
            True,
        ),
        (
            CONTAINERD + "unexpected status from HEAD request to https://x: 429 Quota exceeded",
            f"the registry's rate limit is reached: {LOGIN}, or a mirror by {FIX}",
            True,
        ),
        # The node's own trouble is no login that is missing.
        (
            'failed to pull and unpack image "{image}": failed to extract layer sha256:1: mkdir '
            "/var/lib/containerd/x: permission denied",
            f"the image cannot be pulled: {FIX}",
            True,
        ),
        ("pull QPS exceeded", "juju-1 pulls too many images at once: it tries again", False),
        ("something new", f"the image cannot be pulled: {FIX}", True),
    ],
)
@pytest.mark.parametrize(
    ("reason", "preamble"),
    [
        ("ErrImagePull", ""),
        ("ErrImagePull", "rpc error: code = Unknown desc = "),
        ("ImagePullBackOff", 'Back-off pulling image "{image}": ErrImagePull: '),
    ],
)
def test_an_image_that_cannot_be_pulled_is_told_with_its_cause_and_the_fix_first(
    words: str, message: str, blocked: bool, reason: str, preamble: str
):
    said = (preamble + words).replace("{image}", IMAGE)
    stuck = pod(containerStatuses=[container("dataset", **waiting(said, reason))])
    found = pods.find_cause(stuck, [], "efs", OURS)
    assert found is not None
    assert found.sentence.startswith(message)
    # What Kubernetes puts before the cause is gone, and the cause is there.
    assert "Back-off" not in found.sentence
    assert "rpc error" not in found.sentence
    assert IMAGE in found.sentence
    assert words.rpartition(": ")[2].replace("{image}", IMAGE) in found.sentence
    # It is the state as it is now: it does not have to occur again to be believed.
    assert (found.blocked, found.stamp) == (blocked, "")


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/acme/authentication-loader:1",
        "registry.corp:5000/timeout/certificates@sha256:1f",
        "toomanyrequests.example/signature:rate-limit",
        "docker.io/acme/denied",
    ],
)
def test_the_words_in_an_images_name_are_no_cause(image: str):
    for words in (
        CONTAINERD.replace("{image}", image) + f"{image}: not found",
        f"Error response from daemon: manifest for {image.partition('/')[2]} not found",
    ):
        stuck = pod(containerStatuses=[container("dataset", image, **waiting(words))])
        found = pods.find_cause(stuck, [], "efs", OURS)
        assert found is not None
        assert found.sentence.startswith(f"there is no such image: {FIX}")
        assert image in found.sentence


def test_a_pull_secret_that_does_not_exist_is_told_where_a_login_is_wanted():
    told = (
        "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may "
        "not succeed."
    )
    unread = event(told, reason="FailedToRetrieveImagePullSecret")
    for words, named in (("401 Unauthorized", True), ("x: no such host", False)):
        stuck = pod(containerStatuses=[container("dataset", **waiting(words))])
        found = pods.find_cause(stuck, [unread], "efs", OURS)
        assert found is not None
        assert ("create secret regcred in namespace aws-efs" in found.sentence) is named


def test_an_image_whose_failure_is_in_an_event_only_is_told_apart_too():
    told = f'Failed to pull image "{IMAGE}": rpc error: code = Unknown desc = toomanyrequests: x'
    stuck = pod(
        containerStatuses=[container("dataset", **waiting(f'Back-off pulling image "{IMAGE}"'))]
    )
    found = pods.find_cause(stuck, [event(told, reason="Failed")], "efs", OURS)
    assert found is not None
    assert found.sentence.startswith("the registry's rate limit is reached")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("dataset", FIX),
        ("prepare", FIX),
        ("loader", "run create-dataset with another image="),
        ("istio-proxy", "mend container istio-proxy, which is not the charm's"),
    ],
)
def test_the_fix_of_an_image_is_where_that_image_was_asked_for(name: str, fix: str):
    stuck = pod(
        initContainerStatuses=[container("prepare", **ended(0))],
        containerStatuses=[container(name, **waiting("x: not found"))],
    )
    found = pods.find_cause(stuck, [], "efs", OURS)
    assert found is not None
    assert found.sentence.startswith(f"there is no such image: {fix}")


@pytest.mark.parametrize(
    ("restarts", "started", "state", "sentence", "blocked"),
    [
        # An agent that waits for what it never gets, and a mesh whose control plane is down.
        ("", False, RUNNING, "has to finish before ours: see kubectl", False),
        ("Always", False, RUNNING, "has to finish before ours: see kubectl", False),
        (
            "Always",
            False,
            waiting("back-off 5m0s restarting failed container", "CrashLoopBackOff"),
            "fails again and again before ours: see kubectl",
            True,
        ),
        ("Always", True, RUNNING, "", False),
        ("", False, ended(0), "", False),
        ("", False, waiting("", "PodInitializing"), "", False),
    ],
)
def test_a_container_of_others_that_keeps_ours_from_running_is_named(
    restarts: str, started: bool, state, sentence: str, blocked: bool
):
    theirs = container("proxy", **state)
    theirs.started = started
    held = pod(
        initContainerStatuses=[theirs, container("prepare", **waiting("", "PodInitializing"))],
        containerStatuses=[container("dataset", **waiting("", "PodInitializing"))],
    )
    assert held.spec is not None
    held.spec.initContainers = [core_v1.Container("proxy", restartPolicy=restarts or None)]
    found = pods.find_cause(held, [], "efs", OURS)
    if not sentence:
        assert found is None
        return
    assert found is not None
    named = f"container proxy, which is not the charm's, {sentence} -n aws-efs logs probe -c proxy"
    assert (found.sentence, found.blocked) == (named, blocked)


@pytest.mark.parametrize("state", [RUNNING, ended(0), ended(1)])
def test_a_sidecar_that_cannot_start_says_nothing_about_a_container_that_could(state):
    mixed = pod(
        containerStatuses=[
            container("dataset", **state),
            container("sidecar", **waiting("x: not found")),
        ]
    )
    assert pods.find_cause(mixed, [], "efs", OURS) is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available:"
            " 3 No preemption victims found for incoming pod.",
            "no node has room for the pod: add a worker, or free some (3 Insufficient memory)",
        ),
        (
            "0/2 nodes are available: 2 node(s) had untolerated taint {nvidia.com/gpu: true}.",
            "taints keep the pod off all nodes: juju config efs tolerations=… (2 node(s) had "
            "untolerated taint {nvidia.com/gpu: true})",
        ),
        (
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
            "no node has the labels that the pod asks for: juju config efs node-selector=… "
            "(1 node(s) didn't match Pod's node affinity/selector)",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint "
            "{node.kubernetes.io/not-ready: }. preemption: x",
            "the nodes are not ready: kubectl get nodes (1 node(s) had untolerated taint "
            "{node.kubernetes.io/not-ready: })",
        ),
        # Kubernetes until 1.23, and from 1.34 on.
        (
            "0/1 nodes are available: 1 node(s) had taint {nvidia.com/gpu: true}, that the pod "
            "didn't tolerate.",
            "taints keep the pod off all nodes: juju config efs tolerations=… (1 node(s) had "
            "taint {nvidia.com/gpu: true}, that the pod didn't tolerate)",
        ),
        (
            "0/2 nodes are available: 2 node(s) had untolerated taint(s). no new claims to "
            "deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful.",
            "taints keep the pod off all nodes: juju config efs tolerations=…, or see kubectl get "
            "nodes (2 node(s) had untolerated taint(s))",
        ),
        (
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 "
            "node(s) had untolerated taint(s).",
            "taints or labels keep the pod off all nodes: juju config efs tolerations=… or "
            "node-selector=… (1 node(s) didn't match Pod's node affinity/selector, 2 node(s) had "
            "untolerated taint(s))",
        ),
        (
            "0/1 nodes are available: 1 node(s) were unschedulable.",
            "the nodes are cordoned: kubectl uncordon … (1 node(s) were unschedulable)",
        ),
        (
            "no nodes available to schedule pods",
            "no node has room for the pod: add a worker, or free some (no nodes available to "
            "schedule pods)",
        ),
        (
            'persistentvolumeclaim "efs" is being deleted',
            'no node takes the pod (persistentvolumeclaim "efs" is being deleted)',
        ),
    ],
)
def test_a_pod_that_no_node_accepts_is_told_with_the_fix_before_the_schedulers_words(
    words: str, sentence: str
):
    condition = core_v1.PodCondition(
        type="PodScheduled", status="False", reason="Unschedulable", message=words
    )
    found = pods.find_cause(pod(conditions=[condition]), [], "efs", OURS)
    assert found is not None
    assert (found.sentence, found.blocked) == (sentence, False)


def test_a_node_whose_network_starts_no_pod_is_told():
    message = "Failed to create pod sandbox: rpc error: code = Unknown desc = calico is not up"
    found = pods.find_cause(pod(), [event(message, reason="FailedCreatePodSandBox")], "efs", OURS)
    assert found is not None
    assert found.sentence == "juju-1: cannot start pods: calico is not up"


def test_a_running_pod_has_no_cause_whatever_its_old_events_say():
    message = OUTPUT + "mount.nfs: Connection refused"
    running = pod(phase="Running", containerStatuses=[container("dataset", **RUNNING)])
    assert pods.find_cause(running, [event(message)], "efs", OURS) is None


CREATING = 'Error creating: pods "dataset-x-abcde" is forbidden: '
METADATA = "juju config efs pod-labels=… or pod-annotations=…"


@pytest.mark.parametrize(
    ("message", "sentence", "blocked"),
    [
        (
            CREATING + "exceeded quota: small, requested: limits.memory=1Gi, used: "
            "limits.memory=7Gi, limited: limits.memory=7Gi",
            "quota small is exceeded: raise it in namespace efs (requested: limits.memory=1Gi, "
            "used: limits.memory=7Gi, limited: limits.memory=7Gi)",
            True,
        ),
        (
            CREATING + "failed quota: cpu: must specify limits.cpu for: dataset",
            "quota cpu asks for what pods leave out: set a default by a LimitRange in namespace "
            "efs (limits.cpu for: dataset)",
            True,
        ),
        (
            CREATING + "maximum memory usage per Container is 512Mi, but limit is 1Gi",
            "a LimitRange refuses the pods: change it in namespace efs (maximum memory usage per "
            "Container is 512Mi, but limit is 1Gi)",
            True,
        ),
        (
            CREATING + "ValidatingAdmissionPolicy 'teams' with binding 'all' denied request: "
            "every pod has a label team",
            f"policy teams refuses the pods: {METADATA} (every pod has a label team)",
            True,
        ),
        (
            'Error creating: admission webhook "validation.gatekeeper.sh" denied the request: '
            "[need-team] you must provide labels: {team}",
            f"policy validation.gatekeeper.sh refuses the pods: {METADATA} ([need-team] you must "
            "provide labels: {team})",
            True,
        ),
        (
            'Error creating: admission webhook "a.b" denied the request without explanation',
            f"policy a.b refuses the pods: {METADATA} (without explanation)",
            True,
        ),
        (
            CREATING + 'violates PodSecurity "restricted:latest": unrestricted capabilities',
            "pod security refuses the pods: kubectl label --overwrite namespace efs "
            "pod-security.kubernetes.io/enforce=baseline (violates",
            True,
        ),
        (
            CREATING + "error looking up service account efs/default",
            "error looking up service account efs/default",
            False,
        ),
        (
            'Error creating: Internal error occurred: failed calling webhook "a.b": connection '
            "refused",
            'failed calling webhook "a.b": connection refused',
            False,
        ),
    ],
)
def test_a_pod_that_is_not_even_created_is_told_with_the_fix_before_the_whole_refusal(
    message: str, sentence: str, blocked: bool
):
    job = batch_v1.Job(metadata=meta_v1.ObjectMeta(name="load", uid="uid-1"))
    found = pods.find_refusal(job, [event(message, reason="FailedCreate")], "efs")
    assert found is not None
    assert found.sentence.startswith(sentence)
    assert found.blocked is blocked


@pytest.mark.parametrize(
    ("phase", "statuses", "expected"),
    [
        # A classic sidecar runs on, or has ended in any way: ours alone counts.
        ("Running", {"dataset": ended(0), "proxy": RUNNING}, ("dataset", 0)),
        ("Running", {"proxy": RUNNING, "dataset": ended(1)}, ("dataset", 1)),
        ("Failed", {"dataset": ended(0), "proxy": ended(137)}, ("dataset", 0)),
        ("Running", {"dataset": RUNNING, "proxy": ended(1)}, None),
        ("Pending", {"dataset": waiting("", "PodInitializing"), "proxy": ended(1)}, None),
        # An init container of a mesh that fails keeps ours from running.
        ("Failed", {"proxy": ended(255), "dataset": waiting("")}, ("proxy", 255)),
        ("Failed", {"loader": ended(3), "dataset": waiting("")}, ("loader", 3)),
        ("Failed", {}, ("", 0)),
    ],
)
def test_the_end_of_a_pod_is_that_of_our_container(phase: str, statuses, expected):
    ending = pod(
        phase=phase, containerStatuses=[container(n, **state) for n, state in statuses.items()]
    )
    found = pods.find_termination(ending, OURS)
    assert (found and (found.container, found.exit_code)) == expected


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"reason": "Evicted", "message": "The node was low on resource: memory."},
            "Evicted: The node was low on resource: memory.",
        ),
        (
            {
                "conditions": [
                    core_v1.PodCondition(
                        type="DisruptionTarget",
                        status="True",
                        reason="DeletionByTaintManager",
                        message="Taint manager: deleting due to NoExecute taint",
                    )
                ]
            },
            "DeletionByTaintManager: Taint manager: deleting due to NoExecute taint",
        ),
        ({}, ""),
    ],
)
def test_a_pod_that_kubernetes_ended_tells_why(status, reason: str):
    killed = pod(phase="Failed", containerStatuses=[container("dataset", **ended(137))], **status)
    found = pods.find_termination(killed, OURS)
    assert found is not None
    assert found.pod_reason == reason


LONG = 1_000_000
# With each of these the search for a cause takes a time that grows with the square of the length.
ENDLESS = [
    "a" * LONG,
    "image pull secrets (" * (LONG // 20),
    " taint" * (LONG // 6),
    "rpc error: code = a desc = " * (LONG // 27),
]


@pytest.mark.parametrize("said", ENDLESS, ids=["word", "secrets", "taints", "preambles"])
def test_of_a_message_of_any_length_its_beginning_is_read(said):
    waiting = core_v1.ContainerStateWaiting(reason="ErrImagePull", message=said)
    status = core_v1.ContainerStatus(
        image=said,
        imageID="",
        name="prepare",
        ready=False,
        restartCount=0,
        state=core_v1.ContainerState(waiting=waiting),
    )
    unplaced = core_v1.PodCondition("False", "PodScheduled", message=said)
    found = [
        pods.find_cause(pod(initContainerStatuses=[status]), [], "efs", OURS),
        pods.find_cause(
            pod(initContainerStatuses=[status]),
            [event(said, reason="FailedToRetrieveImagePullSecret"), event(said, reason="Failed")],
            "efs",
            OURS,
        ),
        pods.find_cause(pod(conditions=[unplaced]), [], "efs", OURS),
        pods.find_cause(pod(), [event(f"{PREFIX}{said}")], "efs", OURS),
        pods.find_cause(pod(), [event(said, reason="FailedCreatePodSandBox")], "efs", OURS),
        pods.find_refusal(pod(), [event(said, reason="FailedCreate")], "efs"),
    ]
    for cause in found:
        assert cause is not None
        assert len(cause.sentence) < 20_000
