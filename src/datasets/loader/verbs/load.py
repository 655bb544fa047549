"""A load as a pod does it: what is there is looked at, and what was begun is gone on with."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import pathlib
import threading
import time
from typing import TYPE_CHECKING

from ... import protocol
from ..base import failure, progress, report, tasks
from ..store import load_directory, versions, volume
from ..tree import removal

if TYPE_CHECKING:
    from ..work import pod

MOST_ATTEMPTS = 5
LOOK_AGAIN_SECONDS = 1.0
TAKEN = "was published or removed by others meanwhile"


def load(
    task: tasks.Task, told: report.Report, counter: progress.Counter, *, index: int
) -> versions.PublishedVersion | None:
    """Does what is to be done, and publishes the data set if this was the last of it.

    Args:
        task: What to load.
        told: Is told how far it is.
        counter: Counts what this pod does.
        index: This pod's index.

    Returns:
        What was published, now or before; None where other pods still work on it.

    Raises:
        Failure: It can not be done; nothing was published.
    """
    stored = volume.StoredDataSet(pathlib.Path(task.root), task.name)
    # What the work needs is read beside the first trips to the volume.
    reading = threading.Thread(target=_pod_class, daemon=True)
    reading.start()
    reason = ""
    for attempt in range(MOST_ATTEMPTS):
        told.state(protocol.PREPARING, source=task.shown)
        if attempt:
            counter.reset()
        with stored.locked():
            current = stored.current()
            if current and is_wanted(current, task) and current.result:
                result = dataclasses.replace(current.result, existing=True)
                return stored.keep_current(current, result, task.request)
            directory = stored.open_load(task, current)
        # Processes will be forked, and must not find that something is being imported.
        reading.join()
        with contextlib.closing(directory):
            try:
                return _pod_class()(
                    task, stored, directory, told=told, counter=counter, index=index
                ).run()
            except load_directory.LoadGone:
                reason = TAKEN
            except failure.StartOver as trouble:
                reason = trouble.reason
                directory.supersede(reason)
                told.state(protocol.STARTING_OVER, reason=reason)
            except (failure.Failure, OSError) as trouble:
                # What another pod has published is not where it was; caches may not know it yet.
                if isinstance(trouble, OSError) and trouble.errno in {errno.ENOENT, errno.ESTALE}:
                    reason = TAKEN
                    directory.close()
                    time.sleep(LOOK_AGAIN_SECONDS)
                    continue
                error = failure.from_os(trouble) if isinstance(trouble, OSError) else trouble
                # What is of no use is removed; but other pods may still be at it, or come at once.
                if task.indexes == 1 and not (
                    error.soon or (error.resumable and directory.has_files())
                ):
                    _discard(stored, directory)
                raise error from None
    raise failure.Failure(
        f"{task.shown} {reason}, {MOST_ATTEMPTS} times: check the source, or try again later"
    )


def _pod_class() -> type[pod.Pod]:
    from ..work import pod

    return pod.Pod


def _discard(stored: volume.StoredDataSet, directory: load_directory.LoadDirectory) -> None:
    with contextlib.suppress(failure.Failure, OSError):
        with stored.locked():
            if not directory.is_alone():
                return
            trash = versions.to_trash(directory.path)
        # What is open stays, by another name, until it is closed (nfs(5)).
        directory.close()
        removal.remove([trash])
        stored.remove_home()


def is_wanted(current: versions.VersionRecord, task: tasks.Task) -> bool:
    """Whether what is published is what the task would make; a request is done only once.

    Raises:
        Failure: It is another one, and is not to be replaced.
    """
    if current.result and current.request == task.request:
        return True
    if task.overwrite:
        return False
    if not current.result or current.fingerprint != task.fingerprint:
        raise failure.Failure(
            f"the data set {task.name} is there already, made with other parameters: choose "
            "another name, or replace it with overwrite=true"
        )
    return True
