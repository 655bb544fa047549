"""Verify and publish the files that a custom loader wrote into its directory."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any

from ... import protocol
from ..base import failure, report, tasks
from ..store import load_directory, readback, versions, volume

FORMAT = "directory"


def publish(task: tasks.Task, reporter: report.Report) -> versions.PublishedVersion:
    """Verify, count and publish the files in a custom loader's directory.

    Args:
        task: The task.
        reporter: Reports the progress.

    Raises:
        Failure: There are no files, or something that a data set must not have; nothing is
            published then.
    """
    stored = volume.StoredDataSet(pathlib.Path(task.root), task.name)
    home = stored.custom_loader_directory(task.request)
    files = home / volume.FILES
    with stored.locked():
        current = stored.current()
        if current and versions.satisfies(current, task) and current.result:
            return stored.keep_current(current, current.result, task.request)
        if not files.is_dir():
            raise failure.Failure(
                "the files that your loader wrote are gone: run create-dataset again"
            )
    reporter.write_state(protocol.VERIFYING)
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
                raise failure.Failure("your loader wrote more than a data set may have: split it")
            if fields:
                listed.write(json.dumps(fields) + "\n")
            reporter.write_progress(
                protocol.VERIFYING, functools.partial(dict[str, int], files=count, bytes=total)
            )
    if not count:
        raise failure.Failure("your loader wrote no files in /data: have it write them there")
    result = tasks.Result(
        files=count,
        bytes=total,
        seconds=reporter.seconds,
        path=f"/{volume.DATASETS}/{task.name}",
        version=task.request,
        checksum="",
        fetched=0,
        archive_format=FORMAT,
    )
    with stored.locked():
        if not file_list.is_file():
            # The present files are not those that were verified.
            raise failure.Later(
                "your loader was started again meanwhile: wait until it has ended", soon=True
            )
        return stored.publish(files, file_list, task, result)


def _paths(root: pathlib.Path) -> Iterator[pathlib.Path]:
    yield root
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names):
            yield pathlib.Path(directory, name)


def _accept(task: tasks.Task, root: pathlib.Path, path: pathlib.Path) -> dict[str, Any]:
    """Set the mode and owner of a path; return its fields in the file list."""
    status = path.lstat()
    name = str(path.relative_to(root))
    if stat.S_ISLNK(status.st_mode):
        _check_link(root, path)
        return {"path": name, "link": os.readlink(path)}  # noqa: PTH115 - of 3.9, and as text
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise failure.Failure(
            f"your loader wrote {failure.quote(name)}, which is neither file, directory nor link: "
            "leave it out"
        )
    executable = stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IXUSR
    path.chmod(task.directory_mode if executable else task.file_mode)
    if task.owner_ids:
        os.chown(path, *task.owner_ids)
    if stat.S_ISDIR(status.st_mode):
        return {}
    size, sha256 = readback.sha256(path)
    return {"path": name, "bytes": size, "sha256": sha256}


def _check_link(root: pathlib.Path, path: pathlib.Path) -> None:
    """Refuse a link that may lead out of the data set.

    Its target may have ".." only at its beginning, where each step up is a real directory: after a
    name, which may itself be a link, ".." could lead anywhere.
    """
    parts = os.readlink(path).split("/")  # noqa: PTH115 - as text, not normalized
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    depth = len(path.parent.relative_to(root).parts)
    if parts[0] == "" or up > depth or ".." in parts[up:]:
        raise failure.Failure(
            f"your loader wrote the link {failure.quote(str(path.relative_to(root)))}, which may "
            "lead out of its directory: copy its target instead"
        )
