"""What is secret in a load: where it is while the load runs, and that it is nowhere afterwards."""

from __future__ import annotations

import base64
import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import lightkube
import pytest
from lightkube.resources import batch_v1, core_v1

from cluster import digest_key
from cluster.jobs import job_inputs
from sandbox.juju import hook_process
from sandbox.servers import origin_server, s3_server
from sandbox.stage import APPLICATION, Stage
from tests.sandbox import waiting

SECRET = "tell-nobody-4711"
SIGNED = f"X-Amz-Signature={SECRET}"
FIRST, SECOND = b"1" * 3000, b"2" * 2_000_000
HELD = origin_server.Faults(hold_after=100_000, ranges=False)
SOON_SECONDS = 60
until = functools.partial(waiting.until, seconds=SOON_SECONDS)
# The Secret of a load in etcd.
STORED = "/registry/secrets/aws-efs/dataset-x"


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def settled(stage: Stage) -> Stage:
    stage.settle(units=2)
    return stage


def create(stage: Stage, name: str = "x", **params: Any) -> Any:
    return stage.run("create-dataset", name=name, **params)


def objects(stage: Stage, kind: Any) -> dict[str, Any]:
    """Return the objects of a kind in the charm's namespace, by name."""
    found = stage.kube.list(kind, namespace=APPLICATION)
    return {(each.metadata and each.metadata.name) or "": each for each in found}


def secrets(stage: Stage) -> dict[str, str]:
    """Return the contents of the Secrets of Jobs, by their names."""
    return {
        name: " ".join(base64.b64decode(text).decode() for text in (each.data or {}).values())
        for name, each in objects(stage, core_v1.Secret).items()
        if name != digest_key.NAME
    }


def logs(stage: Stage) -> list[str]:
    """Return the logs of all containers of all pods in the charm's namespace."""
    found: list[str] = []
    for name, pod in objects(stage, core_v1.Pod).items():
        for each in [*(pod.spec.initContainers or []), *pod.spec.containers]:
            with contextlib.suppress(lightkube.ApiError):
                found += stage.kube.log(name, namespace=APPLICATION, container=each.name)
    return found


def traces(stage: Stage, secret: str, *results: Any) -> list[str]:
    """Return the places where a secret can be read."""
    places: dict[str, str] = {
        "results": repr(results),
        "debug-log": repr(stage.model.log),
        "status": repr(stage.status()),
        "pods' logs": "".join(logs(stage)),
    }
    for key, content in stage.plane.stored().items():
        places[key] = content.decode(errors="replace")
    for path in stage.volume().rglob("*"):
        content = b""
        # A load may move it meanwhile.
        with contextlib.suppress(OSError):
            content = path.read_bytes() if path.is_file() else b""
        places[f"volume {path}"] = f"{path} {content!r}"
    return [place for place, text in places.items() if secret in text]


def ended(stage: Stage, name: str = "x") -> None:
    """Wait until the Job of a load has ended, without the charm."""

    def has_ended() -> bool:
        status = objects(stage, batch_v1.Job)[f"dataset-{name}"].status
        return any(
            each.type in {"Complete", "Failed"} and each.status == "True"
            for each in (status and status.conditions) or ()
        )

    until(has_ended)


def put_list(server: origin_server.Origin, *lines: str, secret: str = SECRET) -> str:
    made = [f"{server.url}/{line}?X-Amz-Signature={secret}-{line}" for line in lines]
    return server.put("list", "\n".join(made).encode())


# --- the life of a Secret


