"""Write a large file, or a part of one, while many connections fetch it.

It is hashed and written from its beginning to its end; now and then the journal records the
position up to which it is on the volume.
"""

from __future__ import annotations

import contextlib

from ..archives import formats
from ..base import limiter
from ..http import object_stream
from ..store import journal
from ..tree import files, large_file
from . import item_checksum, item_context, item_run, item_version, plan

PIECE_BYTES, PIECES_AHEAD = 3 * 2**20, 36
# All connections fetch the same number of pieces, as the load waits for the last one; and at least
# this many, unless the pieces would be too small.
LEAST_ROUNDS, LEAST_PIECE_BYTES, PIECE_MULTIPLE_BYTES = 4, 2**20, 2**16
CHECKPOINT_BYTES = 256 * 2**20


def load(
    fetch: item_context.ItemFetch, path: str, *, opened: object_stream.ObjectStream | None = None
) -> None:
    """Load a large file, or a part of one, from where an earlier attempt stopped.

    Args:
        fetch: The item.
        path: The file's path.
        opened: The object as a stream, if its beginning was read already.

    Raises:
        StartOver: The object has changed.
        Failure: It cannot be loaded.
    """
    run, source = fetch.run, fetch.source
    start = run.item.start
    # Positions in decoded content are not those at the origin.
    if not source.codings:
        start = run.attempt.completed.positions.get(run.number, start)
    if start > run.item.start:
        item_version.check_resumable(source)
        opened = None
        fetch.context.counter.add_earlier(start - run.item.start)
    data = opened or open_stream(fetch, start)
    with contextlib.closing(data):
        _write(fetch, data, path, start)


def open_stream(fetch: item_context.ItemFetch, start: int) -> object_stream.ObjectStream:
    """Open an item from a position on, with pieces that suit its size."""
    source, end, connections = fetch.source, fetch.run.item.end, fetch.connections
    size = ((source.size if end is None else end) or 0) - start
    if end in {None, source.size}:
        many = connections > 1 and size >= object_stream.LEAST_BYTES
        if not many or not source.confirm_ranges():
            return object_stream.open_whole(source, start)
        source.close()
    rounds = max(LEAST_ROUNDS, -(-size // (PIECE_BYTES * connections)))
    even = -(-size // (rounds * connections))
    even += -even % PIECE_MULTIPLE_BYTES
    return object_stream.open_stream(
        source,
        start,
        end,
        most=connections,
        piece_bytes=max(LEAST_PIECE_BYTES, even),
        ahead=object_stream.share(PIECES_AHEAD, connections),
    )


def _write(
    fetch: item_context.ItemFetch, data: object_stream.ObjectStream, path: str, start: int
) -> None:
    run, tree = fetch.run, fetch.context.tree
    item = run.item
    shared = item.kind == plan.PART or start > item.start
    new = files.NewFile(path, 0, executable=item.executable, shared=shared)
    # A file that is not read from its beginning to its end is read back before it is published.
    algorithm = item_checksum.algorithm(item)
    algorithms = set[str]() if shared else {"sha256", algorithm}
    run.progress.add_content(0, files=1)
    file = tree.begin_large(0, new, run, start=start, algorithms=algorithms)
    try:
        _copy(run, file, data, fetch.context.limiter)
        checksum = ""
        if algorithms:
            digest = file.digests[algorithm].hexdigest()
            checksum = item_checksum.compare(item, fetch.source.url, digest)
    except BaseException:
        file.abandon()
        # The item may be tried again: this file is no longer pending.
        run.remove_pending()
        raise
    tree.finish_large(file, 0, run)
    run.finish(
        archive_format=formats.FILE,
        checksum=checksum,
        fetched=file.position - item.start,
        path=path,
    )


def _copy(
    run: item_run.ItemRun,
    file: large_file.LargeFile,
    data: object_stream.ObjectStream,
    limiter: limiter.Limiter,
) -> None:
    """Write all data of a stream; record now and then the position that is on the volume."""
    safe = file.position
    while piece := data.next_piece():
        limiter.add_received(len(piece.data))
        limiter.add_written(len(piece.data))
        run.progress.add_content(len(piece.data))
        run.progress.add_read(len(piece.data))
        if data.paged:
            file.write_block(piece)
        else:
            file.write(piece.data)
            piece.release()
        if file.written - safe >= CHECKPOINT_BYTES:
            safe = file.written
            file.sync()
            run.record(journal.POSITION, safe, "")
            run.attempt.journal.flush()
    file.wait()
