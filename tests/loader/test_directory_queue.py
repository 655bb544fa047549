from __future__ import annotations

import threading

import pytest

from datasets.loader.tree import directory_queue


def fail() -> None:
    raise OSError("no space left")


def test_it_ends_after_an_error_though_some_creations_still_run() -> None:
    work = directory_queue.DirectoryQueue(lambda _: None)
    running, go = threading.Event(), threading.Event()

    def slow() -> None:
        running.set()
        go.wait()

    work.submit("a", slow, 1)
    for _ in range(20):
        work.submit("a", lambda: None, 1)
    running.wait()
    work.submit("b", fail, 1)
    with pytest.raises(OSError, match="no space left"):
        work.wait()

    closing = threading.Thread(target=work.close, daemon=True)
    closing.start()
    closing.join(0.2)  # it waits for the slow creation, which goes on to the next one
    go.set()
    closing.join(10)
    assert not closing.is_alive()
