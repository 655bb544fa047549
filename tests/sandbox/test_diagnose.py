"""Diagnose: one text for a bug report, whatever cannot be reached."""

from __future__ import annotations

from sandbox.stage import APPLICATION, Stage


def diagnosed(stage: Stage) -> str:
    done = stage.run("diagnose")
    assert done.status == "completed", done
    return done.results["report"]


def test_the_report_has_all_parts_and_no_secret(stage: Stage) -> None:
    stage.settle()
    (made,) = stage.cloud.file_systems()
    text = diagnosed(stage)
    assert f"own file system {made.id} available" in text
    for target in stage.cloud.mount_targets():
        assert f"mount target {target.id} " in text
    for part in ("capacity: 100Gi", "zone us-east-1a", f"claim default/{APPLICATION} Bound"):
        assert part in text
    assert "\njobs:\n" in text
    assert stage.cloud.credentials.secret_key not in text
    assert stage.plane.admin_token not in text

    stage.model.config(APPLICATION, {"credentials": "hunter2", "capacity": "much"})
    stage.cloud.reset_calls()
    text = diagnosed(stage)
    assert "hunter2" not in text
    assert "capacity: much" in text
    assert "AWS:\n  cannot be seen: " in text
    assert f"claim default/{APPLICATION} Bound" in text
    assert stage.writes() == []


def test_a_part_that_cannot_be_reached_says_why(stage: Stage) -> None:
    stage.deploy()
    stage.cloud.deny("DescribeFileSystems")
    text = diagnosed(stage)
    assert "cannot be seen: AWS denies elasticfilesystem:DescribeFileSystems" in text
    assert "cluster:\n  cannot be seen: juju relate" in text
