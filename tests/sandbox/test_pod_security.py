"""What the pods of our Jobs may do: what their work needs and no more; a node enforces it."""

from __future__ import annotations

import functools
import json
import os
import shutil
import stat
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube.models import core_v1 as models
from lightkube.models import meta_v1
from lightkube.resources import admissionregistration_v1, batch_v1, core_v1

import identity
from app.datasets import loader_jobs
from cluster import client, probe
from cluster.jobs import job_lifecycle, job_observe
from sandbox.node import container_process
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage
from tests.loader import loader_rig
from tests.sandbox import waiting

# The users that are told apart here are real ones.
pytestmark = pytest.mark.skipif(
    container_process.isolation() is not container_process.Isolation.ROOT, reason="needs root"
)

ARCHIVE = loader_rig.archive("tar", {"deep/rose.txt": b"red", "deep/tulip.txt": b"yellow"})
PYTHON = "docker.io/library/python:3.12-slim"
BUSYBOX = "docker.io/library/busybox:1"
# A custom loader whose files are those of another user, and for that user only.
OTHER_USER = """
import os
os.setgroups([])
os.setgid(1000)
os.setuid(1000)
os.mkdir("/data/d", 0o700)
with open("/data/d/f", "w") as file:
    file.write("1")
os.chmod("/data/d/f", 0o600)
"""
# What a container sees of itself and may write, as JSON.
LOOK = """
import json, os, pathlib
def written(path):
    try:
        pathlib.Path(path).write_text("x")
        return True
    except OSError:
        return False
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
status = dict(line.split(":", 1) for line in lines)
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": {name: int(status[name], 16) for name in status if name.startswith("Cap")},
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "token": os.path.exists("/var/run/secrets"),
    "services": sorted(name for name in os.environ if name.endswith("_SERVICE_HOST")),
    "written": [path for path in PATHS if written(path)],
}))
"""
PATHS = ["/x", "/tmp/x", "/var/tmp/x", "/usr/local/bin/x", "/root/x", "/etc/x", "/loader/x"]
SOON_SECONDS = 60
until = functools.partial(waiting.until, seconds=SOON_SECONDS)


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def settled(stage: Stage) -> Stage:
    stage.settle()
    return stage


@pytest.fixture
def cluster(settled: Stage) -> Iterator[client.Cluster]:
    """Connect to the cluster as the charm does."""
    plane = settled.plane
    access = identity.ClusterAccess(plane.endpoint, plane.ca, plane.admin_token)
    with client.Cluster(access, identity.Owner(settled.model.uuid, APPLICATION)) as connected:
        yield connected


def bits(*names: str) -> int:
    """Return the set of these capabilities as /proc shows it."""
    numbers = container_process.CAPABILITIES
    return sum(1 << numbers[name] for name in names)


def without(capabilities: tuple[str, ...], one: str) -> tuple[str, ...]:
    assert one in capabilities
    return tuple(each for each in capabilities if each != one)


def custom(script: str) -> dict[str, Any]:
    """Return the parameters of a custom loader that runs a script."""
    quoted = script.replace("'", "'\"'\"'")
    return {"image": PYTHON, "command": f"python3 -c '{quoted}'"}


# --- each capability is needed


@pytest.mark.parametrize("capability", loader_jobs.LOAD_CAPABILITIES)
def test_a_load_fails_without_each_of_its_capabilities(
    settled: Stage,
    server: origin_server.Origin,
    monkeypatch: pytest.MonkeyPatch,
    capability: str,
) -> None:
    source = {"source": server.put("f.tar", ARCHIVE), "owner": "1000:1000", "mode": "600"}
    asked = source if capability == "CHOWN" else custom(OTHER_USER)
    with monkeypatch.context() as patch:
        fewer = without(loader_jobs.LOAD_CAPABILITIES, capability)
        patch.setattr(loader_jobs, "LOAD_CAPABILITIES", fewer)
        settled.run("create-dataset", name="x", **asked, wait=0)
        shown = until(
            lambda: (
                (done := settled.run("show-dataset", name="x")).results.get("last-error") and done
            )
        )
    assert (
        "may not write" in shown.results["last-error"]
        or "Operation not permitted" in (shown.results["last-error"])
    )
    assert settled.run("delete-dataset", name="x", wait=120).status == "completed"
    done = settled.run("create-dataset", name="x", **asked, wait=120)
    assert done.results.get("state") == "published", done
    tree = settled.volume() / "datasets/x"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tree.rglob("*") if path.is_file()}
    assert modes == ({0o600} if capability == "CHOWN" else {0o644})


