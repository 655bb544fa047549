"""Journals: lines that are not whole are ignored, and no other line with them."""

from __future__ import annotations

import contextlib
import io
import json

from hypothesis import example, given
from hypothesis import strategies as st

from datasets.loader.store import journal

kinds = st.sampled_from([journal.FILE, journal.LINK, journal.DIRECTORY, journal.ENDED])
lines = st.builds(
    journal.JournalLine, kinds, st.integers(0, 9), st.integers(0, 9), st.text(max_size=9)
).map(json.dumps)
# What a lost node leaves of a line: its beginning, its end, zeros, or nothing.
torn = st.builds(
    lambda line, start, end: line[min(start, end) : max(start, end)],
    lines,
    st.integers(0, 40),
    st.integers(0, 40),
)
others = torn | st.integers(0, 9).map(lambda count: "\0" * count) | st.just("1, 2")


def alone(text: str) -> list[journal.JournalLine]:
    """Return the lines that are whole, each parsed by itself."""
    found: list[journal.JournalLine] = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            found.append(journal.JournalLine(*json.loads(line)))
    return found


@given(st.lists(lines | others, max_size=200))
@example(['["file", 0', "1]"])
@example(['["file", 0', '1], ["file", 0, 2, "b"]'])
@example(['["file", 0, ["a"]', '["b"], 3]'])
@example(['["link", 0, 0, "a', 'b"]'])
def test_only_lines_that_are_whole_count(texts: list[str]):
    text = "".join(f"{each}\n" for each in texts)
    assert list(journal._lines(io.StringIO(text), files=True)) == alone(text)


def test_files_are_left_out_where_they_are_not_asked_for():
    text = '["file", 0, 1, "a"]\n["link", 0, 2, "b"]\n["file", 0, 3, "c"]\n' * 100
    found = list(journal._lines(io.StringIO(text), files=False))
    assert [line.path for line in found] == ["b"] * 100
