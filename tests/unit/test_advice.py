"""What show-mount tells besides the commands: nothing, until there is something to tell."""

from __future__ import annotations

import pathlib

import pytest

from app import advice
from cluster import probe

HOW_TO = pathlib.Path(__file__).parents[2] / "docs/how-to/read-ahead.md"


def proof(**read_ahead_kib: int) -> probe.ProbeOutcome:
    return probe.ProbeOutcome(read_ahead_kib=read_ahead_kib)


@pytest.mark.parametrize("measured", [{}, {"a": 15360}, {"a": 16384, "b": 15360}])
def test_where_all_is_well_nothing_is_told(measured: dict[str, int]) -> None:
    assert advice.find(proof(**measured), ()) == {}


def test_nodes_that_read_too_little_ahead_are_counted_and_get_the_lines_that_mend_it() -> None:
    told = advice.find(proof(a=128, b=128, c=15360), ())["read-ahead"]
    assert told.startswith("2 of 3 nodes read 128 KiB ahead, AWS advises 15360")
    for line in (*advice.NFSRAHEAD, *advice.UDEV):
        assert f"\n{line}\n" in told
        assert f"    {line}\n" in HOW_TO.read_text(), "the how-to has the same lines"


def test_machines_that_are_not_served_are_named_each_with_the_reason() -> None:
    outcome = probe.ProbeOutcome(unserved={"far": "no NFS client; juju exec"})
    told = advice.find(outcome, ("252.7.0.1",))
    assert told == {
        "not-served": "252.7.0.1: in no subnet of the VPC\nfar: no NFS client; juju exec"
    }


def test_of_many_machines_only_some_are_named() -> None:
    told = advice.find(probe.ProbeOutcome(), [f"192.168.0.{each}" for each in range(50)])
    lines = told["not-served"].splitlines()
    assert (len(lines), lines[-1]) == (21, "and 30 more")
