"""How many of Juju's tools a hook and an action run; each is a process on the unit's machine."""

from __future__ import annotations

from sandbox.juju import juju_model
from sandbox.stage import APPLICATION, Stage

# ops itself writes four lines in an install, two in any other hook.
MOST_JUJU_LOGS = 10


def juju_logs(stage: Stage) -> dict[str, int]:
    """Return the largest number of juju-log runs of each hook and action of the charm."""
    most: dict[str, int] = {}
    for hook in stage.model.hooks:
        if hook.unit.startswith(f"{APPLICATION}/"):
            most[hook.name] = max(most.get(hook.name, 0), hook.tools.get("juju-log", 0))
    return most


def test_no_hook_and_no_action_runs_juju_log_more_than_ten_times(stage: Stage) -> None:
    names = ["default", *(f"team-{number}" for number in range(5))]
    for name in names[1:]:
        stage.create_namespace(name)
    stage.settle(units=2, config={"namespaces": " ".join(names)})
    stage.model.relate(f"{APPLICATION}:workers", "kubernetes-worker")
    stage.install_nfs_common()
    stage.model.update_status(APPLICATION)
    assert stage.status().name == "active", stage.status()
    # Many objects go at once, and a status is one of many problems.
    stage.model.config(APPLICATION, {"namespaces": "default none-1 none-2 none-3"})
    (file_system,) = stage.cloud.file_systems()
    done = stage.run("teardown", confirm=file_system.id)
    assert done.status == "completed", done.message
    assert stage.run("setup").status == "completed"
    counted = juju_logs(stage)
    assert {"install", "kube-control-relation-changed", "teardown", "setup"} <= set(counted)
    assert {name: runs for name, runs in counted.items() if runs > MOST_JUJU_LOGS} == {}


def test_the_log_of_a_hook_tells_of_each_change(stage: Stage) -> None:
    stage.settle()
    (file_system,) = stage.cloud.file_systems()
    lines = "\n".join(line.message for line in stage.model.log).splitlines()
    assert f"created file system {file_system.id}" in lines
    assert len([line for line in lines if line.startswith("created mount target ")]) == 3
    assert {line.level for line in stage.model.log} <= {"DEBUG", "INFO", "WARNING"}


def test_the_log_of_a_killed_hook_has_the_change_that_it_began_with(stage: Stage) -> None:
    stage.model.kill_next_hook(after="CreateSecurityGroup")
    stage.settle()
    (file_system,) = stage.cloud.file_systems()
    assert (
        juju_model.LogLine(f"{APPLICATION}/0", "INFO", f"created file system {file_system.id}")
        in stage.model.log
    )