def test_a_signed_link_and_its_secret_are_gone_when_the_load_is_published(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = f"{server.put('b.bin', SECOND, faults=HELD)}?{SIGNED}"
    begun = create(settled, source=source, wait=0)
    until(lambda: server.requests)
    assert traces(settled, SECRET, begun) == [STORED]
    server.release()
    done = create(settled, source=source, wait=120)
    assert done.results["state"] == "published", done
    assert f"/b.bin?{SIGNED}" in {request.target for request in server.requests}
    assert secrets(settled) == {}
    assert traces(settled, SECRET, begun, done) == []


def test_they_are_gone_when_the_load_has_failed(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("b.bin", b"", faults=origin_server.Faults(status=403))
    failed = create(settled, source=f"{source}?{SIGNED}", wait=120)
    assert failed.status == "failed", failed
    assert secrets(settled) == {}
    assert traces(settled, SECRET, failed) == []


def test_they_are_gone_when_the_load_is_cancelled(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = f"{server.put('b.bin', SECOND, faults=HELD)}?{SIGNED}"
    create(settled, source=source, wait=0)
    until(lambda: server.requests)
    done = settled.run("delete-dataset", name="x", wait=120)
    assert done.status == "completed", done
    until(lambda: secrets(settled) == {})
    assert traces(settled, SECRET, done) == []


@pytest.mark.parametrize("observer", ["update-status", "list-datasets", "other leader"])
def test_whoever_observes_the_end_of_a_load_removes_its_secret(
    settled: Stage, server: origin_server.Origin, observer: str
) -> None:
    create(settled, source=f"{server.put('a.bin', FIRST)}?{SIGNED}", wait=0)
    ended(settled)
    assert SECRET in secrets(settled)["dataset-x"]
    if observer == "update-status":
        settled.model.update_status()
    elif observer == "list-datasets":
        assert settled.run("list-datasets").status == "completed"
    else:
        settled.model.set_leader("aws-efs/1")
    assert secrets(settled) == {}
    assert settled.run("show-dataset", name="x").results["state"] == "published"


@pytest.mark.parametrize("call", ["apply", "delete", "patch"])
def test_a_hook_that_is_killed_while_it_tidies_up_leaves_that_to_the_next(
    settled: Stage, server: origin_server.Origin, call: str
) -> None:
    create(settled, source=f"{server.put('a.bin', FIRST)}?{SIGNED}", wait=0)
    ended(settled)
    settled.model.kill_next_hook(after=call)
    settled.model.update_status()
    settled.model.update_status()
    assert secrets(settled) == {}
    assert settled.run("show-dataset", name="x").results["state"] == "published"
    assert traces(settled, SECRET) == []


@pytest.mark.parametrize("part", ["share_files", "save_secret"])
def test_the_secret_of_a_load_that_a_killed_action_did_not_start_is_removed(
    settled: Stage, server: origin_server.Origin, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    done = getattr(job_inputs, part)

    def killed(*arguments: Any) -> None:
        done(*arguments)
        raise hook_process.Killed

    source = f"{server.put('a.bin', FIRST)}?{SIGNED}"
    with monkeypatch.context() as patch:
        patch.setattr(job_inputs, part, killed)
        assert create(settled, source=source).status == "failed"
    assert SECRET in secrets(settled)["dataset-x"]
    settled.model.update_status()
    assert secrets(settled) == {}
    assert create(settled, source=source, wait=120).results["state"] == "published"
    assert secrets(settled) == {}


def test_a_secret_is_there_as_long_as_another_pod_of_the_load_may_need_it(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = f"{server.put('b.bin', SECOND, faults=HELD)}?{SIGNED}"
    create(settled, source=source, wait=0)
    until(lambda: server.requests)
    settled.model.update_status()
    (pod,) = (name for name in objects(settled, core_v1.Pod) if name.startswith("dataset-x"))
    settled.kube.delete(core_v1.Pod, pod, namespace=APPLICATION, grace_period=0)
    server.release()
    assert create(settled, source=source, wait=120).results["state"] == "published"
    assert secrets(settled) == {}


def test_only_the_secret_of_that_job_is_removed(
    settled: Stage, server: origin_server.Origin
) -> None:
    create(settled, source=f"{server.put('a.bin', FIRST)}?{SIGNED}", wait=0)
    ended(settled)
    settled.kube.delete(core_v1.Secret, "dataset-x", namespace=APPLICATION)
    metadata = {"name": "dataset-x", "namespace": APPLICATION}
    settled.kube.create(core_v1.Secret.from_dict({"metadata": metadata, "data": {"a": "YQ=="}}))
    settled.model.update_status()
    assert secrets(settled) == {"dataset-x": "a"}


def test_credentials_are_nowhere_but_in_the_secret_of_a_running_load(settled: Stage) -> None:
    with s3_server.Buckets.start() as s3:
        keys = s3.credentials
        s3.make("private")
        s3.put("private", {"flowers/rose.txt": b"red", "flowers/tulip.txt": b"yellow"})
        where = {"source": "s3://private/flowers/", "endpoint": s3.url}
        content = {"access-key": keys.access_key, "secret-key": keys.secret_key}
        uri = settled.model.add_secret(content)
        refused = create(settled, **where, credentials=uri)
        assert "juju grant-secret" in refused.message
        settled.model.grant_secret(uri, APPLICATION)
        create(settled, **where, credentials=uri, wait=0)
        assert traces(settled, keys.secret_key) == [STORED]
        done = create(settled, **where, credentials=uri, wait=120)
        assert done.results.get("state") == "published", done
        assert done.results["files"] == "2"
        results = [refused, done, settled.run("show-dataset", name="x")]
    assert secrets(settled) == {}
    assert traces(settled, keys.secret_key, *results) == []


# --- lists of signed links


@pytest.mark.parametrize("end", ["killed", "stopped", "published"])
def test_no_signed_link_of_a_list_is_on_the_volume(
    settled: Stage, server: origin_server.Origin, end: str
) -> None:
    server.put("a.bin", FIRST)
    server.put("b.bin", SECOND, faults=HELD)
    asked = {"source_list": put_list(server, "a.bin", "b.bin"), "parallelism": 2}
    begun = create(settled, **asked, wait=0)
    until(lambda: any(each.target.startswith("/b.bin?") for each in server.requests))
    until(lambda: list(settled.volume().rglob("plan")))
    assert traces(settled, SECRET, begun) == []
    if end == "stopped":
        done = settled.run("delete-dataset", name="x", wait=120)
        assert done.status == "completed", done
        server.release()
    else:
        if end == "killed":
            for name in objects(settled, core_v1.Pod):
                if name.startswith("dataset-x"):
                    settled.kube.delete(core_v1.Pod, name, namespace=APPLICATION, grace_period=0)
            assert traces(settled, SECRET, begun) == []
        server.put("b.bin", SECOND)
        server.release()
        done = create(settled, **asked, wait=240)
        assert done.results["state"] == "published", done
        assert (settled.volume() / "datasets/x/b.bin").read_bytes() == SECOND
        ended(settled)
        settled.model.update_status()
    assert secrets(settled) == {}
    assert traces(settled, SECRET, begun, done) == []


def test_links_that_were_signed_again_continue_a_load_whose_links_had_expired(
    settled: Stage, server: origin_server.Origin
) -> None:
    server.put("a.bin", FIRST)
    server.put("b.bin", b"", faults=origin_server.Faults(status=403))
    failed = create(settled, source_list=put_list(server, "a.bin", "b.bin"), wait=120)
    assert "a signed link has expired" in failed.message, failed
    server.put("b.bin", SECOND)
    renewed = put_list(server, "a.bin", "b.bin", secret="renewed")
    done = create(settled, source_list=f"{renewed}?X-Amz-Signature=2", wait=120)
    assert done.results["state"] == "published", done
    assert any("/b.bin?X-Amz-Signature=renewed" in each.target for each in server.requests)


# --- fingerprints


def fingerprints(stage: Stage) -> set[str]:
    jobs = objects(stage, batch_v1.Job)
    return {
        (job.metadata.annotations or {})["aws-efs/fingerprint"]
        for name, job in jobs.items()
        if name.startswith("dataset-")
    }


def test_a_query_that_is_part_of_a_source_is_compared_but_cannot_be_guessed(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("a.bin", FIRST)
    asked = {"source": f"{source}?apikey=0000", "wait": 120}
    assert create(settled, **asked).results["state"] == "published"
    assert create(settled, **asked).results["state"] == "published"
    other = create(settled, source=f"{source}?apikey=0001")
    assert "exists with other parameters" in other.message
    assert traces(settled, "apikey=0000") == []
    first = fingerprints(settled)
    # With another key the same parameters have another fingerprint.
    settled.kube.delete(core_v1.Secret, digest_key.NAME, namespace=APPLICATION)
    assert create(settled, **asked, overwrite=True).results["state"] == "published"
    assert not first & fingerprints(settled)


def test_the_key_is_made_once_and_only_where_it_is_needed(
    settled: Stage, server: origin_server.Origin
) -> None:
    source = server.put("a.bin", FIRST)
    create(settled, source=source, wait=120)
    assert digest_key.NAME not in objects(settled, core_v1.Secret)
    create(settled, "y", source=f"{source}?id=1", wait=120)
    made = objects(settled, core_v1.Secret)[digest_key.NAME]
    assert made.immutable
    settled.model.set_leader("aws-efs/1")
    create(settled, "z", source=f"{source}?id=1", wait=120)
    assert objects(settled, core_v1.Secret)[digest_key.NAME].data == made.data
    key = base64.b64decode((made.data or {})["key"])
    assert len(key) == 32
    assert traces(settled, key.hex()) == []


@pytest.mark.parametrize("ours", [True, False])
def test_a_secret_that_is_not_the_key_is_reported(
    settled: Stage, server: origin_server.Origin, ours: bool
) -> None:
    source = f"{server.put('a.bin', FIRST)}?id=1"
    labels = dict(objects(settled, core_v1.PersistentVolumeClaim)[APPLICATION].metadata.labels)
    content = {"key": "AAAA"} if ours else {"key": base64.b64encode(bytes(32)).decode()}
    metadata = {"name": digest_key.NAME, "namespace": APPLICATION}
    settled.kube.create(
        core_v1.Secret.from_dict(
            {"metadata": {**metadata, "labels": labels if ours else {}}, "data": content}
        )
    )
    refused = create(settled, source=source)
    assert refused.status == "failed"
    reason = "is not the one that we made" if ours else "exists and is not ours"
    assert f"secret aws-efs/{digest_key.NAME} {reason}" in refused.message
    assert "dataset-x" not in objects(settled, batch_v1.Job)


# --- proxies


def proxied(stage: Stage, server: origin_server.Origin) -> Stage:
    """Return a stage whose model has a proxy that needs a password."""
    proxy = server.url.replace("http://", f"http://me:{SECRET}@")
    proxies = {"http": proxy, "https": proxy, "no": "127.0.0.1,.internal"}
    made = Stage(stage.cloud, stage.plane, stage.nodes, proxies=proxies)
    made.settle()
    return made


def test_the_loader_goes_through_the_models_proxy_whose_password_is_in_its_secret_only(
    stage: Stage, server: origin_server.Origin
) -> None:
    with_proxy = proxied(stage, server)
    server.put("iris.csv", b"5.1,3.5")
    begun = create(with_proxy, source="http://data.invalid/iris.csv", wait=0)
    assert traces(with_proxy, SECRET, begun) == [STORED]
    done = create(with_proxy, source="http://data.invalid/iris.csv", wait=120)
    assert done.results["state"] == "published", done
    (request,) = (each for each in server.requests if each.target.startswith("http://data"))
    login = base64.b64encode(f"me:{SECRET}".encode()).decode()
    assert request.headers["proxy-authorization"] == f"Basic {login}"
    for action in ("verify-dataset", "show-dataset"):
        assert with_proxy.run(action, name="x", wait=120).status == "completed"
    assert with_proxy.run("list-datasets", refresh=True, wait=120).status == "completed"
    assert secrets(with_proxy) == {}
    assert traces(with_proxy, SECRET, begun, done) == []
    assert traces(with_proxy, login) == []


def test_the_image_of_a_user_gets_the_proxy_without_its_password(
    stage: Stage, server: origin_server.Origin
) -> None:
    with_proxy = proxied(stage, server)
    done = create(
        with_proxy,
        image="docker.io/library/busybox:1",
        command="sh -c 'env > /data/env; cat /proc/1/environ > /data/process'",
        wait=120,
    )
    assert done.results["state"] == "published", done
    seen = (with_proxy.volume() / "datasets/x/env").read_text().splitlines()
    assert f"http_proxy={server.url}" in seen
    assert f"https_proxy={server.url}" in seen
    assert "no_proxy=127.0.0.1,.internal" in seen
    assert not any(line.startswith("AWS_EFS_DATASET=") for line in seen)
    assert secrets(with_proxy) == {}
    assert traces(with_proxy, SECRET, done) == []


@pytest.mark.parametrize("reader", ["create-dataset", "update-status"])
def test_the_last_words_of_a_custom_loader_are_told_without_its_secrets(
    settled: Stage, reader: str
) -> None:
    token = f"{SECRET}/+"
    uri = settled.model.add_secret({"token": token, "key": f"first\n{SECRET}-key"})
    settled.model.grant_secret(uri, APPLICATION)
    in_url = "$(echo $TOKEN | sed s,/,%2F, | sed s,+,%2B,)"
    script = f'echo "no $TOKEN"; echo "$KEY"; echo "https://a.example/?token={in_url}"; exit 3'
    parameters = {
        "image": "docker.io/library/busybox:1",
        "command": f"sh -c '{script}'",
        "env": f"TOKEN={uri}/token KEY={uri}/key",
    }
    results = [create(settled, **parameters, wait=120 if reader == "create-dataset" else 0)]
    if reader == "update-status":
        ended(settled)
        settled.model.update_status()
    results += [settled.run("show-dataset", name="x"), settled.run("list-datasets")]
    shown = str(results[1].results)
    assert "loader ended with exit code 3: no ***" in shown
    assert secrets(settled) == {}
    found = traces(settled, SECRET, *results)
    # Where the loader itself has written them, and Kubernetes keeps that with the pod.
    assert {each.partition("/dataset-x")[0] for each in found} <= {
        "pods' logs",
        "/registry/pods/aws-efs",
    }
