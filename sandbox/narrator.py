"""The demo's narrator, which prints commands, answers and comments like a terminal session."""

from __future__ import annotations

import time

import rich.console

from sandbox.juju import juju_model
from sandbox.stage import APPLICATION, Stage


class Narrator:
    """A printer of the demo's commands, their results and comments."""

    def __init__(self) -> None:
        self._console = rich.console.Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()

    def comment(self, text: str) -> None:
        """Print a comment."""
        self._console.print(f"[dim]# {text}[/dim]")

    def command(self, line: str) -> None:
        """Print a command of the user."""
        self._console.print(f"\n[bold]$ {line}[/bold]")

    def output(self, text: str) -> None:
        """Print the output of a command."""
        for line in text.splitlines():
            self._console.print(f"  {line}", markup=False)

    def status(self, stage: Stage) -> None:
        """Print the application's line of `juju status`."""
        status = stage.status()
        color = {"active": "green", "blocked": "red"}.get(status.name, "yellow")
        self._console.print(
            f"  [{color}]{APPLICATION}/0*  {status.name}[/{color}]  {status.message}"
        )

    def result(self, result: juju_model.ActionResult) -> None:
        """Print the result of an action as `juju run` does."""
        for line in result.log:
            self.output(line)
        if result.status == "failed":
            self.output(f"failed: {result.message}")
        for key, value in result.results.items():
            if value.splitlines() != list(result.log):
                self.output(f"{key}: {value}")

    def seconds(self) -> float:
        """Return the duration of the demo so far."""
        return time.monotonic() - self._started
