"""Pods to which others add: sidecars, and admission policies that refuse, change or limit them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightkube
import pytest
from lightkube import codecs
from lightkube.resources import batch_v1, core_v1

from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage
from tests.sandbox.waiting import until

IMAGE = "docker.io/library/busybox:1"
LINGER = '["sleep", "600"]'
FAIL = '["sh", "-c", "exit 3"]'


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


def policy(kind: str, name: str, rules: list[str], **spec: Any) -> list[Any]:
    """Return a policy for the objects that are made in the charm's namespace, and its binding."""
    group = "admissionregistration.k8s.io/v1"
    resources = {"apiGroups": ["", "batch"], "apiVersions": ["v1"], "resources": rules}
    matching = {
        "resourceRules": [{**resources, "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": APPLICATION}},
    }
    bound = {"policyName": name}
    if kind == "ValidatingAdmissionPolicy":
        bound["validationActions"] = ["Deny"]
    return [
        {
            "apiVersion": group,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": matching, **spec},
        },
        {
            "apiVersion": group,
            "kind": f"{kind}Binding",
            "metadata": {"name": name},
            "spec": bound,
        },
    ]


def install(stage: Stage, objects: list[dict[str, Any]]) -> None:
    for each in objects:
        stage.kube.create(codecs.from_dict(each))


def inject(stage: Stage, command: str, *, native: bool = False, image: str = IMAGE) -> None:
    """Add a sidecar to every pod of the charm, whatever that opts out of."""
    where = "initContainers" if native else "containers"
    always = ', restartPolicy: "Always"' if native else ""
    fields = f'name: "proxy", image: "{image}", command: {command}{always}'
    value = f"Object.spec.{where}{{{fields}}}"
    path = f'"/spec/{where}"'
    append = f'[JSONPatch{{op: "add", path: {path} + "/-", value: {value}}}]'
    first = f'[JSONPatch{{op: "add", path: {path}, value: [{value}]}}]'
    expression = f"has(object.spec.{where}) ? {append} : {first}"
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    spec = {"mutations": [mutation], "reinvocationPolicy": "Never"}
    install(stage, policy("MutatingAdmissionPolicy", "inject", ["pods"], **spec))
    until(lambda: "proxy" in dry_run_containers(stage))


def dry_run_containers(stage: Stage) -> set[str]:
    """Return the containers that a new pod in the charm's namespace gets."""
    main = {"name": "main", "image": IMAGE}
    pod = {"metadata": {"generateName": "x-", "namespace": APPLICATION}}
    created = stage.kube.create(
        core_v1.Pod.from_dict({**pod, "spec": {"containers": [main]}}), dry_run=True
    )
    assert created.spec
    found = (*(created.spec.initContainers or []), *created.spec.containers)
    return {each.name for each in found}


def job(stage: Stage, name: str) -> batch_v1.Job:
    return stage.kube.get(batch_v1.Job, name, namespace=APPLICATION)


def has_ended(stage: Stage, name: str) -> bool:
    status = job(stage, name).status
    conditions = (status and status.conditions) or []
    return any(each.type in {"Complete", "Failed"} for each in conditions)


def has_ended_by_hooks(stage: Stage, name: str) -> bool:
    """Return whether a Job has ended; if not, run the hook that ends pods kept by sidecars."""
    if not has_ended(stage, name):
        stage.model.update_status(APPLICATION)
    return has_ended(stage, name)


def create(stage: Stage, name: str, source: str, **params: Any) -> Any:
    return stage.run("create-dataset", name=name, source=source, **params)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("command", [LINGER, FAIL])
def test_a_load_whose_container_has_ended_ends_whatever_a_sidecar_does(
    stage: Stage, server: origin_server.Origin, command: str, *, native: bool
) -> None:
    stage.settle()
    inject(stage, command, native=native)
    done = create(stage, "flowers", server.put("rose.txt", b"red"), wait=60)
    assert done.status == "completed", done
    assert done.results["state"] == "published", done
    until(lambda: has_ended_by_hooks(stage, "dataset-flowers"))
    stage.model.update_status(APPLICATION)
    shown = stage.run("show-dataset", name="flowers").results
    assert (shown["state"], shown.get("last-error", "")) == ("published", ""), shown
    pods = stage.kube.list(
        core_v1.Pod,
        namespace=APPLICATION,
        labels={"batch.kubernetes.io/job-name": "dataset-flowers"},
    )
    assert len(list(pods)) == 1, "its work is not done again"
    failed = create(stage, "absent", f"{server.url}/absent", wait=60)
    assert "404" in failed.message, failed
    verified = stage.run("verify-dataset", name="flowers", wait=60)
    assert verified.results["state"] == "verified", verified
    assert stage.run("delete-dataset", name="flowers", wait=60).results["state"] == "deleted"


