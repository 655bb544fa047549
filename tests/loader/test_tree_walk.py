"""The walk through a tree of directories: its order, its end, its errors."""

from __future__ import annotations

import threading

import pytest

from datasets.loader.access import tree_walk

LEVELS, WIDTH = 4, 5


def below(path: str) -> list[str]:
    """Return the names of the directories in one of an invented tree."""
    return [f"d{each}" for each in range(WIDTH)] if path.count("/") < LEVELS - 1 else []


def test_each_directory_is_entered_before_and_left_after_those_below_it():
    events: list[tuple[str, str]] = []

    def enter(path: str) -> list[str]:
        events.append(("enter", path))
        return below(path)

    tree_walk.walk(enter, lambda path: events.append(("leave", path)))

    at = {event: number for number, event in enumerate(events)}
    paths = {path for _, path in events}
    assert len(events) == len(at) == 2 * len(paths)
    assert len(paths) == sum(WIDTH**level for level in range(LEVELS + 1))
    for path in paths - {""}:
        above = path.rpartition("/")[0]
        assert at["enter", above] < at["enter", path] < at["leave", path] < at["leave", above]


def test_several_directories_are_walked_to_the_end_of_the_last_one():
    seen: set[str] = set()
    walking = tree_walk.TreeWalk(lambda path: seen.add(path) or below(path))
    for name in ("a", "b"):
        walking.add(name)
    walking.run()
    assert {path.partition("/")[0] for path in seen} == {"a", "b"}
    assert len(seen) == 2 * sum(WIDTH**level for level in range(LEVELS))


def test_nothing_to_walk_ends_at_once():
    tree_walk.TreeWalk(below).run()


@pytest.mark.parametrize("attempt", range(20))
def test_an_error_ends_the_walk_and_all_of_its_threads(attempt: int):
    before = set(threading.enumerate())

    def enter(path: str) -> list[str]:
        if path == f"d{attempt % WIDTH}/d1":
            raise OSError("broken")
        return below(path)

    with pytest.raises(OSError, match="broken"):
        tree_walk.walk(enter)
    assert not set(threading.enumerate()) - before


def test_an_error_of_the_caller_ends_the_walk():
    held = threading.Event()

    def tick() -> None:
        held.set()
        raise KeyboardInterrupt

    def enter(path: str) -> list[str]:
        held.wait()
        return []

    with pytest.raises(KeyboardInterrupt):
        tree_walk.walk(enter, tick=tick)
