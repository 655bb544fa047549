"""Waiting with growing intervals."""

from __future__ import annotations

import polling


def test_a_question_is_asked_once_even_if_there_is_no_time_left():
    answers = iter(["the only one"])
    assert polling.poll(lambda: next(answers), lambda _: False, -1) == "the only one"


def test_it_is_asked_until_an_answer_is_good():
    answers = iter([1, 2, 3, 4])
    assert polling.poll(lambda: next(answers), lambda answer: answer == 3, 60) == 3


def test_the_last_answer_is_returned_when_the_time_is_up():
    answers = iter(range(1000))
    assert polling.poll(lambda: next(answers), lambda _: False, 0.2) > 0
