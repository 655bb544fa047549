"""The records of a hook reach juju-log in few pieces, and none is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import log_batch


class Written(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, self.format(record)))


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def logger(written: Written) -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.log_batch")
    logger.propagate, logger.level = False, logging.DEBUG
    logger.addHandler(written)
    yield logger
    logger.removeHandler(written)


@pytest.fixture
def batch(written: Written) -> log_batch.LogBatch:
    batch = log_batch.LogBatch([written])
    batch.hold()
    return batch


def test_the_first_message_is_written_at_once_and_the_rest_by_level(
    logger: logging.Logger, batch: log_batch.LogBatch, written: Written
) -> None:
    logger.debug("looked")
    for number in range(50):
        logger.info("created %d", number)
    logger.warning("odd")
    logger.debug("looked again")
    assert written.lines == [("INFO", "created 0")]
    batch.release()
    assert written.lines[1:] == [
        ("DEBUG", "looked\nlooked again"),
        ("INFO", "\n".join(f"created {number}" for number in range(1, 50))),
        ("WARNING", "odd"),
    ]


def test_an_error_is_written_at_once_after_what_led_to_it(
    logger: logging.Logger, batch: log_batch.LogBatch, written: Written
) -> None:
    logger.info("created")
    logger.info("deleted")
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("failed")
    assert [level for level, _ in written.lines] == ["INFO", "INFO", "ERROR"]
    assert written.lines[1] == ("INFO", "deleted")
    assert written.lines[2][1].endswith("ValueError: why")
    logger.info("after it")
    batch.release()
    assert written.lines[3:] == [("INFO", "after it")]


def test_what_is_logged_afterwards_is_written_at_once(
    logger: logging.Logger, batch: log_batch.LogBatch, written: Written
) -> None:
    batch.release()
    logger.debug("looked")
    logger.info("100% done")
    assert written.lines == [("DEBUG", "looked"), ("INFO", "100% done")]


def test_a_level_is_one_run_of_the_tool_however_much_was_logged(
    logger: logging.Logger, batch: log_batch.LogBatch, written: Written
) -> None:
    for _ in range(500):
        logger.debug("x" * 1000)
    batch.release()
    ((_, text),) = written.lines
    assert len(text) < 131_071
    assert text.endswith("x... (400499 more characters)")
