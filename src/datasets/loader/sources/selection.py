"""Select files of a prefix, a repository or a source list by patterns of their paths."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from ..base import tasks


class Selection:
    """The patterns of a data set: as in the shell, but `*` also stands for slashes.

    Args:
        include: The patterns of files to load; none for all.
        exclude: The patterns of files not to load, even if they are included.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        self._include = [_compiled(each) for each in include]
        excluded = list(exclude)
        self._exclude = [_compiled(each) for each in excluded]
        # What these match, they match with anything after it, too.
        self._open_ended = [_compiled(each) for each in excluded if each.endswith(("/", "*"))]

    @property
    def takes_all(self) -> bool:
        """Return whether it has no pattern."""
        return not self._include and not self._exclude

    def takes(self, path: str) -> bool:
        """Tell whether a file is selected, by its path below its source."""
        if self._include and not any(each.match(path) for each in self._include):
            return False
        return not any(each.match(path) for each in self._exclude)

    def excludes_all_below(self, path: str) -> bool:
        """Tell whether no file in a directory is selected, by its path below its source."""
        return any(each.match(f"{path}/") for each in self._open_ended)


def _compiled(pattern: str) -> re.Pattern[str]:
    # A directory stands for all that is in it.
    return re.compile(fnmatch.translate(f"{pattern}*" if pattern.endswith("/") else pattern))


def of_task(task: tasks.Task) -> Selection:
    """Return the selection of a task."""
    return Selection(task.include, task.exclude)
