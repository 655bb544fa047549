"""Make the items of a plan from the task's sources; large objects are divided among pods."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator

from ..archives import archive_reader, formats, tar_index
from ..base import byte_streams, failure, file_names, large_memory, limiter, tasks
from ..http import http_client, object_reader, object_stream, remote_object
from ..sources import expansion, source_object
from ..store import readback
from . import list_queries, plan, recognition, split_archives

# The most sources that are probed for the plan.
MOST_PROBED = 64
# The sources that are probed side by side, each by a request at a time.
PROBED_AT_ONCE = 8
PARTS_PER_POD = 4
LEAST_PART_BYTES = 64 * 2**20
PART_MULTIPLE_BYTES = 4 * 2**20
# Smaller archives in an archive are read as they stream by: a request for each would cost more.
LEAST_INNER_BYTES = 2**18
SAMPLE = 256


def items(
    task: tasks.Task, client: http_client.Client, queries: list_queries.ListQueries
) -> Iterator[plan.Item]:
    """Yield all items of a task, as its sources are now.

    Args:
        task: The task.
        client: The HTTP client.
        queries: Keeps the queries of the URLs in the source list.

    Raises:
        StartOver: A source changed while it was probed.
        Failure: There are no sources, or one cannot be loaded.
    """
    objects = expansion.expand(task, client)
    first = list(itertools.islice(objects, MOST_PROBED + 1))
    if not first:
        if task.include or task.exclude:
            raise failure.Failure("include= and exclude= leave no file to load: check them")
        raise failure.Failure("there is nothing to load: check the sources")
    probe = len(first) <= MOST_PROBED and (task.indexes > 1 or task.unpack == "recursive")
    split = split_archives.SplitArchives(
        task, client, functools.partial(_items_of, task=task, client=client, probe=probe)
    )
    found = (split.add(_item_of(each, queries), each) for each in itertools.chain(first, objects))
    if probe:
        most = min(PROBED_AT_ONCE, task.connections or PROBED_AT_ONCE)
        found = readback.map_concurrently(list[plan.Item], found, at_once=most, ahead=most)
    yield from itertools.chain.from_iterable(found)
    yield from split.finish()


def _item_of(
    candidate: source_object.SourceObject, queries: list_queries.ListQueries
) -> plan.Item:
    """Return the item of an object that is loaded as a whole."""
    url, query = queries.split(candidate) if candidate.in_list else (candidate.url, -1)
    return plan.Item(
        plan.SOURCE,
        url="" if candidate.source >= 0 else url,
        source=candidate.source,
        query=query,
        path=candidate.path,
        size=candidate.size,
        validator=candidate.validator,
        checksum=candidate.checksum,
        auth=candidate.auth,
        executable=candidate.executable,
    )


def bounded(items: Iterable[plan.Item], limits: tasks.Limits) -> Iterator[plan.Item]:
    """Yield items; refuse files that are together larger than all files may be.

    Archives may become larger or smaller when they are unpacked: those are counted then.

    Raises:
        Failure: They are too large.
    """
    total = 0
    for item in items:
        if item.kind in {plan.FILE, plan.PART}:
            total += item.planned_bytes
            if total > limits.most_bytes:
                raise limiter.too_large(limits)
        yield item


def _items_of(
    item: plan.Item,
    candidate: source_object.SourceObject,
    task: tasks.Task,
    client: http_client.Client,
    *,
    probe: bool,
) -> Iterable[plan.Item]:
    """Return the items of an object."""
    if candidate.listed and not _is_to_unpack(candidate, task):
        return _file(item, task, client)
    if candidate.listed:
        return (dataclasses.replace(item, path=archive_reader.nested_directory(candidate.path)),)
    return _probe(item, candidate, task, client) if probe else (item,)


def _is_to_unpack(candidate: source_object.SourceObject, task: tasks.Task) -> bool:
    return task.unpack == "recursive" and bool(file_names.ARCHIVE_NAME.search(candidate.path))


def _file(item: plan.Item, task: tasks.Task, client: http_client.Client) -> Iterator[plan.Item]:
    """Yield a file of a known size, in parts if it is large and several pods share it."""
    size = item.size or 0
    if client.origins.reads_whole(item.url):
        # Nor can the version in a list be compared.
        item = dataclasses.replace(item, validator="")
    part_bytes = max(LEAST_PART_BYTES, -(-size // (PARTS_PER_POD * task.indexes)))
    part_bytes += -part_bytes % PART_MULTIPLE_BYTES
    if task.indexes == 1 or size <= part_bytes or not item.validator:
        yield dataclasses.replace(item, kind=plan.FILE)
        return
    for start in range(0, size, part_bytes):
        end = min(start + part_bytes, size)
        yield dataclasses.replace(item, kind=plan.PART, start=start, end=end)


def _probe(
    item: plan.Item,
    candidate: source_object.SourceObject,
    task: tasks.Task,
    client: http_client.Client,
) -> Iterator[plan.Item]:
    source = remote_object.RemoteObject(
        client,
        candidate.url,
        auth=candidate.auth,
        size=candidate.size,
        validator=candidate.validator,
    )
    with contextlib.closing(source):
        source.probe()
        opened = object_stream.open_whole(source)
        with contextlib.closing(opened):
            head = formats.head_of(opened.peek)
            source.confirm_ranges()
        # Other pods take for granted what is found here.
        divisible = source.await_ranges()
        item = dataclasses.replace(item, size=source.size, validator=source.lasting_validator)
        if source.codings:
            # It is recognised when its codings are undone.
            yield item
            return
        with large_memory.LARGE.scope():
            archive_format = recognition.recognise(head, item, source, task)
        if archive_format == formats.FILE and divisible:
            path = source_object.file_path(item.path, source.name or source_object.UNNAMED)
            yield from _file(dataclasses.replace(item, path=path), task, client)
            return
        inner = None
        unpacked = task.unpack == "recursive" and not task.strip_components
        if archive_format == formats.TAR and unpacked and divisible:
            inner = _inner(item, source)
        if inner is None:
            yield item
            return
        yield from inner
        if item.checksum:
            yield dataclasses.replace(item, kind=plan.HASH)


def _inner(item: plan.Item, source: remote_object.RemoteObject) -> Iterable[plan.Item] | None:
    """Return a tar archive's members as items; None if it is better read as one stream."""

    def read_at(offset: int, count: int) -> bytes:
        with contextlib.closing(source.open_range(offset, offset + count)) as data:
            return byte_streams.read_exactly(data, count)

    scanned = tar_index.scan(read_at, source.size or 0)
    try:
        first = list(itertools.islice(scanned, SAMPLE))
        count = sum(not each.directory for each in first)
        if not count or sum(each.size for each in first) < LEAST_INNER_BYTES * count:
            return None
        # All are read before the first is returned: NotPlain may be raised at the very end.
        every = [*first, *scanned]
    except tar_index.NotPlain:
        return None
    except object_reader.NoRanges:
        # Its origin serves no more of them: few requests, or only the first.
        source.read_whole()
        return None
    paths = [archive_reader.nested_directory(each.path) for each in every if not each.directory]
    if len(set(paths)) < len(paths):
        # The last one of a path counts, so they are read in their order.
        return None
    top = item.path.rstrip("/") + "/" if item.path else ""
    return (
        dataclasses.replace(
            item,
            kind=plan.DIRECTORY if each.directory else plan.INNER,
            path=top + each.path,
            name=each.path,
            start=each.offset,
            end=each.offset + each.size,
            executable=each.executable,
        )
        for each in every
    )
