"""Load an archive that was split into several objects, as if it were one."""

from __future__ import annotations

import contextlib
from typing import Any

from ..archives import formats
from ..base import buffer_pool
from ..http import object_stream, remote_object
from . import item_archive, item_checksum, item_context, plan


def load(fetch: item_context.ItemFetch) -> None:
    """Load a joined archive.

    Raises:
        StartOver: A part has changed.
        Failure: It cannot be loaded.
    """
    item, task = fetch.run.item, fetch.context.task
    opened = object_stream.ObjectStream(_JoinedPieces(fetch, checked=True))
    with contextlib.closing(opened):
        head = formats.head_of(opened.peek)
        archive_format = formats.recognise(head, item.name, unpack=task.unpack, checked=True)
        divisible = all(each.kind == plan.FILE for each in item.parts)
        ranges = _Ranges(fetch, item.size) if divisible and item.size is not None else None
        item_archive.Unpacker(fetch, ranges).unpack(opened, archive_format)


class _Ranges:
    """A joined archive, readable from any position."""

    def __init__(self, fetch: item_context.ItemFetch, size: int) -> None:
        self._fetch = fetch
        self.size = size

    def stream(self, offset: int) -> object_stream.ObjectStream:
        return object_stream.ObjectStream(_JoinedPieces(self._fetch, offset))


class _JoinedPieces:
    """The pieces of all parts, one part after the other.

    Args:
        fetch: The item.
        start: The position in the archive where they begin; all sizes are known if it is not 0.
        checked: Whether all of them are read, and compared with the checksums of the parts.
    """

    paged = False

    def __init__(
        self, fetch: item_context.ItemFetch, start: int = 0, *, checked: bool = False
    ) -> None:
        self._fetch = fetch
        self._left = list(fetch.run.item.parts)
        self._start = start
        self._checked = checked
        while self._left and self._start >= (self._left[0].size or self._start + 1):
            self._start -= self._left.pop(0).size or 0
        self._part: _Part | None = None

    def next_piece(self) -> buffer_pool.Buffer | None:
        """Return the next bytes; None at the end of the last part."""
        while self._part or self._left:
            if self._part is None:
                self._part = _Part(self._fetch, self._left.pop(0), self._start, self._checked)
                self._start = 0
            if piece := self._part.next_piece():
                return piece
            self._part.end()
            self.close()
        return None

    def close(self) -> None:
        """Close the part that is read."""
        part, self._part = self._part, None
        if part:
            part.close()


class _Part:
    """One part of the archive, read from a position to its end."""

    def __init__(
        self, fetch: item_context.ItemFetch, item: plan.Item, start: int, checked: bool
    ) -> None:
        self._item = item
        self._source = item_context.open_object(item, fetch.run, fetch.context)
        self._stream = _open(self._source, start, fetch.connections if checked else 1)
        hashed = checked and item.checksum
        self._digest: Any = item_checksum.hasher(item) if hashed else None

    def next_piece(self) -> buffer_pool.Buffer | None:
        piece = self._stream.next_piece()
        if piece and self._digest:
            self._digest.update(piece.data)
        return piece

    def end(self) -> None:
        if self._digest:
            item_checksum.compare(self._item, self._source.url, self._digest.hexdigest())

    def close(self) -> None:
        self._stream.close()
        self._source.close()


def _open(
    source: remote_object.RemoteObject, start: int, connections: int
) -> object_stream.ObjectStream:
    if not source.divisible:
        return object_stream.open_whole(source, start)
    ahead = object_stream.share(object_stream.PIECES_AHEAD, connections)
    return object_stream.open_stream(source, start, most=connections, ahead=ahead)
