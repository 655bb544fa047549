"""Writes files into a tree, many at once, in the order that a file system far away likes best."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Collection, Iterable, Sequence

from ..base import buffer_pool, failure, tasks
from . import directory_queue, files, large_file, process_pool, small_files

# A larger file is written as it comes.
SMALL_BYTES = 4 * 2**20
WRITING_THREADS, CLOSING_THREADS = 32, 16
LOOK_SECONDS = 1


class TreeWriter:
    """The files of a tree, while they are written. One serves many threads, made before them.

    Args:
        made: Makes files.
    """

    def __init__(self, made: files.TreeFiles) -> None:
        self._files = made
        self._crew = process_pool.ProcessPool(made)
        self._pool = concurrent.futures.ThreadPoolExecutor(WRITING_THREADS)
        self._buffers = buffer_pool.BufferPool()
        self._lock = threading.Lock()
        self._opening: dict[str, concurrent.futures.Future[int]] = {}
        self._closing = directory_queue.DirectoryQueue(
            made.make_directory, threads=CLOSING_THREADS
        )

    def make_directory(self, path: str, done: Callable[[], None] = lambda: None) -> None:
        """Makes a directory, and those above it.

        Args:
            path: Its path in the tree.
            done: Called when it is there.
        """

        def made(_: Sequence[str]) -> None:
            done()

        self._crew.submit(path, process_pool.Command((), (), process_pool.ignore, made))

    def new_batch(self, owner: small_files.WriteListener) -> small_files.SmallFileBatch:
        """For one thread to write small files with."""
        return small_files.SmallFileBatch(self, owner)

    def write_small(
        self, small: Sequence[small_files.SmallFile], owner: small_files.WriteListener
    ) -> None:
        """Writes files of one directory whose content is in memory.

        It returns when there is room for the next ones.

        Raises:
            Failure: An earlier file could not be written.
        """
        for each in small:
            self._wait_for_opening(each.path)
        # The contents are not kept: they are with the process that writes them.
        told = [(each.number, each.path, each.size) for each in small]

        def replacing(index: int) -> None:
            number, path, _ = told[index]
            owner.record_replacement(number, path)

        def done(digests: Sequence[str]) -> None:
            pairs = zip(told, digests)  # noqa: B905 - of 3.9
            owner.record_written(
                [small_files.WrittenFile(*each, sha256) for each, sha256 in pairs]
            )

        owner.add_pending(len(small))
        order = process_pool.Command(
            [files.NewFile(each.path, each.size, each.executable) for each in small],
            [block for each in small for block in each.data],
            replacing,
            done,
        )
        self._crew.submit(small[0].path.rpartition("/")[0], order)

    def write_large(
        self,
        number: int,
        path: str,
        chunks: Iterable[bytes],
        owner: small_files.WriteListener,
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
        wanted = files.NewFile(path, 0, executable)
        file = self.begin_large(number, wanted, owner, algorithms=["sha256"])
        try:
            for chunk in chunks:
                file.write(chunk)
        except BaseException:
            file.abandon()
            raise
        self.finish_large(file, number, owner)

    def begin_large(
        self,
        number: int,
        wanted: files.NewFile,
        owner: small_files.WriteListener,
        *,
        start: int = 0,
        algorithms: Collection[str],
    ) -> large_file.LargeFile:
        """Has a file created in its directory's turn, and does not wait for that.

        Args:
            number: What its owner calls it.
            wanted: The file, without content.
            owner: Who wants it written.
            start: Where it is filled from.
            algorithms: What its content is hashed with.

        Returns:
            The file, for `finish`.

        Raises:
            Failure: An earlier file could not be written.
        """

        def replacing(_: int) -> None:
            owner.record_replacement(number, wanted.path)

        def done(_: Sequence[str]) -> None:
            created.set()

        self._wait_for_opening(wanted.path)
        owner.add_pending(1)
        created = threading.Event()
        order = process_pool.Command([wanted], (), replacing, done)
        self._crew.submit(wanted.path.rpartition("/")[0], order)

        def opening() -> int:
            try:
                while not created.wait(LOOK_SECONDS):
                    self._crew.check()
                return self._files.open(wanted.path)
            finally:
                with self._lock:
                    # Parts of one file are opened by many at once.
                    self._opening.pop(wanted.path, None)

        with self._lock:
            opened = self._opening[wanted.path] = self._pool.submit(opening)
        return large_file.LargeFile(
            opened.result,
            wanted.path,
            start=start,
            digests={name: tasks.hasher(name) for name in algorithms},
            pool=self._pool,
            buffers=self._buffers,
        )

    def _wait_for_opening(self, path: str) -> None:
        """What comes after a file of the same name must not be there before that is opened."""
        if opening := self._opening.get(path):
            concurrent.futures.wait([opening])

    def finish_large(
        self, file: large_file.LargeFile, number: int, owner: small_files.WriteListener
    ) -> None:
        """Closes a file in some other thread, when the rest of it is written."""

        def close() -> None:
            file.close()
            sha256 = file.digests["sha256"].hexdigest() if file.digests else ""
            owner.record_written(
                [small_files.WrittenFile(number, file.path, file.position, sha256)]
            )

        self._closing.submit("", lambda: close, files.FILE_BYTES)

    def wait(self) -> None:
        """Returns when all that was asked for is on the volume.

        Raises:
            Failure: It is not.
        """
        self._crew.wait()
        self._closing.wait()

    def stop(self) -> None:
        """Takes nothing more, and ends what is under way."""
        error = failure.stopped()
        self._crew.fail(error)
        self._closing.fail(error)
        self._crew.close()
        self._pool.shutdown(wait=False)

    def close(self) -> None:
        """Ends the threads that close files, when nothing is left to be done."""
        self._closing.close()