@pytest.mark.parametrize(
    ("action", "capability"),
    [
        *(("verify-dataset", each) for each in loader_jobs.MAINTENANCE_CAPABILITIES),
        *(("delete-dataset", each) for each in loader_jobs.REMOVAL_CAPABILITIES),
    ],
)
def test_maintenance_fails_without_each_of_its_capabilities(
    settled: Stage,
    server: origin_server.Origin,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    capability: str,
) -> None:
    removes = action == "delete-dataset"
    constant = "REMOVAL_CAPABILITIES" if removes else "MAINTENANCE_CAPABILITIES"
    source = server.put("f.tar", ARCHIVE)
    asked = {"source": source, "owner": "1000:1000", "mode": "600"}
    done = settled.run("create-dataset", name="x", **asked, wait=120)
    assert done.results.get("state") == "published", done
    with monkeypatch.context() as patch:
        patch.setattr(loader_jobs, constant, without(getattr(loader_jobs, constant), capability))
        failed = settled.run(action, name="x", wait=120)
    assert failed.status == "failed", failed
    done = settled.run(action, name="x", wait=120)
    assert done.status == "completed", done


def test_a_custom_loader_starts_over_where_another_users_files_are_left(
    settled: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = OTHER_USER + "os._exit(3 if not os.path.exists('/data/none') else 0)\n"
    failed = settled.run("create-dataset", name="x", **custom(fails), wait=120)
    assert "exit code 3" in failed.message
    done = settled.run("create-dataset", name="x", **custom(OTHER_USER), overwrite=True, wait=120)
    assert done.results.get("state") == "published", done


@pytest.mark.parametrize("capability", probe.CAPABILITIES)
def test_the_probe_of_another_users_root_fails_without_each_of_its_capabilities(
    settled: Stage, monkeypatch: pytest.MonkeyPatch, capability: str
) -> None:
    root = settled.volume()
    os.chown(root, 1000, 1000)
    # Another mode, so that the probe runs again; others may not write there.
    root.chmod(0o755)
    for path in root.iterdir():
        shutil.rmtree(path)
    with monkeypatch.context() as patch:
        patch.setattr(probe, "CAPABILITIES", without(probe.CAPABILITIES, capability))
        settled.model.config(APPLICATION, {"root-mode": "1775"})
        assert settled.status().name == "blocked"
        assert "(PermissionError: " in settled.status().message
    settled.model.update_status()
    assert settled.status().name == "active", settled.status()
    assert stat.S_IMODE(root.stat().st_mode) == 0o1775


# --- what a pod has


def looked(cluster: client.Cluster, **container: Any) -> dict[str, Any]:
    """Return what a container of a Job of ours sees of itself."""
    script = LOOK.replace("PATHS", repr([*PATHS, f"{job_lifecycle.MOUNT_PATH}/x"]))
    main = job_lifecycle.Container("main", PYTHON, command=("python3", "-c", script), **container)
    volume, *_ = cluster.select(core_v1.PersistentVolume, {})
    assert volume.spec and volume.spec.nfs
    file_system = volume.spec.nfs.server.partition(".")[0]
    files = {"f": b""}
    job = job_lifecycle.DesiredJob("look", "look", main, file_system, files=files, retries=0)
    job_lifecycle.start(cluster, job)
    observed = job_lifecycle.wait(cluster, "look", SOON_SECONDS)
    assert observed
    assert observed.phase == job_observe.SUCCEEDED, observed
    lines = cluster.log(observed.pods[0].name, "main", tail_lines=1)
    return json.loads(lines)


@pytest.mark.parametrize("capabilities", [(), ("CHOWN",), loader_jobs.LOAD_CAPABILITIES])
def test_a_container_of_ours_has_what_it_is_given_and_no_more(
    cluster: client.Cluster, capabilities: tuple[str, ...]
) -> None:
    seen = looked(cluster, capabilities=capabilities)
    own = bits(*capabilities)
    assert seen == {
        "uid": 0,
        "capabilities": {"CapInh": 0, "CapPrm": own, "CapEff": own, "CapBnd": own, "CapAmb": 0},
        "no_new_privileges": "1",
        "token": False,
        "services": ["KUBERNETES_SERVICE_HOST"],  # every container has this one
        "written": [f"{job_lifecycle.MOUNT_PATH}/x"],
    }


def test_the_image_of_a_user_has_what_it_may_need_and_no_more(settled: Stage) -> None:
    script = "import sys; sys.stdout = open('/data/seen', 'w')\n" + LOOK.replace(
        "PATHS", repr(PATHS)
    )
    done = settled.run("create-dataset", name="x", **custom(script), wait=120)
    assert done.results.get("state") == "published", done
    seen = json.loads((settled.volume() / "datasets/x/seen").read_text())
    own = bits(*loader_jobs.USERS_CAPABILITIES)
    assert seen["capabilities"]["CapBnd"] == seen["capabilities"]["CapEff"] == own
    assert seen["no_new_privileges"] == "1"
    assert not seen["token"]
    assert {"/x", "/tmp/x", "/root/x"} <= set(seen["written"])


def test_the_image_of_a_user_unpacks_with_owners_and_changes_to_another_user(
    settled: Stage,
) -> None:
    script = """
import io, os, tarfile
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as tar:
    entry = tarfile.TarInfo("theirs")
    entry.uid = entry.gid = 1234
    entry.mode, entry.size = 0o600, 1
    tar.addfile(entry, io.BytesIO(b"1"))
packed.seek(0)
with tarfile.open(fileobj=packed) as tar:
    tar.extractall("/data", numeric_owner=True, filter="fully_trusted")
assert os.stat("/data/theirs").st_uid == 1234
os.chmod("/data/theirs", 0o644)
with open("/data/roots", "w") as file:
    file.write("0")
os.setgid(1000)
os.setuid(1000)
with open("/data/ours", "w") as file:
    file.write("2")
"""
    done = settled.run("create-dataset", name="x", **custom(script), wait=120)
    assert done.results.get("state") == "published", done
    tree = loader_rig.tree(settled.volume() / "datasets/x")
    assert tree == {"theirs": b"1", "roots": b"0", "ours": b"2"}


# --- sidecars


def inject(stage: Stage) -> None:
    """Add a container to each pod that does not opt out, as a mesh does to a whole cluster."""
    policy = {
        "metadata": {"name": "mesh"},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "not-opted-out",
                    "expression": (
                        "!has(object.metadata.labels) || "
                        "!('sidecar.istio.io/inject' in object.metadata.labels) || "
                        "object.metadata.labels['sidecar.istio.io/inject'] != 'false'"
                    ),
                }
            ],
            "mutations": [
                {
                    "patchType": "JSONPatch",
                    "jsonPatch": {
                        "expression": (
                            '[JSONPatch{op: "add", path: "/spec/containers/-", '
                            'value: Object.spec.containers{name: "mesh", '
                            f'image: "{BUSYBOX}", command: ["sleep", "600"]}}}}]'
                        )
                    },
                }
            ],
        },
    }
    binding = {"metadata": {"name": "mesh"}, "spec": {"policyName": "mesh"}}
    kube = stage.kube
    kube.create(admissionregistration_v1.MutatingAdmissionPolicy.from_dict(policy))
    kube.create(admissionregistration_v1.MutatingAdmissionPolicyBinding.from_dict(binding))


