"""Verify the files that all pods have written, and write the file list."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..base import failure, limiter, name_set, number_set, tasks
from ..store import file_list, journal, load_directory, readback, volume
from ..tree import files
from . import item_checksum, item_run, links, plan

ENTRIES = {journal.FILE, journal.LINK, journal.DIRECTORY}
# The most names, of which only the hashes are kept; and the memory of lines that are kept whole,
# each with what it takes beside its text.
MOST_NAMES = 10_000_000
MOST_KEPT_BYTES, LINE_BYTES = 32 * 2**20, 600


class Publication:
    """The publication of a finished load.

    Args:
        task: The task.
        directory: The load's directory.
        planned: Its plan.
        tick: Called now and then with the numbers of files and bytes verified so far.
    """

    def __init__(
        self,
        task: tasks.Task,
        directory: load_directory.LoadDirectory,
        planned: plan.Plan,
        tick: Callable[[int, int], None],
    ) -> None:
        self._task = task
        self._directory = directory
        self._plan = planned
        self._tick = tick
        self._tree = files.TreeFiles(directory.tree, task)
        self._replaced = name_set.NameSet()
        # The files that become symbolic links, each with its only member; and executable files.
        self._contents: dict[str, tuple[int, int] | None] = {}
        self._executable = name_set.NameSet()
        self._ended = number_set.NumberSet()
        self._fetched = 0
        self._formats: set[str] = set()
        self._checksums: set[str] = set()
        # The files that pods wrote in parts: none of them has read all of one.
        self._divided = name_set.NameSet()
        self._files = self._bytes = 0
        self._journals = directory.journals(planned.shards)
        self._has_links = False
        self._duplicates = name_set.NameSet()
        # The memory of lines whose paths come several times, and of those in `_contents`.
        self._repeated_bytes = self._content_bytes = 0

    def verify(self) -> tasks.Result:
        """Create the links, write the file list, and verify files that are not verified yet.

        Raises:
            Failure: A file is wrong, or the journal is incomplete; nothing is published.
        """
        self._survey()
        work = self._directory.directory
        if self._has_links:
            links.LinkMaker(self._tree, work).make(self._links)
        with file_list.create(work) as file:
            file.writelines(self._file_list())
        if not self._files:
            raise failure.Failure("the archive holds no files: check that the source is right")
        return self._result()

    def _lines(self, *, files: bool) -> Iterator[journal.JournalLine]:
        return journal.read(self._directory.directory, self._journals, files=files)

    def _links(self) -> Iterator[journal.JournalLine]:
        return (line for line in self._lines(files=False) if line.kind == journal.LINK)

    def _survey(self) -> None:
        """Collect from the journals all but the files, which are many."""
        names = name_set.NameSet()
        count = 0
        for line in self._lines(files=False):
            count += line.kind in {journal.REPLACED, journal.LINK, journal.DIRECTORY}
            if count > MOST_NAMES:
                raise failure.Failure(
                    f"the source has more than {MOST_NAMES} links, directories and files that "
                    "replace others: split it over several data sets"
                )
            if line.kind == journal.REPLACED:
                self._replaced.add(line.path)
                self._repeated_bytes += _kept_bytes(line)
            elif line.kind == journal.LINK:
                self._add_link(line, names)
            elif line.kind == journal.DIRECTORY:
                names.add(line.path)
            elif line.kind == journal.ENDED and line.text:
                self._end(line.item, json.loads(line.text))
        self._set_repeated(names.repeated())
        self._executable.sort()
        for path in self._contents:
            if path in self._executable:
                raise files.path_conflict(path)
        self._check_items()

    def _add_link(self, line: journal.JournalLine, names: name_set.NameSet) -> None:
        self._has_links = True
        if line.link_kind == links.EXECUTABLE:
            self._executable.add(line.path)
            return
        names.add(line.path)
        if line.link_kind == links.CONTENT:
            self._contents[line.path] = None
            self._content_bytes += _kept_bytes(line)
            if self._content_bytes > MOST_KEPT_BYTES:
                raise failure.Failure(
                    "the archive has too many symbolic links to read without ranges: offer it as "
                    "tar.gz, or from an origin that serves ranges"
                )

    def _set_repeated(self, duplicates: name_set.NameSet) -> None:
        """Set the links and directories whose paths come several times."""
        self._replaced.sort()
        self._duplicates = duplicates
        if duplicates:
            self._repeated_bytes += sum(
                _kept_bytes(line)
                for line in self._lines(files=False)
                if line.kind in {journal.LINK, journal.DIRECTORY} and line.path in duplicates
            )

    def _check_items(self) -> None:
        """Check that all items are done, and find the files that were written in parts."""
        for number, item in self._items():
            if item.kind != plan.PART and number not in self._ended:
                raise failure.Failure(
                    "journal incomplete: run delete-dataset, then create-dataset again"
                )
            if _is_first_part(item):
                self._divided.add(item.path)
        self._divided.sort()

    def _items(self) -> Iterator[tuple[int, plan.Item]]:
        for shard in range(self._plan.shards):
            yield from self._plan.read(shard)

    def _end(self, item: int, result: Mapping[str, Any]) -> None:
        """Add an item's result."""
        self._ended.add(item)
        self._fetched += result["fetched"]
        if result["archive_format"]:
            self._formats.add(result["archive_format"])
        self._add_checksum(result["checksum"])

    def _add_checksum(self, checksum: str) -> None:
        """Keep the checksum of a source object; two are enough to know that there are several."""
        if checksum and len(self._checksums) < 2:
            self._checksums.add(checksum)

    def _file_list(self) -> Iterator[str]:
        """Yield the lines of the file list."""
        for line in self._entries():
            if line.kind == journal.FILE and line.path in self._contents:
                self._check_content(line)
                continue
            if line.kind == journal.FILE and line.text and line.path in self._divided:
                raise _two_sources(line.path)
            if not self._is_repeated(line):
                yield self._line(line)
        # If they take too much memory together, the journals are read once for each part of them.
        parts = -(-self._repeated_bytes // MOST_KEPT_BYTES)
        for part in range(parts):
            last: dict[str, journal.JournalLine] = {}
            for line in self._entries():
                if self._is_repeated(line) and hash(line.path) % parts == part:
                    self._keep_last(last, line)
            yield from map(self._line, last.values())
        for number, item in self._items() if self._divided else ():
            if _is_first_part(item):
                line = journal.JournalLine(journal.FILE, number, 0, item.path, item.size or 0)
                yield self._file(line, item)

    def _entries(self) -> Iterator[journal.JournalLine]:
        """Yield the lines of files, links and directories."""
        for line in self._lines(files=True):
            if line.kind in ENTRIES and line.link_kind != links.EXECUTABLE:
                yield line

    def _is_repeated(self, line: journal.JournalLine) -> bool:
        """Tell whether the path of a file, link or directory may come several times."""
        if line.kind == journal.FILE:
            return line.path in self._replaced and line.path not in self._contents
        return line.path in self._duplicates

    def _check_content(self, line: journal.JournalLine) -> None:
        """Refuse another file of the path of one that has become a symbolic link."""
        member = line.item, line.number
        if (self._contents[line.path] or member) != member:
            raise files.path_conflict(line.path)
        self._contents[line.path] = member

    def _line(self, line: journal.JournalLine) -> str:
        if line.kind == journal.FILE:
            return self._file(line)
        if line.kind == journal.DIRECTORY:
            return file_list.format_directory(line.path)
        return self._link(line)

    def _keep_last(
        self, duplicates: dict[str, journal.JournalLine], line: journal.JournalLine
    ) -> None:
        """Keep the last of an archive's members of one path; of two archives they are the same."""
        before = duplicates.setdefault(line.path, line)
        if before.item != line.item:
            if not _are_same(before, line):
                raise _two_sources(line.path)
        elif line.number != before.number:
            count = self._task.strip_components
            if count and not _are_same(before, line):
                # Their names were different ones: both are wanted.
                raise failure.Failure(
                    f"strip-components={count} makes one file {failure.quote(line.path)} of "
                    "several in the archive: use a smaller number"
                )
            duplicates[line.path] = max(before, line, key=lambda each: each.number)

    def _file(self, line: journal.JournalLine, item: plan.Item | None = None) -> str:
        sha256 = line.text or self._read_back(line, item or self._plan.find(line.item))
        self._files += 1
        self._bytes += line.size
        # Each pod has counted only what it wrote itself.
        if self._bytes > self._task.limits.most_bytes:
            raise limiter.too_large(self._task.limits)
        self._tick(self._files, self._bytes)
        executable = line.executable or line.path in self._executable
        return file_list.format_file(line.path, line.size, sha256, executable=executable)

    def _link(self, line: journal.JournalLine) -> str:
        directory, name = self._tree.directories.locate(line.path)
        if line.link_kind == links.HARD and stat.S_ISREG(directory.lstat(name).st_mode):
            self._files += 1
            return file_list.format_hard_link(line.path, line.text)
        return file_list.format_symbolic_link(line.path, directory.readlink(name))

    def _read_back(self, line: journal.JournalLine, item: plan.Item) -> str:
        """Return the checksum of a file that was not hashed as it was written."""
        algorithm = item_checksum.algorithm(item)
        descriptor = self._tree.open(line.path, os.O_RDONLY)
        try:
            digests = readback.digests(
                descriptor, {"sha256", algorithm}, lambda: self._tick(self._files, self._bytes)
            )
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size != line.size:
            raise failure.Failure(
                f"{failure.quote(line.path)} has another size than its source: run "
                "delete-dataset, then create-dataset again"
            )
        checksum = item_checksum.compare(
            item, item_run.url_of(item, self._task), digests[algorithm]
        )
        self._add_checksum(checksum)
        return digests["sha256"]

    def _result(self) -> tasks.Result:
        return tasks.Result(
            files=self._files,
            bytes=self._bytes,
            seconds=0,
            path=f"/{volume.DATASETS}/{self._task.name}",
            version=self._directory.version,
            checksum=self._checksums.pop() if len(self._checksums) == 1 else "",
            fetched=self._fetched,
            archive_format=self._formats.pop() if len(self._formats) == 1 else "many",
            shards=self._plan.shards,
        )


def _is_first_part(item: plan.Item) -> bool:
    return item.kind == plan.PART and not item.start


def _kept_bytes(line: journal.JournalLine) -> int:
    """Return the memory that a line takes while it is kept."""
    return LINE_BYTES + len(line.path) + len(line.text)


def _are_same(one: journal.JournalLine, other: journal.JournalLine) -> bool:
    """Tell whether members of two archives are the same: a directory, a file or a link."""
    if one.kind == other.kind == journal.DIRECTORY:
        return True
    # Without its checksum a file's content is not known.
    known = one.text and one._replace(item=0, number=0) == other._replace(item=0, number=0)
    return bool(known)


def _two_sources(path: str) -> failure.Failure:
    return failure.Failure(
        f"two sources have {failure.quote(path)}: give each of them a path of its own, or leave "
        "one out"
    )
