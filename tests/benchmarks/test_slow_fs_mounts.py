"""The mounts of the file system of the benchmark: what they share, and what a kernel limits."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import os
import pathlib
from collections.abc import Callable, Generator

import pytest

from benchmarks import slow_mount

pytestmark = pytest.mark.skipif(bool(slow_mount.missing()), reason=slow_mount.missing())

TWO_SLOTS = dataclasses.replace(slow_mount.EFS, slots=2)
DIRECTORIES = 6
# So long that requests overlap on a busy machine.
SECONDS = 0.1


@contextlib.contextmanager
def measured(
    nodes: tuple[int, ...], limits: slow_mount.Limits = slow_mount.EFS
) -> Generator[slow_mount.Mounts]:
    """Mount a tree with some directories, and count only what happens afterwards."""
    with slow_mount.mounted(0, 0, nodes=nodes, limits=limits) as slow:
        for number in range(DIRECTORIES):
            (slow.path / str(number)).mkdir()
        slow.set_latencies(SECONDS, SECONDS)
        slow.reset()
        yield slow


def side_by_side(calls: list[Callable[[], object]]) -> None:
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        for call in [pool.submit(call) for call in calls]:
            call.result()


def test_mounts_of_one_node_share_its_slots_and_another_node_has_its_own():
    with measured((0, 0, 1), TWO_SLOTS) as slow:
        side_by_side(
            [
                (path / str(directory) / str(number)).mkdir
                for number, path in enumerate(slow.paths)
                for directory in range(DIRECTORIES)
            ]
        )
        counters = slow.counters()
    assert counters.largest == 2
    assert counters.waiting > 0
    assert counters.by_node[0] >= 2 * DIRECTORIES
    assert counters.by_node[1] >= DIRECTORIES
    assert sum(counters.by_node[2:]) == 0


def test_requests_without_a_delay_meet_no_limit():
    with measured((0,), TWO_SLOTS) as slow:
        slow.set_latencies(0, 0)
        (slow.path / "0" / "more").mkdir()
        counters = slow.counters()
    assert (counters.held, counters.largest, sum(counters.by_node)) == (0, 0, 0)


def test_one_mount_creates_one_file_at_a_time_in_a_directory():
    with measured((0,)) as slow, contextlib.ExitStack() as opened:
        parent = os.open(slow.path / "0", os.O_PATH | os.O_DIRECTORY)
        opened.callback(os.close, parent)
        slow.reset()

        def create(number: int) -> None:
            made = os.open(f"{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=parent)
            opened.callback(os.close, made)

        side_by_side([lambda number=number: create(number) for number in range(8)])
        counters = slow.counters()
    assert counters.operations["create"] == 8
    assert counters.largest == 1


def test_one_mount_creates_files_in_many_directories_at_the_same_time():
    with measured((0,)) as slow:
        side_by_side([(slow.path / str(number) / "new").mkdir for number in range(DIRECTORIES)])
        assert slow.counters().largest > 1


@pytest.mark.parametrize("size", [1, 4096, 3 * 2**20])
def test_written_bytes_are_read_by_another_node_while_the_limits_bind(
    size: int, tmp_path: pathlib.Path
):
    content = os.urandom(size)
    with measured((0, 1), dataclasses.replace(TWO_SLOTS, node_bytes=2**30)) as slow:
        slow.set_latencies(0.001, 0.001)
        (slow.paths[0] / "0" / "file").write_bytes(content)
        assert (slow.paths[1] / "0" / "file").read_bytes() == content
        assert slow.counters().held > 0


def test_closing_a_file_takes_one_request_whether_it_was_written_or_read():
    with measured((0, 1)) as slow:
        slow.set_latencies(0.001, 0.002)
        writer, reader = (path / "0" / "file" for path in slow.paths)
        for path in slow.paths:
            (path / "0").stat()
        slow.reset()
        writer.write_bytes(b"content")
        assert reader.read_bytes() == b"content"
        # After the close of what was read, for which nobody waits.
        with pytest.raises(FileNotFoundError):
            (slow.paths[1] / "none").stat()
        counters = slow.counters()
    # A lookup, a create, a write and a close; a lookup, an open, a read, a close and a lookup.
    assert counters.by_node[:2] == [4, 5]
    assert counters.held == 8  # NFS looks no name up that it creates


def test_a_file_has_at_most_512_locks_and_another_has_its_own():
    with slow_mount.mounted(0, 0, nodes=(0, 1)) as slow, contextlib.ExitStack() as opened:
        paths = (slow.paths[0] / "one", slow.paths[1] / "one", slow.paths[0] / "other")
        one, seen_by_another_node, other = (
            opened.enter_context(path.open("ab")) for path in paths
        )
        for number in range(512):
            lock(one.fileno(), number)
        for refused in (one, seen_by_another_node):
            with pytest.raises(OSError, match="No locks available") as raised:
                lock(refused.fileno(), 512)
            assert raised.value.errno == errno.ENOLCK
        lock(other.fileno(), 512)
        fcntl.lockf(one, fcntl.LOCK_UN, 1, 0)
        lock(one.fileno(), 512)


def lock(fd: int, number: int) -> None:
    """Lock a byte; those between are free, so that no two locks become one."""
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * number)
