"""Read the logs and termination messages of the loader's pods, and format them."""

from __future__ import annotations

import dataclasses
import json

import pytest

from datasets import answers

GB = 10**9
RESULT = answers.Result(1, 2, 3.5, "/datasets/x", "v", "sha256:0", 4, "tar")


def test_a_result_is_read_from_the_termination_message():
    message = json.dumps({"state": "published", **dataclasses.asdict(RESULT), "more": 1})
    assert answers.read_outcome(message) == RESULT
    failed = '{"state": "failed", "error": "it is so: do that"}'
    assert answers.read_outcome(failed) == answers.Failed("it is so: do that")


@pytest.mark.parametrize("state", ["done", "verified", "deleted"])
def test_a_pod_that_published_nothing_reports_its_work(state: str):
    message = json.dumps({"state": state, "files": 3, "bytes": 5, "total": None})
    assert answers.read_outcome(message) == answers.Progress(state, files=3, bytes=5)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Killed",
        '{"state": "published"}',
        'ytes": 3}\n{"state": "transferring"}',
        "[1]",
        "null",
    ],
)
def test_a_loader_that_was_killed_is_a_failure_without_a_message_of_its_own(message: str):
    ended = answers.read_outcome(message)
    assert ended == answers.Failed()


def test_the_last_line_of_progress_counts():
    log = '{"state": "preparing"}\n{"state": "transferring", "fetched": 5, "rate": 1}\nnoise\n'
    assert answers.read_progress(log) == answers.Progress("transferring", fetched=5, rate=1)
    assert answers.read_progress("noise") is None


def test_the_pods_of_a_load_count_together():
    pods = [
        answers.Progress("transferring", 0, 10, 4 * GB, 15 * GB, 70, 40, rate=2e8),
        answers.Progress("transferring", 1, 12, 2 * GB, None, 40, 20, rate=1e8),
        answers.Progress("done", 2, 5, GB, 15 * GB, 10, 10, rate=7e8),
    ]
    both = answers.combine(pods)
    assert both == answers.Progress(
        "transferring", 0, 12, 7 * GB, 15 * GB, 120, 70, rate=3e8, eta=8 * GB / 3e8
    )
    assert both.percent == 46


@pytest.mark.parametrize(
    ("states", "together"),
    [
        (["preparing", "preparing"], "preparing"),
        (["preparing", "transferring"], "transferring"),
        (["preparing", "done"], "transferring"),
        (["done", "verifying"], "verifying"),
        (["starting over"], "preparing"),
    ],
)
def test_a_load_is_where_its_pods_are(states: list[str], together: str):
    assert answers.combine([answers.Progress(state) for state in states]).state == together


def test_what_counts_is_written_not_fetched():
    told = {"state": "transferring", "fetched": 10 * GB, "total": 10 * GB, "rate": 1e8}
    pods = [
        answers.read_progress(json.dumps({**told, "index": index, "done": done}))
        for index, done in enumerate((GB, 2 * GB))
    ]
    # The total is that of all pods.
    both = answers.combine([each for each in pods if each])
    assert (both.percent, both.eta) == (30, 35)
    assert "[###-------] 30 % (3.0 of 10.0 GB)" in answers.format_progress(both)


def test_progress_is_formatted_as_text():
    progress = answers.Progress(
        "transferring", fetched=6_500_000_000, total=15 * GB, files=120, rate=3.1e8, eta=27.4
    )
    assert answers.format_progress(progress) == (
        "transferring: [#####-----] 43 % (6.5 of 15.0 GB), 120 files, 310 MB/s, 27 s left"
    )
    unknown = answers.Progress("transferring", fetched=1500, files=1)
    assert answers.format_progress(unknown) == "transferring: 1.5 KB fetched, 1 file"
    assert answers.format_progress(answers.Progress("preparing")) == "preparing"
    checked = answers.Progress("verifying", fetched=1, total=2, files=3, bytes=GB, rate=5, eta=1)
    assert answers.format_progress(checked) == "verifying: 3 files, 1.0 GB"


