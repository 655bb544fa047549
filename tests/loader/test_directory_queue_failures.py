"""A queue of creations ends after a failure, whatever was still running."""

from __future__ import annotations

import threading

import pytest

from datasets.loader.tree import directory_queue


def test_a_queue_of_which_one_creation_fails_ends_each_time():
    """As when a link of many cannot be made: no thread waits for another one for ever."""
    made: list[str] = []

    def run(number: int) -> None:
        queue = directory_queue.DirectoryQueue(made.append, threads=16)

        def create(index: int) -> None:
            if index == number % 40:
                raise FileExistsError

        with pytest.raises(FileExistsError):
            try:
                for index in range(40):
                    queue.submit(f"d{index % 7}/e", lambda index=index: create(index), 1)
                queue.wait()
            finally:
                queue.close()

    for number in range(200):
        thread = threading.Thread(target=run, args=(number,), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
