"""A data set that a loader of the user's own brings: its directory, then what it left there.

The user's container runs between the two, and sees nothing of the volume but this directory.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import stat
from collections.abc import Iterator

from . import failure, report, spec, tree, volume

# Any user may write there: which one the user's image runs as is its own affair.
OPEN_MODE = 0o777
FORM = "directory"


def prepare(task: spec.Spec, slot: volume.Slot) -> None:
    """Makes the directory, empty: what an earlier attempt left there is not to be trusted."""
    place = slot.given(task.version)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(place)
    files = place / volume.FILES
    files.mkdir(parents=True)
    files.chmod(OPEN_MODE)


def publish(task: spec.Spec, slot: volume.Slot, told: report.Report) -> spec.Result:
    """Verifies, counts and publishes what was left in the directory.

    Args:
        task: What was to be loaded.
        slot: Its place, locked.
        told: Is told how far it is.

    Raises:
        Failure: Nothing was left, or something that a data set may not hold; then nothing was
            published.
    """
    place = slot.given(task.version)
    files = place / volume.FILES
    current = slot.current()
    if current and current.result and current.version == task.version:
        return current.result
    told.state("verifying")
    count = total = 0
    for path in _paths(files):
        size = _accept(files, path)
        if size is not None:
            count, total = count + 1, total + size
        if count > task.limits.most_entries or total > task.limits.most_bytes:
            raise failure.Failure("your loader left more than a data set may hold: split it")
        told.progress("verifying", files=count, bytes=total)
    if not count:
        raise failure.Failure("your loader left no files in /data: have it write them there")
    result = spec.Result(
        files=count,
        bytes=total,
        seconds=told.seconds,
        path=f"/{volume.DATASETS}/{task.name}",
        version=task.version,
        checksum="",
        fetched=0,
        form=FORM,
    )
    previous = current.version if current else ""
    slot.publish(place, files, volume.Record(task.version, task.fingerprint, previous, result))
    return result


def _paths(root: pathlib.Path) -> Iterator[pathlib.Path]:
    yield root
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names):
            yield pathlib.Path(directory, name)


def _accept(root: pathlib.Path, path: pathlib.Path) -> int | None:
    """Makes it readable for all and writable for its owner alone; the size of a file."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        _check_link(root, path)
        return None
    if stat.S_ISDIR(found.st_mode):
        path.chmod(tree.EXECUTABLE_MODE)
        return None
    if not stat.S_ISREG(found.st_mode):
        raise failure.Failure(
            f"your loader left {failure.shown(str(path.relative_to(root)))}, which is neither "
            "file, directory nor link: leave it out"
        )
    path.chmod(tree.EXECUTABLE_MODE if found.st_mode & stat.S_IXUSR else tree.PLAIN_MODE)
    return found.st_size


def _check_link(root: pathlib.Path, path: pathlib.Path) -> None:
    """Accepts what climbs at its beginning only, where each step up is a real directory.

    Behind a name it may climb out of another link's end, wherever that is.
    """
    parts = os.readlink(path).split("/")  # noqa: PTH115 - as text, as it stands
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    depth = len(path.parent.relative_to(root).parts)
    if parts[0] == "" or up > depth or ".." in parts[up:]:
        raise failure.Failure(
            f"your loader left the link {failure.shown(str(path.relative_to(root)))}, which may "
            "lead out of its directory: copy what it leads to"
        )
