"""Prepare an empty directory for a custom loader.

The custom loader is the next container of the pod, and has no other part of the volume than this
directory.
"""

from __future__ import annotations

import contextlib
import pathlib
import shutil

from ..base import report, tasks
from ..store import volume

# Any user may write there: the user of the custom loader's image is unknown.
OPEN_MODE = 0o777


def run(task: tasks.Task, _reporter: report.Report, _index: int) -> list[pathlib.Path]:
    """Make the directory, empty: files of an earlier attempt may be incomplete."""
    stored = volume.StoredDataSet(pathlib.Path(task.root), task.name)
    with stored.locked():
        stored.make_home()
        home = stored.custom_loader_directory(task.request)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(home)
        home.mkdir(mode=0o755)
        files = home / volume.FILES
        files.mkdir()
        files.chmod(OPEN_MODE)
    return []
