"""Each kind of source, and the guarantees of a load, with pods that run on the cluster."""

from __future__ import annotations

import hashlib
import pathlib
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import tenacity
from lightkube.resources import batch_v1, core_v1

from sandbox.servers import hub_server, origin_server, s3_server
from sandbox.stage import APPLICATION, Stage
from tests.loader import loader_rig

RANDOM = random.Random(8)
FILES = {f"n{top}/{name}.jpg": RANDOM.randbytes(40_000) for top in range(6) for name in range(10)}
INNER = {
    f"n{top}.tar": loader_rig.archive(
        "tar", {f"{name}.jpg": FILES[f"n{top}/{name}.jpg"] for name in range(10)}
    )
    for top in range(6)
}
NESTED = loader_rig.archive("tar", INNER)


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def settled(stage: Stage) -> Stage:
    stage.settle()
    return stage


def published(stage: Stage, **params: Any) -> dict[str, str]:
    done = stage.run("create-dataset", name="set", wait=120, **params)
    assert done.status == "completed", done
    assert done.results["state"] == "published", done
    return done.results


def tree(stage: Stage) -> dict[str, bytes]:
    return loader_rig.tree(stage.volume() / "datasets/set")


def juju_secret(stage: Stage, **content: str) -> str:
    secret = stage.model.add_secret({key.replace("_", "-"): text for key, text in content.items()})
    stage.model.grant_secret(secret, APPLICATION)
    return secret


def test_a_public_bucket_needs_no_key(settled: Stage) -> None:
    with s3_server.Buckets.start() as s3:
        s3.make("flowers", public=True)
        s3.put("flowers", {f"set/{path}": data for path, data in FILES.items()})
        done = published(settled, source="s3://flowers/set/", endpoint=s3.url, parallelism=2)
    assert tree(settled) == FILES
    assert done["files"] == str(len(FILES))


def test_a_private_bucket_is_opened_by_a_juju_secret(settled: Stage) -> None:
    with s3_server.Buckets.start() as s3:
        s3.make("flowers")
        s3.put("flowers", {"set.tar": loader_rig.archive("tar", FILES)})
        source = {"source": "s3://flowers/set.tar", "endpoint": s3.url}
        refused = settled.run("create-dataset", name="set", **source)
        assert refused.status == "failed"
        assert "credentials=secret:" in refused.message
        secret = juju_secret(
            settled, access_key=s3.credentials.access_key, secret_key=s3.credentials.secret_key
        )
        published(settled, **source, credentials=secret)
    assert tree(settled) == FILES


def test_a_data_set_of_the_hub_comes_with_its_checksums_and_its_token(settled: Stage) -> None:
    with hub_server.Hub.start() as service:
        service.put("org/flowers", FILES, gated=True, token="hf_right")
        where = {"source": "hf://datasets/org/flowers", "endpoint": service.url}
        refused = settled.run("create-dataset", name="set", **where)
        assert refused.status == "failed"
        assert "gated" in refused.message
        published(settled, **where, credentials=juju_secret(settled, token="hf_right"))
    assert tree(settled) == FILES


def test_an_upload_on_the_volume_becomes_a_data_set_by_many_pods(settled: Stage) -> None:
    inbox = settled.volume() / "inbox/flowers"
    for path, content in FILES.items():
        (inbox / path).parent.mkdir(parents=True, exist_ok=True)
        (inbox / path).write_bytes(content)
    secret = inbox / "secret"
    secret.write_bytes(b"mine")
    secret.chmod(0o600)
    refused = settled.run("create-dataset", name="set", source="volume:/inbox/flowers")
    assert refused.status == "failed"
    assert "not all users may read 'secret' in volume:/inbox/flowers" in refused.message
    done = published(settled, source="volume:/inbox/flowers", exclude="secret", parallelism=2)
    assert done["source"] == "volume:/inbox/flowers"
    assert tree(settled) == FILES
    assert secret.read_bytes() == b"mine"


def test_a_list_of_sources_is_one_data_set(settled: Stage, server: origin_server.Origin) -> None:
    one = loader_rig.archive("tar.gz", {"deep/rose.txt": b"red"})
    server.put("one.tar.gz", one)
    server.put("two.csv", b"2,2")
    lines = [
        "# what belongs together",
        f"one.tar.gz sha256:{hashlib.sha256(one).hexdigest()} flowers/",
        f"{server.url}/two.csv",
    ]
    published(settled, source_list=server.put("list", "\n".join(lines).encode()))
    assert tree(settled) == {"flowers/deep/rose.txt": b"red", "two.csv": b"2,2"}


