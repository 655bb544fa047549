"""The versions of a data set, and the rollback to one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube.resources import batch_v1

from app.datasets import update_index
from sandbox.juju import hook_process
from sandbox.servers import origin_server
from sandbox.stage import APPLICATION, Stage
from tests.sandbox.test_dataset_actions import (
    create,
    delete_index,
    entries,
    index,
    job_status,
    named,
    published,
    shown,
)
from tests.sandbox.waiting import until

ROSE, TULIP = b"red", b"yellow"


@pytest.fixture
def server() -> Iterator[origin_server.Origin]:
    with origin_server.Origin.start() as running:
        yield running


@pytest.fixture
def settled(stage: Stage) -> Stage:
    stage.settle()
    return stage


def versions(stage: Stage) -> list[list[str]]:
    """Return the rows of list-versions, without its head."""
    done = stage.run("list-versions", name="flowers", wait=120)
    assert done.status == "completed", done
    head, *rows = [re.split(r"  +", line) for line in done.results["versions"].splitlines()]
    assert head == ["version", "state", "published", "files", "bytes", "verified", "source"]
    assert done.results["count"] == str(len(rows))
    return rows


def test_the_versions_are_those_on_the_volume_whatever_the_index_says(
    settled: Stage, server: origin_server.Origin
) -> None:
    none = settled.run("list-versions", name="flowers", wait=120)
    assert none.status == "failed"
    assert none.message.startswith("data set flowers: no version of it is published: run list-")
    rose, tulip = server.put("rose.txt", ROSE), server.put("tulip.txt", TULIP)
    published(settled, "flowers", rose)
    old = shown(settled, "flowers")
    published(settled, "flowers", tulip, overwrite=True)
    assert settled.run("verify-dataset", name="flowers").results["state"] == "verified"
    new = shown(settled, "flowers")
    delete_index(settled, "flowers")
    first, second = versions(settled)
    assert first[:2] == [new["version"], "published"]
    assert first[3:5] + first[6:] == ["1", "6", tulip]
    assert second[:2] == [old["version"], "kept"]
    assert second[3:] == ["1", "3", "never", rose]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}Z", first[5])
    assert not {name for name in named(settled, batch_v1.Job) if name.startswith("versions")}


def roll_back(stage: Stage, *, wait: int = 120, **params: Any) -> Any:
    return stage.run("rollback", name="flowers", wait=wait, **params)


def publish_both(stage: Stage, server: origin_server.Origin) -> tuple[list[str], list[str]]:
    """Publish a rose, and a tulip in its place; return their sources and their versions."""
    sources = [server.put("rose.txt", ROSE), server.put("tulip.txt", TULIP)]
    known: list[str] = []
    for source in sources:
        published(stage, "flowers", source, overwrite=bool(known))
        known.append(shown(stage, "flowers")["version"])
    return sources, known


def test_a_rollback_is_seen_by_readers_and_by_all_actions(
    settled: Stage, server: origin_server.Origin
) -> None:
    (rose, tulip), (old, new) = publish_both(settled, server)
    requests = len(server.requests)

    back = roll_back(settled).results

    assert (back["state"], back["version"], back["replaced"]) == ("published", old, new)
    assert (back["files"], back["bytes"], back["source"]) == ("1", "3", rose)
    assert f"rollback version={new} returns" in back["next"]
    assert (settled.volume() / "datasets/flowers/rose.txt").read_bytes() == ROSE
    details = shown(settled, "flowers")
    assert (details["state"], details["version"], details["source"]) == ("published", old, rose)
    assert [row[:2] for row in versions(settled)] == [[old, "published"], [new, "kept"]]
    assert settled.run("verify-dataset", name="flowers").results["state"] == "verified"
    assert published(settled, "flowers", rose)["bytes"] == "3"
    assert "with other parameters" in create(settled, "flowers", tulip).message
    # Without its record, neither a Job nor the volume tells anything else.
    delete_index(settled, "flowers")
    assert shown(settled, "flowers")["version"] == old
    again = roll_back(settled)
    assert again.message == (
        f"data set flowers: no version before {old} is on the volume: set version={new} for the "
        "newer one"
    )
    assert roll_back(settled, version=new).results["version"] == new
    assert (settled.volume() / "datasets/flowers/tulip.txt").read_bytes() == TULIP
    assert len(server.requests) == requests, "nothing was fetched again"
    assert settled.run("delete-dataset", name="flowers").results["state"] == "deleted"
    assert entries(settled) == []


def test_a_rollback_that_nobody_waited_for_is_in_the_index_and_reported_once(
    settled: Stage, server: origin_server.Origin
) -> None:
    (rose, tulip), (old, new) = publish_both(settled, server)
    begun = roll_back(settled, wait=0).results
    assert begun["state"] in {"queued", "rolling back"}
    assert "run rollback again" in begun["next"]
    until(lambda: job_status(settled, "rollback-flowers").succeeded)
    settled.model.update_status()
    assert index(settled)["dataset-flowers"]["version"] == old
    assert roll_back(settled).results["replaced"] == new
    assert "no version before" in roll_back(settled).message
    # What was overwritten since is what the next one goes back to.
    published(settled, "flowers", tulip, overwrite=True)
    assert roll_back(settled).results["version"] == old
    assert published(settled, "flowers", rose)["bytes"] == "3"


def test_nothing_else_changes_a_data_set_while_it_is_rolled_back(
    settled: Stage, server: origin_server.Origin
) -> None:
    (rose, _), (old, new) = publish_both(settled, server)
    settled.model.config(APPLICATION, {"loader-image": "docker.io/missing/missing:1"})
    assert "is stuck: there is no such image" in roll_back(settled).message
    for refused in (
        create(settled, "flowers", rose, overwrite=True),
        settled.run("verify-dataset", name="flowers"),
    ):
        assert refused.message == (
            "data set flowers is being rolled back: run rollback, then this action again"
        )
    assert shown(settled, "flowers")["version"] == new
    settled.model.reset(APPLICATION, "loader-image")
    assert roll_back(settled).results["version"] == old


def test_a_data_set_is_not_rolled_back_while_it_is_loaded(
    settled: Stage, server: origin_server.Origin
) -> None:
    _, (_, new) = publish_both(settled, server)
    held = origin_server.Faults(hold_after=1, ranges=False)
    source = server.put("lily.txt", ROSE, faults=held)
    create(settled, "flowers", source, overwrite=True, wait=0)
    refused = roll_back(settled)
    assert refused.message == (
        "data set flowers is being loaded: wait for its end, then run rollback again"
    )
    server.release()
    published(settled, "flowers", source, overwrite=True)
    assert roll_back(settled).results["version"] == new


@pytest.mark.parametrize("part", ["save_rollback", "_after_rollback"])
def test_a_hook_killed_after_a_rollback_leaves_its_result_to_the_next_one(
    settled: Stage, server: origin_server.Origin, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def killed(*_: object) -> None:
        raise hook_process.Killed

    _, (old, new) = publish_both(settled, server)
    with monkeypatch.context() as patch:
        patch.setattr(update_index, part, killed)
        assert roll_back(settled).status == "failed"
    assert shown(settled, "flowers")["version"] == old
    assert roll_back(settled).results["replaced"] == new
