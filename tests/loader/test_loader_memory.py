"""All processes of a pod together stay below 256 MiB, whatever the source is made of."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import pathlib
import re
import tarfile
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, link, tar

MOST_BYTES = 256 * 2**20
MIB = 2**20
# As in the pod; see loader_jobs.
POD = {"MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1"}
XZ_9 = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 64 * MIB}]

Made = tuple[str, dict[str, Any]]


def xz(content: bytes) -> bytes:
    """Return it compressed so that reading it takes the memory of `xz -9`, in less time."""
    return lzma.compress(content, filters=XZ_9)


def nested_xz(served: origin_server.Origin) -> Made:
    big = bytes(66 * MIB)
    inner = xz(tar([entry("a", big)]))
    content = xz(tar([entry("b", big), entry("i.tar.xz", inner), entry("c", big)]))
    return served.put("s.tar.xz", content), {"unpack": "recursive"}


def unnamed_xz(served: origin_server.Origin) -> Made:
    content = xz(tar([entry("f", bytes(66 * MIB))]))
    urls = [served.put(f"download{number}", content) for number in range(6)]
    lines = "".join(f"{url} - {number}/\n" for number, url in enumerate(urls))
    return "", listed(served, lines)


def xz_in_tars(served: origin_server.Origin) -> Made:
    content = tar([entry("i.tar.xz", xz(tar([entry("f", bytes(66 * MIB))])))])
    urls = [served.put(f"{number}.tar", content) for number in range(6)]
    lines = "".join(f"{url} - {number}/\n" for number, url in enumerate(urls))
    return "", {**listed(served, lines), "unpack": "recursive"}


def many_bz2(served: origin_server.Origin) -> Made:
    content = bz2.compress(tar([entry(str(number), bytes(MIB)) for number in range(8)]))
    urls = [served.put(f"{number}.tar.bz2", content) for number in range(32)]
    lines = "".join(f"{url} - {number}/\n" for number, url in enumerate(urls))
    return "", listed(served, lines)


def listed(served: origin_server.Origin, lines: str) -> dict[str, Any]:
    return {"source_list": served.put("list", lines.encode()), "digest_key": "5e" * 32}


def many_directories(served: origin_server.Origin) -> Made:
    names = (f"{number}/{'d' * 90}" for number in range(15_000))
    return served.put("s.tgz", gzip.compress(loader_rig.directories(names) + bytes(1024), 1)), {}


def deep_directories(served: origin_server.Origin) -> Made:
    entries = [entry(f"{number}/" + "a/" * 250 + "f", b"1") for number in range(50)]
    return served.put("s.tgz", gzip.compress(tar(entries), 1)), {}


def long_paths(served: origin_server.Origin) -> Made:
    name = "/".join(["p" * 230] * 15)
    entries = [entry(f"{number % 50}/{name}/{number}", b"1") for number in range(4000)]
    return served.put("s.tgz", gzip.compress(tar(entries), 1)), {}


def dangling_links(served: origin_server.Origin) -> Made:
    target = "/".join(["t" * 230] * 15)
    entries = [link(str(number), f"{target}/{number}", hard=True) for number in range(12_000)]
    content = tar([entry("f", b"1"), *entries])
    return served.put("s.tgz", gzip.compress(content, 1)), {}


def long_links(served: origin_server.Origin) -> Made:
    entries = [link(str(number), "t" * 10**6) for number in range(600)]
    packed = gzip.compress(tar([entry("f", b"1")])[:1024], 1)
    # One member at a time: all of them together take as much memory here.
    packed += b"".join(gzip.compress(tar([each])[: -1024 * 10], 1) for each in entries)
    return served.put("s.tgz", packed), {}


def long_names(served: origin_server.Origin) -> Made:
    return served.put("s.tgz", gzip.compress(tar([entry("a/" * 500_000, b"1")]))), {}


def one_path_again_and_again(served: origin_server.Origin) -> Made:
    entries = [entry(f"d/{number % 5_000}", b"1") for number in range(10_000)]
    return served.put("s.tgz", gzip.compress(tar(entries), 1)), {}


def all_of_it_again(served: origin_server.Origin) -> Made:
    name = "/".join(["p" * 230] * 15)
    entries = (link(f"{name}/{number}", "f")[0].tobuf() for number in range(18_000))
    content = gzip.compress(b"".join(entries), 1)
    first = gzip.compress(tar([entry("f", b"1")])[:1024], 1)
    return served.put("s.tgz", first + content * 2 + gzip.compress(bytes(1024))), {}


def small_files_of_zeros(served: origin_server.Origin) -> Made:
    return served.put(
        "s.tgz", gzip.compress(tar([entry(str(n), bytes(MIB)) for n in range(300)]), 1)
    ), {}


def sparse_file(served: origin_server.Origin) -> Made:
    info = entry("hole")[0]
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (300 * MIB).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return served.put("s.tar", bytes(header) + bytes(1024)), {}


def page_of_a_hub(served: origin_server.Origin) -> Made:
    commit = "0123456789" * 4
    served.put("api/datasets/a/b/revision/main", b'{"sha": "%s"}' % commit.encode())
    served.put(f"api/datasets/a/b/tree/{commit}", b"[" + b'{"":0},' * 299_000 + b"0]")
    return "hf://datasets/a/b", {"hub": served.url}


def page_of_s3(served: origin_server.Origin) -> Made:
    served.put("bucket/", b"<ListBucketResult>" + b"<a/>" * 2_000_000 + b"</ListBucketResult>")
    return "s3://bucket/", {"endpoint": served.url}


def comments_of_a_zip(served: origin_server.Origin) -> Made:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for number in range(500):
            info = zipfile.ZipInfo(str(number))
            info.comment, info.extra = bytes(65_000), b"\x07\0\0\0" * 16_000
            packed.writestr(info, b"1")
    return served.put("s.zip", buffer.getvalue()), {}


def large_files(served: origin_server.Origin) -> Made:
    content = bytes(40 * MIB)
    urls = [served.put(f"{number}.bin", content) for number in range(4)]
    return " ".join([*urls, small_files_of_zeros(served)[0]]), {}


INPUTS = (
    nested_xz,
    unnamed_xz,
    xz_in_tars,
    many_bz2,
    many_directories,
    deep_directories,
    long_paths,
    long_names,
    dangling_links,
    long_links,
    one_path_again_and_again,
    all_of_it_again,
    small_files_of_zeros,
    sparse_file,
    page_of_a_hub,
    page_of_s3,
    comments_of_a_zip,
    large_files,
)


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
def test_no_input_takes_more_memory_than_is_promised(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    make: Callable[[origin_server.Origin], Made],
):
    source, parameters = make(served)
    process = rig.start(source, environ=POD, **parameters)
    most = 0
    try:
        while process.poll() is None:
            most = max(most, proportional_bytes(process.pid))
            time.sleep(0.005)
    finally:
        loader_rig.kill(process)
    run = rig.wait(process)
    print(make.__name__, most // MIB, "MiB")  # noqa: T201 - the measurement itself
    assert run.message, run.log
    assert "has a bug" not in run.message
    assert "killed" not in run.message
    assert 0 < most < MOST_BYTES, f"{most // MIB} MiB"


def proportional_bytes(pid: int) -> int:
    """Return the memory of a process and its children; what they share counts once."""
    total = 0
    with contextlib.suppress(OSError):
        for each in (pid, *loader_rig.children(pid)):
            with contextlib.suppress(OSError):
                text = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text()
                match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
                total += int(match[1]) * 1024 if match else 0
    return total
