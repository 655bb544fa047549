"""The shards in the plan of a load."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile

from hypothesis import given
from hypothesis import strategies as st

from datasets.loader.access import open_directory
from datasets.loader.base import tasks
from datasets.loader.http import http_client
from datasets.loader.work import list_queries, plan, planner
from sandbox.servers import origin_server
from tests.loader import loader_rig, nested_rig

MIB = 2**20
NO_QUERIES = list_queries.ListQueries(tasks.Task("x", "v", "f"), http_client.Client(1))


@given(
    sizes=st.lists(st.integers(0, 300 * MIB), min_size=1, max_size=300),
    indexes=st.integers(1, 40),
)
def test_every_item_is_in_one_shard_and_every_shard_is_one_pod_s_own(
    sizes: list[int], indexes: int
) -> None:
    items = [
        plan.Item(plan.FILE, url=f"u/{number}", size=size) for number, size in enumerate(sizes)
    ]
    with tempfile.TemporaryDirectory() as home:
        planned = plan.write(open_directory.open_root(home), items, NO_QUERIES, indexes=indexes)
        found = [item for shard in range(planned.shards) for item in planned.read(shard)]

    assert found == list(enumerate(items))
    own = [shard for index in range(indexes) for shard in planned.divide(index, indexes)[0]]
    assert sorted(own) == list(range(planned.shards))


def test_what_is_a_little_more_than_the_shards_hold_is_no_one_pod_s_to_do(
    tmp_path: pathlib.Path,
) -> None:
    # 1,056 MiB: 17 shards of 64 MiB, of which one of four pods would have five.
    items = [plan.Item(plan.FILE, url=f"u/{number}", size=MIB) for number in range(1000)]

    planned = plan.write(open_directory.open_root(str(tmp_path)), items, NO_QUERIES, indexes=4)

    shares = [
        sum(planned.spans[shard][1] - planned.spans[shard][0] for shard in own)
        for own in (planned.divide(index, 4)[0] for index in range(4))
    ]
    assert planned.shards == 20
    assert max(shares) < 1.02 * min(shares)


def test_archives_are_looked_into_side_by_side_for_the_plan(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    held = origin_server.Faults(hold_after=0)
    urls = [
        served.put(f"{number}.tar", nested_rig.NESTED, faults=held)
        for number in range(planner.PROBED_AT_ONCE)
    ]
    started = rig.start(" ".join(urls), unpack="recursive", timeout=60, patience=60)
    with contextlib.ExitStack() as stack:
        stack.callback(loader_rig.kill, started)
        # All are asked for before one of them has answered.
        loader_rig.wait_until(lambda: len({each.target for each in served.requests}) == len(urls))
        served.release()
        assert rig.wait(started).code == 0
    assert set(rig.files().values()) == set(nested_rig.UNPACKED.values())
