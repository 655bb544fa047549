"""The requests that the loader makes to the file system: they are counted, not timed."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Generator

import pytest

from benchmarks import slow_mount
from sandbox.servers import origin_server
from tests.loader import loader_rig

pytestmark = pytest.mark.skipif(bool(slow_mount.missing()), reason=slow_mount.missing())

FILES, DIRECTORIES = 600, 6


@contextlib.contextmanager
def counted(rig: loader_rig.Rig, url: str) -> Generator[slow_mount.Mounts]:
    """Load a data set by one mount; count what another one does that knows nothing of it."""
    # The kernel keeps what it knows for as long as a test takes on a busy machine.
    with slow_mount.mounted(0, 0, nodes=(0, 1), valid_seconds=600) as slow:
        rig.volume = slow.paths[0]
        assert rig.wait(rig.start(url)).code == 0
        rig.volume = slow.paths[1]
        slow.reset()
        yield slow


def tree() -> bytes:
    return loader_rig.tar(
        loader_rig.entry(f"d{number % DIRECTORIES}/{number}", b"x" * number)
        for number in range(1, FILES + 1)
    )


def operations(slow: slow_mount.Mounts) -> collections.Counter[str]:
    return collections.Counter(slow.counters().operations)


def test_a_file_is_verified_in_three_requests(rig: loader_rig.Rig, served: origin_server.Origin):
    with counted(rig, served.put("s.tar", tree())) as slow:
        assert rig.run_verb("verify")[-1]["files"] == FILES
        made = operations(slow)
    assert FILES <= made["open"] < FILES + 10
    assert FILES <= made["read"] < FILES + 20
    # The listing of its directory has a file's status: no request asks for one.
    assert made["lookup"] + made["getattr"] < 6 * DIRECTORIES
    assert made["readdir"] + made["readdirplus"] < 12 * DIRECTORIES
