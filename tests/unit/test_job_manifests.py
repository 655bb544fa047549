"""The manifests of the loader's Jobs: what their pods may do, and what they are told."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import pytest

from app.datasets import loader_jobs
from cluster import manifests
from cluster.jobs import job_lifecycle, pod_options
from datasets import dataset

PASSWORD = "hunter2"
PROXIES = {
    "http_proxy": f"http://me:{PASSWORD}@proxy.example:3128",
    "https_proxy": f"me:{PASSWORD}@proxy.example:3128",
    "no_proxy": "127.0.0.1,.internal",
}
LOADER = loader_jobs.Loader(cast("Any", None), "python:3.12-slim", "fs-1", PROXIES)
FETCHED = dataset.Dataset("x", ("https://a.example/f.tar",), parallelism=2)
CUSTOM = dataset.Dataset(
    "x", image="i", command=("c",), env={"A": "1", "B": "secret:b/key"}, digest_key="5e" * 32
)


def load(desired: dataset.Dataset, **secrets: str) -> job_lifecycle.DesiredJob:
    return loader_jobs.load_job(LOADER, desired, "v", credentials={}, secrets=secrets)


JOBS = {
    "load": load(FETCHED),
    "custom": load(CUSTOM, B="from-juju"),
    **{kind: loader_jobs.maintenance_job(LOADER, kind, "x") for kind in loader_jobs.MAINTENANCE},
}


def rendered(job: job_lifecycle.DesiredJob) -> dict[str, Any]:
    """Return the manifest of a Job."""
    return manifests.render(
        "job",
        job=job,
        namespace="aws-efs",
        claim="aws-efs",
        labels={"app.kubernetes.io/managed-by": "juju"},
        files="files-1",
        files_path="/loader",
        mount_path="/mnt/aws-efs",
        data_path="/data",
        zone_label="topology.kubernetes.io/zone",
        main_container_annotation="kubectl.kubernetes.io/default-container",
        job_label="batch.kubernetes.io/job-name",
        grace_seconds=30,
        memory_gib=1,
    )


def template(name: str) -> dict[str, Any]:
    return rendered(JOBS[name])["spec"]["template"]


def containers(name: str) -> dict[str, dict[str, Any]]:
    """Return the containers of a Job's pods by their names."""
    spec = template(name)["spec"]
    return {each["name"]: each for each in (*spec.get("initContainers", []), *spec["containers"])}


def plain(container: dict[str, Any]) -> dict[str, str]:
    """Return the environment that is in the manifest itself."""
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


def referenced(container: dict[str, Any]) -> set[str]:
    """Return the names of the variables from the Job's Secret."""
    return {each["name"] for each in container.get("env", []) if "valueFrom" in each}


