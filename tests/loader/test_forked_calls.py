"""Calls in forked processes: their answers, their errors, and the end of the processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Generator

import pytest

from datasets.loader.base import failure, forked_calls

CALLS = 3 * forked_calls.MOST_CALLS


@contextlib.contextmanager
def calls(function: Callable[[str], str]) -> Generator[forked_calls.ForkedCalls]:
    with contextlib.closing(forked_calls.ForkedCalls(function)) as made:
        yield made


def has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_each_call_is_answered_once_by_another_process():
    with calls(lambda argument: f"{argument} {os.getpid()}") as made:
        answers = [answer.split() for answer in made.map(map(str, range(CALLS)))]
    assert sorted(int(argument) for argument, _ in answers) == [*range(CALLS)]
    assert str(os.getpid()) not in {process for _, process in answers}
    assert all(has_ended(int(process)) for _, process in answers)


def test_the_longest_answers_fit():
    longest = "x" * (forked_calls.MOST_BYTES - 1)
    with calls(lambda argument: argument) as made:
        assert set(made.map([longest] * CALLS)) == {longest}


def test_an_error_is_told_by_its_kind_alone():
    def refuse(argument: str) -> str:
        raise ValueError(argument)

    with calls(refuse) as made, pytest.raises(RuntimeError, match=r"^ValueError$"):
        list(made.map(["secret"]))


def test_a_process_that_was_killed_is_noticed_though_the_others_work():
    def die(argument: str) -> str:
        if argument == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return argument

    with calls(die) as made, pytest.raises(failure.Failure, match="was killed") as caught:
        list(made.map(["a", "die", "b"]))
    assert caught.value.soon


def test_processes_that_were_all_killed_are_noticed():
    def die(_: str) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    with calls(die) as made, pytest.raises(failure.Failure, match="was killed"):
        list(made.map(["a"] * CALLS))


def test_processes_end_with_the_loader_when_it_is_killed():
    program = (
        "import os, signal\n"
        "from datasets.loader.base import forked_calls\n"
        "made = forked_calls.ForkedCalls(lambda _: str(os.getpid()))\n"
        "print(*set(made.map(['a'] * 100)), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # Its output is at its end when the last process that has it open has ended.
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert all(has_ended(int(process)) for process in ended.stdout.split())
