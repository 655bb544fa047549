"""The limits of the benchmark's file system, on a clock that only the requests move."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterable

import pytest

from benchmarks import slow_mount

pytestmark = pytest.mark.skipif(not slow_mount.compiler(), reason="a C compiler is missing")

NO_LIMITS = slow_mount.Limits(1024, 0, 0, 0, 0, 0)
MIB = 2**20
SECOND, MILLISECOND = 10**9, 10**6
READ, WRITE = MILLISECOND, 2_700_000


@dataclasses.dataclass(frozen=True)
class Arrival:
    """A request that reaches the file system's client at a time."""

    at: int = 0
    node: int = 0
    direction: str = "write"
    size: int = 0


@dataclasses.dataclass(frozen=True)
class Times:
    """When each request got its slot and its reply in ns, and the most slots used on a node."""

    started: list[int]
    due: list[int]
    largest: int


def times(limits: slow_mount.Limits, arrivals: Iterable[Arrival]) -> Times:
    lines = [f"{each.at} {each.node} {each.direction} {each.size}" for each in arrivals]
    command = [slow_mount.program(), "--trace", *slow_mount.options_of(limits)]
    output = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    pairs = [line.split() for line in output[:-1]]
    assert len(pairs) == len(lines)
    largest = int(output[-1].split()[1])
    return Times([int(pair[0]) for pair in pairs], [int(pair[1]) for pair in pairs], largest)


def limited(**changes: int) -> slow_mount.Limits:
    return dataclasses.replace(NO_LIMITS, **changes)


def test_a_request_takes_its_latency_while_no_limit_binds():
    read, write = Arrival(5, 0, "read", 4096), Arrival(7, 0, "write", 4096)
    assert times(NO_LIMITS, [read, write]).due == [5 + READ, 7 + WRITE]


def test_a_request_waits_for_a_slot_and_then_takes_its_time():
    result = times(limited(slots=2), [Arrival(time) for time in (0, 1, 2, 3, 4)])
    assert result.started == [0, 1, WRITE, WRITE + 1, 2 * WRITE]
    assert result.due == [start + WRITE for start in result.started]
    assert result.largest == 2


