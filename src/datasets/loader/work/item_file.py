"""Load an item that stays one file: a small one at once, a large one over many connections."""

from __future__ import annotations

import contextlib

from ..archives import formats
from ..base import byte_streams
from ..http import object_stream
from ..tree import tree_writer
from . import item_checksum, item_context, item_large_file, item_version


def load_listed(fetch: item_context.ItemFetch) -> None:
    """Load a file that a prefix, a repository or a list names."""
    if not fetch.run.item.validator:
        item_version.check(fetch.run, fetch.source)
    load(fetch, fetch.run.item.path)


def load(
    fetch: item_context.ItemFetch, path: str, *, opened: object_stream.ObjectStream | None = None
) -> None:
    """Load a file, by its size.

    Args:
        fetch: The item.
        path: The file's path.
        opened: The object as a stream, if its beginning was read already.

    Raises:
        StartOver: The object has changed.
        Failure: It cannot be loaded.
    """
    # The size of decoded content is not known before its end.
    size = None if fetch.source.codings else fetch.source.size
    if size is None or size > tree_writer.SMALL_BYTES:
        item_large_file.load(fetch, path, opened=opened)
    else:
        _load_small(fetch, path, size, opened)


def load_part(fetch: item_context.ItemFetch) -> None:
    """Load a range of a large file."""
    item_large_file.load(fetch, fetch.run.item.path)


def load_member(fetch: item_context.ItemFetch, data: object_stream.ObjectStream) -> None:
    """Load a member of an archive that is not an archive itself."""
    run, tree, limiter = fetch.run, fetch.context.tree, fetch.context.limiter
    item, size = run.item, run.item.length or 0
    chunks = byte_streams.read_pieces(data, size)
    limiter.add_member()
    limiter.add_received(size)
    limiter.add_written(size)
    run.progress.add_read(size)
    if not run.has_member(0):
        run.progress.add_content(size, files=1)
    if not run.has_member(0) and size > tree_writer.SMALL_BYTES:
        tree.write_large(0, item.path, chunks, run, executable=item.executable)
    elif not run.has_member(0):
        batch = tree.new_batch(run)
        batch.add(0, item.path, tuple(chunks), executable=item.executable)
        batch.flush()
    run.finish(archive_format=formats.TAR, checksum="", fetched=size)


def load_checksum(fetch: item_context.ItemFetch) -> None:
    """Read an object only for its checksum: other items load its files."""
    item, source = fetch.run.item, fetch.source
    digest = item_checksum.hasher(item)
    opened = item_large_file.open_stream(fetch, 0)
    with contextlib.closing(opened) as data:
        while piece := data.next_piece():
            digest.update(piece.data)
            piece.release()
    checksum = item_checksum.compare(item, source.url, digest.hexdigest())
    fetch.run.finish(archive_format="", checksum=checksum, fetched=0)


def _load_small(
    fetch: item_context.ItemFetch, path: str, size: int, opened: object_stream.ObjectStream | None
) -> None:
    run, limiter = fetch.run, fetch.context.limiter
    limiter.add_received(size)
    limiter.add_written(size)
    with contextlib.closing(opened or object_stream.open_whole(fetch.source)) as data:
        content = b"".join(byte_streams.read_pieces(data, size))
    digest = item_checksum.hasher(run.item)
    digest.update(content)
    checksum = item_checksum.compare(run.item, fetch.source.url, digest.hexdigest())
    run.progress.add_content(size, files=1)
    run.progress.add_read(size)
    batch = fetch.context.tree.new_batch(run)
    batch.add(0, path, (content,), executable=run.item.executable)
    batch.flush()
    run.finish(archive_format=formats.FILE, checksum=checksum, fetched=size)
