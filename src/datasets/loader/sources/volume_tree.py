"""Files on the volume itself as sources: a directory with all below it, or one file.

Others write on the volume, and the loader may read everything there. So it reads only what all
may read: whoever moves or links somebody's private files to the path cannot have them published.
No symbolic link is followed, and each directory is opened in the one above it.
"""

from __future__ import annotations

import itertools
import os
import stat
import urllib.parse
from collections.abc import Iterator
from concurrent import futures

from ..access import directory_cache
from ..base import failure, tasks, urls
from ..http import http_client
from . import selection, source_object, volume_files, volume_path
from .source_object import SourceObject

AUTH = ""
# The entries whose status is read side by side: each takes a round trip. A batch is in memory.
BATCH, THREADS = 256, 32


class VolumeReader:
    """A reader of files on the volume.

    Args:
        task: The task.
    """

    def __init__(self, task: tasks.Task) -> None:
        self._task = task
        self._selection = selection.of_task(task)

    def locate(self, url: str) -> SourceObject:
        """Refuse a URL as that of a source list.

        Raises:
            Failure: Always.
        """
        raise failure.Failure(
            f"{urls.redact(url)} is on the volume, where no source list is read: name the files' "
            "directory as source"
        )

    def expand(self, url: str) -> Iterator[SourceObject]:
        """Yield the files below a directory, or the one file that a URL names.

        Raises:
            Failure: There is nothing, or something that cannot be in a data set.
            StartOver: It changed while it was listed.
        """
        path, shown = volume_path.path_of(url), urls.redact(url)
        directories = volume_files.directories(self._task)
        try:
            directory, name = directories.locate(path)
            status = directory.lstat(name)
        except OSError as error:
            if error.errno not in volume_files.GONE:
                raise
            raise failure.Failure(
                f"{shown} is not on the volume, or a symbolic link leads there: give the path "
                "itself, from the root of the volume"
            ) from None
        if not stat.S_ISDIR(status.st_mode):
            volume_files.check_file(shown, "", status, self._task.limits)
            yield SourceObject(_url(path), executable=volume_files.is_executable(status))
            return
        count = 0
        with futures.ThreadPoolExecutor(THREADS) as pool:
            for below, found in self._walk(directories, path, "", pool):
                count += 1
                if count > self._task.limits.most_members:
                    raise failure.Failure(
                        f"{shown} has more than {self._task.limits.most_members} files and "
                        "directories: load its directories as several data sets"
                    )
                if found is None:
                    continue
                volume_files.check_file(shown, below, found, self._task.limits)
                yield SourceObject(
                    _url(f"{path}/{below}"),
                    below,
                    size=found.st_size,
                    validator=volume_files.validator(found),
                    listed=True,
                    executable=volume_files.is_executable(found),
                )

    def _walk(
        self,
        directories: directory_cache.DirectoryCache,
        top: str,
        below: str,
        pool: futures.ThreadPoolExecutor,
    ) -> Iterator[tuple[str, os.stat_result | None]]:
        """Yield the selected files of a directory, and the directories in it with theirs."""
        above = f"{below}/" if below else ""
        try:
            directory = directories.get(f"{top}/{below}" if below else top)
            entries = (
                (above + name, name, is_directory)
                for name, is_directory in directory.entries()
                if self._is_selected(above + name, is_directory=is_directory)
            )
            while batch := list(itertools.islice(entries, BATCH)):
                for path, _, _ in batch:
                    _check_name(top, path)
                names = [name for _, name, is_directory in batch if not is_directory]
                statuses = pool.map(directory.lstat, names)
                for path, _, is_directory in batch:
                    if is_directory:
                        yield path, None
                        yield from self._walk(directories, top, path, pool)
                    else:
                        yield path, next(statuses)
        except OSError as error:
            if error.errno not in volume_files.GONE:
                raise
            raise failure.StartOver("changed while it was listed") from None

    def _is_selected(self, path: str, *, is_directory: bool) -> bool:
        if is_directory:
            return not self._selection.excludes_all_below(path)
        return self._selection.takes(path)


def reader(_client: http_client.Client, task: tasks.Task) -> VolumeReader:
    """Return the reader of files on the volume."""
    return VolumeReader(task)


def opener(task: tasks.Task) -> http_client.Opener:
    """Return what opens the files of a task."""
    return volume_files.FileOpener(task)


def _url(path: str) -> str:
    return f"{urls.VOLUME}:/{urllib.parse.quote(path)}"


def _check_name(top: str, below: str) -> None:
    path = f"{top}/{below}"
    try:
        path.encode()
        problem = source_object.path_problem(path)
    except UnicodeEncodeError:
        problem = "its name is not UTF-8"
    if problem:
        raise failure.Failure(
            f"{failure.quote('/' + path)} on the volume cannot be in a data set ({problem}): "
            "rename it, or leave it out by exclude="
        )
