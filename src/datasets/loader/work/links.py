"""Create the links of a data set when all of its files are written.

Each link is created in a parent that is a real directory, so no path can lead out of the tree.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import pathlib
import secrets
import shutil
import stat
from collections.abc import Generator, Iterable

from ..archives import members
from ..base import failure
from ..store import journal, readback
from ..tree import directory_queue, files

# The kinds of links: a symbolic link, a hard link, or a file that contains a symbolic link's
# target. EXECUTABLE marks a file as executable, which some archives tell only at their end.
SYMBOLIC, HARD, CONTENT, EXECUTABLE = "symbolic", "hard", "content", "executable"
LONGEST_TARGET = 4096


def make(tree: files.TreeFiles, lines: Iterable[journal.JournalLine]) -> None:
    """Create links; one that exists already is kept or replaced.

    Args:
        tree: The tree.
        lines: The lines of the journals that describe links.

    Raises:
        Failure: A link has another member's path, or its target is missing.
    """
    late: list[journal.JournalLine] = []
    work = directory_queue.DirectoryQueue(tree.make_directory)
    try:
        for line in lines:
            directory = line.path.rpartition("/")[0]
            work.submit(directory, functools.partial(_make, tree, line, late), 1)
        work.wait()
    finally:
        work.close()
    # Hard links to links that did not exist yet.
    for line in late:
        with _path_errors(line.path):
            _hard_link(tree, line)


def _make(
    tree: files.TreeFiles, line: journal.JournalLine, late: list[journal.JournalLine]
) -> None:
    full = tree.full_path(line.path)
    with _path_errors(line.path):
        if line.link_kind == SYMBOLIC:
            _symbolic_link(full, line.text, line.path)
        elif line.link_kind == CONTENT:
            _from_content(full, line.path)
        elif line.link_kind == EXECUTABLE:
            mode = stat.S_IMODE(os.lstat(full).st_mode)
            os.chmod(full, mode | (mode & 0o444) >> 2)  # noqa: PTH101
        elif not os.path.lexists(tree.full_path(line.text)):
            late.append(line)
        else:
            _hard_link(tree, line)


def _symbolic_link(full: str, target: str, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISLNK(os.lstat(full).st_mode):
            raise files.path_conflict(path)
        os.unlink(full)  # noqa: PTH108 - once a link: speed
    os.symlink(target, full)  # noqa: PTH211


def _from_content(full: str, path: str) -> None:
    if stat.S_ISLNK(os.lstat(full).st_mode):
        return
    with open(full, "rb") as file:  # noqa: PTH123
        content = file.read(LONGEST_TARGET + 1)
    target = members.symbolic_link(path, os.fsdecode(content)).target
    os.unlink(full)  # noqa: PTH108
    os.symlink(target, full)  # noqa: PTH211


def _hard_link(tree: files.TreeFiles, line: journal.JournalLine) -> None:
    full, target = tree.full_path(line.path), tree.full_path(line.text)
    try:
        os.link(target, full, follow_symlinks=False)
    except FileExistsError:
        # An earlier pod may have made a copy, which is as good.
        if not readback.are_same(pathlib.Path(full), pathlib.Path(target)):
            raise
    except (FileNotFoundError, NotADirectoryError):
        raise failure.Failure(
            f"the archive has the hard link {failure.quote(line.path)} to "
            f"{failure.quote(line.text)}, which is not in it: make the archive again from all of "
            "the data"
        ) from None
    except OSError as error:
        # EFS allows 177 names of one file.
        if error.errno != errno.EMLINK:
            raise
        # Beside the tree: an incomplete copy must not be found in it.
        draft = f"{tree.full_path('')}-copy-{secrets.token_hex(4)}"
        shutil.copy2(target, draft, follow_symlinks=False)
        owner = os.lstat(target)
        os.chown(draft, owner.st_uid, owner.st_gid, follow_symlinks=False)
        os.rename(draft, full)  # noqa: PTH104


@contextlib.contextmanager
def _path_errors(path: str) -> Generator[None]:
    """Raise errors of the volume as failures that name the path in the data set."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise files.path_conflict(path) from None
    except OSError as error:
        raise failure.from_os(error, path) from None
