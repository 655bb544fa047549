"""The index: of one file system, and whatever somebody writes in its records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from lightkube.resources import batch_v1, core_v1

from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage

ROSE = b"red"


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def source(server: origin_server.Origin) -> str:
    return server.put("rose.txt", ROSE)


@pytest.fixture
def loaded(stage: Stage, source: str) -> Stage:
    """Return a stage on which data set flowers is published."""
    stage.settle()
    publish(stage, source)
    return stage


def publish(stage: Stage, source: str) -> dict[str, str]:
    done = stage.run("create-dataset", name="flowers", source=source)
    assert done.status == "completed", done
    assert done.results["state"] == "published", done
    return done.results


def record(stage: Stage, name: str = "flowers") -> dict[str, Any]:
    found = stage.kube.get(core_v1.ConfigMap, f"dataset-{name}", namespace=APPLICATION)
    return json.loads((found.data or {})["record"])


def write(stage: Stage, content: str, name: str = "flowers") -> None:
    body = {"data": {"record": content}}
    stage.kube.patch(core_v1.ConfigMap, f"dataset-{name}", body, namespace=APPLICATION)


def delete_job(stage: Stage) -> None:
    stage.kube.delete(batch_v1.Job, "dataset-flowers", namespace=APPLICATION)


def file(stage: Stage) -> Any:
    return stage.volume() / "datasets/flowers/rose.txt"


def lose_file_system(stage: Stage) -> str:
    """Delete the file system with its mount targets, as somebody with AWS's own tools does."""
    keys = stage.cloud.administrator
    efs: Any = botocore.session.Session().create_client(
        "efs",
        region_name=stage.cloud.region,
        endpoint_url=stage.cloud.endpoint_url,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
    )
    (lost,) = stage.cloud.file_systems()
    for target in stage.cloud.mount_targets(lost.id):
        efs.delete_mount_target(MountTargetId=target.id)
    stage.cloud.skip(600)
    efs.delete_file_system(FileSystemId=lost.id)
    stage.cloud.skip(600)
    efs.close()
    return lost.id


# --- another file system


def test_after_a_lost_file_system_its_data_sets_are_loaded_again(
    loaded: Stage, server: origin_server.Origin, source: str
) -> None:
    lost = lose_file_system(loaded)
    loaded.model.update_status()
    assert "gone from AWS" in loaded.status().message
    assert loaded.run("setup").status == "completed"
    assert loaded.status().name == "active", loaded.status()
    assert record(loaded)["file_system"] == lost
    listed = loaded.run("list-datasets")
    assert listed.results["count"] == "0", listed
    requests = len(server.requests)
    publish(loaded, source)
    assert len(server.requests) > requests
    assert file(loaded).read_bytes() == ROSE
    assert record(loaded)["file_system"] == loaded.cloud.file_systems()[0].id


def test_before_anything_else_is_done_create_dataset_loads_what_the_new_one_has_not(
    loaded: Stage, server: origin_server.Origin, source: str
) -> None:
    lose_file_system(loaded)
    assert loaded.run("setup").status == "completed"
    requests = len(server.requests)
    publish(loaded, source)
    assert len(server.requests) > requests
    assert file(loaded).read_bytes() == ROSE


def test_after_a_forced_teardown_the_records_that_stayed_are_not_believed(
    loaded: Stage, server: origin_server.Origin, source: str
) -> None:
    (only,) = loaded.cloud.file_systems()
    loaded.model.remove_relation("aws-efs:kube-control", "kubernetes-control-plane")
    done = loaded.run("teardown", confirm=only.id, force=True)
    assert done.status == "completed", done
    assert record(loaded)["state"] == "published"
    assert loaded.run("setup").status == "completed"
    loaded.model.relate("aws-efs:kube-control", "kubernetes-control-plane")
    assert loaded.status().name == "active", loaded.status()
    requests = len(server.requests)
    publish(loaded, source)
    assert len(server.requests) > requests
    assert file(loaded).read_bytes() == ROSE


def test_what_is_of_another_file_system_is_neither_verified_nor_deleted_nor_lost(
    loaded: Stage,
) -> None:
    lose_file_system(loaded)
    assert loaded.run("setup").status == "completed"
    for action in ("show-dataset", "verify-dataset", "delete-dataset"):
        refused = loaded.run(action, name="flowers")
        assert refused.status == "failed", (action, refused)
        assert "there is no data set flowers" in refused.message, (action, refused)


def test_the_job_of_another_file_system_is_not_believed(
    loaded: Stage, server: origin_server.Origin, source: str
) -> None:
    body = {"metadata": {"annotations": {"aws-efs/file-system": "fs-00000000000000000"}}}
    loaded.kube.patch(batch_v1.Job, "dataset-flowers", body, namespace=APPLICATION)
    loaded.kube.delete(core_v1.ConfigMap, "dataset-flowers", namespace=APPLICATION)
    loaded.model.update_status()
    assert loaded.status().name == "active"
    assert loaded.run("list-datasets").results["count"] == "1"
    file(loaded).unlink()
    (loaded.volume() / "datasets/flowers").unlink()
    loaded.kube.delete(core_v1.ConfigMap, "dataset-flowers", namespace=APPLICATION)
    publish(loaded, source)
    assert file(loaded).read_bytes() == ROSE


