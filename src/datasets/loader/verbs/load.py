"""Load a data set: continue an unfinished load of the same parameters, or begin a new one."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import threading
import time
from typing import TYPE_CHECKING

from ... import protocol
from ..access import open_directory
from ..base import failure, progress, report, tasks
from ..store import load_directory, versions, volume
from ..tree import removal

if TYPE_CHECKING:
    from ..http import origins
    from ..work import pod_load

MOST_ATTEMPTS = 5
GONE_PAUSE_SECONDS = 1.0
GONE = "was published or removed by another pod meanwhile"


def run(task: tasks.Task, reporter: report.Report, index: int) -> open_directory.Entries | None:
    """Load a data set from its sources, or publish the files of a custom loader.

    Args:
        task: The task.
        reporter: Reports the progress and the result.
        index: This pod's index.

    Returns:
        The entries that no reader and no load needs any more, to be removed.

    Raises:
        Failure: It cannot be loaded; nothing was published.
    """
    counter = progress.Counter()
    if task.sources or task.source_list:
        published = _load(task, reporter, counter, index)
    else:
        from . import custom_loader

        published = custom_loader.publish(task, reporter)
    if published is None:
        reporter.write_ended(protocol.DONE, **counter.fields())
        return None
    reporter.write_published(published.result)
    return published.trash


def _load(
    task: tasks.Task, reporter: report.Report, counter: progress.Counter, index: int
) -> versions.PublishedVersion | None:
    """Do this pod's part; publish the data set if no part is left.

    Returns:
        The published version; None if other pods still work on it.
    """
    stored = volume.StoredDataSet(task.root, task.name)
    # The modules of the work are imported during the first round trips to the volume.
    importing = threading.Thread(target=_pod_load_class, daemon=True)
    importing.start()
    reason = ""
    known: origins.Origins | None = None
    for attempt in range(MOST_ATTEMPTS):
        reporter.write_state(protocol.PREPARING, source=task.redacted_sources)
        if attempt:
            counter.reset()
        with stored.locked():
            current = stored.current()
            if current and versions.satisfies(current, task) and current.result:
                result = dataclasses.replace(current.result, existing=True)
                return stored.keep_current(current, result, task.request)
            if finished := stored.finish(task, current):
                return finished
            directory = stored.open_load(task, current)
        # A process that is forked during an import would wait forever for the import lock.
        importing.join()
        known = known or _origins(task)
        with contextlib.closing(directory):
            try:
                return _pod_load_class()(
                    task,
                    stored,
                    directory,
                    reporter=reporter,
                    counter=counter,
                    known=known,
                    index=index,
                ).run()
            except load_directory.LoadGone:
                reason = GONE
            except failure.StartOver as trouble:
                reason = trouble.reason
                directory.supersede(reason)
                reporter.write_state(protocol.STARTING_OVER, reason=reason)
            except (failure.Failure, OSError) as trouble:
                # Another pod may have published, which moves the directory.
                if isinstance(trouble, OSError) and trouble.errno in {errno.ENOENT, errno.ESTALE}:
                    reason = GONE
                    directory.close()
                    time.sleep(GONE_PAUSE_SECONDS)
                    continue
                error = failure.from_os(trouble) if isinstance(trouble, OSError) else trouble
                # Files that no other attempt can use are removed, unless other pods may use them.
                if task.indexes == 1 and not (
                    error.soon or (error.resumable and directory.has_files())
                ):
                    _discard(stored, directory)
                raise error from None
    raise failure.Failure(
        f"{task.redacted_sources} {reason}, {MOST_ATTEMPTS} times: check the source, or try again "
        "later"
    )


def _pod_load_class() -> type[pod_load.PodLoad]:
    from ..work import pod_load

    return pod_load.PodLoad


def _origins(task: tasks.Task) -> origins.Origins:
    from ..http import origins

    return origins.Origins(task.opening_seconds, task.patience_seconds)


def _discard(stored: volume.StoredDataSet, directory: load_directory.LoadDirectory) -> None:
    with contextlib.suppress(failure.Failure, OSError):
        with stored.locked():
            if not directory.is_alone():
                return
            trash = directory.to_trash()
        # NFS keeps an open file, under another name, until it is closed (nfs(5)).
        directory.close()
        removal.remove(trash)
        stored.remove_home()
