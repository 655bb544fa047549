"""The loader as a process: its task from the environment, its end in the termination message."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Generator
from typing import Any, NoReturn

from . import failure, given, load, report, spec, volume

TASK_VARIABLE = "AWS_EFS_DATASET"
TERMINATION_LOG_VARIABLE = "TERMINATION_LOG"
TERMINATION_LOG = "/dev/termination-log"
EXIT_FAILED, EXIT_STOPPED = 1, 128 + signal.SIGTERM
# The one argument there is: make the directory ready that a loader of the user's own fills.
PREPARE = "prepare"


class _Stopped(BaseException):
    """Kubernetes asked us to go."""


def main() -> int:
    """Does what the environment asks for; 0 where it is done."""
    os.umask(0o022)
    # As process 1 of its container it would not even notice the signal.
    signal.signal(signal.SIGTERM, _stop)
    told = report.Report(os.environ.get(TERMINATION_LOG_VARIABLE, TERMINATION_LOG))
    with _last_words(told):
        task = spec.Spec.from_json(os.environ.get(TASK_VARIABLE, ""))
        slot = volume.Slot(pathlib.Path(task.root), task.name)
        with slot.locked():
            if sys.argv[1:] == [PREPARE]:
                given.prepare(task, slot)
                return 0
            work = load.load if task.source else given.publish
            try:
                # Before the sweep: that takes its time, and we may be killed in it.
                with _last_words(told):
                    told.published(work(task, slot, told))
            finally:
                with contextlib.suppress(OSError):
                    slot.sweep()
    return 0


def _stop(_signal: int, _frame: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


@contextlib.contextmanager
def _last_words(told: report.Report) -> Generator[None]:
    """Tells why it ended, if it did not end well, and exits."""
    code = EXIT_FAILED
    try:
        yield
        return
    except failure.Failure as error:
        sentence = str(error)
    except OSError as error:
        sentence = str(failure.from_os(error))
    except _Stopped:
        sentence = "the load was stopped before its end: run create-dataset again"
        code = EXIT_STOPPED
    except Exception as error:  # noqa: BLE001 - whatever it is, the user has to hear of it
        # Where it happened; not its text, which could hold a URL.
        traceback.print_tb(error.__traceback__)
        sentence = (
            f"the loader failed in a way that it was not made for ({type(error).__name__}): "
            "report it to the charm's developers with the pod's log"
        )
    told.failed(sentence)
    sys.exit(code)
