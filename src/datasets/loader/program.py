"""The loader as a process: its task from the environment, its result as termination message."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator
from typing import Any, NoReturn

from .. import protocol
from .access import open_directory
from .base import failure, report, tasks
from .sources import table
from .tree import removal

# The modules of the verbs. Each has a function `run` of the signature in `_verb`; a module is
# imported only when its verb is called.
VERBS = {
    protocol.LOAD: "load",
    protocol.PREPARE: "prepare",
    protocol.VERIFY: "verify",
    protocol.DELETE: "delete",
    protocol.INVENTORY: "inventory",
    protocol.VERSIONS: "list_versions",
    protocol.ROLLBACK: "rollback",
}
# The pod's Job does not try again after EXIT_FAILED: that would fail the same way.
EXIT_FAILED, EXIT_TROUBLE, EXIT_STOPPED = 1, 75, 128 + signal.SIGTERM


class _Stopped(BaseException):
    """The signal SIGTERM from Kubernetes."""


def run() -> NoReturn:
    """Run the loader and end its process at once.

    Python's own shutdown frees what the system frees anyway, and takes as long as a dozen round
    trips to the volume.
    """
    code: Any = 0
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    os._exit(code)


def main() -> int:
    """Run the verb that the command line names; return 0, or exit with the code of a failure."""
    # The modes of files and directories are those of the task, unmasked.
    os.umask(0)
    # Process 1 of a container ignores SIGTERM unless it has a handler.
    signal.signal(signal.SIGTERM, _stop)
    index = int(os.environ.get(protocol.INDEX) or 0)
    reporter = report.Report(
        os.environ.get(protocol.TERMINATION_LOG, protocol.DEFAULT_TERMINATION_LOG), index=index
    )
    with _failures_reported(reporter):
        task = tasks.Task.from_json(os.environ.get(protocol.TASK, ""), table.check)
        verb = _verb((sys.argv[1:] or [protocol.LOAD])[0])
        trash = verb(task, reporter, index)
    # The result is reported already: the next load of that name removes what is left.
    if trash:
        with contextlib.suppress(_Stopped):
            removal.remove(trash)
    return 0


def _verb(
    name: str,
) -> Callable[[tasks.Task, report.Report, int], open_directory.Entries | None]:
    """Return the function of a verb.

    It takes the task, the reporter and the pod's index, and returns the entries to remove after
    its result is reported: removal takes time, and the pod may be killed meanwhile.
    """
    return importlib.import_module(f"{__package__}.verbs.{VERBS[name]}").run


def _stop(_signal: int, _frame: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


@contextlib.contextmanager
def _failures_reported(reporter: report.Report) -> Generator[None]:
    """Report the reason of a failure, and exit."""
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
        sentence = "the loader was stopped before it finished: try again"
        code = EXIT_STOPPED
    except Exception as error:  # noqa: BLE001 - an error of any kind is reported to the user
        # The trace without the error's text, which could contain a URL.
        traceback.print_tb(error.__traceback__)
        sentence = (
            f"the loader has a bug ({type(error).__name__}): report it to the charm's developers "
            "with the pod's log"
        )
    reporter.write_failed(sentence)
    # Threads that wait for the network or the volume are daemons: they are not waited for.
    sys.exit(code)
