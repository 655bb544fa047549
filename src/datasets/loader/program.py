"""The loader as a process: its task from the environment, its end in the termination message."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn

from .. import protocol
from .base import failure, progress, report, tasks
from .tree import removal
from .verbs import load

# With the first one trying again is no use: the pod's Job knows it.
EXIT_FAILED, EXIT_TROUBLE, EXIT_STOPPED = 1, 75, 128 + signal.SIGTERM


class _Stopped(BaseException):
    """Kubernetes asked us to go."""


def run() -> NoReturn:
    """Runs the loader and ends its process at once.

    Python's own end takes as long as a dozen trips to the volume, to give back what the system
    takes back anyway.
    """
    code: Any = 0
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    os._exit(code)


def main() -> int:
    """Does what the environment asks for; 0 where it is done."""
    # Modes are given as they are meant.
    os.umask(0)
    # As process 1 of its container it would not even notice the signal.
    signal.signal(signal.SIGTERM, _stop)
    index = int(os.environ.get(protocol.INDEX) or 0)
    told = report.Report(
        os.environ.get(protocol.TERMINATION_LOG, protocol.DEFAULT_TERMINATION_LOG), index=index
    )
    with _last_words(told):
        task = tasks.Task.from_json(os.environ.get(protocol.TASK, ""))
        if verb := (sys.argv[1:] or [""])[0]:
            _others(task, told)[verb]()
        else:
            _load(task, told, index)
    return 0


def _others(task: tasks.Task, told: report.Report) -> Mapping[str, Callable[[], None]]:
    """What else it can do: not one of them is read to load."""
    from .verbs import custom_loader, delete, inventory, verify

    return {
        protocol.PREPARE: lambda: custom_loader.prepare(task),
        protocol.VERIFY: lambda: verify.verify(task, told),
        protocol.DELETE: lambda: delete.delete(task, told),
        protocol.INVENTORY: lambda: inventory.tell(pathlib.Path(task.root), told),
    }


def _load(task: tasks.Task, told: report.Report, index: int) -> None:
    done = None
    counter = progress.Counter()
    # Before what is left is removed: that takes its time, and we may be killed in it.
    with _last_words(told):
        if task.sources or task.manifest:
            done = load.load(task, told, counter, index=index)
        else:
            from .verbs import custom_loader

            done = custom_loader.publish(task, told)
        if done:
            told.published(done.result)
        else:
            told.ended(protocol.DONE, **counter.fields())
    if done:
        # What is told is told; the next load of that name removes what is left.
        with contextlib.suppress(_Stopped):
            removal.remove(done.trash)


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
        if error.soon:
            code = EXIT_TROUBLE
    except OSError as error:
        sentence = str(failure.from_os(error))
        code = EXIT_TROUBLE
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
    # Threads that wait for the network or the volume are daemons: they are not waited for.
    sys.exit(code)
