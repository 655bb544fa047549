"""Writes the files of a data set into an empty directory that nobody reads yet.

While files are written there is not one symbolic link in it, so no path can lead out: links are
kept in a list beside the tree and made when all else is there, each by its own parent, which is
a real directory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import shutil
import stat
from collections.abc import Callable, Generator
from typing import TextIO

from . import budget, failure, members

# Readable for pods that are not root, writable for the loader alone; no other bit of a mode that
# came with the data is taken over.
PLAIN_MODE, EXECUTABLE_MODE = 0o644, 0o755
MOST_DIRECTORIES_REMEMBERED = 10_000


class Tree:
    """The files of a data set, while they are written.

    Args:
        root: An empty directory for the files.
        links: An empty file in which the list of links is kept meanwhile.
        limits: What the source may bring.
        tick: Called now and then, so that somebody can tell how far it is.

    Attributes:
        files: The number of files so far.
        bytes: Their sizes together.
    """

    def __init__(
        self,
        root: pathlib.Path,
        links: TextIO,
        limits: budget.Budget,
        tick: Callable[[], None],
    ) -> None:
        self._root = str(root)
        self._links = links
        self._budget = limits
        self._tick = tick
        self._made: set[str] = set()
        self.files = 0
        self.bytes = 0

    def add(self, member: members.Member) -> None:
        """Writes a member of an archive; a link is made later, by `finish`.

        Raises:
            Failure: It can not stand beside what is there, or the volume does not take it.
        """
        self._budget.entry()
        if isinstance(member, members.Directory):
            self._directory(member.path)
            return
        if not member.path:
            raise members.refused(".", "not a directory")
        self._directory(member.path.rpartition("/")[0])
        if isinstance(member, members.File):
            self._file(member)
        elif isinstance(member, (members.SymbolicLink, members.HardLink)):
            kind = "hard" if isinstance(member, members.HardLink) else "symbolic"
            self._links.write(json.dumps([kind, member.path, member.target]) + "\n")

    def finish(self) -> None:
        """Makes the links.

        Raises:
            Failure: A link has another member's name, or there is nothing behind it.
        """
        self._links.seek(0)
        for line in self._links:
            kind, path, target = json.loads(line)
            with _told(path):
                if kind == "hard":
                    self._hard_link(path, target)
                else:
                    self._symbolic_link(path, target)

    def _directory(self, path: str) -> None:
        if path in self._made:
            return
        with _told(path):
            os.makedirs(self._full(path), exist_ok=True)  # noqa: PTH103 - once a file: speed
        if len(self._made) >= MOST_DIRECTORIES_REMEMBERED:
            self._made.clear()
        self._made.add(path)

    def _file(self, member: members.File) -> None:
        mode = EXECUTABLE_MODE if member.executable else PLAIN_MODE
        with _told(member.path), open(self._new(member.path, mode), "wb") as file:  # noqa: PTH123
            for chunk in member.chunks:
                self._budget.written(len(chunk))
                file.write(chunk)
                self.bytes += len(chunk)
                self._tick()
        self.files += 1

    def _new(self, path: str, mode: int) -> int:
        """A descriptor of a new file; a file of that name goes, as in tar the last one counts."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(self._full(path), flags, mode)
        except FileExistsError:
            self._forget(path)
            return os.open(self._full(path), flags, mode)

    def _forget(self, path: str) -> None:
        there = os.lstat(self._full(path))
        if not stat.S_ISREG(there.st_mode):
            raise _twice(path)
        os.unlink(self._full(path))  # noqa: PTH108
        self.files -= 1
        self.bytes -= there.st_size

    def _symbolic_link(self, path: str, target: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISLNK(os.lstat(self._full(path)).st_mode):
                raise _twice(path)
            os.unlink(self._full(path))  # noqa: PTH108
        os.symlink(target, self._full(path))  # noqa: PTH211

    def _hard_link(self, path: str, target: str) -> None:
        try:
            os.link(self._full(target), self._full(path), follow_symlinks=False)
        except FileExistsError:
            there, other = os.lstat(self._full(path)), os.lstat(self._full(target))
            if not os.path.samestat(there, other):
                raise
            return
        except (FileNotFoundError, NotADirectoryError):
            raise failure.Failure(
                f"the archive has the hard link {failure.shown(path)} to {failure.shown(target)}, "
                "which is not in it: make the archive again from all of the data"
            ) from None
        except OSError as error:
            # EFS takes 177 names of one file.
            if error.errno != errno.EMLINK:
                raise
            shutil.copy2(self._full(target), self._full(path), follow_symlinks=False)
        self.files += 1

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"


@contextlib.contextmanager
def _told(path: str) -> Generator[None]:
    """Tells of the volume's errors in words of the archive."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise _twice(path) from None
    except OSError as error:
        raise failure.from_os(error, path) from None


def _twice(path: str) -> failure.Failure:
    return failure.Failure(
        f"the archive has {failure.shown(path)}, or a part of that path, twice, as different "
        "things (file, directory, link): make the archive again with one of them"
    )
