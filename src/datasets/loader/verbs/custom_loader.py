"""Verify and publish the files that a custom loader wrote into its directory."""

from __future__ import annotations

import functools

from ... import protocol
from ..access import open_directory
from ..base import failure, report, tasks
from ..store import file_list, versions, volume
from ..work import take_over

FORMAT = "directory"


def publish(task: tasks.Task, reporter: report.Report) -> versions.PublishedVersion:
    """Verify, count and publish the files in a custom loader's directory.

    Args:
        task: The task.
        reporter: Reports the progress.

    Raises:
        Failure: There are no files, or something that a data set must not have; nothing is
            published then.
    """
    stored = volume.StoredDataSet(task.root, task.name)
    with stored.locked():
        current = stored.current()
        if current and versions.satisfies(current, task) and current.result:
            return stored.keep_current(current, current.result, task.request)
        work = stored.find_custom_loader(task.request)
    if work is None:
        raise failure.Failure(
            "the files that your loader wrote are gone: run create-dataset again"
        )
    reporter.write_state(protocol.VERIFYING)
    try:
        count, size = _take_over(work, task, reporter)
    except FileNotFoundError:
        raise _started_again() from None
    if not count:
        raise failure.Failure("your loader wrote no files in /data: have it write them there")
    result = tasks.Result(
        files=count,
        bytes=size,
        seconds=reporter.seconds,
        path=f"/{volume.DATASETS}/{task.name}",
        version=task.request,
        checksum="",
        fetched=0,
        archive_format=FORMAT,
    )
    with stored.locked():
        if not stored.is_prepared(work, task.request):
            # The present files are not those that were verified.
            raise _started_again()
        return stored.publish(work, volume.FILES, task, result)


def _take_over(
    work: open_directory.OpenDirectory, task: tasks.Task, reporter: report.Report
) -> tuple[int, int]:
    """Take the files over, and list them; return their number and the sum of their sizes."""
    entries = count = size = 0
    with file_list.create(work) as listed:
        for each in take_over.TakeOver(work, volume.FILES, task).run():
            entries, count, size = entries + 1, count + each.files, size + each.bytes
            if entries > task.limits.most_members or size > task.limits.most_bytes:
                raise failure.Failure("your loader wrote more than a data set may have: split it")
            listed.write(each.line)
            reporter.write_progress(
                protocol.VERIFYING, functools.partial(dict[str, int], files=count, bytes=size)
            )
    return count, size


def _started_again() -> failure.Failure:
    return failure.Later(
        "your loader was started again meanwhile: wait until it has ended", soon=True
    )