@pytest.mark.parametrize(
    ("done", "total", "percent"),
    [(5, 10, 50), (2.5, 10, 25), (11, 10, 100), (-1, 10, 0), (4, 5e-324, 100), (4, -5, 0)],
)
def test_a_percentage_is_a_whole_number_from_0_to_100(done: int, total: int, percent: int):
    shown = answers.Progress("transferring", done=done, total=total).percent
    assert (shown, type(shown)) == (percent, int)


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        (0, "[----------] 0 %"),
        (1, "[#---------] 1 %"),
        (10, "[#---------] 10 %"),
        (43, "[#####-----] 43 %"),
        (90, "[#########-] 90 %"),
        (100, "[##########] 100 %"),
    ],
)
def test_a_percentage_has_a_bar(percent: int, text: str):
    assert answers.format_percent(percent) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 KB"), (123456, "123 KB"), (2e15, "2.0 PB")],
)
def test_a_size_has_a_unit(count: float, text: str):
    assert answers.format_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (1200, "20 min"),
        (7500, "2 h 5 min"),
        (9e4, "1 d 1 h"),
    ],
)
def test_a_time_has_its_two_largest_units(seconds: float, text: str):
    assert answers.format_duration(seconds) == text


def test_an_inventory_is_read_if_it_is_complete():
    lines = [
        {"state": "listed", "name": "a", "dataset": "published", "files": 1, "bytes": 2},
        {"state": "listed", "name": "b", "dataset": "unfinished", "fingerprint": "f"},
        {"state": "inventoried", "count": 2},
    ]
    log = [json.dumps(line) for line in lines]
    assert answers.read_inventory("\n".join(log)) == [
        answers.InventoryEntry("a", is_published=True, files=1, bytes=2),
        answers.InventoryEntry("b", is_published=False, fingerprint="f"),
    ]
    assert answers.read_inventory("\n".join(log[:2])) is None
    assert answers.read_inventory("\n".join(log[1:])) is None
    assert answers.read_inventory("") is None


def test_the_pod_that_has_published_reports_all_and_has_not_ended_yet():
    pods = [
        answers.Progress("done", index=0, files=3, bytes=30),
        answers.Progress("published", index=1, files=5, bytes=50),
    ]
    together = answers.combine(pods)
    assert (together.state, together.files, together.bytes) == ("verifying", 5, 50)


STATES = ("preparing", "transferring", "verifying", "done", "published", "failed", "listed")
FIELDS = (
    *("state", "index", "seconds", "fetched", "total", "files", "bytes", "rate", "eta", "done"),
    *("waiting", "error", "version", "existing", "checksum", "name", "published", "dataset"),
)
VALUES = (
    *("null", "true", "-1", "1e400", "-1e400", "NaN", "5e-324", "1" + 400 * "0"),
    *('""', '"x"', '"\\u202e"', "[]", "{}", '[{"a": []}]'),
)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("field", FIELDS)
def test_whatever_a_log_has_in_a_field_it_is_read_and_formatted(state: str, field: str):
    answer = {
        **dataclasses.asdict(RESULT),
        "state": state,
        "fetched": 5,
        "total": 10,
        "rate": 2.5,
        "name": "x",
        "done": 4,
    }
    for value in VALUES:
        others = json.dumps({name: text for name, text in answer.items() if name != field})
        line = f'{others[:-1]}, "{field}": {value}}}'
        progress = answers.read_progress(line)
        for each in [progress, answers.combine([progress, progress])] if progress else []:
            answers.format_progress(each)
        outcome = answers.read_outcome(line)
        if isinstance(outcome, answers.Result):
            assert type(outcome.version) is str
            assert type(outcome.existing) is bool
        listed = answers.read_inventory(f'{line}\n{{"state": "inventoried", "count": 1}}')
        assert all(type(entry.name) is str for entry in listed or [])


@pytest.mark.parametrize("text", ["[" * 100_000, '{"state":' * 100_000, "9" * 100_000])
def test_a_log_that_is_nested_or_long_is_no_answer(text: str):
    assert answers.read_progress(text) is None
    assert answers.read_outcome(text) == answers.Failed()
    assert answers.read_inventory(text) is None