@pytest.mark.parametrize("slots", [1, 2, 3, 7, 64, 1000, 1024])
def test_so_many_requests_are_under_way_as_a_node_has_slots(slots: int):
    result = times(limited(slots=slots), [Arrival() for _ in range(3000)])
    assert result.largest == slots
    assert max(result.due) == -(-3000 // slots) * WRITE


def test_reads_give_their_slots_back_before_writes():
    arrivals = [Arrival(0, 0, "write"), Arrival(0, 0, "read"), Arrival(0), Arrival(0)]
    result = times(limited(slots=2), arrivals)
    assert result.started == [0, 0, READ, WRITE]


def test_the_slots_are_not_taken_while_the_node_is_idle():
    late = [Arrival(SECOND) for _ in range(3)]
    result = times(limited(slots=2), [Arrival(), Arrival(), *late])
    assert result.started == [0, 0, SECOND, SECOND, SECOND + WRITE]


def test_requests_of_one_node_share_its_slots_and_those_of_another_do_not():
    arrivals = [Arrival(node=node) for node in (0, 0, 1, 1)]
    assert times(limited(slots=1), arrivals).due == [WRITE, 2 * WRITE, WRITE, 2 * WRITE]


def test_a_small_file_of_three_operations_is_limited_by_the_slots_of_a_node():
    files = 10_000
    result = times(slow_mount.EFS, [Arrival() for _ in range(3 * files)])
    assert files * SECOND / max(result.due) == pytest.approx(64 / (3 * 0.0027), rel=0.01)


def test_bytes_of_one_node_queue_for_its_wire_in_both_directions():
    arrivals = [Arrival(0, 0, "write", 5 * MIB), Arrival(0, 0, "read", 10 * MIB)]
    result = times(limited(node_bytes=500 * MIB), arrivals)
    assert result.started == [0, 0]
    assert result.due == [10 * MILLISECOND + WRITE, 30 * MILLISECOND + READ]


def test_the_wire_of_a_node_is_not_that_of_another():
    arrivals = [Arrival(0, node, "write", 5 * MIB) for node in (0, 1, 0)]
    due = times(limited(node_bytes=500 * MIB), arrivals).due
    assert due == [millis * MILLISECOND + WRITE for millis in (10, 10, 20)]


def test_a_wire_that_was_idle_gives_no_more_than_its_rate_afterwards():
    arrivals = [Arrival(SECOND, 0, "write", 5 * MIB) for _ in range(2)]
    due = times(limited(node_bytes=500 * MIB), arrivals).due
    assert due == [SECOND + millis * MILLISECOND + WRITE for millis in (10, 20)]


def test_one_node_writes_a_large_file_at_the_rate_of_its_wire():
    size = 1024
    result = times(slow_mount.EFS, [Arrival(size=MIB) for _ in range(size)])
    assert size * SECOND / max(result.due) == pytest.approx(500, rel=0.002)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_nodes_share_the_bytes_of_the_file_system(direction: str):
    limits = limited(node_bytes=500 * MIB, **{f"{direction}_bytes": 1000 * MIB})
    arrivals = [Arrival(0, node, direction, MIB) for _ in range(500) for node in range(4)]
    assert max(times(limits, arrivals).due) == pytest.approx(2 * SECOND, rel=0.002)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_nodes_share_the_operations_of_the_file_system(direction: str):
    limits = limited(**{f"{direction}_operations": 50_000})
    arrivals = [Arrival(0, node % 5, direction) for node in range(5000)]
    result = times(limits, arrivals)
    latency = READ if direction == "read" else WRITE
    assert result.due == [number * 20_000 + latency for number in range(5000)]


def test_reads_do_not_use_up_the_operations_of_writes():
    reads = [Arrival(0, 0, "read") for _ in range(100)]
    due = times(limited(write_operations=1000), [*reads, Arrival(), Arrival()]).due
    assert due == [READ] * 100 + [WRITE, WRITE + MILLISECOND]


def test_reads_and_writes_use_up_the_bytes_of_the_file_system_together():
    limits = limited(read_bytes=1000 * MIB, write_bytes=500 * MIB)
    arrivals = [Arrival(0, 0, "read", 500 * MIB), Arrival(0, 1, "write", 250 * MIB)]
    assert times(limits, arrivals).due == [SECOND // 2 + READ, SECOND + WRITE]


@pytest.mark.parametrize("name", ["node_bytes", "write_bytes"])
@pytest.mark.parametrize("size", [0, 1, 4095, 4096])
def test_a_small_request_counts_as_4_kib(name: str, size: int):
    limits = limited(**{name: 4096 * 1000})
    due = times(limits, [Arrival(size=size) for _ in range(3)]).due
    assert due == [millis * MILLISECOND + WRITE for millis in (1, 2, 3)]


def test_a_node_with_a_long_queue_does_not_keep_another_from_the_operations():
    limits = limited(slots=10, write_operations=10_000)
    crowd = [Arrival(node=0) for _ in range(1000)]
    due = times(limits, [*crowd, Arrival(MILLISECOND, 1)]).due
    # Ten operations of the crowd are ahead of it, not a thousand.
    assert due[-1] == MILLISECOND + WRITE


def test_nodes_grow_together_until_the_file_system_binds_and_get_equal_shares():
    limits = limited(slots=8, write_operations=10_000)
    finished = {
        nodes: times(limits, [Arrival(0, node) for _ in range(2000) for node in range(nodes)])
        for nodes in (1, 2, 3, 4, 8)
    }
    rates = {nodes: nodes * 2000 * SECOND / max(each.due) for nodes, each in finished.items()}
    for nodes in (2, 3):
        assert rates[nodes] == pytest.approx(nodes * rates[1], rel=0.01)
    for nodes in (4, 8):
        assert rates[nodes] == pytest.approx(10_000, rel=0.01)
        ends = [max(finished[nodes].due[node::nodes]) for node in range(nodes)]
        assert max(ends) == pytest.approx(min(ends), rel=0.01)


@pytest.mark.parametrize("slots", [0, 1025])
def test_a_number_of_slots_that_the_program_lacks_is_refused(slots: int):
    command = [slow_mount.program(), "--trace", *slow_mount.options_of(limited(slots=slots))]
    refused = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--slots is not from 1 to 1024" in refused.stderr


@pytest.mark.parametrize("line", ["0 31 write 0", "0 0 append 0", "0 0 write", "soon 0 write 0"])
def test_a_request_that_makes_no_sense_is_refused(line: str):
    command = [slow_mount.program(), "--trace", *slow_mount.options_of(NO_LIMITS)]
    refused = subprocess.run(command, input=line, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
