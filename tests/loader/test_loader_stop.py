"""A loader that is asked to stop does so, whatever it computes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.servers import origin_server
from tests.loader import formats_rig, loader_rig
from tests.loader.loader_rig import entry

# As long as the kubelet waits before it kills a pod.
GRACE_SECONDS = 30
# What it has to compute before it is asked: all inputs take minutes.
COMPUTED_TICKS = 100
PIECE = bytes(2**24)
UNLIMITED = {"most_bytes": 2**60, "most_expansion": 10**9}
Made = tuple[str, dict[str, Any]]


def endless_body(compress: Callable[[bytes], bytes]) -> bytes:
    """Return a compressed tar with a member of 128 GiB of zeros that is not written."""
    label = formats_rig.header(
        b"label", kind=b"V", size_field=b"\x80" + (2**37).to_bytes(11, "big")
    )
    return compress(label) + compress(PIECE) * 2**13


def skipped_gz(served: origin_server.Origin) -> Made:
    content = endless_body(lambda data: gzip.compress(data, 9))
    return served.put("s.tar.gz", content), {"limits": UNLIMITED}


def skipped_xz(served: origin_server.Origin) -> Made:
    return served.put("s.tar.xz", endless_body(lzma.compress)), {"limits": UNLIMITED}


def skipped_bz2(served: origin_server.Origin) -> Made:
    return served.put("s.tar.bz2", endless_body(bz2.compress)), {"limits": UNLIMITED}


def sparse_maps(served: origin_server.Origin) -> Made:
    numbers = b"".join(b"%d\n0\n" % (2 * number) for number in range(20_000))
    body = b"20000\n" + numbers
    fields = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "40000"),
    ]
    fields = [*fields, ("GNU.sparse.name", "f")]
    one = formats_rig.pax(*fields) + formats_rig.member(b"f", body + bytes(-len(body) % 512))
    return served.put("s.tgz", gzip.compress(one * 8, 1) * 2**10), {"limits": UNLIMITED}


def names(served: origin_server.Origin) -> Made:
    # The attributes of no member at all.
    attributes = formats_rig.pax(*[(f"k{number}", "v" * 10) for number in range(3000)])
    return served.put("s.tgz", gzip.compress(attributes * 50, 1) * 2**12), {"limits": UNLIMITED}


def long_list(served: origin_server.Origin) -> Made:
    lines = b"".join(b"# %d\n" % number for number in range(2**20))
    content = gzip.compress(lines, 1) * 250
    return "", {"source_list": served.put("list.gz", content), "digest_key": "5e" * 32}


def tar_in_ranges(served: origin_server.Origin) -> Made:
    headers = entry("d", type=b"5")[0].tobuf() * 2**18
    return served.put("s.tar", headers), {"unpack": "recursive"}


@pytest.mark.parametrize(
    "make",
    [skipped_gz, skipped_xz, skipped_bz2, sparse_maps, names, long_list, tar_in_ranges],
    ids=lambda make: make.__name__,
)
def test_a_loader_that_computes_stops_when_it_is_asked(
    rig: loader_rig.Rig, served: origin_server.Origin, make: Callable[[Any], Made]
):
    source, parameters = make(served)
    process = rig.start(source, **parameters)
    try:
        loader_rig.wait_until(
            lambda: process.poll() is not None or ticks(process.pid) > COMPUTED_TICKS
        )
        process.terminate()
        process.wait(GRACE_SECONDS)
    finally:
        loader_rig.kill(process)
    run = rig.wait(process)
    assert "the loader was stopped before it finished" in run.error
    assert not (rig.volume / "datasets/x").is_symlink()


def ticks(pid: int) -> int:
    """Return the time that a process has computed for, in hundredths of a second."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
