"""Write files into a tree, many at once, in an order that suits a remote file system."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Collection, Iterable, Sequence

from ..base import buffer_pool, failure, tasks
from . import directory_queue, files, large_file, process_pool, small_files

# A larger file is written while its content arrives.
SMALL_BYTES = 4 * 2**20
WRITING_THREADS, CLOSING_THREADS = 32, 16
LOOK_SECONDS = 1


class TreeWriter:
    """A writer of the files of a tree. It is created before the threads that share it.

    Args:
        tree_files: Creates and opens the files.
    """

    def __init__(self, tree_files: files.TreeFiles) -> None:
        self._files = tree_files
        self._processes = process_pool.ProcessPool(tree_files)
        self._pool = concurrent.futures.ThreadPoolExecutor(WRITING_THREADS)
        self._buffers = buffer_pool.BufferPool()
        self._lock = threading.Lock()
        self._opening: dict[str, concurrent.futures.Future[int]] = {}
        self._closing = directory_queue.DirectoryQueue(
            tree_files.make_directory, threads=CLOSING_THREADS
        )

    def make_directory(self, path: str, done: Callable[[], None] = lambda: None) -> None:
        """Make a directory, and those above it.

        Args:
            path: The path in the tree.
            done: Called when it exists.
        """

        def finish(_: Sequence[str]) -> None:
            done()

        self._processes.submit(path, process_pool.Command((), (), process_pool.ignore, finish))

    def new_batch(self, listener: small_files.WriteListener) -> small_files.SmallFileBatch:
        """Return a batch of small files for one thread."""
        return small_files.SmallFileBatch(lambda small: self.write_small(small, listener))

    def write_small(
        self, small: Sequence[small_files.SmallFile], listener: small_files.WriteListener
    ) -> None:
        """Write files of one directory whose content is in memory.

        Return when there is room for the next ones.

        Raises:
            Failure: An earlier file could not be written.
        """
        for each in small:
            self._wait_for_opening(each.path)
        # The contents are not kept: the worker process has them.
        described = [(each.number, each.path, each.size, each.executable) for each in small]

        def replace(index: int) -> None:
            number, path, *_ = described[index]
            listener.record_replacement(number, path)

        def done(digests: Sequence[str]) -> None:
            listener.count_written(sum(size for _, _, size, _ in described))
            pairs = zip(described, digests)  # noqa: B905 - of 3.9
            listener.record_written(
                [small_files.WrittenFile(*each, sha256) for each, sha256 in pairs]
            )

        listener.add_pending(len(small))
        command = process_pool.Command(
            [files.NewFile(each.path, each.size, each.executable) for each in small],
            [block for each in small for block in each.data],
            replace,
            done,
        )
        self._processes.submit(small[0].path.rpartition("/")[0], command)

    def write_large(
        self,
        number: int,
        path: str,
        chunks: Iterable[bytes],
        listener: small_files.WriteListener,
        *,
        executable: bool,
    ) -> None:
        """Write a file while its content arrives; return when all of it is queued.

        Args:
            number: Its number, as the listener knows it.
            path: The path in the tree.
            chunks: The content.
            listener: The listener to its writing.
            executable: Whether the file is executable.
        """
        new = files.NewFile(path, 0, executable)
        file = self.begin_large(number, new, listener, algorithms=["sha256"])
        try:
            for chunk in chunks:
                file.write(chunk)
        except BaseException:
            file.abandon()
            raise
        self.finish_large(file, number, listener)

    def begin_large(
        self,
        number: int,
        new: files.NewFile,
        listener: small_files.WriteListener,
        *,
        start: int = 0,
        algorithms: Collection[str],
    ) -> large_file.LargeFile:
        """Queue the creation of a file without waiting for it.

        Args:
            number: Its number, as the listener knows it.
            new: The file, without content.
            listener: The listener to its writing.
            start: The position of the first byte that is written.
            algorithms: The names of the hashes of its content.

        Returns:
            The file, for `finish_large`.

        Raises:
            Failure: An earlier file could not be written.
        """

        def replace(_: int) -> None:
            listener.record_replacement(number, new.path)

        def done(_: Sequence[str]) -> None:
            created.set()

        self._wait_for_opening(new.path)
        listener.add_pending(1)
        created = threading.Event()
        directory = new.path.rpartition("/")[0]
        command = process_pool.Command([new], (), replace, done)
        self._processes.submit(directory, command)

        def open_created() -> int:
            try:
                while not created.wait(LOOK_SECONDS):
                    self._processes.check()
                # Another pod may just have removed it, to replace it by the same member.
                opened = self._files.directory(directory)
                return self._files.create(opened, new._replace(shared=True), lambda: None)
            finally:
                with self._lock:
                    # Many threads open parts of one file at once.
                    self._opening.pop(new.path, None)

        with self._lock:
            opened = self._opening[new.path] = self._pool.submit(open_created)
        return large_file.LargeFile(
            opened.result,
            new.path,
            start=start,
            digests={name: tasks.hasher(name) for name in algorithms},
            pool=self._pool,
            buffers=self._buffers,
            on_written=listener.count_written,
            executable=new.executable,
        )

    def _wait_for_opening(self, path: str) -> None:
        """Wait until an earlier file of this path is open: the next one replaces it."""
        if opening := self._opening.get(path):
            concurrent.futures.wait([opening])

    def finish_large(
        self, file: large_file.LargeFile, number: int, listener: small_files.WriteListener
    ) -> None:
        """Close a file in another thread, when the rest of it is written."""

        def close() -> None:
            file.close()
            sha256 = file.digests["sha256"].hexdigest() if file.digests else ""
            written = small_files.WrittenFile(
                number, file.path, file.position, file.executable, sha256
            )
            listener.record_written([written])

        self._closing.submit("", lambda: close, files.FILE_BYTES)

    def wait(self) -> None:
        """Wait until all files and directories are on the volume.

        Raises:
            Failure: One of them could not be written.
        """
        self._processes.wait()
        self._closing.wait()

    def stop(self) -> None:
        """Refuse further work, and cancel the pending work."""
        error = failure.stopped()
        self._processes.fail(error)
        self._closing.fail(error)
        self._processes.close()
        self._pool.shutdown(wait=False)

    def close(self) -> None:
        """End the threads that close files, when no work is pending."""
        self._closing.close()
