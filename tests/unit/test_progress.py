"""The progress of a pod: what counts is on the volume, not in memory."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib
import threading

import pytest

from datasets.loader.base import buffer_pool, progress
from datasets.loader.tree import large_file


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_fetched_and_waits_in_memory_is_not_done():
    clock = Clock()
    counter = progress.Counter(clock=clock)
    counter.total = 1000
    item = progress.ItemProgress(counter)
    counter.add_fetched(1000)
    item.add_content(1000)
    item.add_read(1000)
    clock.now = 1.0
    fields = counter.fields()
    assert (fields["fetched"], fields["done"], fields["rate"], fields["eta"]) == (
        1000,
        0,
        0,
        None,
    )
    item.add_written(250)
    clock.now = 2.0
    fields = counter.fields()
    assert (fields["done"], fields["rate"], fields["eta"]) == (250, 125, 6)
    item.add_written(750)
    assert counter.fields()["done"] == 1000


def test_a_byte_of_an_archive_counts_by_what_it_became():
    counter = progress.Counter()
    item = progress.ItemProgress(counter)
    # Compressed to a tenth; half of it is written.
    item.add_read(100)
    item.add_content(1000)
    item.add_written(500)
    assert counter.fields()["done"] == 50


def test_files_without_content_count_too():
    counter = progress.Counter()
    item = progress.ItemProgress(counter)
    item.add_read(100)
    for _ in range(4):
        item.add_content(0, files=1)
    assert counter.fields()["done"] == 0
    item.add_written(0, files=3)
    assert counter.fields()["done"] == 75
    item.add_written(0, files=1)
    assert counter.fields()["done"] == 100


def test_what_earlier_pods_have_written_is_done_and_an_attempt_counts_once():
    counter = progress.Counter()
    counter.add_earlier(500)
    item = progress.ItemProgress(counter)
    for _ in range(3):
        item.begin()
        item.add_content(100)
        item.add_read(100)
        item.add_written(100)
    assert counter.fields()["done"] == 600


def test_what_comes_late_from_a_former_attempt_is_never_more_than_was_read():
    counter = progress.Counter()
    item = progress.ItemProgress(counter)
    item.add_content(100)
    item.add_read(100)
    item.begin()
    item.add_written(100)
    assert counter.fields()["done"] == 0
    item.add_content(10)
    item.add_read(10)
    assert counter.fields()["done"] == 10


def test_a_large_file_counts_as_it_is_written(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    counter = progress.Counter()
    item = progress.ItemProgress(counter)
    content = b"x" * 2**20
    allowed, write = threading.Event(), os.pwritev

    def held(*args: object) -> int:
        allowed.wait(60)
        return write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "pwritev", held)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        file = large_file.LargeFile(
            lambda: os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY),
            "file",
            start=0,
            digests={},
            pool=pool,
            buffers=buffer_pool.BufferPool(),
            on_written=item.add_written,
        )
        item.add_content(len(content))
        item.add_read(len(content))
        file.write(content)
        assert counter.fields()["done"] == 0
        allowed.set()
        file.close()
    assert counter.fields()["done"] == len(content)