def containers_of_a_pod(stage: Stage) -> int:
    """Return the number of containers that another pod gets."""
    container = models.Container(name="main", image=BUSYBOX, command=["true"])
    spec = models.PodSpec(containers=[container], automountServiceAccountToken=False)
    metadata = meta_v1.ObjectMeta(generateName="other-", namespace="default")
    made = stage.kube.create(core_v1.Pod(metadata=metadata, spec=spec))
    assert made.spec
    return len(made.spec.containers)


def test_a_mesh_puts_no_sidecar_into_our_pods(
    settled: Stage, server: origin_server.Origin
) -> None:
    inject(settled)
    until(lambda: containers_of_a_pod(settled) == 2)
    source = server.put("f.tar", ARCHIVE)
    done = settled.run("create-dataset", name="x", source=source, wait=120)
    assert done.results.get("state") == "published", done
    done = settled.run("verify-dataset", name="x", wait=120)
    assert done.status == "completed", done
    settled.model.config(APPLICATION, {"root-mode": "1775"})
    assert settled.status().name == "active", settled.status()
    jobs = list(settled.kube.list(batch_v1.Job, namespace=APPLICATION))
    assert len(jobs) == 2  # the probes leave none
    assert all(job.status and job.status.succeeded == 1 for job in jobs)
