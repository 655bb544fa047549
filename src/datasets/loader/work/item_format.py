"""Recognise an item by its first bytes, and keep it as a file or unpack it."""

from __future__ import annotations

import contextlib

from ..archives import formats
from ..http import object_stream, remote_object
from ..sources import source_object
from . import (
    content_coding,
    item_archive,
    item_context,
    item_file,
    item_version,
    plan,
    recognition,
)


def load_source(fetch: item_context.ItemFetch) -> None:
    """Load an object that the user named: a file, or an archive to unpack."""
    item_version.check(fetch.run, fetch.source)
    if fetch.context.single:
        fetch.context.counter.total = fetch.source.size
    load(fetch)


def load(fetch: item_context.ItemFetch) -> None:
    """Load an object, or a member of an archive, by the format that it has.

    Raises:
        StartOver: The object has changed since an earlier attempt began with it.
        Failure: It cannot be loaded.
    """
    item, source = fetch.run.item, fetch.source
    if item.kind == plan.INNER:
        opened = object_stream.open_stream(source, item.start, item.end, most=1)
    else:
        opened = object_stream.open_whole(source)
    with contextlib.closing(opened):
        if source.codings:
            opened = content_coding.decode(opened, source, fetch.context.limiter)
        head = formats.head_of(opened.peek)
        archive_format = _recognise(fetch, head)
        # One connection continues the stream that was opened; several start again.
        many = fetch.connections > 1 and _is_long(source, item)
        keep = not many or not source.confirm_ranges()
        if not keep:
            # Its origin may serve few connections.
            opened.close()
        if archive_format == formats.FILE and item.kind != plan.INNER:
            path = source_object.file_path(item.path, source.name or source_object.UNNAMED)
            item_file.load(fetch, path, opened=opened if keep else None)
        elif keep:
            _load_content(fetch, opened, archive_format)
        else:
            with contextlib.closing(_open_again(fetch, head)) as several:
                _load_content(fetch, several, archive_format)


def _recognise(fetch: item_context.ItemFetch, head: bytes) -> str:
    item = fetch.run.item
    if item.kind == plan.INNER:
        return formats.recognise_inner(head, item.name)
    return recognition.recognise(head, item, fetch.source, fetch.context.task)


def _is_long(source: remote_object.RemoteObject, item: plan.Item) -> bool:
    """Tell whether several connections are worth their requests."""
    end = source.size if item.end is None else item.end
    return (end or 0) - item.start > formats.HEAD_BYTES + object_stream.LEAST_BYTES


def _open_again(fetch: item_context.ItemFetch, head: bytes) -> object_stream.ObjectStream:
    """Open an item with several connections, after the bytes that were read already."""
    item, connections = fetch.run.item, fetch.connections
    return object_stream.open_stream(
        fetch.source,
        item.start,
        item.end,
        head=head,
        most=connections,
        ahead=object_stream.share(object_stream.PIECES_AHEAD, connections),
    )


def _load_content(
    fetch: item_context.ItemFetch, data: object_stream.ObjectStream, archive_format: str
) -> None:
    if archive_format == formats.FILE:
        item_file.load_member(fetch, data)
    else:
        item_archive.Unpacker(fetch).unpack(data, archive_format)