@pytest.mark.parametrize("name", JOBS)
def test_no_pod_has_more_than_its_work_needs(name: str):
    spec = template(name)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    for each in containers(name).values():
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]
        assert "privileged" not in context
    ours = {key: each for key, each in containers(name).items() if key != "loader"}
    assert ours
    for each in ours.values():
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["securityContext"]["runAsUser"] == 0
        assert plain(each)["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not any("emptyDir" in volume or "hostPath" in volume for volume in spec["volumes"])


def test_the_pods_of_a_load_are_spread_over_the_nodes_but_run_where_there_is_room():
    constraints = template("load")["spec"]["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in constraints} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    for each in constraints:
        assert (each["maxSkew"], each["whenUnsatisfiable"]) == (1, "ScheduleAnyway")
        # The load's own pods only.
        assert each["labelSelector"] == {
            "matchLabels": {"batch.kubernetes.io/job-name": JOBS["load"].name}
        }
    assert "topologySpreadConstraints" not in template("custom")["spec"]


def test_each_verb_has_its_own_capabilities():
    added = {
        (name, key): each["securityContext"]["capabilities"].get("add", [])
        for name in JOBS
        for key, each in containers(name).items()
    }
    assert added == {
        ("load", "dataset"): ["CHOWN", "DAC_OVERRIDE"],
        ("custom", "prepare"): ["CHOWN", "DAC_OVERRIDE"],
        ("custom", "loader"): ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"],
        ("custom", "dataset"): ["CHOWN", "DAC_OVERRIDE"],
        ("verify", "dataset"): ["DAC_OVERRIDE"],
        ("delete", "dataset"): ["CHOWN", "DAC_OVERRIDE"],
        ("inventory", "dataset"): ["DAC_OVERRIDE"],
        ("versions", "dataset"): ["DAC_OVERRIDE"],
        ("rollback", "dataset"): [],
    }


def test_the_image_of_a_user_runs_as_its_own_user_with_a_root_that_it_can_write():
    context = containers("custom")["loader"]["securityContext"]
    assert context["readOnlyRootFilesystem"] is False
    assert "runAsUser" not in context


@pytest.mark.parametrize("name", JOBS)
def test_every_pod_opts_out_of_sidecars(name: str):
    metadata = template(name)["metadata"]
    assert metadata["labels"].items() >= {
        ("app.kubernetes.io/managed-by", "juju"),
        ("sidecar.istio.io/inject", "false"),
        ("istio.io/dataplane-mode", "none"),
        ("kuma.io/sidecar-injection", "disabled"),
    }
    assert metadata["annotations"].items() >= {
        ("sidecar.istio.io/inject", "false"),
        ("linkerd.io/inject", "disabled"),
        ("consul.hashicorp.com/connect-inject", "false"),
        ("kuma.io/sidecar-injection", "disabled"),
    }
    # What selects the pods of a Job is not changed by that.
    assert rendered(JOBS[name])["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "juju"}


@pytest.mark.parametrize("name", JOBS)
def test_no_manifest_has_a_proxys_password(name: str):
    assert PASSWORD not in json.dumps(rendered(JOBS[name]))
    assert PASSWORD not in repr(JOBS[name])


def test_the_loader_gets_the_proxies_from_its_secret():
    assert JOBS["load"].secrets.items() >= PROXIES.items()
    (container,) = containers("load").values()
    assert referenced(container) == {"AWS_EFS_DATASET", *PROXIES}


def test_the_image_of_a_user_gets_the_proxies_without_their_passwords():
    job = JOBS["custom"]
    assert set(job.secrets) == {"AWS_EFS_DATASET", "B"}
    loader = containers("custom")["loader"]
    assert referenced(loader) == {"B"}
    assert plain(loader) == {
        "http_proxy": "http://proxy.example:3128",
        "https_proxy": "proxy.example:3128",
        "no_proxy": "127.0.0.1,.internal",
        "A": "1",
    }


@pytest.mark.parametrize("name", ["A", "B", "http_proxy"])
def test_a_variable_of_the_user_comes_once_and_in_place_of_ours(name: str):
    from_secret = load(CUSTOM, **{name: "from-juju"})
    (_, loader) = from_secret.init_containers
    assert name in loader.secrets
    assert name not in loader.env


@pytest.mark.parametrize("name", loader_jobs.MAINTENANCE)
def test_what_needs_no_secret_has_none(name: str):
    assert JOBS[name].secrets == {}
    (container,) = containers(name).values()
    assert referenced(container) == set()
    task = json.loads(plain(container)["AWS_EFS_DATASET"])
    assert not task["credentials"]
    assert not task["digest_key"]
    assert "http_proxy" not in plain(container)


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://me@proxy.example:3128", "http://proxy.example:3128"),
        (f"http://me:{PASSWORD}@proxy.example:3128/", "http://proxy.example:3128/"),
        (f"http://me:{PASSWORD}@@[::1]:3128", "http://[::1]:3128"),
        (f"http://me:{PASSWORD}/x@y@proxy.example", "http://proxy.example"),
        (f"http://me:{PASSWORD}%40@proxy.example", "http://proxy.example"),
        (f"me:{PASSWORD}://@proxy.example:3128", "proxy.example:3128"),
        (f"me:{PASSWORD}@proxy.example:3128", "proxy.example:3128"),
        (f"socks5h://:{PASSWORD}@proxy.example", "socks5h://proxy.example"),
    ],
)
def test_no_form_of_a_proxys_url_tells_its_password(proxy: str, shown: str):
    job = loader_jobs.load_job(
        loader_jobs.Loader(cast("Any", None), "python", "fs-1", {"http_proxy": proxy}),
        CUSTOM,
        "v",
        credentials={},
        secrets={},
    )
    assert job.init_containers[1].env["http_proxy"] == shown


OPTIONS = pod_options.PodOptions(
    tolerations=({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},),
    node_selector={"pool": "loaders"},
    image_pull_secret="registry",
    job_labels={"kueue.x-k8s.io/queue-name": "team-a", "team": "a"},
    labels={"team": "a", "sidecar.istio.io/inject": "true"},
    annotations={"note": "two words", "linkerd.io/inject": "enabled"},
)


def test_what_the_options_add_is_in_the_manifest_beside_what_the_charm_needs():
    loader = dataclasses.replace(LOADER, options=OPTIONS)
    job = loader_jobs.load_job(loader, FETCHED, "v", credentials={}, secrets={})
    manifest = rendered(job)
    assert manifests.resource(manifest).to_dict() == manifest
    assert manifest["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "juju",
        "kueue.x-k8s.io/queue-name": "team-a",
        "team": "a",
    }
    pod = manifest["spec"]["template"]
    labels, annotations = pod["metadata"]["labels"], pod["metadata"]["annotations"]
    assert (labels["team"], labels["sidecar.istio.io/inject"]) == ("a", "true")
    assert labels["istio.io/dataplane-mode"] == "none"
    assert "kueue.x-k8s.io/queue-name" not in labels
    assert (annotations["note"], annotations["linkerd.io/inject"]) == ("two words", "enabled")
    assert pod["spec"]["tolerations"] == list(OPTIONS.tolerations)
    assert pod["spec"]["nodeSelector"] == {"pool": "loaders", "kubernetes.io/os": "linux"}
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("name", JOBS)
def test_no_pod_runs_on_windows_and_kubectl_reads_the_loaders_log(name: str):
    pod = template(name)
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    annotations = pod["metadata"]["annotations"]
    assert annotations["kubectl.kubernetes.io/default-container"] == "dataset"


def test_what_runs_on_every_node_tolerates_all_taints_and_waits_in_no_queue():
    everywhere = OPTIONS.on_every_node()
    assert everywhere.tolerations == ({"operator": "Exists"},)
    assert everywhere.node_selector == {}
    assert everywhere.job_labels == {"team": "a"}
    assert everywhere.labels == OPTIONS.labels
    assert (OPTIONS.queue, everywhere.queue) == (True, False)


@pytest.mark.parametrize("kind", JOBS)
def test_each_job_has_a_deadline(kind: str):
    assert rendered(JOBS[kind])["spec"]["activeDeadlineSeconds"] == 7 * 86400


def test_a_load_has_the_deadline_that_the_user_set():
    spec = rendered(load(dataclasses.replace(FETCHED, deadline_seconds=5400)))["spec"]
    assert spec["activeDeadlineSeconds"] == 5400
