"""Keep a sandbox with the charm running, with a prompt for Juju commands."""

from __future__ import annotations

import pathlib
import shlex
import sys
import tempfile
from collections.abc import Callable

from sandbox.aws import aws_cloud
from sandbox.juju import juju_model
from sandbox.kubernetes import control_plane, program_build
from sandbox.node import worker_nodes
from sandbox.stage import APPLICATION, Stage

_HELP = """\
  status                        juju status
  config KEY=VALUE ...          juju config aws-efs
  run ACTION [KEY=VALUE ...]    juju run aws-efs/leader
  relate ONE OTHER              juju relate
  update                        run update-status on all units
  nfs                           install nfs-common on all workers
  log                           the last lines of juju debug-log
  quit                          stop everything"""


def run() -> None:
    """Start everything, print how to use it, and run the user's commands until `quit`."""
    program_build.ensure(_print)
    _print("Starting AWS, Kubernetes, three workers and the charm ...")
    with (
        tempfile.TemporaryDirectory(prefix="aws-efs-serve-") as directory,
        control_plane.ControlPlane.start() as plane,
        aws_cloud.Cloud.start(aws_cloud.Latencies.real().scaled(0.1)) as cloud,
        worker_nodes.Nodes.start(plane, cloud) as nodes,
    ):
        stage = Stage(cloud, plane, nodes)
        stage.settle()
        config = plane.kubeconfig(pathlib.Path(directory) / "kubeconfig")
        keys = cloud.administrator
        _print(f"Kubernetes:  {plane.endpoint}")
        _print(f"  export KUBECONFIG={config}")
        _print(f"AWS:         {cloud.endpoint_url}")
        _print(f"  export AWS_ENDPOINT_URL={cloud.endpoint_url} AWS_REGION={cloud.region}")
        _print(f"  export AWS_ACCESS_KEY_ID={keys.access_key}")
        _print(f"  export AWS_SECRET_ACCESS_KEY={keys.secret_key}")
        _print("Juju commands at this prompt:")
        _print(_HELP)
        _status(stage, [])
        _prompt(stage)


def _prompt(stage: Stage) -> None:
    commands: dict[str, Callable[[Stage, list[str]], None]] = {
        "status": _status,
        "config": _config,
        "run": _run,
        "relate": lambda stage, words: stage.model.relate(*words),
        "update": lambda stage, _: stage.model.update_status(),
        "nfs": lambda stage, _: stage.install_nfs_common(),
        "log": _log,
    }
    while True:
        sys.stdout.write("juju> ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        try:
            words = shlex.split(line)
        except ValueError as error:
            _print(str(error))
            continue
        if not line or words == ["quit"]:
            return
        if not words:
            continue
        if words[0] not in commands:
            _print(_HELP)
            continue
        try:
            commands[words[0]](stage, words[1:])
        except (juju_model.JujuError, TypeError, ValueError) as error:
            _print(f"ERROR {error}")
        if words[0] in ("config", "relate", "update"):
            _status(stage, [])


def _status(stage: Stage, _words: list[str]) -> None:
    status = stage.status()
    _print(f"{APPLICATION}/0*  {status.name}  {status.message}")


def _config(stage: Stage, words: list[str]) -> None:
    stage.model.config(APPLICATION, _pairs(words))


def _run(stage: Stage, words: list[str]) -> None:
    if not words:
        raise ValueError("name an action: run ACTION [KEY=VALUE ...]")
    result = stage.model.run(f"{APPLICATION}/leader", words[0], _typed(_pairs(words[1:])))
    for line in result.log:
        _print(line)
    _print(f"{result.status} {result.message}".rstrip())
    for key, value in result.results.items():
        _print(f"{key}: {value}")


def _log(stage: Stage, _words: list[str]) -> None:
    for line in stage.model.log[-30:]:
        _print(f"unit-{line.unit}: {line.level} {line.message}")


def _pairs(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)


def _typed(params: dict[str, str]) -> dict[str, str | bool | int]:
    """Convert parameters as the juju command does: true, false and integers."""
    special = {"true": True, "false": False}
    return {
        key: special.get(value, int(value) if value.isdigit() else value)
        for key, value in params.items()
    }


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
