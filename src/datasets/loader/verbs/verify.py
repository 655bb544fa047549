"""Verify a published data set: read every file of its file list, and compare it."""

from __future__ import annotations

import functools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from ... import protocol
from ..base import failure, report, tasks
from ..store import readback, volume

# The number of damaged files that the log names; all of them are counted.
MOST_NAMED = 1000


def run(task: tasks.Task, reporter: report.Report, _index: int) -> list[pathlib.Path]:
    """Compare the files on the volume with the file list of the published version.

    Args:
        task: Names the data set.
        reporter: Reports the progress, and each damaged file.

    Raises:
        Failure: There is no such data set, or a file differs from its publication.
    """
    stored = volume.StoredDataSet(pathlib.Path(task.root), task.name)
    current = stored.current()
    if current is None:
        raise failure.Failure(
            f"there is no data set {task.name} on the volume: run create-dataset"
        )
    root = stored.home / current.version
    file_list = stored.file_list_of(current.version)
    if not file_list.exists():
        raise failure.Failure(
            f"the file list of {task.name} is missing: run create-dataset with overwrite=true"
        )
    files = size = wrong = 0
    first = ""
    reporter.write_state(protocol.VERIFYING, files=0, bytes=0)
    for fields, difference in readback.map_concurrently(
        lambda each: _compare(root, each), _listed(file_list)
    ):
        files += "bytes" in fields or "same" in fields
        size += int(fields.get("bytes", 0))
        if difference:
            wrong += 1
            first = first or f"{failure.quote(fields['path'])} {difference}"
            if wrong <= MOST_NAMED:
                reporter.write_state(protocol.VERIFYING, wrong=fields["path"], reason=difference)
        reporter.write_progress(
            protocol.VERIFYING, functools.partial(dict[str, int], files=files, bytes=size)
        )
    extra = _count(root) - files
    if extra > 0 and not wrong:
        wrong, first = extra, f"{extra} files are not in the file list"
    if wrong:
        raise failure.Failure(
            f"{wrong} of {max(files, wrong)} files of {task.name} are not as they were published "
            f"({first}): run create-dataset with overwrite=true to load them again"
        )
    reporter.write_ended(protocol.VERIFIED, files=files, bytes=size)
    return []


def _listed(file_list: pathlib.Path) -> Iterator[dict[str, Any]]:
    with file_list.open(encoding="ascii") as lines:
        for line in lines:
            yield json.loads(line)


def _compare(root: pathlib.Path, fields: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Compare a file with its line of the list; return the line, and any difference."""
    path = root / fields["path"]
    try:
        if "link" in fields:
            same = os.readlink(path) == fields["link"]  # noqa: PTH115 - of 3.9, and as text
            return fields, "" if same else "has another target"
        if "same" in fields:
            same = readback.are_same(path, root / fields["same"])
            return fields, "" if same else "has other content"
        size, sha256 = readback.sha256(path)
    except FileNotFoundError:
        return fields, "is missing"
    except OSError as error:
        return fields, f"cannot be read ({os.strerror(error.errno or 0)})"
    if size != fields["bytes"]:
        return fields, f"has {size} bytes, not {fields['bytes']}"
    return fields, "" if sha256 == fields["sha256"] else "has other content"


def _count(root: pathlib.Path) -> int:
    """Return the number of files in a directory, without links."""
    count = 0
    for directory, _, names in os.walk(root):
        count += sum(not os.path.islink(f"{directory}/{name}") for name in names)  # noqa: PTH114
    return count
