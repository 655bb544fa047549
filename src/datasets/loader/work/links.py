"""Create the links of a data set when all of its files are written.

Each link is created in a parent that is a real directory, and each symbolic link, also one that an
archive has as a hard link to another one, is checked where it is created: none leads out.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import stat
from collections.abc import Callable, Generator, Iterable, Iterator

from ..access import open_directory
from ..archives import members
from ..base import failure
from ..store import journal, readback
from ..tree import directory_queue, files

# The kinds of links: a symbolic link, a hard link, or a file that contains a symbolic link's
# target. EXECUTABLE marks a file as executable, which some archives tell only at their end.
SYMBOLIC, HARD, CONTENT, EXECUTABLE = "symbolic", "hard", "content", "executable"
LONGEST_TARGET = 4096
CHUNK_BYTES = 2**20
# The memory of hard links whose targets do not exist yet, and what each takes beside its text.
MOST_LATE_BYTES, LINK_BYTES = 32 * 2**20, 300


class LinkMaker:
    """A maker of the links of a tree.

    Args:
        tree: The tree.
        drafts: A directory for what is not complete; it must not be found in the tree.
    """

    def __init__(self, tree: files.TreeFiles, drafts: open_directory.OpenDirectory) -> None:
        self._tree = tree
        self._directories = tree.directories
        self._drafts = drafts
        self._late_bytes = 0

    def make(self, lines: Callable[[], Iterable[journal.JournalLine]]) -> None:
        """Create links; one that exists already is kept or replaced.

        Args:
            lines: Returns the lines of the journals that describe links.

        Raises:
            Failure: A link has another member's path, leads out, or its target is missing.
        """
        self._make_each(line for line in lines() if line.link_kind != HARD)
        # When all others exist: a hard link to one of them is made a symbolic link, too.
        late: dict[str, str] = {}
        self._make_each((line for line in lines() if line.link_kind == HARD), late)
        for path, target in tuple(late.items()):
            with _path_errors(path):
                if not self._hard_link(path, _end_of(late, path)):
                    raise _missing(path, target)

    def _make_each(
        self, lines: Iterator[journal.JournalLine], late: dict[str, str] | None = None
    ) -> None:
        work = directory_queue.DirectoryQueue(self._tree.make_directory)
        try:
            for line in lines:
                directory = line.path.rpartition("/")[0]
                work.submit(directory, functools.partial(self._make, line, late), 1)
            work.wait()
        finally:
            work.close()

    def _make(self, line: journal.JournalLine, late: dict[str, str] | None) -> None:
        path = line.path
        with _path_errors(path):
            if late is not None:
                # The name that it links to may be a hard link that does not exist yet.
                if not self._hard_link(path, line.text):
                    late[path] = line.text
                    self._late_bytes += LINK_BYTES + len(path) + len(line.text)
                    if self._late_bytes > MOST_LATE_BYTES:
                        raise _missing(path, line.text)
            elif line.link_kind == SYMBOLIC:
                self._symbolic_link(path, line.text)
            elif line.link_kind == CONTENT:
                self._from_content(path)
            else:
                self._tree.make_executable(path)

    def _symbolic_link(self, path: str, target: str) -> None:
        """Create a symbolic link, after a last check that it stays inside."""
        directory, name = self._directories.locate(path)
        checked = members.symbolic_link(path, target).target
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISLNK(directory.lstat(name).st_mode):
                raise files.path_conflict(path)
            directory.unlink(name)
        directory.symlink(checked, name)

    def _from_content(self, path: str) -> None:
        directory, name = self._directories.locate(path)
        if stat.S_ISLNK(directory.lstat(name).st_mode):
            return
        with os.fdopen(directory.open_file(name), "rb") as file:
            content = file.read(LONGEST_TARGET + 1)
        target = members.symbolic_link(path, os.fsdecode(content)).target
        draft = self._draft()
        self._drafts.symlink(target, draft)
        self._drafts.rename(draft, directory, name)

    def _hard_link(self, path: str, target: str) -> bool:
        """Create another name of a file, or of a link; return False if there is none yet."""
        directory, name = self._directories.locate(path)
        try:
            source, source_name = self._directories.locate(target)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            source.link(source_name, directory, name)
        except FileNotFoundError:
            return False
        except open_directory.NotRegularError:
            if not stat.S_ISLNK(source.lstat(source_name).st_mode):
                raise members.refused(path, members.DIRECTORY_LINK) from None
            # At another depth the same target is another place.
            self._symbolic_link(path, source.readlink(source_name))
        except FileExistsError:
            # An earlier pod may have made a copy, which is as good.
            if not self._are_same(path, target):
                raise
        except OSError as error:
            # EFS allows 177 names of one file.
            if error.errno != errno.EMLINK:
                raise
            draft = self._draft()
            self._copy(source.open_file(source_name), draft)
            self._drafts.rename(draft, directory, name)
        return True

    def _are_same(self, path: str, other: str) -> bool:
        one = self._tree.open(path, os.O_RDONLY)
        try:
            two = self._tree.open(other, os.O_RDONLY)
            try:
                return readback.are_same(one, two)
            finally:
                os.close(two)
        finally:
            os.close(one)

    def _copy(self, source: int, draft: str) -> None:
        """Copy a file with its mode and owner."""
        with os.fdopen(source, "rb") as original:
            status = os.fstat(source)
            mode = stat.S_IMODE(status.st_mode)
            descriptor = self._drafts.create_file(draft, mode)
            with os.fdopen(descriptor, "wb") as copy:
                while chunk := original.read(CHUNK_BYTES):
                    copy.write(chunk)
                copy.flush()
                open_directory.set_access(descriptor, mode, (status.st_uid, status.st_gid))

    @staticmethod
    def _draft() -> str:
        return f"link-{secrets.token_hex(4)}"


def _end_of(links: dict[str, str], path: str) -> str:
    """Return the path that a chain of hard links ends at."""
    seen: set[str] = set()
    while path in links and path not in seen:
        seen.add(path)
        path = links[path]
    # The next ones need not follow the same chain.
    for each in seen:
        links[each] = path
    return path


def _missing(path: str, target: str) -> failure.Failure:
    return failure.Failure(
        f"the archive has the hard link {failure.quote(path)} to {failure.quote(target)}, which "
        "is not in it: make the archive again from all of the data"
    )


@contextlib.contextmanager
def _path_errors(path: str) -> Generator[None]:
    """Raise errors of the volume as failures that name the path in the data set."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, open_directory.NotRegularError):
        raise files.path_conflict(path) from None
    except OSError as error:
        raise failure.from_os(error, path) from None
