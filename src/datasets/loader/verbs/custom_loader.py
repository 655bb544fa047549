"""A data set that a loader of the user's own brings: its directory, then what it left there.

The user's container runs between the two, and sees nothing of the volume but this directory.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import shutil
import stat
from collections.abc import Iterator
from typing import Any

from ... import protocol
from ..base import failure, report, tasks
from ..store import load_directory, readback, versions, volume
from . import load

# Any user may write there: which one the user's image runs as is its own affair.
OPEN_MODE = 0o777
FORMAT = "directory"


def prepare(task: tasks.Task) -> None:
    """Makes the directory, empty: what an earlier attempt left there is not to be trusted."""
    stored = _stored_data_set(task)
    with stored.locked():
        stored.make_home()
        home = stored.custom_loader_directory(task.request)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(home)
        home.mkdir(mode=0o755)
        files = home / volume.FILES
        files.mkdir()
        files.chmod(OPEN_MODE)


def publish(task: tasks.Task, told: report.Report) -> versions.PublishedVersion:
    """Verifies, counts and publishes what was left in the directory.

    Args:
        task: What was to be loaded.
        told: Is told how far it is.

    Raises:
        Failure: Nothing was left, or something that a data set may not hold; then nothing was
            published.
    """
    stored = _stored_data_set(task)
    home = stored.custom_loader_directory(task.request)
    files = home / volume.FILES
    with stored.locked():
        current = stored.current()
        if current and load.is_wanted(current, task) and current.result:
            return stored.keep_current(current, current.result, task.request)
        if not files.is_dir():
            raise failure.Failure(
                "what your loader left is gone: run create-dataset again, and it runs again"
            )
    told.state(protocol.VERIFYING)
    count = total = 0
    file_list = home / "file-list"
    with load_directory.create_text(file_list) as listed:
        accepted = readback.map_concurrently(
            lambda path: _accept(task, files, path), _paths(files)
        )
        for fields in accepted:
            if "bytes" in fields:
                count, total = count + 1, total + fields["bytes"]
            if count > task.limits.most_members or total > task.limits.most_bytes:
                raise failure.Failure("your loader left more than a data set may hold: split it")
            if fields:
                listed.write(json.dumps(fields) + "\n")
            told.progress(
                protocol.VERIFYING, functools.partial(dict[str, int], files=count, bytes=total)
            )
    if not count:
        raise failure.Failure("your loader left no files in /data: have it write them there")
    result = tasks.Result(
        files=count,
        bytes=total,
        seconds=told.seconds,
        path=f"/{volume.DATASETS}/{task.name}",
        version=task.request,
        checksum="",
        fetched=0,
        archive_format=FORMAT,
    )
    with stored.locked():
        if not file_list.is_file():
            # What is there now nobody has verified.
            raise failure.Later("your loader was begun again meanwhile: wait for it", soon=True)
        return stored.publish(files, file_list, task, result)


def _stored_data_set(task: tasks.Task) -> volume.StoredDataSet:
    return volume.StoredDataSet(pathlib.Path(task.root), task.name)


def _paths(root: pathlib.Path) -> Iterator[pathlib.Path]:
    yield root
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names):
            yield pathlib.Path(directory, name)


def _accept(task: tasks.Task, root: pathlib.Path, path: pathlib.Path) -> dict[str, Any]:
    """Gives it its mode and owner; what the list of files says of it, nothing of a directory."""
    found = path.lstat()
    name = str(path.relative_to(root))
    if stat.S_ISLNK(found.st_mode):
        _check_link(root, path)
        return {"path": name, "link": os.readlink(path)}  # noqa: PTH115 - of 3.9, and as text
    if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
        raise failure.Failure(
            f"your loader left {failure.quote(name)}, which is neither file, directory nor link: "
            "leave it out"
        )
    executable = stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_IXUSR
    path.chmod(task.directory_mode if executable else task.file_mode)
    if task.owner_ids:
        os.chown(path, *task.owner_ids)
    if stat.S_ISDIR(found.st_mode):
        return {}
    size, sha256 = readback.sha256(path)
    return {"path": name, "bytes": size, "sha256": sha256}


def _check_link(root: pathlib.Path, path: pathlib.Path) -> None:
    """Accepts what climbs at its beginning only, where each step up is a real directory.

    Behind a name it may climb out of another link's end, wherever that is.
    """
    parts = os.readlink(path).split("/")  # noqa: PTH115 - as text, as it stands
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    depth = len(path.parent.relative_to(root).parts)
    if parts[0] == "" or up > depth or ".." in parts[up:]:
        raise failure.Failure(
            f"your loader left the link {failure.quote(str(path.relative_to(root)))}, which may "
            "lead out of its directory: copy what it leads to"
        )
