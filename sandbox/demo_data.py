"""The part of the story that is about data sets: one of ImageNet's shape, by three pods."""

from __future__ import annotations

import contextlib
import io
import random
import tarfile
import time
from collections.abc import Generator
from typing import Any, Protocol

from sandbox.juju import juju_model
from sandbox.servers import origin_server
from sandbox.stage import Stage

CLASSES, FILES_PER_CLASS, FILE_BYTES = 24, 30, 120_000
PODS = 3
# What an origin far away gives a connection.
BYTES_PER_SECOND = 1_000_000
SHOWN_EVERY_SECONDS = 3.0
MOST_SHOWN = 20


class Narrator(Protocol):
    """Who tells the story."""

    def say(self, text: str) -> None:
        """Tell what is going on."""
        ...

    def command(self, line: str) -> None:
        """Show a command that the user types."""
        ...

    def answer(self, text: str) -> None:
        """Show what it answers."""
        ...

    def result(self, result: juju_model.ActionResult) -> None:
        """Show what `juju run` prints of an action."""
        ...


def seed(tell: Narrator, stage: Stage) -> None:
    """Load a data set by several pods, look at it meanwhile, and prove it."""
    with _served() as source:
        tell.say(
            f"An archive of {CLASSES} archives, {CLASSES * FILES_PER_CLASS} files, from an origin "
            f"that gives {BYTES_PER_SECOND / 1e6:g} MB/s a connection."
        )
        _act(
            tell,
            stage,
            "create-dataset",
            name="flowers",
            source=source,
            unpack="recursive",
            parallelism=PODS,
            wait=2,
        )
        for _ in range(MOST_SHOWN):
            shown = _act(tell, stage, "show-dataset", name="flowers")
            if shown.results["state"] not in {"queued", "preparing", "transferring", "verifying"}:
                break
            time.sleep(SHOWN_EVERY_SECONDS)
        _act(tell, stage, "list-datasets")
        _act(tell, stage, "verify-dataset", name="flowers")
    tell.say("what a pod finds at datasets/flowers:")
    published = stage.volume() / "datasets" / "flowers"
    found = sorted(path for path in published.rglob("*") if path.is_file())
    tell.answer(f"{len(found)} files, the first of them {found[0].relative_to(published)}")


def _act(
    tell: Narrator, stage: Stage, action: str, **parameters: str | int
) -> juju_model.ActionResult:
    words = " ".join(f"{key}={value}" for key, value in parameters.items())
    tell.command(f"juju run aws-efs/leader {action} {words}".rstrip())
    named: dict[str, Any] = parameters
    result: juju_model.ActionResult = stage.run(action, **named)
    tell.result(result)
    return result


@contextlib.contextmanager
def _served() -> Generator[str]:
    """The archive's URL."""
    with origin_server.Origin.start() as server:
        faults = origin_server.Faults(bytes_per_second=BYTES_PER_SECOND)
        yield server.put("flowers.tar", _archive(), faults=faults)


def _archive() -> bytes:
    """A tar archive of tar archives, each of one class's files."""
    chance = random.Random(1)  # noqa: S311 - data, no secret
    inner = {
        f"class-{number:02}.tar": _tar(
            {f"{file:03}.jpg": chance.randbytes(FILE_BYTES) for file in range(FILES_PER_CLASS)}
        )
        for number in range(CLASSES)
    }
    return _tar(inner)


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
