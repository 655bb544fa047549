"""Fills a large file: what has come while one write was under way is written by the next one.

It goes past the page cache (O_DIRECT of open(2), which NFS has): nothing is copied, the memory of
the container does not fill with what nobody there will read, and whatever could not be written is
told at once. Where a file system has none of that, it goes through the page cache.
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

# What may be on its way.
MOST_BYTES = 16 * 2**20


class LargeFile:
    """A file that is being filled from some position on. One thread uses it at a time.

    Args:
        opening: Opens it, when that can be done; called in whatever thread, once.
        path: Its path, for the user.
        start: Where its first byte belongs.
        digests: Hashes of what is written.
        pool: Threads that write.
        buffers: Memory for data that do not arrive in whole pages.

    Attributes:
        path: Its path.
        position: Where in the file the next byte belongs.
        written: All before it is written.
        digests: The hashes.
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
    ) -> None:
        self.path = path
        self.position = self.written = start
        self.digests = digests
        self._opening = opening
        self._descriptor = -1
        self._is_direct = False
        self._pool = pool
        self._buffers = buffers
        self._changed = threading.Condition()
        self._pending: collections.deque[buffer_pool.Buffer] = collections.deque()
        self._writing = False
        self._error: BaseException | None = None
        self._held: buffer_pool.Buffer | None = None
        self._filled = 0

    def write_block(self, buffer: buffer_pool.Buffer) -> None:
        """Has a buffer written that begins where a page does, in memory and in the file.

        Args:
            buffer: The buffer. All but the last one have whole pages.

        Raises:
            Failure: Something before it can not be written.
        """
        for digest in self.digests.values():
            digest.update(buffer.data)
        whole = not len(buffer.data) % mmap.PAGESIZE
        try:
            self._wait_for(MOST_BYTES - len(buffer.data) if whole else 0)
            if not whole:
                self._open()
                self._go_through_cache()
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
        """Has bytes written that lie anywhere, with those that come before and after them.

        Raises:
            Failure: Something before them can not be written.
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
        """Returns when all is written.

        Raises:
            Failure: Something can not be.
        """
        self._add_held()
        self._wait_for(0)
        self._open()

    def sync(self) -> None:
        """Makes sure that what is written is on the volume.

        Raises:
            Failure: It can not be.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise failure.from_os(error, self.path) from None

    def close(self) -> None:
        """Closes the file, when all is written.

        Raises:
            Failure: Something could not be written.
        """
        try:
            self.wait()
        except BaseException:
            self.abandon()
            raise
        files.close(self._descriptor, self.path)

    def abandon(self) -> None:
        """Closes the file, whatever is missing in it."""
        with self._changed:
            # A descriptor's number may be another file's as soon as it is closed.
            while self._writing:
                self._changed.wait()
        if self._held is not None:
            self._held.release()
        # What is to be opened is there then, and nobody makes it any more.
        with contextlib.suppress(Exception):
            os.close(self._open())

    def _add_held(self) -> None:
        if (buffer := self._held) is not None:
            self._held = None
            self.write_block(buffer._replace(data=buffer.data[: self._filled]))

    def _wait_for(self, most: int) -> None:
        """Returns when no more bytes than these are on their way."""
        with self._changed:
            while self._pending and self.position - self.written > most and not self._error:
                self._changed.wait()
            if self._error:
                raise self._error

    def _write(self) -> None:
        """Writes what there is until there is nothing, in some other thread."""
        while taken := self._take():
            size = 0
            try:
                if not self._error:
                    size = self._put([each.data for each in taken])
            except BaseException as error:  # noqa: BLE001 - the thread that fills it raises it
                self._error = error
            for each in taken:
                each.release()
            with self._changed:
                self.written += size
                for _ in taken:
                    self._pending.popleft()
                self._changed.notify_all()

    def _put(self, data: Sequence[memoryview]) -> int:
        try:
            try:
                return files.write_all(self._open(), data, self.written)
            except OSError as error:
                # There are file systems that want more than whole pages: open(2).
                if error.errno != errno.EINVAL or not self._is_direct:
                    raise
                self._go_through_cache()
                return files.write_all(self._descriptor, data, self.written)
        except OSError as error:
            raise failure.from_os(error, self.path) from None

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = self._opening()
            if not self.written % mmap.PAGESIZE:
                self._go_direct()
        return self._descriptor

    def _go_direct(self) -> None:
        """Has it written past the page cache from now on, where its file system can do that."""
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_DIRECT)
            self._is_direct = True

    def _go_through_cache(self) -> None:
        if self._is_direct:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, 0)
            self._is_direct = False

    def _take(self) -> tuple[buffer_pool.Buffer, ...]:
        with self._changed:
            if not self._pending:
                self._writing = False
                self._changed.notify_all()
            return tuple(self._pending)