def test_a_record_that_names_no_file_system_is_made_again_from_the_volume(
    loaded: Stage, server: origin_server.Origin, source: str
) -> None:
    fields = record(loaded)
    del fields["file_system"]
    delete_job(loaded)
    write(loaded, json.dumps(fields))
    requests = len(server.requests)
    listed = loaded.run("list-datasets")
    assert listed.results["records-not-used"].startswith(
        "the record of data set flowers is of no known file system, not of fs-"
    )
    assert record(loaded)["file_system"] == loaded.cloud.file_systems()[0].id
    publish(loaded, source)
    assert len(server.requests) == requests


# --- malformed records

MALFORMED = {
    "nothing": "",
    "no JSON": "{'state': published}",
    "no object": '["published"]',
    "deep": "[" * 100_000,
    "another state": '{"state": "gone"}',
    "text for a number": '{"state": "published", "bytes": "3"}',
    "a number for text": '{"state": "published", "source": 7}',
    "no number": '{"state": "published", "created": NaN}',
    "a time without end": '{"state": "published", "published": 1e300}',
    "a negative size": '{"state": "published", "bytes": -1}',
    "large": json.dumps({"state": "published", "error": "x" * 300_000}),
}


def test_a_malformed_record_is_reported_and_made_again_from_the_volume(loaded: Stage) -> None:
    before = record(loaded)
    delete_job(loaded)
    for kind, content in MALFORMED.items():
        write(loaded, content)
        loaded.model.update_status()
        assert loaded.status().name == "active", kind
        listed = loaded.run("list-datasets")
        assert listed.status == "completed", (kind, listed)
        assert listed.results["count"] == "1", kind
        reported = listed.results["records-not-used"]
        assert reported.startswith("the record of data set flowers "), kind
        after = record(loaded)
        assert (after["version"], after["bytes"]) == (before["version"], before["bytes"]), kind
    assert "records-not-used" not in loaded.run("list-datasets").results


def test_an_action_on_a_data_set_with_a_malformed_record_goes_on(loaded: Stage) -> None:
    delete_job(loaded)
    for action in ("show-dataset", "verify-dataset", "delete-dataset"):
        write(loaded, '{"bytes": []}')
        done = loaded.run(action, name="flowers")
        assert done.status == "completed", (action, done)


def test_create_dataset_with_a_malformed_record_reports_what_is_published(
    loaded: Stage, server: origin_server.Origin, source: str
) -> None:
    delete_job(loaded)
    write(loaded, "{}{}")
    publish(loaded, source)
    assert file(loaded).read_bytes() == ROSE
    assert record(loaded)["state"] == "published"


def test_a_malformed_record_holds_neither_the_result_of_a_load_nor_a_teardown(
    loaded: Stage,
) -> None:
    labels = {"labels": {"aws-efs/noted": None}}
    loaded.kube.patch(batch_v1.Job, "dataset-flowers", {"metadata": labels}, namespace=APPLICATION)
    write(loaded, '{"state": 1}')
    loaded.model.update_status()
    assert loaded.status().name == "active"
    assert record(loaded)["state"] == "published"
    write(loaded, '{"state": 1}')
    (only,) = loaded.cloud.file_systems()
    refused = loaded.run("teardown")
    assert "nothing was deleted" in refused.message
    assert loaded.run("teardown", confirm=only.id).status == "completed"


def test_a_record_that_somebody_made_immutable_is_replaced(loaded: Stage) -> None:
    labels = {"labels": {"aws-efs/noted": None}}
    loaded.kube.patch(batch_v1.Job, "dataset-flowers", {"metadata": labels}, namespace=APPLICATION)
    body = {"immutable": True, "data": {"record": '{"state": 1}'}}
    loaded.kube.patch(core_v1.ConfigMap, "dataset-flowers", body, namespace=APPLICATION)
    loaded.model.update_status()
    assert loaded.status().name == "active", loaded.status()
    assert record(loaded)["state"] == "published"


def test_a_config_map_that_is_no_record_of_ours_is_told_and_stays(loaded: Stage) -> None:
    found = loaded.kube.get(core_v1.ConfigMap, "dataset-flowers", namespace=APPLICATION)
    assert found.metadata
    for name in ("dataset-two.words", "copy-of-flowers"):
        body = {
            "metadata": {
                "name": name,
                "namespace": APPLICATION,
                "labels": found.metadata.labels,
            },
            "data": {"record": json.dumps({**record(loaded), "version": "forged"})},
        }
        loaded.kube.create(core_v1.ConfigMap.from_dict(body))
    listed = loaded.run("list-datasets")
    assert listed.results["count"] == "1"
    assert listed.results["records-not-used"].startswith(
        "the record of data set two.words has a name that no data set can have"
    )
    for name in ("dataset-two.words", "copy-of-flowers"):
        assert loaded.kube.get(core_v1.ConfigMap, name, namespace=APPLICATION)
