"""Writes files into a tree, many at once, in the order that a file system far away likes best.

While files are written there is not one symbolic link in the tree, so no path can lead out of it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import batch, failure, spec, turns

# What a file takes beside its data while it waits.
FILE_BYTES = 2048
# A larger file is written as it comes.
SMALL_BYTES = 4 * 2**20
# After so many bytes of a file the file system is asked to begin to write them out.
WRITE_OUT_BYTES = 16 * 2**20


class Writer:
    """The files of a tree, while they are written. One serves many threads.

    Args:
        root: The tree's directory, which exists.
        task: Tells mode and owner.
    """

    def __init__(self, root: str, task: spec.Spec) -> None:
        self._root = root
        self._file_mode = task.file_mode
        self._directory_mode = task.directory_mode
        self._ids = task.owner_ids
        self._turns = turns.Turns(self._make_directory)

    def directory(self, path: str) -> None:
        """Makes a directory, and those above it."""
        self._turns.directory(path)

    def batch(self, owner: batch.Owner) -> batch.Batch:
        """For one thread to write small files with."""
        return batch.Batch(self, owner)

    def small(self, files: Sequence[batch.Small], owner: batch.Owner) -> None:
        """Writes files of one directory whose content is in memory.

        It returns when there is room for the next ones.

        Raises:
            Failure: An earlier file could not be written.
        """

        def create() -> Callable[[], None]:
            descriptors = [
                self._create(each.path, owner, each.number, executable=each.executable)
                for each in files
            ]
            return lambda: _fill(files, descriptors, owner)

        owner.begin(len(files))
        weight = sum(each.size + FILE_BYTES for each in files)
        self._turns.submit(files[0].path.rpartition("/")[0], create, weight)

    def large(
        self,
        number: int,
        path: str,
        chunks: Iterable[bytes],
        owner: batch.Owner,
        *,
        executable: bool,
    ) -> None:
        """Writes a file as its content comes, and returns when it has been handed on.

        Args:
            number: What its owner calls it.
            path: Its path in the tree.
            chunks: Its content.
            owner: Who wants it written.
            executable: Whether it may be executed.
        """
        descriptor = self.descriptor(number, path, owner, executable=executable)
        digest = spec.hasher("sha256")
        size = 0
        try:
            for block in batch.blocks(chunks):
                digest.update(block)
                write_all(descriptor, block)
                size += len(block)
                if size % WRITE_OUT_BYTES < batch.BLOCK_BYTES:
                    begin_write_out(descriptor, size)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, OSError):
                raise failure.from_os(error, path) from None
            raise
        self.finish(descriptor, batch.Written(number, path, size, digest.hexdigest()), owner)

    def descriptor(
        self, number: int, path: str, owner: batch.Owner, *, executable: bool, shared: bool = False
    ) -> int:
        """Creates a file in its directory's turn, and waits for it.

        Args:
            number: What its owner calls it.
            path: Its path in the tree.
            owner: Who wants it written.
            executable: Whether it may be executed.
            shared: Whether others may have made it.

        Returns:
            Its descriptor, for `finish`.
        """
        owner.begin(1)
        opened: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def create() -> None:
            try:
                opened.put(self._create(path, owner, number, executable=executable, shared=shared))
            except BaseException as error:
                opened.put(error)
                raise

        self._turns.submit(path.rpartition("/")[0], create, FILE_BYTES)
        while True:
            try:
                answer = opened.get(timeout=1)
                break
            except queue.Empty:
                self._turns.check()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def finish(self, descriptor: int, written: batch.Written, owner: batch.Owner) -> None:
        """Closes a file in some other thread: that is when the rest of it is written out."""

        def create() -> Callable[[], None]:
            return lambda: _finish(descriptor, written, owner)

        self._turns.submit("", create, FILE_BYTES)

    def link(self, path: str, make: Callable[[str], None]) -> None:
        """Makes a link in its directory's turn.

        Args:
            path: Its path in the tree.
            make: Makes it; gets its full path.
        """

        def create() -> None:
            make(self.full(path))

        self._turns.submit(path.rpartition("/")[0], create, FILE_BYTES)

    def own_root(self) -> None:
        """Gives the tree's own directory its mode and owner."""
        os.chmod(self._root, self._directory_mode)  # noqa: PTH101
        if self._ids:
            os.chown(self._root, *self._ids)

    def full(self, path: str) -> str:
        """A path in the tree as the system knows it."""
        return f"{self._root}/{path}" if path else self._root

    def wait(self) -> None:
        """Returns when all that was asked for is on the volume.

        Raises:
            Failure: It is not.
        """
        self._turns.wait()

    def stop(self) -> None:
        """Takes nothing more."""
        self._turns.fail(failure.Later("the load was stopped before its end"))

    def close(self) -> None:
        """Ends the threads."""
        self._turns.close()

    def _make_directory(self, path: str) -> None:
        full = self.full(path)
        try:
            os.mkdir(full, self._directory_mode)  # noqa: PTH102 - speed
            if self._ids:
                os.chown(full, *self._ids)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(full).st_mode):
                raise twice(path) from None
        except NotADirectoryError:
            raise twice(path) from None
        except OSError as error:
            raise failure.from_os(error, path) from None

    def _create(
        self, path: str, owner: batch.Owner, number: int, *, executable: bool, shared: bool = False
    ) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        mode = self._directory_mode if executable else self._file_mode
        full = self.full(path)
        try:
            try:
                descriptor = os.open(full, flags | (0 if shared else os.O_EXCL), mode)
            except FileExistsError:
                # As in tar, the last one of a name counts.
                if not stat.S_ISREG(os.lstat(full).st_mode):
                    raise
                owner.replacing(number, path)
                os.unlink(full)  # noqa: PTH108 - speed
                descriptor = os.open(full, flags | os.O_EXCL, mode)
            if self._ids:
                os.fchown(descriptor, *self._ids)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise twice(path) from None
        except OSError as error:
            raise failure.from_os(error, path) from None
        return descriptor


def _fill(files: Sequence[batch.Small], descriptors: list[int], owner: batch.Owner) -> None:
    written: list[batch.Written] = []
    try:
        for each in files:
            try:
                for block in each.data:
                    write_all(descriptors[0], block)
            except OSError as error:
                raise failure.from_os(error, each.path) from None
            _close(descriptors.pop(0), each.path)
            written.append(each.written())
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    owner.done(written)


def _finish(descriptor: int, written: batch.Written, owner: batch.Owner) -> None:
    _close(descriptor, written.path)
    owner.done([written])


def _close(descriptor: int, path: str) -> None:
    """Closes a file: what the volume could not take is told by that at the latest."""
    try:
        os.close(descriptor)
    except OSError as error:
        raise failure.from_os(error, path) from None


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of it where the descriptor stands."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def begin_write_out(descriptor: int, size: int) -> None:
    """Has the system begin to write out what was written so far, and forget what it has."""
    os.posix_fadvise(descriptor, 0, size, os.POSIX_FADV_DONTNEED)


def twice(path: str) -> failure.Failure:
    """Two things of one path that can not be one."""
    return failure.Failure(
        f"the source has {failure.shown(path)}, or a part of that path, twice, as different "
        "things (file, directory, link): make the archive again with one of them"
    )
