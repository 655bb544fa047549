"""Writes of large files to the volume, and the errors of failed ones."""

from __future__ import annotations

import concurrent.futures
import hashlib
import mmap
import os
import pathlib
import random
from collections.abc import Iterator

import pytest

from datasets.loader.base import buffer_pool, failure
from datasets.loader.tree import large_file

PAGE = mmap.PAGESIZE
SPARE = buffer_pool.BUFFER_BYTES


@pytest.fixture(name="pool")
def fixture_pool() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield pool


def begun(
    path: pathlib.Path,
    pool: concurrent.futures.Executor,
    buffers: buffer_pool.BufferPool,
    start: int = 0,
) -> large_file.LargeFile:
    def opening() -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)

    digests = {"sha256": hashlib.sha256()}
    return large_file.LargeFile(
        opening, path.name, start=start, digests=digests, pool=pool, buffers=buffers
    )


def is_direct(path: pathlib.Path) -> bool:
    """Tell whether the one descriptor of a file bypasses the page cache."""
    (mine,) = (each for each in pathlib.Path("/proc/self/fd").iterdir() if _is(each, path))
    flags = pathlib.Path(f"/proc/self/fdinfo/{mine.name}").read_text().split("flags:")[1]
    return bool(int(flags.split()[0], 8) & os.O_DIRECT)


def _is(link: pathlib.Path, path: pathlib.Path) -> bool:
    try:
        return link.samefile(path)
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "size", [0, 1, PAGE, SPARE - 1, SPARE, SPARE + 1, 7 * SPARE, 7 * SPARE + PAGE + 3]
)
def test_what_comes_in_chunks_of_any_size_is_written_as_it_came(
    tmp_path: pathlib.Path, pool: concurrent.futures.Executor, size: int
) -> None:
    content = random.Random(size).randbytes(size)
    file = begun(tmp_path / "file", pool, buffer_pool.BufferPool())
    at, chance = 0, random.Random(1)
    while at < size:
        step = chance.choice([1, 100, PAGE, 300_000, 2 * SPARE + 5])
        file.write(content[at : at + step])
        at += step
    file.close()
    assert (tmp_path / "file").read_bytes() == content
    assert file.digests["sha256"].digest() == hashlib.sha256(content).digest()
    assert file.position == file.written == size


def test_whole_pages_go_past_the_page_cache_and_the_rest_does_not(
    tmp_path: pathlib.Path, pool: concurrent.futures.Executor
) -> None:
    file = begun(tmp_path / "file", pool, buffer_pool.BufferPool())
    file.write(b"x" * SPARE)
    file.wait()
    if not is_direct(tmp_path / "file"):
        pytest.skip("this file system has no O_DIRECT")
    file.write(b"y")
    file.wait()
    assert not is_direct(tmp_path / "file")
    file.close()


def test_it_is_continued_in_the_middle(
    tmp_path: pathlib.Path, pool: concurrent.futures.Executor
) -> None:
    for start in (PAGE, PAGE + 7):
        (tmp_path / "file").write_bytes(b"a" * start + b"z")
        file = begun(tmp_path / "file", pool, buffer_pool.BufferPool(), start)
        file.write(b"b" * (2 * SPARE + 9))
        file.close()
        assert (tmp_path / "file").read_bytes() == b"a" * start + b"b" * (2 * SPARE + 9)


def test_unaligned_memory_is_written_through_the_page_cache(
    tmp_path: pathlib.Path, pool: concurrent.futures.Executor
) -> None:
    content = random.Random(5).randbytes(4 * PAGE + 16)
    file = begun(tmp_path / "file", pool, buffer_pool.BufferPool())
    # Most local file systems require memory that is aligned to sectors.
    file.write_block(buffer_pool.Buffer(memoryview(content)[3 : 3 + 2 * PAGE]))
    file.write_block(buffer_pool.Buffer(memoryview(content)[3 + 2 * PAGE : 3 + 4 * PAGE]))
    file.close()
    assert (tmp_path / "file").read_bytes() == content[3 : 3 + 4 * PAGE]


def test_a_full_volume_is_reported_and_the_memory_is_released(
    pool: concurrent.futures.Executor,
) -> None:
    buffers = buffer_pool.BufferPool()
    for _ in range(2 * buffer_pool.MOST_BUFFERS):
        file = begun(pathlib.Path("/dev/full"), pool, buffers)
        with pytest.raises(failure.Failure, match="no space is left on the volume"):
            for _ in range(20):
                file.write(b"x" * SPARE)
        file.write(b"a block that is not full yet")
        file.abandon()


def test_a_full_volume_is_reported_when_the_file_is_closed_at_the_latest(
    pool: concurrent.futures.Executor,
) -> None:
    file = begun(pathlib.Path("/dev/full"), pool, buffer_pool.BufferPool())
    file.write(b"x")
    with pytest.raises(failure.Failure, match="no space is left on the volume"):
        file.close()