@pytest.mark.parametrize("command", [LINGER, FAIL])
def test_the_probe_and_a_load_of_many_pods_end_beside_sidecars(
    stage: Stage, server: origin_server.Origin, command: str
) -> None:
    stage.settle()
    inject(stage, command)
    # Other options for the mounts: all nodes are probed again.
    stage.model.config(APPLICATION, {"mount-options": "nfsvers=4.1,hard"})
    assert stage.status().name == "active", stage.status()
    sources = " ".join(server.put(f"{n}.txt", b"x" * n) for n in range(1, 9))
    done = create(stage, "flowers", sources, parallelism=3, wait=100)
    assert done.results["state"] == "published", done
    until(lambda: has_ended_by_hooks(stage, "dataset-flowers"))
    shown = stage.run("show-dataset", name="flowers").results
    assert (shown["state"], shown["files"]) == ("published", "8"), shown


def test_the_image_of_a_sidecar_is_not_ours_to_mend(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    inject(stage, LINGER, native=True, image="docker.io/proxy/missing:1")
    stuck = create(stage, "flowers", server.put("rose.txt", b"red"), wait=60)
    assert stuck.status == "failed", stuck
    assert "no such image: mend container proxy, which is not the charm's" in stuck.message


def test_the_words_of_a_policy_reach_the_user_whole_and_pod_labels_satisfy_it(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    words = (
        f"every pod names its team, as in team=a; {'see the handbook of platforms; ' * 12}ask us"
    )
    has_team = "has(object.metadata.labels) && 'team' in object.metadata.labels"
    noted = "has(object.metadata.annotations) && 'note' in object.metadata.annotations"
    rules = [{"expression": f"{has_team} && {noted}", "message": words}]
    install(stage, policy("ValidatingAdmissionPolicy", "teams", ["pods"], validations=rules))
    until(lambda: is_refused(stage))
    source = server.put("rose.txt", b"red")
    refused = create(stage, "flowers", source, wait=60)
    assert refused.status == "failed", refused
    fix = f"juju config {APPLICATION} pod-labels=… or pod-annotations=…"
    assert f"policy teams refuses the pods: {fix} ({words})" in refused.message
    labels = {"pod-labels": "team=a", "pod-annotations": "'note=two words'"}
    stage.model.config(APPLICATION, labels)
    assert stage.status().name == "active", stage.status()
    done = create(stage, "flowers", source, wait=60)
    assert done.results["state"] == "published", done


def is_refused(stage: Stage) -> bool:
    try:
        dry_run_containers(stage)
    except lightkube.ApiError as error:
        return "denied request" in str(error)
    return False


def test_a_policy_for_jobs_is_told_whole_and_job_labels_satisfy_it(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    has_team = "has(object.metadata.labels) && 'team' in object.metadata.labels"
    rules = [{"expression": has_team, "message": "every Job names its team"}]
    install(stage, policy("ValidatingAdmissionPolicy", "teams", ["jobs"], validations=rules))
    source = server.put("rose.txt", b"red")

    def refused() -> Any:
        done = create(stage, "flowers", source, wait=60)
        stage.run("delete-dataset", name="flowers")
        return done if done.status == "failed" else None

    assert "every Job names its team" in until(refused).message
    stage.model.config(APPLICATION, {"job-labels": "team=a"})
    assert create(stage, "flowers", source, wait=60).results["state"] == "published"


def test_a_limit_range_and_a_quota_are_told_with_their_numbers(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    limits = [{"type": "Container", "max": {"memory": "512Mi"}}]
    limit = {"metadata": {"name": "small", "namespace": APPLICATION}, "spec": {"limits": limits}}
    stage.kube.create(core_v1.LimitRange.from_dict(limit))
    source = server.put("rose.txt", b"red")
    refused = create(stage, "flowers", source, wait=60)
    assert "a LimitRange refuses the pods: change it in namespace aws-efs" in refused.message
    assert "maximum memory usage per Container is 512Mi, but limit is 1Gi" in refused.message
    stage.kube.delete(core_v1.LimitRange, "small", namespace=APPLICATION)
    assert create(stage, "flowers", source, wait=60).results["state"] == "published"


def test_a_queue_alone_decides_when_a_job_with_its_label_runs(
    stage: Stage, server: origin_server.Origin
) -> None:
    stage.settle()
    stage.model.config(APPLICATION, {"job-labels": "kueue.x-k8s.io/queue-name=team-a"})
    assert stage.status().name == "active", stage.status()
    source = server.put("rose.txt", b"red")
    for _ in range(2):
        held = create(stage, "flowers", source, wait=1)
        assert "the Job waits in queue team-a" in held.message
        # Whoever looks meanwhile takes nothing away from it.
        stage.model.update_status()
        assert job(stage, "dataset-flowers").spec.suspend is True
    stage.kube.patch(
        batch_v1.Job, "dataset-flowers", {"spec": {"suspend": False}}, namespace=APPLICATION
    )
    assert create(stage, "flowers", source, wait=60).results["state"] == "published"
