"""Write a large file: data that arrive during one write are written by the next one.

Writes bypass the page cache (O_DIRECT, see open(2); NFS supports it): nothing is copied, the
container's memory does not fill with pages that are not read again, and errors are reported at
once. If the file system does not support it, the page cache is used.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..base import buffer_pool, failure
from . import files

# The most bytes that are pending.
MOST_BYTES = 16 * 2**20


class LargeFile:
    """A file that is written from a position on. One thread uses it at a time.

    Args:
        opening: Opens it, and waits until that is possible; called once, in any thread.
        path: Its path, for messages.
        start: The position of its first byte.
        digests: The hashes of the data.
        pool: The threads that write.
        buffers: The memory for data that do not arrive in whole pages.
        executable: Whether it is executable.
        on_written: Called with the number of bytes that each write put on the volume.

    Attributes:
        path: Its path.
        executable: Whether it is executable.
        position: The position of the next byte.
        written: The position up to which all is written.
        digests: The hashes of the data.
    """

    def __init__(
        self,
        opening: Callable[[], int],
        path: str,
        *,
        start: int,
        digests: dict[str, Any],
        pool: concurrent.futures.Executor,
        buffers: buffer_pool.BufferPool,
        executable: bool = False,
        on_written: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.executable = executable
        self.position = self.written = start
        self.digests = digests
        self._opening = opening
        self._descriptor = -1
        self._is_direct = False
        self._pool = pool
        self._on_written = on_written
        self._buffers = buffers
        self._changed = threading.Condition()
        self._pending: collections.deque[buffer_pool.Buffer] = collections.deque()
        self._writing = False
        self._error: BaseException | None = None
        self._held: buffer_pool.Buffer | None = None
        self._filled = 0

    def write_block(self, buffer: buffer_pool.Buffer) -> None:
        """Queue a buffer that begins at a page, in memory and in the file, to be written.

        Args:
            buffer: The buffer. All but the last one consist of whole pages.

        Raises:
            Failure: Earlier data could not be written.
        """
        for digest in self.digests.values():
            digest.update(buffer.data)
        whole = not len(buffer.data) % mmap.PAGESIZE
        try:
            self._wait_for(MOST_BYTES - len(buffer.data) if whole else 0)
            if not whole:
                self._open()
                self._disable_direct()
        except BaseException:
            buffer.release()
            raise
        self.position += len(buffer.data)
        with self._changed:
            self._pending.append(buffer)
            if not self._writing:
                self._pool.submit(self._write)
                self._writing = True

    def write(self, chunk: bytes | memoryview) -> None:
        """Queue bytes at any alignment to be written, together with their neighbours.

        Raises:
            Failure: Earlier data could not be written.
        """
        view = memoryview(chunk)
        while view:
            if self._held is None:
                self._held, self._filled = self._buffers.acquire(), 0
            room = self._held.data[self._filled :]
            count = min(len(view), len(room))
            room[:count] = view[:count]
            self._filled += count
            view = view[count:]
            if count == len(room):
                self._add_held()

    def wait(self) -> None:
        """Wait until all data are written.

        Raises:
            Failure: Data could not be written.
        """
        self._add_held()
        self._wait_for(0)
        self._open()

    def sync(self) -> None:
        """Ensure that the written data are on the volume.

        Raises:
            Failure: They could not be written.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise failure.from_os(error, self.path) from None

    def close(self) -> None:
        """Close the file, when all data are written.

        Raises:
            Failure: Data could not be written.
        """
        try:
            self.wait()
        except BaseException:
            self.abandon()
            raise
        files.close(self._descriptor, self.path)

    def abandon(self) -> None:
        """Close the file, even if it is incomplete."""
        with self._changed:
            # Once closed, a descriptor's number may belong to another file.
            while self._writing:
                self._changed.wait()
        if self._held is not None:
            self._held.release()
        # Opening waits for the creation, so that none is pending afterwards.
        with contextlib.suppress(Exception):
            os.close(self._open())

    def _add_held(self) -> None:
        if (buffer := self._held) is not None:
            self._held = None
            self.write_block(buffer._replace(data=buffer.data[: self._filled]))

    def _wait_for(self, most: int) -> None:
        """Wait until at most this many bytes are pending."""
        with self._changed:
            while self._pending and self.position - self.written > most and not self._error:
                self._changed.wait()
            if self._error:
                raise self._error

    def _write(self) -> None:
        """Write the pending buffers until there are none, in a thread of the pool."""
        while buffers := self._next_buffers():
            size = 0
            try:
                if not self._error:
                    size = self._put([each.data for each in buffers])
            except BaseException as error:  # noqa: BLE001 - the thread that uses it raises it
                self._error = error
            self._on_written(size)
            for each in buffers:
                each.release()
            with self._changed:
                self.written += size
                for _ in buffers:
                    self._pending.popleft()
                self._changed.notify_all()

    def _put(self, data: Sequence[memoryview]) -> int:
        try:
            try:
                return files.write_all(self._open(), data, self.written)
            except OSError as error:
                # Some file systems require more than whole pages: open(2).
                if error.errno != errno.EINVAL or not self._is_direct:
                    raise
                self._disable_direct()
                return files.write_all(self._descriptor, data, self.written)
        except OSError as error:
            raise failure.from_os(error, self.path) from None

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = self._opening()
            if not self.written % mmap.PAGESIZE:
                self._enable_direct()
        return self._descriptor

    def _enable_direct(self) -> None:
        """Bypass the page cache from now on, if the file system supports it."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_DIRECT)
            self._is_direct = True

    def _disable_direct(self) -> None:
        if self._is_direct:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, 0)
            self._is_direct = False

    def _next_buffers(self) -> tuple[buffer_pool.Buffer, ...]:
        with self._changed:
            if not self._pending:
                self._writing = False
                self._changed.notify_all()
            return tuple(self._pending)
