"""Run a hook as the process that Juju's agent starts, with tools that answer what they are given.

In a juju_model, hooks run in this process on ops-scenario. Here nothing is shared with the
sandbox: what a hook imports and costs is what it imports and costs on a machine.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.base import scratch
from sandbox.juju import charm_files

_TOOLS_WITHOUT_ANSWER = ("juju-log", "status-set", "relation-set")
_FILES = ("metadata.yaml", "config.yaml", "actions.yaml")


@dataclasses.dataclass(frozen=True)
class UnitState:
    """What the tools of a unit answer.

    Attributes:
        leader: Whether the unit leads.
        databags: The content of each databag by endpoint and by the unit or application that
            wrote it; each endpoint has one relation.
    """

    leader: bool
    databags: Mapping[str, Mapping[str, Mapping[str, str]]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, Mapping[str, str]]]
    )


class AgentProcess:
    """The machine of one unit: the charm's directory, and the tools.

    Args:
        charm: The charm's source directory.
        state: What the tools answer.
        unit: The unit's name.

    Attributes:
        tools: The directory of Juju's tools.
    """

    def __init__(self, charm: pathlib.Path, state: UnitState, *, unit: str = "aws-efs/0") -> None:
        self._scratch = scratch.ScratchDirectory()
        self._unit = unit
        self._directory = self._scratch.path / "charm"
        self._calls = self._scratch.path / "calls"
        self.tools = self._scratch.path / "tools"
        self._directory.mkdir()
        self.tools.mkdir()
        for name in _FILES:
            shutil.copy(charm / name, self._directory)
        defaults = {
            name: option["default"]
            for name, option in charm_files.Metadata.read(charm).options.items()
        }
        for tool, answers in _answers(state, unit, defaults).items():
            self._add_tool(tool, _script(answers))
        # The user does not trust the application.
        self._add_tool("credential-get", "echo ERROR permission denied >&2; exit 1")

    @property
    def calls(self) -> list[str]:
        """Return the tools that have run, each with its arguments."""
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def close(self) -> None:
        """Remove the machine."""
        self._scratch.close()

    def run(
        self, event: str, command: Sequence[str | os.PathLike[str]], **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program with the environment of a hook, and return its end.

        Args:
            event: The hook's name.
            command: The program.
            environ: More of the environment.
        """
        return subprocess.run(  # noqa: S603 - the caller's program
            command,
            env={
                "PATH": f"{self.tools}:/usr/bin:/bin",
                "JUJU_CHARM_DIR": str(self._directory),
                "JUJU_DISPATCH_PATH": f"hooks/{event}",
                "JUJU_MODEL_NAME": "sandbox",
                "JUJU_MODEL_UUID": "6f4bf1dd-0000-4000-8000-000000000000",
                "JUJU_UNIT_NAME": self._unit,
                "JUJU_VERSION": "3.6.14",
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def _add_tool(self, name: str, answer: str) -> None:
        path = self.tools / name
        call = f"printf '%s\\n' \"{name} $*\" >> {shlex.quote(str(self._calls))}"
        path.write_text(f"#!/bin/sh\n{call}\n{answer}\n")
        path.chmod(0o755)


def _answers(state: UnitState, unit: str, options: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the tools' answers in JSON, by a pattern of the arguments."""
    ids: dict[str, str] = {}
    members: dict[str, str] = {}
    bags: dict[str, str] = {}
    for number, (endpoint, written) in enumerate(state.databags.items(), 1):
        ids[f"*{endpoint}*"] = json.dumps([f"{endpoint}:{number}"])
        others = [each for each in written if "/" in each and each != unit]
        members[f"*{endpoint}:{number}*"] = json.dumps(others)
        for writer, bag in written.items():
            bags[f"*{endpoint}:{number}*\\ {writer}"] = json.dumps(dict(bag))
    status: dict[str, object] = {"message": "", "status": "unknown", "status-data": {}}
    return {
        **{tool: {"*": ""} for tool in _TOOLS_WITHOUT_ANSWER},
        "config-get": {"*": json.dumps(options)},
        "is-leader": {"*": json.dumps(state.leader)},
        "relation-get": {**bags, "*": "{}"},
        "relation-ids": {**ids, "*": "[]"},
        "relation-list": {**members, "*": "[]"},
        "status-get": {"*": json.dumps(status)},
    }


def _script(answers: Mapping[str, str]) -> str:
    """Return the lines of a tool that takes next to no time."""
    cases = [f"  {pattern}) printf %s {shlex.quote(text)};;" for pattern, text in answers.items()]
    return "\n".join(['case "$*" in', *cases, "esac"])
