"""Open files on the volume as responses to requests; look at what may be published of them."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from collections.abc import Mapping
from email import message as email_message

from ..access import directory_cache, open_directory
from ..base import failure, tasks, urls
from ..http import http_client
from . import volume_path

# What an entry's mode must have for all to read it.
FILE_FOR_ALL, DIRECTORY_FOR_ALL = 0o004, 0o005
# What a directory's mode must have for all to reach what is below it by its name.
WAY_FOR_ALL = 0o001
BLOCK_BYTES = 512
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
CHANGED = "changed while it was read"


class FileOpener:
    """Opens files on the volume as responses to requests.

    Args:
        task: The task.
    """

    def __init__(self, task: tasks.Task) -> None:
        self._limits = task.limits
        self._directories = directories(task)

    def __call__(self, url: str, headers: Mapping[str, str]) -> http_client.Response:
        """Open a file, or a range of it.

        Raises:
            StartOver: It is not the file that was listed.
            RetryLater: The volume is in trouble.
            Failure: Not all may read it.
        """
        try:
            directory, name = self._directories.locate(volume_path.path_of(url))
            descriptor, status = directory.open_with_status(name)
        except open_directory.NotRegularError:
            raise failure.StartOver(CHANGED) from None
        except OSError as error:
            if error.errno in GONE:
                raise failure.StartOver(CHANGED) from None
            raise _trouble(error) from None
        try:
            check_file(urls.redact(url), "", status, self._limits)
            if headers.get("If-Range", "") not in {"", validator(status)}:
                raise failure.StartOver(CHANGED)
            return _response(descriptor, status, url, headers.get("Range", ""))
        except BaseException:
            os.close(descriptor)
            raise


class _OpenFile:
    """An open file as an answer of http.client.

    Args:
        descriptor: Its descriptor, which it owns.
        opened: Its status when it was opened.
        start: The position of the first byte.
        end: The position after the last one.

    Attributes:
        status: The status of the response.
        headers: Its headers.
    """

    def __init__(self, descriptor: int, opened: os.stat_result, start: int, end: int) -> None:
        self.status = 200
        self.headers = email_message.Message()
        self._descriptor = descriptor
        self._opened = opened
        self._position = start
        self._end = end
        self._lock = threading.Lock()
        self._closed = False

    def readinto(self, buffer: memoryview) -> int:
        room = buffer[: self._end - self._position]
        try:
            count = os.preadv(self._descriptor, [room], self._position) if room else 0
            self._position += count
            ended = self._position == self._end or not count
            if ended and validator(os.fstat(self._descriptor)) != validator(self._opened):
                raise failure.StartOver(CHANGED)
        except OSError as error:
            if error.errno in GONE:
                raise failure.StartOver(CHANGED) from None
            raise _trouble(error) from None
        return count

    def read(self, count: int) -> bytes:
        buffer = bytearray(count)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def isclosed(self) -> bool:
        return self._position == self._end

    def close(self) -> None:
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            os.close(self._descriptor)


def directories(task: tasks.Task) -> directory_cache.DirectoryCache:
    """Return the directories of the volume, as far as all may reach and read a source in them."""
    tops = [
        volume_path.path_of(source.url)
        for source in task.sources
        if urls.scheme(source.url) == urls.VOLUME
    ]

    def check(directory: open_directory.OpenDirectory) -> None:
        path = f"{directory.path}/"
        needed = 0
        if any(f"{top}/".startswith(path) for top in tops):
            needed |= WAY_FOR_ALL
        if any(path.startswith(f"{top}/") for top in tops):
            needed |= DIRECTORY_FOR_ALL
        if directory.status().st_mode & needed != needed:
            raise _private(f"the directory {failure.quote('/' + directory.path)}")

    return directory_cache.DirectoryCache(open_directory.open_root(task.root), check)


def check_file(shown: str, below: str, status: os.stat_result, limits: tasks.Limits) -> None:
    """Refuse what is no file, what not all may read, and what is nearly all hole.

    Raises:
        Failure: It is one of these.
        StartOver: It was no directory a moment ago, and is one now.
    """
    name = f"{failure.quote(below)} in {shown}" if below else shown
    if stat.S_ISLNK(status.st_mode):
        raise failure.Failure(
            f"{name} is a symbolic link, which is not followed: put what it leads to in its "
            "place, or leave it out by exclude="
        )
    if stat.S_ISDIR(status.st_mode):
        raise failure.StartOver(CHANGED)
    if not stat.S_ISREG(status.st_mode):
        raise failure.Failure(
            f"{name} is no file (a pipe, socket or device): remove it, or leave it out by exclude="
        )
    if not status.st_mode & FILE_FOR_ALL:
        raise _private(name)
    written = status.st_blocks * BLOCK_BYTES
    if status.st_size > max(limits.free_bytes, written * limits.most_expansion):
        raise failure.Failure(
            f"{name} is sparse: of its {status.st_size} bytes {written} are on the volume, and a "
            "copy would have all of them: leave it out by exclude="
        )


def _private(name: str) -> failure.Failure:
    return failure.Failure(
        f"not all users may read {name}, so the loader does not publish it: if all may, run "
        "chmod -R o+rX on the source's path first; or leave it out by exclude="
    )


def is_executable(status: os.stat_result) -> bool:
    """Tell whether anybody may execute a file."""
    return bool(status.st_mode & 0o111)


def validator(status: os.stat_result) -> str:
    """Return the version of a file: its owner can set each of its times but the last."""
    return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_ctime_ns:x}"'


def _response(
    descriptor: int, status: os.stat_result, url: str, wanted: str
) -> http_client.Response:
    """Return the response to a request for a file."""
    size = status.st_size
    found = RANGE.fullmatch(wanted)
    start = int(found[1]) if found else 0
    end = min(int(found[2]) + 1, size) if found and found[2] else size
    if found and start >= end:
        raise failure.StartOver(CHANGED)
    answer = _OpenFile(descriptor, status, start, end)
    answer.headers["Content-Length"] = str(end - start)
    answer.headers["Accept-Ranges"] = "bytes"
    answer.headers["ETag"] = validator(status)
    if found:
        answer.status = 206
        answer.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return http_client.Response(answer, url, lambda _complete: None)


def _trouble(error: OSError) -> http_client.RetryLater:
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return http_client.RetryLater(f"cannot be read ({reason})")
