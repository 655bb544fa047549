"""The demo's part on data sets: an archive of archives, like ImageNet's, loaded by three pods."""

from __future__ import annotations

import contextlib
import io
import random
import tarfile
import time
from collections.abc import Generator
from typing import Any

from sandbox import narrator
from sandbox.juju import juju_model
from sandbox.servers import origin_server
from sandbox.stage import Stage

CLASSES, FILES_PER_CLASS, FILE_BYTES = 24, 30, 120_000
PODS = 3
# The speed of a connection to a remote origin.
BYTES_PER_SECOND = 1_000_000
SHOWN_EVERY_SECONDS = 3.0
MAX_SHOWN = 20


def load(out: narrator.Narrator, stage: Stage) -> None:
    """Load a data set with several pods, show its progress, and verify it."""
    with _origin() as source:
        out.comment(
            f"A tar of {CLASSES} tars with {CLASSES * FILES_PER_CLASS} files, from an origin that "
            f"serves {BYTES_PER_SECOND / 1e6:g} MB/s per connection."
        )
        _run(
            out,
            stage,
            "create-dataset",
            name="flowers",
            source=source,
            unpack="recursive",
            parallelism=PODS,
            wait=2,
        )
        for _ in range(MAX_SHOWN):
            shown = _run(out, stage, "show-dataset", name="flowers")
            if shown.results["state"] not in {"queued", "preparing", "transferring", "verifying"}:
                break
            time.sleep(SHOWN_EVERY_SECONDS)
        _run(out, stage, "list-datasets")
        _run(out, stage, "verify-dataset", name="flowers")
    out.comment("On the volume, at datasets/flowers:")
    published = stage.volume() / "datasets" / "flowers"
    files = sorted(path for path in published.rglob("*") if path.is_file())
    out.output(f"{len(files)} files, the first is {files[0].relative_to(published)}")


def _run(
    out: narrator.Narrator, stage: Stage, action: str, **parameters: str | int
) -> juju_model.ActionResult:
    words = " ".join(f"{key}={value}" for key, value in parameters.items())
    out.command(f"juju run aws-efs/leader {action} {words}".rstrip())
    untyped: dict[str, Any] = parameters
    result: juju_model.ActionResult = stage.run(action, **untyped)
    out.result(result)
    return result


@contextlib.contextmanager
def _origin() -> Generator[str]:
    """Serve the archive, and yield its URL."""
    with origin_server.Origin.start() as server:
        faults = origin_server.Faults(bytes_per_second=BYTES_PER_SECOND)
        yield server.put("flowers.tar", _archive(), faults=faults)


def _archive() -> bytes:
    """Return a tar archive with one tar archive per class."""
    generator = random.Random(1)  # noqa: S311 - data, no secret
    inner = {
        f"class-{number:02}.tar": _tar(
            {f"{file:03}.jpg": generator.randbytes(FILE_BYTES) for file in range(FILES_PER_CLASS)}
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