def test_a_list_that_cannot_be_read_is_refused_with_its_line(
    settled: Stage, server: origin_server.Origin
) -> None:
    listed = server.put("list", b"one.csv\nftp://example.org/two.csv\n")
    refused = settled.run("create-dataset", name="set", source_list=listed)
    assert refused.status == "failed"
    assert "line 2" in refused.message


def test_a_service_of_the_cluster_and_the_metadata_of_its_nodes_are_no_sources(
    settled: Stage, server: origin_server.Origin
) -> None:
    api = settled.kube.get(core_v1.Service, "kubernetes", namespace="default")
    assert api.spec and api.spec.clusterIP
    neighbour = api.spec.clusterIP.rpartition(".")[0] + ".77"
    metadata = server.redirect("file", "http://169.254.169.254/latest/user-data")
    for source, reason in (
        (f"http://{neighbour}/file", "is in the cluster, at "),
        (metadata, "belongs to the node, the cloud or the cluster itself"),
    ):
        refused = settled.run("create-dataset", name="set", source=source)
        assert refused.status == "failed"
        assert reason in refused.message, refused


def test_three_pods_unpack_an_archive_of_archives(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("set.tar", NESTED)
    done = published(settled, source=source, unpack="recursive", parallelism=3)
    assert tree(settled) == FILES
    assert done["files"] == str(len(FILES))


@tenacity.retry(wait=tenacity.wait_fixed(0.1), stop=tenacity.stop_after_delay(60), reraise=True)
def running(stage: Stage, count: int) -> dict[str, str]:
    """Return the pods that have started, by their indexes."""
    labels = {"batch.kubernetes.io/job-name": "dataset-set"}
    found = {
        pod.metadata.labels["batch.kubernetes.io/job-completion-index"]: pod.metadata.name or ""
        for pod in stage.kube.list(core_v1.Pod, namespace=APPLICATION, labels=labels)
        if pod.status and pod.status.phase == "Running" and pod.metadata and pod.metadata.labels
    }
    assert len(found) == count
    return found


def test_every_pod_may_be_lost_once(settled: Stage, server: origin_server.Origin) -> None:
    slow = origin_server.Faults(bytes_per_second=100_000)
    source = server.put("set.tar", NESTED, faults=slow)
    begun = {"source": source, "unpack": "recursive", "parallelism": 2}
    settled.run("create-dataset", name="set", wait=0, **begun)
    for pod in running(settled, 2).values():
        settled.kube.delete(core_v1.Pod, pod, namespace=APPLICATION, grace_period=0)
    server.put("set.tar", NESTED)
    published(settled, **begun)
    assert tree(settled) == FILES
    job = settled.kube.get(batch_v1.Job, "dataset-set", namespace=APPLICATION)
    assert job.status
    assert not job.status.failedIndexes


def test_a_source_that_changes_in_the_middle_is_not_mixed(
    settled: Stage, server: origin_server.Origin
) -> None:
    old = {path: data[:-1] + b"0" for path, data in FILES.items()}
    held = origin_server.Faults(hold_after=1_500_000)
    source = server.put("set.tar", loader_rig.archive("tar", old), faults=held)
    settled.run("create-dataset", name="set", source=source, wait=0)
    for pod in running(settled, 1).values():
        server.put("set.tar", loader_rig.archive("tar", FILES))
        settled.kube.delete(core_v1.Pod, pod, namespace=APPLICATION, grace_period=0)
    published(settled, source=source)
    assert tree(settled) == FILES


def test_a_reader_sees_nothing_then_one_version_then_the_other(
    settled: Stage, server: origin_server.Origin
) -> None:
    first = server.put("first.tar", loader_rig.archive("tar", FILES))
    other = {path: data[::-1] for path, data in FILES.items()}
    second = server.put("second.tar", loader_rig.archive("tar", other))
    link: pathlib.Path = settled.volume() / "datasets/set"
    seen: list[dict[str, bytes] | None] = []
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            state = loader_rig.tree(link) if link.exists() else None
            if not seen or seen[-1] != state:
                seen.append(state)

    reader = threading.Thread(target=poll)
    reader.start()
    try:
        published(settled, source=first)
        published(settled, source=second, overwrite=True)
    finally:
        ended.set()
        reader.join()
    assert seen in ([None, FILES, other], [None, FILES])
    assert tree(settled) == other
